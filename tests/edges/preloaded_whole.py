"""For gunicorn's master: imports what is imported late, since its workers may not be let into Python's own files."""

import encodings.idna

import gunicorn.workers.gthread
import gunicorn.workers.sync

__all__ = ["encodings", "gunicorn"]
