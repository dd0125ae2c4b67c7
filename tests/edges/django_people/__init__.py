"""A Django application whose people have no user name: they are told apart by a field named `email`."""
