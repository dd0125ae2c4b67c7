"""Sign in with Lumin, as middleware."""
