"""Its users: with an address that must be there, or that may be missing."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models


class Member(AbstractUser):
    """Somebody with an address, or an empty text."""

    email = models.EmailField(unique=True)


class Guest(AbstractUser):
    """Somebody with an address, or none."""

    email = models.EmailField(unique=True, null=True)
    groups = models.ManyToManyField("auth.Group", related_name="guests")
    user_permissions = models.ManyToManyField("auth.Permission", related_name="guests")
