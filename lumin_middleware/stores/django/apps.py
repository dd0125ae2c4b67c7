"""The store as an app of a Django site: one model, its migration, and a command that cleans up."""

from __future__ import annotations

from django.apps import AppConfig


class LuminConfig(AppConfig):  # type: ignore[misc]
    """`lumin_middleware.stores.django` in INSTALLED_APPS."""

    name = "lumin_middleware.stores.django"
    label = "lumin_middleware"
    verbose_name = "Lumin sessions"
    default_auto_field = "django.db.models.BigAutoField"
