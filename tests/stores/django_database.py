"""Django with a database of a test's own, in whichever process: settings are one to a process, databases are not."""

from __future__ import annotations

from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from psycopg.conninfo import conninfo_to_dict

APP = "lumin_middleware.stores.django"

NONE = "django.db.backends.dummy"
"""What Django makes of a default database that nobody has named."""


def configure() -> None:
    """Django, with the app of the store, whoever has set it up before."""
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"], SECRET_KEY="stores", MIDDLEWARE=[], ROOT_URLCONF=None, LOGGING_CONFIG=None
        )
        django.setup()
    if not apps.is_installed(APP):
        apps.set_installed_apps([*settings.INSTALLED_APPS, APP])


def add(alias: str, database: dict[str, Any]) -> None:
    """A database under a name of its own; its tables are made already."""
    configure()
    if connections.settings.get(alias, {}).get("ENGINE", NONE) == NONE:
        connections.settings[alias] = connections.configure_settings({"default": {}, alias: database})[alias]


def on_postgres(url: str) -> dict[str, Any]:
    """What Django calls that database."""
    found = conninfo_to_dict(url)
    names = {"NAME": "dbname", "USER": "user", "HOST": "host", "PORT": "port"}
    return {"ENGINE": "django.db.backends.postgresql"} | {name: found[each] for name, each in names.items()}


def migrate(alias: str) -> None:
    call_command("migrate", database=alias, verbosity=0)
    connections[alias].close()


def open_store(alias: str, database: dict[str, Any]) -> Any:
    """A store in that database, in this process or in another."""
    add(alias, database)
    from lumin_middleware.stores.django.store import DjangoStore

    return DjangoStore(alias)
