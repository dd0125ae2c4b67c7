"""The API of the workspace that a token opens: its members, templates, documents and agreements.

Times are epoch milliseconds, but for those of signed URLs, which are epoch seconds, as in Lumin's description.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .api_http import ApiError, SignedUrls, body, page
from .clock import Clock
from .grants import Grant
from .pdf import pdf
from .registry import User, Workspace
from .signature_requests import Invalid
from .templates import LISTED, TEMPLATES

LOCATIONS = ("personal", "space", "workspace")


class WorkspaceApi:
    """`/workspaces`, `/templates`, `/documents` and `/agreements`."""

    def __init__(
        self,
        clock: Clock,
        base: str,
        files: SignedUrls,
        users: Mapping[str, User],
        workspaces: Mapping[str, Workspace],
    ) -> None:
        self.clock = clock
        self.base = base
        self.users = users
        self.workspaces = workspaces
        self.documents: dict[str, dict[str, Any]] = {}
        self._files = files
        self._agreements: dict[str, tuple[str, str, str]] = {}  # id -> workspace, owner, name
        self.table = [
            ("GET", "/workspaces/info", self.info, {"workspaces.read", "workspaces"}),
            ("GET", "/workspaces/members", self.members, {"workspaces.read", "workspaces"}),
            ("GET", "/templates", self.templates, {"templates"}),
            ("GET", "/templates/{template_id}", self.template, {"templates"}),
            ("POST", "/templates/{template_id}/generate-document", self.generate, {"templates"}),
            ("POST", "/documents", self.upload, {"pdf:files"}),
            ("POST", "/agreements", self.create_agreement, {"agreements"}),
            ("GET", "/agreements/{agreement_id}/file", self.agreement_file, {"agreements"}),
        ]

    def _now(self) -> int:
        return int(self.clock.shown() * 1000)

    def _workspace(self, grant: Grant) -> Workspace:
        found = self.workspaces.get(grant.workspace_id)
        if found is None:
            raise ApiError(404, "workspace_not_found", "This token opens no workspace.")
        return found

    async def info(self, http: Request, grant: Grant) -> Response:
        found = self._workspace(grant)
        return JSONResponse(
            {
                "id": found.id,
                "name": found.name,
                "owner": found.owner,
                "created_at": found.created_at,
                "user_role": found.members[grant.user.sub],
                "total_members": len(found.members),
                "total_spaces": 0,
            }
        )

    async def members(self, http: Request, grant: Grant) -> Response:
        found = self._workspace(grant)
        people = [(self.users[sub], role) for sub, role in found.members.items() if sub in self.users]
        when = {"joined_at": found.created_at, "last_active_at": found.created_at}
        rows = [{"user_id": user.sub, "email": user.email, "name": user.name, "role": role} for user, role in people]
        listed = page(http, [row | when for row in rows], required=True)
        return JSONResponse({**listed, "total_count": str(listed["total_count"])})  # text, here alone

    async def templates(self, http: Request, grant: Grant) -> Response:
        if "x-lumin-api-version" not in http.headers:
            raise ApiError(400, "api_version_required", "The header X-Lumin-API-Version is missing.")
        return JSONResponse(page(http, [{name: each[name] for name in LISTED} for each in TEMPLATES.values()]))

    async def template(self, http: Request, grant: Grant) -> Response:
        return JSONResponse(_template(http.path_params["template_id"]))

    async def generate(self, http: Request, grant: Grant) -> Response:
        """A PDF of a template, whose required tags and fields must be there."""
        found = _template(http.path_params["template_id"])
        data = (await body(http))[0] if await http.body() else {}
        for kind in ("tags", "fields"):
            given = data.get(kind) or {}
            if not isinstance(given, dict):
                raise Invalid(f"{kind}: must be an object")
            missing = [each["name"] for each in found[kind] if each["is_required"] and each["name"] not in given]
            if missing:
                raise Invalid(f"{kind}: {missing[0]} is required")
        name = str(data.get("document_name") or found["name"])
        return self._files.answer(http, pdf(name), document_name=name)

    async def upload(self, http: Request, grant: Grant) -> Response:
        data, files = await body(http, structured=("location", "document_data"))
        if data.get("method") != "file-upload":
            raise Invalid("method: must be file-upload")
        name = _name(data, "document_name")
        location = data.get("location")
        if not isinstance(location, dict) or location.get("type") not in LOCATIONS:
            raise Invalid(f"location: type must be one of {', '.join(LOCATIONS)}")
        source = data.get("document_data")
        urls = [source["file_url"]] if isinstance(source, dict) and source.get("file_url") else []
        if len(files) + len(urls) != 1:
            raise Invalid("document_data: exactly one of file and file_url is needed")
        document_id = secrets.token_hex(12)
        document = {
            "id": document_id,
            "name": name,
            "created_at": self._now(),
            "updated_at": self._now(),
            "location": location,
            "size": files[0].size if files else len(pdf(name)),
            "mime_type": "application/pdf",
            "preview_url": f"{self.base}/#document-{document_id}",
        }
        self.documents[document_id] = document
        return JSONResponse(document, 201)

    async def create_agreement(self, http: Request, grant: Grant) -> Response:
        data = (await body(http))[0]
        source = data.get("agreement_data")
        if data.get("method") != "template" or not isinstance(source, dict):
            raise Invalid("method must be template, with agreement_data")
        template = _template(str(source.get("template_id", "")))
        name = _name(data, "agreement_name") if "agreement_name" in data else str(template["name"])
        agreement_id = secrets.token_hex(12)
        self._agreements[agreement_id] = grant.workspace_id, grant.user.sub, name
        linked = source.get("linked_objects") or []
        preview = f"{self.base}/#agreement-{agreement_id}"
        created = {"id": agreement_id, "name": name, "preview_url": preview, "created_at": self._now()}
        return JSONResponse({**created, "linked_objects": linked}, 201)

    async def agreement_file(self, http: Request, grant: Grant) -> Response:
        *owner, name = self._agreements.get(http.path_params["agreement_id"], ("", "", ""))
        if owner != [grant.workspace_id, grant.user.sub]:
            raise ApiError(404, "agreement_not_found", "There is no such agreement.")
        return self._files.answer(http, pdf(name))


def _template(template_id: str) -> dict[str, Any]:
    if template_id not in TEMPLATES:
        raise ApiError(404, "template_not_found", "There is no such template.")
    return TEMPLATES[template_id]


def _name(data: Mapping[str, Any], field: str) -> str:
    """A name of 1 to 255 characters."""
    name = data.get(field)
    if not isinstance(name, str) or not 1 <= len(name) <= 255:
        raise Invalid(f"{field}: must be 1 to 255 characters")
    return name
