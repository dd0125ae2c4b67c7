"""A running Hydra, with its login application beside it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx2

from lumin_middleware import emulator

from .login_application import LoginApplication
from .person import Person
from .program import HERE, build
from .serving import free_ports, new_client

PATIENCE = 60  # seconds until it answers, on a busy machine
KEYS = Path(emulator.__file__).with_name("keys.json")
SCOPE = "openid offline offline_access sign:requests templates workspaces.read"


def merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others laid over them, member by member."""
    result = dict(base)
    for name, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(name), dict)
        result[name] = merged(result[name], value) if both else value
    return result


class Hydra:
    """One Hydra on free ports. `base` is its public address and its issuer, `admin` the administrator's.

    `dsn` is "memory", "sqlite" for a file of its own, or a database; what is kept is migrated first. `settings` are
    laid over settings.json.
    `start`, `stop`, `kill`, `pause` and `resume` may follow each other: addresses stay the same.
    """

    reuse_events = 0  # the sites of tests/edges ask for it; Hydra does not count

    def __init__(self, dsn: str = "memory", **settings: Any) -> None:
        self._program = build()
        self._directory = tempfile.TemporaryDirectory(prefix="hydra-")
        self._dsn = f"sqlite://{self._directory.name}/db.sqlite?_fk=true" if dsn == "sqlite" else dsn
        self._process: subprocess.Popen[bytes] | None = None
        self._keys_given = 0
        self.application = LoginApplication()
        self.base, self.admin = (f"http://127.0.0.1:{port}" for port in free_ports(2))
        self.application.public, self.application.admin = self.base, self.admin
        self.api_url = f"{self.application.base}/v1"
        self.settings = merged(merged(json.loads((HERE / "settings.json").read_text()), self._addresses()), settings)
        self._file = Path(self._directory.name) / "settings.json"
        self.log = Path(self._directory.name) / "log"
        self.http = new_client()

    def _addresses(self) -> dict[str, Any]:
        here = {"host": "127.0.0.1", "request_log": {"disable_for_health": True}}
        pages = {name: f"{self.application.base}/{name}" for name in ("login", "consent", "logout", "error")}
        return {
            "dsn": self._dsn,
            "serve": {
                "public": here | {"port": int(self.base.rpartition(":")[2])},
                "admin": here | {"port": int(self.admin.rpartition(":")[2])},
            },
            "urls": {
                "self": {"issuer": self.base, "public": self.base},
                "post_logout_redirect": f"{self.application.base}/bye",
                **pages,
            },
        }

    def __enter__(self) -> Self:
        try:
            self._migrate()
            self.start()
            self._give_keys()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stop()
        self.http.close()
        self.application.close()
        self._directory.cleanup()

    # The process

    def _migrate(self) -> None:
        if self._dsn != "memory":
            command = [self._program, "migrate", "sql", "up", "-e", "--yes"]
            environment = os.environ | {"DSN": self._dsn}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"hydra migrate: {done.stderr[-2000:]}")

    def start(self, *, wait: bool = True) -> None:
        """Start it, and return when it answers (or, without `wait`, at once)."""
        self._file.write_text(json.dumps(self.settings))
        command = [self._program, "serve", "all", "--dev", "--sqa-opt-out", "-c", self._file]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Return when it is ready. Raises `RuntimeError` with what it wrote when it is not."""
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while not self.is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Hydra does not start: {self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """Whether both of its ports answer: it opens them one after the other, in whichever order."""
        with suppress(httpx2.HTTPError):
            return all(self.http.get(f"{at}/health/ready", timeout=5).is_success for at in (self.base, self.admin))
        return False

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As `kill -9`."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def pause(self) -> None:
        """It hangs: connections are taken, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    # The administrator

    def ask_admin(self, method: str, path: str, **more: Any) -> Any:
        answer = self.http.request(method, f"{self.admin}/admin{path}", **more)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def register(self, redirect_uris: list[str], *, lifetime: str | None = None, **metadata: Any) -> dict[str, Any]:
        """A new client, with RFC 7591's names. `lifetime` is that of its access tokens, such as "10s"."""
        client = {
            "client_name": "A test",
            "client_secret": secrets.token_urlsafe(24),
            "redirect_uris": redirect_uris,
            "scope": SCOPE,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_post",
            **metadata,
        }
        if client["token_endpoint_auth_method"] == "none":
            del client["client_secret"]
        made: dict[str, Any] = self.ask_admin("POST", "/clients", json=client)
        if lifetime is not None:
            names = ("authorization_code_grant_access_token_lifespan", "refresh_token_grant_access_token_lifespan")
            path = f"/clients/{made['client_id']}/lifespans"
            self.ask_admin("PUT", path, json=dict.fromkeys(names, lifetime))
        return {"client_secret": client.get("client_secret", ""), **made}

    def change(self, client_id: str, *changes: dict[str, Any]) -> None:
        """Change a client by JSON Patch (RFC 6902) operations."""
        self.ask_admin("PATCH", f"/clients/{client_id}", json=list(changes))

    def new_key(
        self, kid: str, *, key_set: str = "hydra.openid.id-token", algorithm: str = "RS256", key: Any = None
    ) -> None:
        """Another key in the set that signs ID tokens (or in another set): it signs from now on.

        Unless a `key` is given it is one of the emulator's RSA keys: Hydra takes up to a minute to make one, and hangs
        up meanwhile.
        """
        ready = json.loads(KEYS.read_text())["keys"]
        key = {**(key or ready[self._keys_given % len(ready)]), "kid": kid, "alg": algorithm, "use": "sig"}
        self._keys_given += 1
        self.ask_admin("PUT", f"/keys/{key_set}/{kid}", json=key)

    def _give_keys(self) -> None:
        """What Hydra would make when it is first asked for a token, in a time that no client waits."""
        self.new_key("first-for-id-tokens")
        self.new_key("first-for-access-tokens", key_set="hydra.jwt.access-token")

    def keys(self) -> list[str]:
        """The published keys' ids, the signing one first."""
        return [key["kid"] for key in self.ask_admin("GET", "/keys/hydra.openid.id-token")["keys"]]

    def revoke(self, subject: str) -> None:
        """End all that a person has granted; tokens die at once."""
        self.ask_admin("DELETE", "/oauth2/auth/sessions/consent", params={"subject": subject, "all": "true"})

    def end_sign_in(self, *, sid: str | None = None, subject: str | None = None) -> None:
        """End a sign-in; with `sid` the clients hear of it by back-channel logout."""
        params = {name: value for name, value in (("sid", sid), ("subject", subject)) if value is not None}
        self.ask_admin("DELETE", "/oauth2/auth/sessions/login", params=params)

    def sign_ins(self, subject: str, client_id: str) -> list[str]:
        """The `sid` of each sign-in of a person at a client."""
        found = self.ask_admin("GET", "/oauth2/auth/sessions/consent", params={"subject": subject})
        requests = [each["consent_request"] for each in found]
        return [each["login_session_id"] for each in requests if each["client"]["client_id"] == client_id]

    # What the tests ask

    def person(self) -> Person:
        """A browser of its own that goes to Hydra and its login application."""
        return Person(self.base, self.application.base)

    def sign_in(self, authorization_url: str, *, client: Person | None = None, **decisions: Any) -> str:
        """Sign somebody in: the callback URL, which nobody has opened yet. Raises `ErrorPage`."""
        if client is not None:
            return client.go(authorization_url, **decisions)
        with self.person() as person:
            return person.go(authorization_url, **decisions)

    def is_alive(self, access_token: str) -> bool:
        """Whether `/userinfo` takes it."""
        answer = self.http.get(f"{self.base}/userinfo", headers={"Authorization": f"Bearer {access_token}"})
        assert answer.status_code in (200, 401), answer.text
        return answer.status_code == 200

    def requests(self) -> list[tuple[str, str, int]]:
        """Method, path and status of every request that it says it answered."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if '"completed handling request"' in line:
                entry = json.loads(line)
                asked = entry["http_request"]
                found.append((asked["method"], asked["path"], entry["http_response"]["status"]))
        return found
