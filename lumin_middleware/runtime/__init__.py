"""Who waits, and how?

The core's ports for an event loop and for threads, the authorization server over HTTP, and a request's passage through
the application. It does what the site decided.
"""
