"""`manage.py lumin_clean_up`: deletes what has expired, as `clearsessions` does for Django's own sessions."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import DEFAULT_DB_ALIAS

from ...store import DjangoStore


class Command(BaseCommand):  # type: ignore[misc]
    """Deletes expired records. What is alive is not touched, and nothing depends on this but the table's size."""

    help = "Deletes expired records of Lumin sessions. Run it daily."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="The alias of the database. Default: default.")

    def handle(self, *args: Any, **options: Any) -> None:
        with closing(DjangoStore(options["database"])) as store:
            number = store.clean_up()
        self.stdout.write(f"{number} expired {'record' if number == 1 else 'records'} deleted.")
