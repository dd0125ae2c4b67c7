"""Ending a sign-in: RP-initiated logout with its page, and the back-channel (OpenID Connect)."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .authorization_request import Parameters, callback
from .grants import Grants
from .http import parameters, see_other
from .pages import error_page, sign_out_page, signed_out_page, still_signed_in_page
from .refusals import Refusal, refusal
from .registry import Client
from .sign_ins import SESSION_COOKIE, SignIn, SignIns
from .tokens import TokenSigner

BACKCHANNEL_TIMEOUT = 30.0  # seconds

logger = logging.getLogger("lumin_middleware.emulator")


@dataclass(frozen=True)
class LogoutRequest:
    """A checked request: whose sign-in ends, if there still is one, and where the browser goes then."""

    sign_in: SignIn | None
    location: str | None


class LogoutEndpoint:
    """`/oauth2/sessions/logout` and the page behind it. OAuth tokens outlive it, as they do at Hydra."""

    def __init__(
        self,
        clients: Mapping[str, Client],
        grants: Grants,
        signer: TokenSigner,
        sign_ins: SignIns,
        transport: httpx2.AsyncBaseTransport | None,
    ) -> None:
        self.clients = clients
        self.grants = grants
        self.signer = signer
        self.sign_ins = sign_ins
        self.transport = transport
        self._pending: dict[str, LogoutRequest] = {}
        self.routes = [
            Route("/oauth2/sessions/logout", self.logout, methods=["GET", "POST"]),
            Route("/logout", self.show),
            Route("/logout", self.confirm, methods=["POST"]),
        ]

    def check(self, given: Parameters, sign_in: SignIn | None) -> LogoutRequest:
        """Check a request of a browser with this sign-in (RP-Initiated Logout, 2). Raises `Refusal`."""
        data = dict(given)
        hint, uri = data.get("id_token_hint"), data.get("post_logout_redirect_uri")
        if not hint:
            for name in ("post_logout_redirect_uri", "state"):
                if data.get(name):
                    raise refusal("invalid_request", f"Query parameter {name} is set but id_token_hint is missing.")
            return LogoutRequest(sign_in, None)
        claims = self.signer.read(hint)
        if claims is None or claims["iat"] > self.signer.clock.shown():
            raise refusal("invalid_request", "The id_token_hint is not an ID Token of this server.")
        client = self.clients.get(claims["aud"][0])
        if uri and (client is None or uri not in client.post_logout_redirect_uris):
            raise refusal("invalid_request", "The post_logout_redirect_uri is not registered for this client.")
        location = callback(uri, {"state": data["state"]}) if uri and data.get("state") else uri
        return LogoutRequest(self.sign_ins.by_sid(claims["sid"]), location)

    async def end(self, sign_in: SignIn) -> None:
        """End a sign-in, and tell every client that has a part in it (Back-Channel Logout, 2.5)."""
        self.sign_ins.end(sign_in)
        client_ids = {grant.client_id for grant in self.grants if grant.sid == sign_in.sid}
        for client in map(self.clients.__getitem__, sorted(client_ids)):
            if client.backchannel_logout_uri:
                await self._tell(client, client.backchannel_logout_uri, sign_in.sid)

    async def _tell(self, client: Client, uri: str, sid: str) -> None:
        form = {"logout_token": self.signer.logout_token(client, sid)}
        try:
            async with httpx2.AsyncClient(
                transport=self.transport, timeout=BACKCHANNEL_TIMEOUT, trust_env=False
            ) as http:
                (await http.post(uri, data=form)).raise_for_status()
        except httpx2.HTTPError as error:
            logger.warning("back-channel logout of %s failed: %s", client.client_id, error)

    async def logout(self, http: Request) -> Response:
        try:
            request = self.check(await parameters(http), self.sign_ins.of(http))
        except Refusal as error:
            return error_page(error.error, error.description)
        if request.sign_in is None:
            return _leave(request)
        challenge = secrets.token_urlsafe(24)
        self._pending[challenge] = request
        return see_other(f"/logout?challenge={challenge}", 302)

    async def show(self, http: Request) -> Response:
        challenge = http.query_params.get("challenge", "")
        request = self._pending.get(challenge)
        if request is None or request.sign_in is None:
            return error_page("request_not_found", "There is nothing to sign out of.")
        return sign_out_page(request.sign_in.user, challenge, request.location)

    async def confirm(self, http: Request) -> Response:
        form = dict(await parameters(http))
        request = self._pending.pop(form.get("challenge", ""), None)
        if request is None or request.sign_in is None:
            return error_page("request_not_found", "There is nothing to sign out of.")
        if "deny" in form:
            return still_signed_in_page()
        await self.end(request.sign_in)
        response = _leave(request)
        response.delete_cookie(SESSION_COOKIE)
        return response


def _leave(request: LogoutRequest) -> Response:
    return see_other(request.location, 302) if request.location else signed_out_page()
