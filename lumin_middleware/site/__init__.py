"""One request in: what becomes of it?

Who may pass where, the routes beside the callback, the pages and problems that are answered, and `relying_party`, where
all of it comes together. It decides; whoever asked sends what it says.
"""
