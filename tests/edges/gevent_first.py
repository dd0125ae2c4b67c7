"""gunicorn's settings for gevent with --preload: the patches come before the application (gevent's own advice)."""

from gevent import monkey

monkey.patch_all()
