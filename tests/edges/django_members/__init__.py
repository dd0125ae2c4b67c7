"""A Django application whose users have an e-mail address that nobody else has."""
