"""The demo before Ory Hydra: `make demo-hydra`. Whoever signs in types a name, and grants what they like."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import suppress

from .server import Hydra
from .serving import free_port


def main() -> None:
    """Start Hydra in memory, register the demo's application there, and run it."""
    origin = f"http://127.0.0.1:{free_port()}"
    with Hydra() as hydra:
        client = hydra.register([f"{origin}/auth/callback"], post_logout_redirect_uris=[f"{origin}/"])
        print(f"Ory Hydra answers at {hydra.base}, its administrator's API at {hydra.admin}.", flush=True)
        settings = {
            "LUMIN_CLIENT_ID": client["client_id"],
            "LUMIN_CLIENT_SECRET": client["client_secret"],
            "LUMIN_REDIRECT_URI": f"{origin}/auth/callback",
            "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
            "LUMIN_AUTH_URL": hydra.base,
            "LUMIN_API_URL": hydra.api_url,
            "LUMIN_STORE": "memory://",
        }
        command = [sys.executable, "-m", "lumin_middleware", "demo", *sys.argv[1:]]
        with suppress(KeyboardInterrupt):  # the terminal sends it to both
            subprocess.run(command, env=os.environ | settings, check=False)


if __name__ == "__main__":
    main()
