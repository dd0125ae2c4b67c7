"""The templates of every workspace."""

from __future__ import annotations

from typing import Any

MADE = 1_748_000_000_000  # epoch milliseconds


def _template(template_id: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {
        "template_id": template_id,
        "type": kind,
        "name": name,
        "signing_type": "SAME_TIME",
        "signer_roles": [],
        "tags": [],
        "fields": [],
        "variables": {},
        "created_at": MADE,
        "updated_at": MADE,
        **more,
    }


TEMPLATES = {
    template["template_id"]: template
    for template in (
        _template(
            "sign_5f0c1a",
            "pdf",
            "Photo release",
            signing_type="ORDER",
            signer_roles=[{"name": "Model", "group": 1}, {"name": "Photographer", "group": 2}],
            tags=[{"name": "shoot.place", "type": "merge_tag", "is_required": True}],
        ),
        _template("ag_93be77", "lumin", "Workshop rental", variables={"name": "Rental.Hours"}),
        _template(
            "pdf_27d4e0",
            "pdf",
            "Travel expenses",
            fields=[{"name": "has_receipts", "type": "checkbox", "is_required": False}],
        ),
    )
}
"""By id, as `GET /templates/{id}` shows them."""

LISTED = ("template_id", "type", "name", "created_at", "updated_at")
"""The members that the list shows."""
