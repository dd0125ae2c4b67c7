"""The package django-oauth-toolkit as a server at Ory Hydra's paths, for the tests; on loopback only.

    python server.py [PORT]

Prints its base URL as one line when it listens, and ends with SIGTERM or when stdin closes.
ACCESS_TOKEN_LIFETIME and REFRESH_TOKEN_GRACE_PERIOD, in seconds, come from the environment.
Keeps everything in a temporary directory, which it removes.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import django
from control import lifetime_of
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

HERE = Path(__file__).parent
APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "oauth2_provider"]
USERS = ["ada", "grace"]
PASSWORD = "correct horse battery staple"


class Server(ThreadedWSGIServer):  # type: ignore[misc]  # Django has no types
    """Django's, which would reset connections when more than ten come at once."""

    request_queue_size = 128


class Handler(WSGIRequestHandler):  # type: ignore[misc]
    """Django's, which would wait 40 ms between the headers and the body."""

    disable_nagle_algorithm = True


def signing_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def oauth2_provider(issuer: str) -> dict[str, Any]:
    """The package's settings."""
    return {
        "OIDC_ENABLED": True,
        "OIDC_ISS_ENDPOINT": issuer,
        "OIDC_RSA_PRIVATE_KEY": signing_key(),
        "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
        "OAUTH2_VALIDATOR_CLASS": "claims.Validator",
        "SCOPES": {
            "openid": "who you are",
            "offline_access": "while you are away",
            "email": "your address",
            "profile": "your name",
            "sign:requests": "signature requests",
            "sign:requests.read": "reading signature requests",
        },
        "ROTATE_REFRESH_TOKEN": True,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
        "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": int(os.environ.get("REFRESH_TOKEN_GRACE_PERIOD", "0")),
        "EXTRA_SERVER_KWARGS": {"token_expires_in": lifetime_of},
    }


def configure(issuer: str, folder: str) -> None:
    """Django's settings, as small as the package allows."""
    settings.configure(
        SECRET_KEY=os.urandom(32).hex(),
        ALLOWED_HOSTS=["127.0.0.1"],
        INSTALLED_APPS=APPS,
        MIDDLEWARE=[
            "django.middleware.common.CommonMiddleware",  # Content-Length, and so keep-alive
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "control.count_token_requests",
        ],
        ROOT_URLCONF="urls",
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [HERE / "templates"],
                "APP_DIRS": True,
            }
        ],
        LOGIN_URL="/login",
        STATIC_URL="/static/",
        # Cookies do not know ports: the app under test shares this server's jar.
        SESSION_COOKIE_NAME="op_session",
        CSRF_COOKIE_NAME="op_csrf",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # client secrets too; fast
        MIGRATION_MODULES={app.rpartition(".")[2]: None for app in APPS},  # tables at once, no history
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": f"{folder}/database",
                "OPTIONS": {
                    "timeout": 20,  # seconds
                    "transaction_mode": "IMMEDIATE",  # wait for the lock; an upgrade would fail at once
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF",
                },
            }
        },
        LOGGING_CONFIG=None,
        OAUTH2_PROVIDER=oauth2_provider(issuer),
    )
    logging.getLogger("django").setLevel(logging.ERROR)
    django.setup()


def create_users() -> None:
    from django.contrib.auth.models import User

    call_command("migrate", run_syncdb=True, verbosity=0)
    for name in USERS:
        User.objects.create_user(name, f"{name}@example.com", PASSWORD, first_name=name)


def main() -> None:
    """Serve until told to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        Server(("127.0.0.1", port), Handler) as server,
    ):
        issuer = f"http://127.0.0.1:{server.server_port}"
        configure(issuer, folder)
        create_users()
        server.set_app(get_wsgi_application())
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        print(issuer, flush=True)
        try:
            sys.stdin.read()
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    main()
