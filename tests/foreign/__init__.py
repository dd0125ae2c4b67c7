"""OpenID servers that nobody here wrote, started for the tests: see `fixtures`."""
