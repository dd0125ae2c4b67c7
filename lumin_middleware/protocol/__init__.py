"""What do OAuth 2.0 and OpenID Connect say?

Requests built and answers checked, one function for each step of the standards; the server's metadata and keys; the
token endpoint, and the breaker that gives it rest. Nothing here knows what a session is.
"""
