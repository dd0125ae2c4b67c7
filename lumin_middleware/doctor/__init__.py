"""What would these settings meet, and what is to be done about it?

Each check asks one thing of the settings, this machine, the authorization server, the API, the store or the
application, and yields findings. Nobody is signed in, and nothing is left behind anywhere.
"""
