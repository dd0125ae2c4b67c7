"""Signature requests and templates: the API's state, and what a request to send one must hold."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import UploadFile

from .templates import TEMPLATES

MOST_REMINDERS = 10  # for each signer and day
FINAL = {"APPROVED", "REJECTED", "FAILED", "CANCELLED"}
FILE_FIELDS = ("file", "files", "file_url", "file_urls")


class Invalid(ValueError):
    """A field is wrong; the message names it."""


@dataclass(frozen=True)
class UploadedFile:
    """What is kept of an upload: not the file, but enough to compare it. `size` is in bytes."""

    name: str
    size: int
    sha256: str

    @classmethod
    async def of(cls, upload: UploadFile) -> UploadedFile:
        """Read an upload piece by piece."""
        digest, size = hashlib.sha256(), 0
        while chunk := await upload.read(1 << 16):
            digest.update(chunk)
            size += len(chunk)
        return cls(upload.filename or "", size, digest.hexdigest())


@dataclass(eq=False)
class Signer:
    """Somebody who is to sign."""

    email_address: str
    name: str
    group: int = 1
    status: str = "NEED_TO_SIGN"

    def to_json(self) -> dict[str, Any]:
        return {
            "email_address": self.email_address,
            "name": self.name,
            "group": self.group,
            "is_approved": self.status == "APPROVED",
            "status": self.status,
        }


@dataclass(eq=False)
class SignatureRequest:
    """A stored request. `owner` is the creator's `sub`; times are epoch milliseconds, as in the API."""

    owner: str
    title: str
    signers: list[Signer]
    created_at: int
    updated_at: int
    expires_at: int
    signing_type: str = "SAME_TIME"
    viewers: list[dict[str, Any]] = field(default_factory=list)
    files: list[UploadedFile | str] = field(default_factory=list)
    template_id: str | None = None
    status: str = "WAITING_FOR_PROCESSING"
    reason: str | None = None
    workspace_id: str = ""
    signature_request_id: str = field(default_factory=lambda: secrets.token_hex(20))
    reminders: Counter[tuple[str, int]] = field(default_factory=Counter, repr=False)  # by signer and day

    def process(self, owner_email: str) -> None:
        """What the real service does a moment after sending: the request is out, and waits for somebody."""
        if self.status == "WAITING_FOR_PROCESSING":
            mine = owner_email in [signer.email_address for signer in self.signers]
            self.status = "NEED_TO_SIGN" if mine else "WAITING_FOR_OTHERS"
            self._next_turn()

    def approve(self, email_address: str | None = None) -> None:
        """Let one signer, or all, have signed."""
        for signer in self.signers:
            if email_address in (None, signer.email_address):
                signer.status = "APPROVED"
        self._next_turn()
        if all(signer.status == "APPROVED" for signer in self.signers):
            self.status = "APPROVED"

    def _next_turn(self) -> None:
        """With signing_type ORDER the groups sign one after the other."""
        open_signers = [signer for signer in self.signers if signer.status != "APPROVED"]
        turn = min((signer.group for signer in open_signers), default=1)
        for signer in open_signers:
            waits = self.signing_type == "ORDER" and signer.group != turn
            signer.status = "WAITING_FOR_OTHERS" if waits else "NEED_TO_SIGN"

    def remind(self, email: str, day: int) -> dict[str, str]:
        """Send a reminder, and say what came of it."""
        signer = self.signer(email)
        if signer is None:
            raise Invalid(f"emails: {email} is not a signer")
        if signer.status != "NEED_TO_SIGN":
            outcome = "BOUNCE"
        elif self.reminders[email, day] >= MOST_REMINDERS:
            outcome = "EXCEED_DAILY_LIMIT"
        else:
            self.reminders[email, day] += 1
            outcome = "SENT"
        return {"email": email, "signer_status": signer.status, "email_status": outcome}

    def signer(self, email: str) -> Signer | None:
        return next((signer for signer in self.signers if signer.email_address == email), None)

    def to_json(self, base: str) -> dict[str, Any]:
        return {
            "signature_request_id": self.signature_request_id,
            "title": self.title,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "expires_at": self.expires_at,
            "details_url": f"{base}/#{self.signature_request_id}",
            "status": self.status,
            "signing_type": self.signing_type,
            "signers": [signer.to_json() for signer in self.signers],
        } | ({"reason": self.reason} if self.reason else {})


def signature_request(data: Mapping[str, Any], files: list[UploadedFile], owner: str, now: int) -> SignatureRequest:
    """A new request from the body of `send`. Raises `Invalid`. `now` is in epoch milliseconds."""
    given = [name for name in FILE_FIELDS if data.get(name)] + (["file"] if files else [])
    if len(given) != 1:
        raise Invalid("exactly one of file, files, file_url and file_urls is needed")
    return _signature_request(data, owner, now, files=files or _urls(given[0], data[given[0]]))


def _urls(name: str, given: Any) -> list[str]:
    urls = given if name == "file_urls" else [given]
    if name in ("file", "files"):
        raise Invalid(f"{name}: must be sent as a file (multipart/form-data)")
    if not isinstance(urls, list) or not all(isinstance(each, str) for each in urls):
        raise Invalid(f"{name}: must be {'a list of URLs' if name == 'file_urls' else 'a URL'}")
    return urls


def signature_request_from_template(data: Mapping[str, Any], owner: str, now: int) -> SignatureRequest:
    """A new request from the body of `send-from-template`. Raises `Invalid`, or `KeyError` for no such template."""
    template_id = str(data.get("template_id", ""))
    template = TEMPLATES[template_id]
    return _signature_request(data, owner, now, template_id=template_id, signing_type=template["signing_type"])


def _signature_request(data: Mapping[str, Any], owner: str, now: int, **rest: Any) -> SignatureRequest:
    title = data.get("title")
    if not isinstance(title, str) or not 1 <= len(title) <= 255:
        raise Invalid("title: must be 1 to 255 characters")
    signing_type = data.get("signing_type", rest.pop("signing_type", "SAME_TIME"))
    if signing_type not in ("SAME_TIME", "ORDER"):
        raise Invalid("signing_type: must be SAME_TIME or ORDER")
    return SignatureRequest(
        owner=owner,
        title=title,
        signers=_signers(data.get("signers")),
        created_at=now,
        updated_at=now,
        expires_at=expires_at(data, now),
        signing_type=signing_type,
        viewers=data.get("viewers") or [],
        **rest,
    )


def _signers(given: Any) -> list[Signer]:
    if not isinstance(given, list) or not given:
        raise Invalid("signers: must be a list that isn't empty")
    try:
        return [Signer(each["email_address"], each["name"], int(each.get("group", 1))) for each in given]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise Invalid("signers: each needs email_address and name") from None


def expires_at(data: Mapping[str, Any], now: int) -> int:
    """The due date of a body, in epoch milliseconds. Raises `Invalid` unless it is in the future."""
    try:
        due = int(data["expires_at"])
    except (KeyError, TypeError, ValueError, OverflowError):  # JSON has numbers that are infinite to Python: 1e400
        raise Invalid("expires_at: must be epoch milliseconds") from None
    if due <= now:
        raise Invalid("expires_at: must be in the future")
    return due
