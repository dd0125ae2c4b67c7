"""How does it stand before something else?

The gateway, what passes it and what it writes down, and the settings with which nginx, Caddy and Traefik ask who may
pass.
"""
