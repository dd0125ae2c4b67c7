"""The one table of the store, as a model."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Record(models.Model):  # type: ignore[misc]
    """What one key holds. It is sealed: no admin page can show more than its size and its end."""

    key = models.CharField(max_length=64, primary_key=True)
    """A digest, in hexadecimal: a key may be longer than any index takes."""
    value = models.BinaryField()
    expires_at = models.FloatField(db_index=True)
    """Epoch seconds. The index is for the clean-up."""

    class Meta:
        db_table = "lumin_middleware_record"
        default_permissions: ClassVar[tuple[str, ...]] = ()

    def __str__(self) -> str:
        return str(self.key)
