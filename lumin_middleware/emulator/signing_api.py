"""The API of signature requests, and the pages behind the links that it hands out.

Times are epoch milliseconds. In a multipart body `signers` and `viewers` are JSON.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .api_http import ApiError, SignedUrls, body, page
from .clock import Clock
from .grants import Grant
from .pages import error_page, signing_page
from .pdf import pdf
from .registry import Client
from .signature_requests import (
    FINAL,
    Invalid,
    SignatureRequest,
    Signer,
    UploadedFile,
    expires_at,
    signature_request,
    signature_request_from_template,
)

READ = {"sign:requests", "sign:requests.read"}
WRITE = {"sign:requests"}
MIN_EXPIRY, DEFAULT_EXPIRY, MAX_EXPIRY = 300_000, 900_000, 3_600_000
"""Milliseconds that a signing session's link lasts: five minutes, a quarter of an hour, an hour."""


@dataclass(eq=False)
class Link:
    """Where a signer signs. `ends` is in epoch seconds; None for a link that lasts."""

    request: SignatureRequest
    signer: Signer
    back: str
    """Where the application is that asked for it; empty where it is in no browser."""
    ends: float | None = None
    opened: bool = False


class SigningApi:
    """`/signature_requests`, `/signature_request/…`, and the pages of signers."""

    def __init__(self, clock: Clock, base: str, files: SignedUrls, clients: Mapping[str, Client]) -> None:
        self._clients = clients
        self.clock = clock
        self.base = base
        self.signature_requests: dict[str, SignatureRequest] = {}
        self._files = files
        self._links: dict[str, Link] = {}
        root = "/signature_request"
        one = f"{root}/{{signature_request_id}}"
        self.table = [
            ("GET", "/signature_requests", self.list_all, READ),
            ("POST", f"{root}/send", self.send, WRITE),
            ("POST", f"{root}/send-from-template", self.send_from_template, WRITE),
            ("PUT", f"{root}/cancel/{{signature_request_id}}", self.cancel, WRITE),
            ("POST", f"{root}/remind/{{signature_request_id}}", self.remind, WRITE),
            ("GET", f"{root}/files_as_file_url/{{signature_request_id}}", self.file_url, READ),
            ("GET", f"{root}/files/{{signature_request_id}}", self.file_itself, READ),
            ("POST", f"{one}/signing-link", self.signing_link, WRITE),
            ("POST", f"{one}/signing-session", self.signing_session, WRITE),
            ("GET", f"{one}/file", self.file, READ),
            ("GET", one, self.read, READ),
            ("PATCH", one, self.update, WRITE),
        ]
        self.routes = [
            Route("/sign/{link}", self.sign, methods=["GET", "POST"]),
            Route("/embed", self.embed, methods=["GET", "POST"]),
        ]

    def _now(self) -> int:
        return int(self.clock.shown() * 1000)

    def _mine(self, http: Request, grant: Grant) -> SignatureRequest:
        found = self.signature_requests.get(http.path_params["signature_request_id"])
        if found is None or not _is_of(found, grant):
            raise ApiError(404, "signature_request_not_found", "There is no such signature request.")
        found.process(grant.user.email)
        return found

    async def list_all(self, http: Request, grant: Grant) -> Response:
        mine = [found for found in self.signature_requests.values() if _is_of(found, grant)]
        for found in mine:
            found.process(grant.user.email)
        return JSONResponse(page(http, [found.to_json(self.base) for found in reversed(mine)]))

    async def send(self, http: Request, grant: Grant) -> Response:
        data, files = await _fields(http)
        return self._sent(signature_request(data, files, grant.user.sub, self._now()), grant)

    async def send_from_template(self, http: Request, grant: Grant) -> Response:
        data, _ = await _fields(http)
        try:
            return self._sent(signature_request_from_template(data, grant.user.sub, self._now()), grant)
        except KeyError:
            raise ApiError(404, "template_not_found", "There is no such template.") from None

    def _sent(self, new: SignatureRequest, grant: Grant) -> Response:
        new.workspace_id = grant.workspace_id
        self.signature_requests[new.signature_request_id] = new
        answer = {name: getattr(new, name) for name in ("signature_request_id", "created_at", "status")}
        return JSONResponse({"signature_request": answer}, 201)

    async def read(self, http: Request, grant: Grant) -> Response:
        return JSONResponse({"signature_request": self._mine(http, grant).to_json(self.base)})

    async def update(self, http: Request, grant: Grant) -> Response:
        found = self._changeable(http, grant)
        found.expires_at = expires_at((await _fields(http))[0], self._now())
        found.updated_at = self._now()
        return JSONResponse({"signature_request": found.to_json(self.base)})

    async def cancel(self, http: Request, grant: Grant) -> Response:
        found = self._changeable(http, grant)
        found.status, found.updated_at = "CANCELLED", self._now()
        return JSONResponse({"signature_request_id": found.signature_request_id, "status": found.status})

    def _changeable(self, http: Request, grant: Grant) -> SignatureRequest:
        found = self._mine(http, grant)
        if found.status in FINAL:
            raise ApiError(409, "signature_request_not_changeable", f"The request is {found.status}.")
        return found

    async def remind(self, http: Request, grant: Grant) -> Response:
        found = self._changeable(http, grant)
        emails = (await _fields(http))[0].get("emails")
        if not isinstance(emails, list) or not emails:
            raise Invalid("emails: must be a list that isn't empty")
        day = int(self.clock() // 86400)
        reminders = [found.remind(str(email), day) for email in emails]
        return JSONResponse({"signature_request": found.to_json(self.base), "reminders": reminders})

    async def signing_link(self, http: Request, grant: Grant) -> Response:
        found, signer, _ = await self._signer(http, grant)
        link = secrets.token_urlsafe(24)
        self._links[link] = Link(found, signer, self._back(grant))
        return JSONResponse(
            {"view_url": f"{self.base}/sign/{link}", "signer_email": signer.email_address, "status": signer.status}
        )

    async def signing_session(self, http: Request, grant: Grant) -> Response:
        """A link for one signer to be embedded: it opens once, and ends after `expiry` milliseconds."""
        found, signer, data = await self._signer(http, grant)
        expiry = data.get("expiry", DEFAULT_EXPIRY)
        if not isinstance(expiry, int) or isinstance(expiry, bool) or not MIN_EXPIRY <= expiry <= MAX_EXPIRY:
            raise Invalid(f"expiry: must be {MIN_EXPIRY} to {MAX_EXPIRY} milliseconds")
        session = secrets.token_urlsafe(24)
        ends = self._now() + expiry
        self._links[session] = Link(found, signer, self._back(grant), ends / 1000)
        return JSONResponse(
            {
                "sign_url": f"{self.base}/embed?session={session}",
                "signer_email": signer.email_address,
                "expires_at": ends,
                "status": signer.status,
            }
        )

    async def _signer(self, http: Request, grant: Grant) -> tuple[SignatureRequest, Signer, dict[str, Any]]:
        """The request and the signer of it that a body names, and that body."""
        found = self._changeable(http, grant)
        data = (await _fields(http))[0]
        signer = found.signer(str(data.get("signer_email")))
        if signer is None:
            raise Invalid("signer_email: not a signer of this request")
        return found, signer, data

    def _back(self, grant: Grant) -> str:
        """The top of the site whose application this is."""
        for uri in self._clients[grant.client_id].redirect_uris:
            if (parts := urlsplit(uri)).scheme in ("http", "https"):
                return f"{parts.scheme}://{parts.netloc}/"
        return ""

    async def sign(self, http: Request) -> Response:
        """The page behind a signing link."""
        return self._page(http, self._links.get(http.path_params["link"]))

    async def embed(self, http: Request) -> Response:
        """The page behind a signing session's link: it opens once, while it lasts."""
        link = self._links.get(http.query_params.get("session", ""))
        if link is not None and http.method == "GET":
            if link.opened or link.ends is None or self.clock() >= link.ends:
                link = None
            else:
                link.opened = True
        return self._page(http, link)

    def _page(self, http: Request, link: Link | None) -> Response:
        if link is None or link.request.status in FINAL - {"APPROVED"}:
            return error_page("not_found", "There is nothing to sign here.", 404)
        if http.method == "POST":
            link.request.approve(link.signer.email_address)
        return signing_page(
            link.request.title, link.signer.name, signed=link.signer.status == "APPROVED", back=link.back
        )

    async def file(self, http: Request, grant: Grant) -> Response:
        found = self._mine(http, grant)
        kind = http.query_params.get("type", "agreement")
        if kind not in ("agreement", "coc", "merged"):
            raise Invalid("type: must be agreement, coc or merged")
        if kind != "agreement" and found.status != "APPROVED":
            raise ApiError(409, "signature_request_not_approved", "The request is not approved yet.")
        document = pdf(f"{found.title} ({kind})")
        return self._files.answer(http, document)

    async def file_url(self, http: Request, grant: Grant) -> Response:
        """The older way to a file's link."""
        found = self._mine(http, grant)
        issued = self._files.issue(pdf(found.title))
        return JSONResponse({"file_url": issued["signed_url"], "expires_at": issued["expires_at"]})

    async def file_itself(self, http: Request, grant: Grant) -> Response:
        """The older way to a file."""
        return Response(pdf(self._mine(http, grant).title), media_type="application/pdf")


def _is_of(found: SignatureRequest, grant: Grant) -> bool:
    return (found.owner, found.workspace_id) == (grant.user.sub, grant.workspace_id)


async def _fields(http: Request) -> tuple[dict[str, Any], list[UploadedFile]]:
    return await body(http, structured=("signers", "viewers", "file_urls"))
