"""What ID tokens and the userinfo endpoint say of a user, by scope; `sub` is the user name."""

from __future__ import annotations

from typing import Any

from oauth2_provider.oauth2_validators import OAuth2Validator


class Validator(OAuth2Validator):  # type: ignore[misc]  # the package has no types
    """The package's validator, and claims."""

    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        """Of these, the package gives away those that the scopes allow."""
        user = request.user
        return {"sub": user.username, "email": user.email, "email_verified": True, "name": user.first_name}
