"""For gunicorn's master: imports at start what is imported late, since its workers may not be let into Python's own files."""

import gunicorn.workers.gthread
import gunicorn.workers.sync  # noqa: F401
