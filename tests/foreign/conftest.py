"""Exposes the foreign servers to the tests beside it."""

from .fixtures import oauth_toolkit, oidc_provider

__all__ = ["oauth_toolkit", "oidc_provider"]
