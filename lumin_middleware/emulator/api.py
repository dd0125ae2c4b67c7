"""The Lumin API: user info, signature requests and templates, over state that is kept in memory.

What Lumin leaves open is decided here: a bad token is 401, a missing scope 403, a wrong field 422; times are
epoch milliseconds. Everybody sees only the requests that they sent. In a multipart body `signers` and
`viewers` are JSON.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .clock import Clock
from .endpoints import bearer_token
from .grants import Grant, Grants
from .pages import error_page, signing_page
from .pdf import pdf
from .registry import User
from .signature_requests import (
    FINAL,
    TEMPLATES,
    Invalid,
    SignatureRequest,
    Signer,
    UploadedFile,
    expires_at,
    signature_request,
    signature_request_from_template,
)

Handler = Callable[[Request, User], Awaitable[Response]]

SIGNED_URL_LIFETIME = 1800.0  # seconds
PAGE_SIZES = {10, 25, 50}

PROFILE = {"openid", "profile.read", "profile.settings"}
READ = {"sign:requests", "sign:requests.read"}
WRITE = {"sign:requests"}


class ApiError(Exception):
    """An error as Lumin's API writes it: a status, `error_code` and `error_message`."""

    def __init__(self, status: int, error_code: str, error_message: str, headers: dict[str, str] | None = None) -> None:
        self.response = JSONResponse({"error_code": error_code, "error_message": error_message}, status, headers)


