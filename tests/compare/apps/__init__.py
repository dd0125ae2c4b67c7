"""The applications that are compared: a page that says hello, and one that asks the API.

Each has no sign-in, ours, or what its framework's users take; `SIGN_IN` says which. Written as their documents have it.
"""
