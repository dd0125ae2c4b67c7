"""What is kept of somebody who signed in, and how does it stay fresh?

Seals and cookies, records above the store's two verbs, sessions in the one or the other, their renewal, the lists of
a person's sessions, and logins in flight. Nothing here knows what a page is.
"""
