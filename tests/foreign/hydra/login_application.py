"""Hydra's login and consent application: three pages, an error page, and an API for its access tokens.

It decides nothing: a person does, by the forms. Below `/v1` it answers whatever Hydra's `/userinfo` says to the
access token, so that each call of the API is a proof that the token lives.
"""

from __future__ import annotations

from html import escape
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from .serving import Served, new_client

REMEMBER_FOR = 3600  # seconds


def claims(subject: str) -> dict[str, Any]:
    """What an ID token says about a person."""
    return {"email": f"{subject}@example.com", "email_verified": True, "name": subject.title()}


class LoginApplication(Served):
    """Serves Hydra whose admin API is at `admin` and whose public one at `public`; both are set before it is used."""

    admin = public = ""

    def __init__(self) -> None:
        self._http = new_client()
        self.padding: dict[str, int] = {}
        """Characters that a client's access tokens get beside what is in them, where they are JWTs."""
        steps = [
            Route(f"/{step}", handler, methods=[method])
            for step, show, decide in (
                ("login", self.show_login, self.login),
                ("consent", self.show_consent, self.consent),
                ("logout", self.show_logout, self.logout),
            )
            for method, handler in (("GET", show), ("POST", decide))
        ]
        api = Route("/v1/{path:path}", self.api, methods=["GET", "POST"])
        super().__init__(Starlette(routes=[*steps, Route("/error", self.error), Route("/bye", self.bye), api]))

    def close(self) -> None:
        super().close()
        self._http.close()

    # What Hydra is told (its admin API)

    def _asked(self, step: str, challenge: str) -> dict[str, Any]:
        url = f"{self.admin}/admin/oauth2/auth/requests/{step}"
        answer = self._http.get(url, params={f"{step}_challenge": challenge})
        return answer.json() if answer.status_code == 200 else {"gone": answer.status_code}

    def _tell(self, step: str, challenge: str, verb: str, body: dict[str, Any]) -> Response:
        url = f"{self.admin}/admin/oauth2/auth/requests/{step}/{verb}"
        answer = self._http.put(url, params={f"{step}_challenge": challenge}, json=body)
        if answer.status_code != 200:
            return _page("This step was taken already", escape(answer.text), status=410)
        return RedirectResponse(answer.json()["redirect_to"], 303) if verb == "accept" or step != "logout" else _bye()

    def _reject(self, step: str, form: Any) -> Response:
        error = {"error": form.get("error", "access_denied"), "error_description": "The person said no."}
        return self._tell(step, form["challenge"], "reject", error if error["error"] else {})

    # The steps

    def show_login(self, http: Request) -> Response:
        challenge = http.query_params["login_challenge"]
        asked = self._asked("login", challenge)
        if "gone" in asked:
            return _page("This sign-in is over", "", status=410)
        if asked["skip"]:
            return self._tell("login", challenge, "accept", {"subject": asked["subject"]})
        hint = (asked.get("oidc_context") or {}).get("login_hint", "")
        who = f'<p><label>Who are you? <input name="sub" value="{escape(hint or "ada")}"></label></p>'
        return _form("login", challenge, who)

    async def login(self, http: Request) -> Response:
        form = await http.form()
        if "allow" not in form:
            return self._reject("login", form)
        remember = {"remember": "remember" in form, "remember_for": REMEMBER_FOR}
        return self._tell("login", str(form["challenge"]), "accept", {"subject": form["sub"], **remember})

    def show_consent(self, http: Request) -> Response:
        challenge = http.query_params["consent_challenge"]
        asked = self._asked("consent", challenge)
        if "gone" in asked:
            return _page("This sign-in is over", "", status=410)
        if asked["skip"]:
            return self._grant(challenge, asked, asked["requested_scope"], remember=False)
        boxes = (
            f'<input type="checkbox" name="scope" value="{escape(s)}" checked> {escape(s)}<br>'
            for s in asked["requested_scope"]
        )
        return _form("consent", challenge, "".join(boxes))

    async def consent(self, http: Request) -> Response:
        form = await http.form()
        if "allow" not in form:
            return self._reject("consent", form)
        challenge = str(form["challenge"])
        scope = [str(each) for each in form.getlist("scope")]
        return self._grant(challenge, self._asked("consent", challenge), scope, remember="remember" in form)

    def _grant(self, challenge: str, asked: dict[str, Any], scope: list[str], *, remember: bool) -> Response:
        padding = self.padding.get((asked.get("client") or {}).get("client_id", ""), 0)
        decision = {
            "grant_scope": scope,
            "grant_access_token_audience": asked.get("requested_access_token_audience"),
            "session": {
                "id_token": claims(asked.get("subject", "")),
                "access_token": {"padding": "x" * padding} if padding else {},
            },
            "remember": remember,
            "remember_for": REMEMBER_FOR,
        }
        return self._tell("consent", challenge, "accept", decision)

    def show_logout(self, http: Request) -> Response:
        return _form("logout", http.query_params["logout_challenge"], "", remember=False)

    async def logout(self, http: Request) -> Response:
        form = await http.form()
        return self._tell("logout", str(form["challenge"]), "accept" if "allow" in form else "reject", {})

    # What else is asked

    def error(self, http: Request) -> Response:
        said = {name: http.query_params.get(name, "") for name in ("error", "error_description")}
        return _page(said["error"], escape(said["error_description"]), status=400)

    def bye(self, http: Request) -> Response:
        return _bye()

    def api(self, http: Request) -> Response:
        """The API: it takes exactly the tokens that Hydra's userinfo takes."""
        headers = {name: http.headers[name] for name in ("authorization",) if name in http.headers}
        try:
            answer = self._http.get(f"{self.public}/userinfo", headers=headers)
        except httpx2.HTTPError:
            return JSONResponse({"error_code": "unavailable", "error_message": "Hydra is away."}, 503)
        if answer.status_code != 200:
            body = {"error_code": "unauthorized", "error_message": answer.text}
            return JSONResponse(body, answer.status_code)
        said = answer.json()
        user = {"id": said["sub"], "email": said.get("email", ""), "name": said.get("name", "")}
        return JSONResponse({"user": user, "claims": said})


def _page(title: str, body: str, *, status: int = 200) -> HTMLResponse:
    html = f'<!doctype html><html lang="en"><title>{escape(title)}</title><h1>{escape(title)}</h1>{body}</html>'
    return HTMLResponse(html, status)


def _bye() -> HTMLResponse:
    return _page("You are signed out", "")


def _form(step: str, challenge: str, fields: str, *, remember: bool = True) -> HTMLResponse:
    box = '<p><input type="checkbox" name="remember" value="yes"> Remember this</p>' if remember else ""
    buttons = '<button name="allow" value="yes">Go on</button> <button name="deny" value="yes">No</button>'
    hidden = f'<input type="hidden" name="challenge" value="{escape(challenge)}">'
    return _page(step.title(), f'<form method="post" action="/{step}">{hidden}{fields}{box}{buttons}</form>')
