"""The emulator's API keeps signature requests as Lumin's does, for whoever holds a token with the scope."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from typing import Any

import anyio
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis.strategies import (
    booleans,
    dictionaries,
    floats,
    integers,
    lists,
    none,
    recursive,
    sampled_from,
    text,
)
from jsonschema import ValidationError

from lumin_middleware.emulator.registry import SCOPES
from lumin_middleware.emulator.templates import TEMPLATES
from tests.emulator import openapi
from tests.emulator.party import POST, Party, ok, query

pytestmark = pytest.mark.anyio

SIGNERS = [
    {"email_address": "first@example.com", "name": "First", "group": 1},
    {"email_address": "second@example.com", "name": "Second", "group": 2},
]


WITH_BODIES = {
    "POST /signature_request/send": {},
    "POST /signature_request/send-from-template": {"template_id": "sign_5f0c1a"},
    "PATCH /signature_request/{mine}": {},
    "POST /signature_request/remind/{mine}": {"emails": ["first@example.com"]},
    "POST /signature_request/{mine}/signing-link": {"signer_email": "first@example.com"},
    "POST /signature_request/{mine}/signing-session": {"signer_email": "first@example.com"},
    "POST /templates/sign_5f0c1a/generate-document": {"tags": {"shoot.place": "Here"}},
    "POST /documents": {
        "method": "file-upload",
        "document_name": "Lease",
        "location": {"type": "personal"},
        "document_data": {"file_url": "https://files.example/lease.pdf"},
    },
    "POST /agreements": {"method": "template", "agreement_data": {"template_id": "ag_93be77"}},
}
"""Addresses, and what they want beside what `send` wants."""


class Caller:
    """A relying party that is signed in, and its API calls."""

    def __init__(self, party: Party, access_token: str) -> None:
        self.party = party
        self.access_token = access_token
        self.tomorrow = int(party.clock.now + 86_400) * 1000

    async def __call__(self, method: str, path: str, **more: Any) -> Any:
        return await self.party.api(self.access_token, method, f"/v1{path}", **more)

    def body(self, **changes: Any) -> dict[str, Any]:
        body = {
            "title": "Lease",
            "signers": SIGNERS,
            "expires_at": self.tomorrow,
            "file_url": "https://files.example/lease.pdf",
        } | changes
        return {name: value for name, value in body.items() if value is not None}

    async def send(self, **changes: Any) -> str:
        """Send a request; its id."""
        response = await self("POST", "/signature_request/send", json=self.body(**changes))
        assert response.status_code == 201, response.text
        return response.json()["signature_request"]["signature_request_id"]

    async def read(self, signature_request_id: str) -> dict[str, Any]:
        return ok(await self("GET", f"/signature_request/{signature_request_id}"))["signature_request"]


async def caller(party: Party, **person: str | None) -> Caller:
    code = query(party.emulator.sign_in(party.url(), **person))["code"]
    return Caller(party, ok(await party.redeem(code))["access_token"])


async def whole_caller() -> Caller:
    whole = replace(POST, scope=" ".join(SCOPES))
    party = Party(whole)
    party.emulator.clients[whole.client_id] = whole
    return await caller(party)


@pytest.fixture
async def api() -> Caller:
    return await whole_caller()


def error(response: Any) -> tuple[int, str]:
    body = response.json()
    assert set(body) == {"error_code", "error_message"}
    return response.status_code, body["error_code"]


async def test_user_info_names_the_person(api):
    user = next(iter(api.party.emulator.users.values()))
    info = ok(await api("GET", "/user/info"))
    assert info == {"user": {"id": user.sub, "email": user.email, "name": user.name}}


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        (None, "Bearer"),
        ("Basic abc", "Bearer"),
        ("Bearer ", "Bearer"),
        ("Bearer unknown", 'Bearer error="invalid_token"'),
        ("bearer unknown", 'Bearer error="invalid_token"'),
    ],
)
async def test_without_a_good_token_the_api_answers_401(api, authorization, challenge):
    headers = {"Authorization": authorization} if authorization else {}
    response = await api.party.http.get("/v1/user/info", headers=headers)
    assert error(response) == (401, "unauthorized")
    assert response.headers["www-authenticate"] == challenge


@pytest.mark.parametrize("kind", ["refresh_token", "id_token"])
async def test_only_an_access_token_opens_the_api(kind):
    party = Party()
    tokens = await party.tokens()
    assert error(await party.api(tokens[kind])) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/user/info", "openid profile.read profile.settings"),
        ("POST", "/signature_request/send", "sign:requests"),
        ("GET", "/signature_requests", "sign:requests sign:requests.read"),
        ("GET", "/templates", "templates"),
    ],
)
async def test_a_missing_scope_is_403(method, path, wanted):
    limited = await caller(Party(), scope="offline_access")
    response = await limited(method, path)
    assert error(response) == (403, "forbidden")
    assert response.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{wanted}"'


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/user/info", 405)])
async def test_unknown_paths_and_methods_answer_in_the_apis_words(api, method, path, status):
    assert error(await api(method, path)) == (status, "not_found")


async def test_a_request_is_sent_and_read(api):
    sent = await api("POST", "/signature_request/send", json=api.body(signing_type="ORDER"))
    assert sent.status_code == 201
    summary = sent.json()["signature_request"]
    now = int(api.party.clock.now * 1000)
    assert (summary["status"], summary["created_at"]) == ("WAITING_FOR_PROCESSING", now)
    found = await api.read(summary["signature_request_id"])
    assert found.pop("details_url").startswith("http://emulator.test:4444/")
    assert found == {
        "signature_request_id": summary["signature_request_id"],
        "title": "Lease",
        "created_at": now,
        "updated_at": now,
        "expires_at": api.tomorrow,
        "status": "WAITING_FOR_OTHERS",
        "signing_type": "ORDER",
        "signers": [
            SIGNERS[0] | {"is_approved": False, "status": "NEED_TO_SIGN"},
            SIGNERS[1] | {"is_approved": False, "status": "WAITING_FOR_OTHERS"},
        ],
    }


async def test_who_must_sign_their_own_request_is_told(api):
    user = next(iter(api.party.emulator.users.values()))
    mine = await api.send(signers=[{"email_address": user.email, "name": user.name}])
    assert (await api.read(mine))["status"] == "NEED_TO_SIGN"


@pytest.mark.parametrize(
    "changes",
    [
        {"title": None},
        {"title": ""},
        {"title": "x" * 256},
        {"signers": None},
        {"signers": []},
        {"signers": [{"name": "No address"}]},
        {"signers": ["nobody"]},
        {"expires_at": None},
        {"expires_at": "soon"},
        {"expires_at": 1},
        {"signing_type": "BY_AGE"},
        {"file_url": None},
        {"file_urls": ["https://files.example/second.pdf"]},
    ],
)
async def test_a_wrong_field_is_refused(api, changes):
    response = await api("POST", "/signature_request/send", json=api.body(**changes))
    assert error(response) == (422, "validation_error")
    assert not api.party.emulator.signature_requests


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_json_is_refused(api, body):
    response = await api("POST", "/signature_request/send", content=body)
    assert error(response) == (400, "invalid_body")


FIELDS = [
    "agreement_data",
    "agreement_name",
    "document_data",
    "document_name",
    "email_address",
    "emails",
    "expires_at",
    "expiry",
    "fields",
    "file",
    "file_url",
    "file_urls",
    "files",
    "group",
    "linked_objects",
    "location",
    "method",
    "name",
    "signer_email",
    "signers",
    "signing_type",
    "tags",
    "template_id",
    "title",
    "type",
    "viewers",
]
ANYTHING = recursive(
    none() | booleans() | integers() | floats() | text() | sampled_from(["\ud83d", math.inf, "template", *TEMPLATES]),
    lambda inner: lists(inner, max_size=3) | dictionaries(sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)


@given(changes=dictionaries(sampled_from(FIELDS), ANYTHING, min_size=1, max_size=3), form=booleans())
@settings(max_examples=40)
def test_whatever_is_in_a_body_it_is_refused_or_understood(changes, form):
    """On each address that takes a body, as JSON and as a form."""

    async def ask():
        api = await whole_caller()
        mine = await api.send()
        for address, wanted in WITH_BODIES.items():
            whole = {**api.body(), **wanted, **changes}
            as_form = {"files": {name: (None, json.dumps(value)) for name, value in whole.items()}}
            sent = as_form if form else {"content": json.dumps(whole).encode()}
            answer = await api(*address.format(mine=mine).split(), **sent)
            assert answer.status_code in (200, 201, 400, 404, 409, 422), (address, answer.text)
        assert (await api("GET", "/signature_requests")).status_code == 200
        for found in api.party.emulator.signature_requests:
            assert (await api("GET", f"/signature_request/{found}")).status_code == 200
            assert (await api("GET", f"/signature_request/{found}/file")).status_code == 200

    anyio.run(ask)


async def test_a_body_must_be_an_object(api):
    assert error(await api("POST", "/signature_request/send", json=[1])) == (422, "validation_error")


async def test_files_are_uploaded_whole(api):
    content = bytes(range(256)) * 8192  # two megabytes: more than is kept in memory
    data = {"title": "Lease", "expires_at": str(api.tomorrow), "signers": json.dumps(SIGNERS)}
    response = await api(
        "POST", "/signature_request/send", data=data, files={"file": ("lease.pdf", content, "application/pdf")}
    )
    assert response.status_code == 201
    (stored,) = api.party.emulator.signature_requests.values()
    (file,) = stored.files
    assert (file.name, file.size, file.sha256) == ("lease.pdf", len(content), hashlib.sha256(content).hexdigest())
    assert [signer.name for signer in stored.signers] == ["First", "Second"]


async def test_a_file_and_a_url_are_one_too_many(api):
    data = {key: value for key, value in api.body().items() if key != "signers"} | {"signers": json.dumps(SIGNERS)}
    response = await api("POST", "/signature_request/send", data=data, files={"file": ("a.pdf", b"x")})
    assert error(response) == (422, "validation_error")


async def test_a_template_can_be_sent(api):
    headers = {"X-Lumin-API-Version": "1.1"}
    template = ok(await api("GET", "/templates", headers=headers))["data"][0]
    body = api.body(file_url=None, template_id=template["template_id"])
    response = await api("POST", "/signature_request/send-from-template", json=body)
    assert response.status_code == 201
    (stored,) = api.party.emulator.signature_requests.values()
    detail = ok(await api("GET", f"/templates/{template['template_id']}"))
    assert (stored.template_id, stored.signing_type) == (template["template_id"], detail["signing_type"])


async def test_an_unknown_template_is_404(api):
    response = await api("POST", "/signature_request/send-from-template", json=api.body(template_id="sign_none"))
    assert error(response) == (404, "template_not_found")


async def test_templates_need_the_version_header(api):
    assert error(await api("GET", "/templates")) == (400, "api_version_required")


async def test_the_list_is_paged_and_newest_first(api):
    ids = [await api.send(title=f"Number {number}") for number in range(11)]
    first = ok(await api("GET", "/signature_requests"))
    assert (first["page"], first["limit"], first["total_count"]) == (1, 10, 11)
    second = ok(await api("GET", "/signature_requests?page=2"))
    listed = [item["signature_request_id"] for item in first["data"] + second["data"]]
    assert listed == ids[::-1]


@pytest.mark.parametrize("parameters", ["page=0", "limit=7", "page=x"])
async def test_a_bad_page_is_refused(api, parameters):
    assert error(await api("GET", f"/signature_requests?{parameters}")) == (422, "validation_error")


async def test_nobody_sees_the_requests_of_others(api):
    other = await caller(api.party, sub=list(api.party.emulator.users)[1])
    mine = await api.send()
    assert error(await other("GET", f"/signature_request/{mine}")) == (404, "signature_request_not_found")
    assert error(await other("PUT", f"/signature_request/cancel/{mine}")) == (404, "signature_request_not_found")
    assert ok(await other("GET", "/signature_requests"))["total_count"] == 0


async def test_the_due_date_can_be_moved(api):
    mine = await api.send()
    api.party.clock.now += 5
    later = api.tomorrow + 1000
    changed = ok(await api("PATCH", f"/signature_request/{mine}", json={"expires_at": later}))["signature_request"]
    assert changed["expires_at"] == later
    assert changed["updated_at"] == changed["created_at"] + 5000


async def test_a_cancelled_request_changes_no_more(api):
    mine = await api.send()
    cancelled = ok(await api("PUT", f"/signature_request/cancel/{mine}"))
    assert cancelled == {"signature_request_id": mine, "status": "CANCELLED"}
    for method, path in (
        ("PUT", f"/signature_request/cancel/{mine}"),
        ("PATCH", f"/signature_request/{mine}"),
        ("POST", f"/signature_request/remind/{mine}"),
        ("POST", f"/signature_request/{mine}/signing-link"),
    ):
        assert error(await api(method, path, json={})) == (409, "signature_request_not_changeable")


async def test_reminders_reach_whose_turn_it_is_ten_times_a_day():
    api = await caller(Party(access_token_lifetime=10 * 86_400))
    mine = await api.send(signing_type="ORDER")
    both = {"emails": [signer["email_address"] for signer in SIGNERS]}

    async def outcomes() -> list[str]:
        answer = ok(await api("POST", f"/signature_request/remind/{mine}", json=both))
        return [reminder["email_status"] for reminder in answer["reminders"]]

    for _ in range(10):
        assert await outcomes() == ["SENT", "BOUNCE"]
    assert await outcomes() == ["EXCEED_DAILY_LIMIT", "BOUNCE"]
    api.party.clock.now += 86_400
    assert await outcomes() == ["SENT", "BOUNCE"]


@pytest.mark.parametrize("emails", [[], "first@example.com", ["nobody@example.com"], None])
async def test_reminders_go_to_signers_only(api, emails):
    response = await api("POST", f"/signature_request/remind/{await api.send()}", json={"emails": emails})
    assert error(response) == (422, "validation_error")


async def test_a_signing_link_leads_to_a_signature(api):
    mine = await api.send(signing_type="ORDER")
    for number, signer in enumerate(SIGNERS):
        body = {"signer_email": signer["email_address"]}
        link = ok(await api("POST", f"/signature_request/{mine}/signing-link", json=body))
        assert (link["signer_email"], link["status"]) == (signer["email_address"], "NEED_TO_SIGN")
        assert "<button" in (await api.party.http.get(link["view_url"])).text
        assert "has signed" in (await api.party.http.post(link["view_url"])).text
        status = (await api.read(mine))["status"]
        assert status == ("APPROVED" if number else "WAITING_FOR_OTHERS")


async def test_only_signers_get_a_link(api):
    body = {"signer_email": "nobody@example.com"}
    response = await api("POST", f"/signature_request/{await api.send()}/signing-link", json=body)
    assert error(response) == (422, "validation_error")


async def test_the_file_comes_as_a_link_that_ends_or_as_pdf(api):
    mine = await api.send()
    link = ok(await api("GET", f"/signature_request/{mine}/file"))
    assert link["expires_at"] == int(api.party.clock.now) + 1800
    direct = await api("GET", f"/signature_request/{mine}/file", headers={"Accept": "application/pdf"})
    linked = await api.party.http.get(link["signed_url"])
    assert direct.headers["content-type"] == linked.headers["content-type"] == "application/pdf"
    assert direct.content == linked.content
    api.party.clock.now += 1800
    assert (await api.party.http.get(link["signed_url"])).status_code == 404


async def test_a_pdf_says_where_its_parts_are(api):
    mine = await api.send(title="A (very) \\ odd title")
    document = (await api("GET", f"/signature_request/{mine}/file", headers={"Accept": "application/pdf"})).content
    assert document.startswith(b"%PDF-1.4\n")
    assert b"(A \\(very\\) \\\\ odd title \\(agreement\\)) Tj" in document
    start = int(document.split(b"startxref\n")[1].split()[0])
    table = document[start:].split(b"\n")
    assert table[0] == b"xref"
    for number, line in enumerate(table[3 : 2 + int(table[1].split()[1])], start=1):
        assert document[int(line[:10]) :].startswith(b"%d 0 obj" % number)


@pytest.mark.parametrize("kind", ["coc", "merged"])
async def test_certificates_wait_for_approval(api, kind):
    mine = await api.send()
    path = f"/signature_request/{mine}/file?type={kind}"
    assert error(await api("GET", path)) == (409, "signature_request_not_approved")
    api.party.emulator.signature_requests[mine].approve()
    assert ok(await api("GET", path))["signed_url"]


async def test_a_file_in_no_known_form_is_refused(api):
    path = f"/signature_request/{await api.send()}/file"
    assert error(await api("GET", path, headers={"Accept": "text/csv"})) == (406, "not_acceptable")
    assert error(await api("GET", path + "?type=picture")) == (422, "validation_error")


async def test_a_failed_request_says_why(api):
    mine = await api.send()
    stored = api.party.emulator.signature_requests[mine]
    stored.status, stored.reason = "FAILED", "the file could not be read"
    found = await api.read(mine)
    assert (found["status"], found["reason"]) == ("FAILED", "the file could not be read")


# One token, one workspace


async def test_a_token_opens_the_workspace_that_was_chosen(api):
    own = ok(await api("GET", "/workspaces/info"))
    assert (own["user_role"], own["total_members"]) == ("owner", 1)
    together = await caller(api.party, workspace="ws-together")
    shared = ok(await together("GET", "/workspaces/info"))
    assert (shared["id"], shared["total_members"]) == ("ws-together", 3)
    mine = await api.send()
    assert error(await together("GET", f"/signature_request/{mine}")) == (404, "signature_request_not_found")
    assert ok(await together("GET", "/signature_requests"))["total_count"] == 0


async def test_a_workspace_of_others_cannot_be_chosen(api):
    users = list(api.party.emulator.users)
    other = await caller(api.party, sub=users[0], workspace=f"ws-{users[1]}")
    assert ok(await other("GET", "/workspaces/info"))["id"] == f"ws-{users[0]}"


async def test_members_are_paged(api):
    together = await caller(api.party, workspace="ws-together")
    listed = ok(await together("GET", "/workspaces/members?page=1&limit=10"))
    assert (listed["total_count"], [each["role"] for each in listed["data"]]) == ("3", ["owner", "admin", "member"])
    assert error(await together("GET", "/workspaces/members")) == (422, "validation_error")


# Templates, documents, agreements


async def test_a_template_makes_a_document(api):
    path = "/templates/sign_5f0c1a/generate-document"
    assert error(await api("POST", path)) == (422, "validation_error")
    made = ok(await api("POST", path, json={"tags": {"shoot.place": "Oslo"}, "document_name": "Mine"}))
    assert made["document_name"] == "Mine"
    assert (await api.party.http.get(made["signed_url"])).content.startswith(b"%PDF")
    assert error(await api("GET", "/templates/none")) == (404, "template_not_found")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 201),
        ({"method": "carrier pigeon"}, 422),
        ({"document_name": ""}, 422),
        ({"location": {"type": "moon"}}, 422),
        ({"location": None}, 422),
        ({"document_data": {}}, 422),
    ],
)
async def test_a_document_is_uploaded_by_its_address(api, changes, status):
    data = {"file_url": "https://files.example/a.pdf"}
    body = {"method": "file-upload", "document_name": "A", "location": {"type": "personal"}, "document_data": data}
    answer = await api("POST", "/documents", json=body | changes)
    assert answer.status_code == status
    assert len(api.party.emulator.documents) == (status == 201)


async def test_a_document_is_uploaded_whole(api):
    data = {"method": "file-upload", "document_name": "A", "location": json.dumps({"type": "workspace"})}
    answer = await api("POST", "/documents", data=data, files={"file": ("a.pdf", b"%PDF-1.4", "application/pdf")})
    assert (answer.status_code, answer.json()["size"]) == (201, 8)


async def test_an_agreement_is_made_and_fetched_by_whoever_made_it(api):
    body = {"method": "template", "agreement_data": {"template_id": "ag_93be77"}}
    made = await api("POST", "/agreements", json=body)
    assert made.status_code == 201
    path = f"/agreements/{made.json()['id']}/file"
    pdf = await api("GET", path, headers={"Accept": "application/pdf"})
    assert pdf.content.startswith(b"%PDF")
    other = await caller(api.party, sub=list(api.party.emulator.users)[1])
    assert error(await other("GET", path)) == (404, "agreement_not_found")
    assert error(await api("POST", "/agreements", json={"method": "template"})) == (422, "validation_error")


# Signing sessions


async def session(api, mine, **more):
    body = {"signer_email": SIGNERS[0]["email_address"], **more}
    return await api("POST", f"/signature_request/{mine}/signing-session", json=body)


async def test_a_signing_session_opens_once(api):
    mine = await api.send()
    made = ok(await session(api, mine))
    assert made["expires_at"] == int(api.party.clock.now * 1000) + 900_000
    assert "<button" in (await api.party.http.get(made["sign_url"])).text
    assert (await api.party.http.get(made["sign_url"])).status_code == 404
    assert "has signed" in (await api.party.http.post(made["sign_url"])).text


@pytest.mark.parametrize("expiry", [300_000, 3_600_000])
async def test_a_signing_session_ends(api, expiry):
    made = ok(await session(api, await api.send(), expiry=expiry))
    api.party.clock.now += expiry / 1000
    assert (await api.party.http.get(made["sign_url"])).status_code == 404


@pytest.mark.parametrize("expiry", [299_999, 3_600_001, "900000", True, None])
async def test_a_signing_session_lasts_five_minutes_to_an_hour(api, expiry):
    assert error(await session(api, await api.send(), expiry=expiry)) == (422, "validation_error")


async def test_the_older_downloads_are_there(api):
    mine = await api.send()
    found = ok(await api("GET", f"/signature_request/files_as_file_url/{mine}"))
    assert (await api.party.http.get(found["file_url"])).content.startswith(b"%PDF")
    assert (await api("GET", f"/signature_request/files/{mine}")).content.startswith(b"%PDF")


# Lumin's own description


def test_an_answer_that_is_not_described_is_found():
    if openapi.description() is None:
        pytest.skip(f"Lumin's description of its API is not there: {openapi.FILE}")
    right = httpx2.Response(200, json={"user": {"id": "1", "email": "a@example.com", "name": "A"}})
    openapi.check("GET", "/user/info", right)
    for wrong in (httpx2.Response(200, json={"user": {"id": 1}}), httpx2.Response(204), httpx2.Response(200, text="")):
        with pytest.raises((ValidationError, AssertionError, KeyError)):
            openapi.check("GET", "/user/info", wrong)


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/json"])
@pytest.mark.parametrize("path", ["/signature_request/send", "/workspaces/1/documents", "/agreements"])
async def test_who_goes_in_the_middle_of_a_body_is_no_error(api, path, kind):
    headers = {"authorization": f"Bearer {api.access_token}", "content-type": kind, "content-length": "1000"}
    scope = {"type": "http", "method": "POST", "path": f"/v1{path}", "raw_path": b"", "query_string": b"", "state": {}}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
    messages = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"--x", "more_body": True}]
    sent = []

    async def receive() -> Any:
        return messages.pop() if len(messages) > 1 else messages[0]

    async def send(message: Any) -> None:
        sent.append(message)

    await api.party.emulator.app(scope, receive, send)
    assert sent[0]["status"] in (400, 404, 405)
