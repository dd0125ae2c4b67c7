"""How Lumin's API speaks: errors, bodies, pages of lists, and links to files that end."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .clock import Clock
from .signature_requests import Invalid, UploadedFile

SIGNED_URL_LIFETIME = 1800.0  # seconds
PAGE_SIZES = {10, 25, 50}


class ApiError(Exception):
    """An error as Lumin's API writes it: a status, `error_code` and `error_message`."""

    def __init__(self, status: int, error_code: str, error_message: str, headers: dict[str, str] | None = None) -> None:
        self.response = JSONResponse({"error_code": error_code, "error_message": error_message}, status, headers)


class SignedUrls:
    """Links to documents that whoever has them may open, for half an hour."""

    def __init__(self, clock: Clock, base: str) -> None:
        self._clock = clock
        self._base = base
        self._documents: dict[str, tuple[bytes, float]] = {}

    def issue(self, document: bytes) -> dict[str, Any]:
        """A new link, and when it ends, in epoch seconds."""
        link, ends = secrets.token_urlsafe(24), self._clock() + SIGNED_URL_LIFETIME
        self._documents[link] = document, ends
        return {"signed_url": f"{self._base}/files/{link}", "expires_at": int(ends)}

    def find(self, link: str) -> bytes | None:
        """The document behind a link that has not ended."""
        document, ends = self._documents.get(link, (b"", 0.0))
        return document if self._clock() < ends else None

    def answer(self, http: Request, document: bytes, **more: Any) -> Response:
        """A document as the client wants it: a link as JSON, with these members besides, or the PDF itself."""
        accept = http.headers.get("accept", "*/*")
        if "application/pdf" in accept:
            return Response(document, media_type="application/pdf")
        if "*/*" not in accept and "application/json" not in accept:
            raise ApiError(406, "not_acceptable", "Accept must be application/json or application/pdf.")
        return JSONResponse({**more, **self.issue(document)})


def page(http: Request, items: Sequence[dict[str, Any]], *, required: bool = False) -> dict[str, Any]:
    """One page of a list, chosen by `page` and `limit`, which have defaults unless they are `required`."""
    missing = [name for name in ("page", "limit") if required and name not in http.query_params]
    if missing:
        raise Invalid(f"{missing[0]}: is required")
    try:
        number, limit = int(http.query_params.get("page", 1)), int(http.query_params.get("limit", 10))
    except ValueError:
        raise Invalid("page, limit: must be numbers") from None
    if number < 1 or limit not in PAGE_SIZES:
        raise Invalid("page must be at least 1, and limit one of 10, 25, 50")
    start = (number - 1) * limit
    return {"page": number, "limit": limit, "total_count": len(items), "data": items[start : start + limit]}


async def body(http: Request, *, structured: Sequence[str] = ()) -> tuple[dict[str, Any], list[UploadedFile]]:
    """The fields of a JSON or multipart body, and its files (which Starlette spools to disk).

    In a multipart body the fields that are `structured` are JSON themselves.
    """
    try:
        data, files = await _read(http, structured)
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode()  # what could not be said in an answer
    except (ValueError, RecursionError):
        raise ApiError(400, "invalid_body", "The body is not what its Content-Type says.") from None
    if not isinstance(data, dict):
        raise Invalid("the body must be an object")
    return data, files


async def _read(http: Request, structured: Sequence[str]) -> tuple[Any, list[UploadedFile]]:
    if not http.headers.get("content-type", "").startswith("multipart/form-data"):
        return await http.json(), []
    async with http.form() as form:
        uploads = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        files = [await UploadedFile.of(upload) for upload in uploads]
        fields: dict[str, Any] = {name: value for name, value in form.items() if isinstance(value, str)}
    return fields | {name: json.loads(fields[name]) for name in structured if name in fields}, files