class Api:
    """Everything below `/v1`, and the two kinds of links that it hands out."""

    def __init__(self, grants: Grants, clock: Clock, base: str) -> None:
        self.grants = grants
        self.clock = clock
        self.base = base
        self.signature_requests: dict[str, SignatureRequest] = {}
        self._signing_links: dict[str, tuple[SignatureRequest, Signer]] = {}
        self._signed_urls: dict[str, tuple[bytes, float]] = {}
        one = "/signature_request/{signature_request_id}"
        table: Sequence[tuple[str, str, Handler, set[str]]] = [
            ("GET", "/user/info", self.user_info, PROFILE),
            ("GET", "/signature_requests", self.list_all, READ),
            ("POST", "/signature_request/send", self.send, WRITE),
            ("POST", "/signature_request/send-from-template", self.send_from_template, WRITE),
            ("PUT", "/signature_request/cancel/{signature_request_id}", self.cancel, WRITE),
            ("POST", "/signature_request/remind/{signature_request_id}", self.remind, WRITE),
            ("POST", f"{one}/signing-link", self.signing_link, WRITE),
            ("GET", f"{one}/file", self.file, READ),
            ("GET", one, self.read, READ),
            ("PATCH", one, self.update, WRITE),
            ("GET", "/templates", self.templates, {"templates"}),
        ]
        self.routes = [
            *(
                Route(f"/v1{path}", self._guard(handler, scopes), methods=[method])
                for method, path, handler, scopes in table
            ),
            Route("/sign/{link}", self.sign, methods=["GET", "POST"]),
            Route("/files/{link}", self.download),
        ]

    def _guard(self, handler: Handler, scopes: set[str]) -> Callable[[Request], Awaitable[Response]]:
        """`handler` for tokens that hold one of `scopes` (RFC 6750, 3.1)."""

        async def guarded(http: Request) -> Response:
            try:
                return await handler(http, self._authenticate(http, scopes).user)
            except ApiError as error:
                return error.response
            except Invalid as error:
                return ApiError(422, "validation_error", str(error)).response

        return guarded

    def _authenticate(self, http: Request, scopes: set[str]) -> Grant:
        value = bearer_token(http)
        if value is None:
            raise ApiError(401, "unauthorized", "There is no access token.", {"WWW-Authenticate": "Bearer"})
        token = self.grants.live_access_token(value)
        if token is None:
            challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            raise ApiError(401, "unauthorized", "The access token is expired, revoked or unknown.", challenge)
        if scopes.isdisjoint(token.grant.scope):
            wanted = " ".join(sorted(scopes))
            challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{wanted}"'}
            raise ApiError(403, "forbidden", f"This needs one of: {wanted}.", challenge)
        return token.grant

    def _now(self) -> int:
        return int(self.clock.shown() * 1000)

    def _mine(self, http: Request, user: User) -> SignatureRequest:
        found = self.signature_requests.get(http.path_params["signature_request_id"])
        if found is None or found.owner != user.sub:
            raise ApiError(404, "signature_request_not_found", "There is no such signature request.")
        found.process(user.email)
        return found

    async def user_info(self, http: Request, user: User) -> Response:
        return JSONResponse({"user": {"id": user.sub, "email": user.email, "name": user.name}})

    async def list_all(self, http: Request, user: User) -> Response:
        mine = [found for found in self.signature_requests.values() if found.owner == user.sub]
        for found in mine:
            found.process(user.email)
        return _page(http, [found.to_json(self.base) for found in reversed(mine)])

    async def send(self, http: Request, user: User) -> Response:
        data, files = await _body(http)
        return self._sent(signature_request(data, files, user.sub, self._now()))

    async def send_from_template(self, http: Request, user: User) -> Response:
        data, _ = await _body(http)
        try:
            return self._sent(signature_request_from_template(data, user.sub, self._now()))
        except KeyError:
            raise ApiError(404, "template_not_found", "There is no such template.") from None

    def _sent(self, new: SignatureRequest) -> Response:
        self.signature_requests[new.signature_request_id] = new
        answer = {name: getattr(new, name) for name in ("signature_request_id", "created_at", "status")}
        return JSONResponse({"signature_request": answer}, 201)

    async def read(self, http: Request, user: User) -> Response:
        return JSONResponse({"signature_request": self._mine(http, user).to_json(self.base)})

    async def update(self, http: Request, user: User) -> Response:
        found = self._changeable(http, user)
        found.expires_at = expires_at((await _body(http))[0], self._now())
        found.updated_at = self._now()
        return JSONResponse({"signature_request": found.to_json(self.base)})

    async def cancel(self, http: Request, user: User) -> Response:
        found = self._changeable(http, user)
        found.status, found.updated_at = "CANCELLED", self._now()
        return JSONResponse({"signature_request_id": found.signature_request_id, "status": found.status})

    def _changeable(self, http: Request, user: User) -> SignatureRequest:
        found = self._mine(http, user)
        if found.status in FINAL:
            raise ApiError(409, "signature_request_not_changeable", f"The request is {found.status}.")
        return found

    async def remind(self, http: Request, user: User) -> Response:
        found = self._changeable(http, user)
        emails = (await _body(http))[0].get("emails")
        if not isinstance(emails, list) or not emails:
            raise Invalid("emails: must be a list that isn't empty")
        day = int(self.clock() // 86400)
        reminders = [found.remind(str(email), day) for email in emails]
        return JSONResponse({"signature_request": found.to_json(self.base), "reminders": reminders})

    async def signing_link(self, http: Request, user: User) -> Response:
        found = self._changeable(http, user)
        signer = found.signer(str((await _body(http))[0].get("signer_email")))
        if signer is None:
            raise Invalid("signer_email: not a signer of this request")
        link = secrets.token_urlsafe(24)
        self._signing_links[link] = found, signer
        return JSONResponse(
            {"view_url": f"{self.base}/sign/{link}", "signer_email": signer.email_address, "status": signer.status}
        )

    async def sign(self, http: Request) -> Response:
        """The page behind a signing link."""
        found, signer = self._signing_links.get(http.path_params["link"], (None, None))
        if found is None or signer is None or found.status in FINAL - {"APPROVED"}:
            return error_page("not_found", "There is nothing to sign here.", 404)
        if http.method == "POST":
            found.approve(signer.email_address)
        return signing_page(found.title, signer.name, signed=signer.status == "APPROVED")

    async def file(self, http: Request, user: User) -> Response:
        found = self._mine(http, user)
        kind = http.query_params.get("type", "agreement")
        if kind not in ("agreement", "coc", "merged"):
            raise Invalid("type: must be agreement, coc or merged")
        if kind != "agreement" and found.status != "APPROVED":
            raise ApiError(409, "signature_request_not_approved", "The request is not approved yet.")
        document = pdf(f"{found.title} ({kind})")
        accept = http.headers.get("accept", "*/*")
        if "application/pdf" in accept:
            return Response(document, media_type="application/pdf")
        if "*/*" not in accept and "application/json" not in accept:
            raise ApiError(406, "not_acceptable", "Accept must be application/json or application/pdf.")
        link, ends = secrets.token_urlsafe(24), self.clock() + SIGNED_URL_LIFETIME
        self._signed_urls[link] = document, ends
        return JSONResponse({"signed_url": f"{self.base}/files/{link}", "expires_at": int(ends)})

    async def download(self, http: Request) -> Response:
        """The file behind a signed URL, while it lasts."""
        document, ends = self._signed_urls.get(http.path_params["link"], (b"", 0.0))
        if self.clock() >= ends:
            return error_page("not_found", "This link is unknown or too old.", 404)
        return Response(document, media_type="application/pdf")

    async def templates(self, http: Request, user: User) -> Response:
        if "x-lumin-api-version" not in http.headers:
            raise ApiError(400, "api_version_required", "The header X-Lumin-API-Version is missing.")
        return _page(http, list(TEMPLATES.values()))


def _page(http: Request, items: Sequence[dict[str, Any]]) -> Response:
    """One page of a list, chosen by `page` and `limit`."""
    try:
        page, limit = int(http.query_params.get("page", 1)), int(http.query_params.get("limit", 10))
    except ValueError:
        raise Invalid("page, limit: must be numbers") from None
    if page < 1 or limit not in PAGE_SIZES:
        raise Invalid("page must be at least 1, and limit one of 10, 25, 50")
    start = (page - 1) * limit
    return JSONResponse({"page": page, "limit": limit, "total_count": len(items), "data": items[start : start + limit]})


async def _body(http: Request) -> tuple[dict[str, Any], list[UploadedFile]]:
    """The fields of a JSON or multipart body, and its files (which Starlette spools to disk)."""
    try:
        if not http.headers.get("content-type", "").startswith("multipart/form-data"):
            data = await http.json()
            if not isinstance(data, dict):
                raise Invalid("the body must be an object")
            return data, []
        async with http.form() as form:
            uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
            files = [await UploadedFile.of(upload) for upload in uploads]
            fields: dict[str, Any] = {name: value for name, value in form.items() if isinstance(value, str)}
        for name in ("signers", "viewers", "file_urls"):
            if name in fields:
                fields[name] = json.loads(fields[name])
        return fields, files
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ApiError(400, "invalid_body", "The body is not what its Content-Type says.") from None
