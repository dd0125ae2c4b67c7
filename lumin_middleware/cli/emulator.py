"""`lumin-middleware emulator`: a local Lumin in the foreground."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from ..checks import credential, is_loopback, seconds, url
from ..emulator import DEMO_CLIENT, Client, Running, run
from ..errors import ConfigurationError
from .terminal import LOOPBACK, fail, require_place, until_stopped, why

TEN_YEARS = 315_360_000.0
"""Seconds that anything lives at most: a clock can be set ahead of it."""

CALLBACKS = " and ".join(DEMO_CLIENT.redirect_uris)


Base = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The URL by which it is reached, if that is another than where it listens: behind a proxy, or at the "
        "published port of a container.",
    ),
]


def emulator(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")] = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="The port; 0 takes a free one.")] = 4444,
    base: Base = None,
    client_id: Annotated[str, typer.Option(metavar="ID", help="The client that it knows.")] = DEMO_CLIENT.client_id,
    client_secret: Annotated[
        str, typer.Option(metavar="SECRET", help="The client's secret.")
    ] = DEMO_CLIENT.client_secret,
    redirect_uri: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help=f"The client's callback, exactly; may be repeated. Default: {CALLBACKS}."),
    ] = None,
    id_token: Annotated[bool, typer.Option(help="Whether a sign-in yields an ID token.")] = True,
    access_token_lifetime: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long an access token lives.")
    ] = 3600,
    refresh_token_lifetime: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long a refresh token lives; 2592000 is 30 days.")
    ] = 2592000,
    refresh_token_grace: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long a spent refresh token is still taken.")
    ] = 0,
) -> None:
    """Serve a local Lumin, and print the settings that lead to it.

    It is for development: nobody is asked for a password, and it keeps nothing once it is stopped.
    """
    lifetimes: dict[str, Any] = {
        "access_token_lifetime": access_token_lifetime,
        "refresh_token_lifetime": refresh_token_lifetime,
        "refresh_token_grace": refresh_token_grace,
    }
    client = _client(client_id, client_secret, tuple(redirect_uri or DEMO_CLIENT.redirect_uris), lifetimes)
    options = {**lifetimes, "clients": [client], "id_token": id_token, **_reached_at(base)}
    require_place(host)
    with until_stopped():
        try:
            run(host=host, port=port, ready=lambda running: _introduce(running, host), **options)
        except OSError as error:
            fail(f"Cannot listen at {host}:{port} ({why(error)}); choose another --port, or --host.")


def _client(name: str, secret: str, redirect_uris: tuple[str, ...], lifetimes: Mapping[str, float]) -> Client:
    """The client that was asked for; a wrong option ends the command."""
    try:
        credential("--client-id", name)
        credential("--client-secret", secret)
        for uri in redirect_uris:
            url("--redirect-uri", uri, query=True)
        for option, value in lifetimes.items():
            seconds(f"--{option.replace('_', '-')}", value, 0, TEN_YEARS)
    except ConfigurationError as error:
        fail(str(error))
    return replace(DEMO_CLIENT, client_id=name, client_secret=secret, redirect_uris=redirect_uris)


def _reached_at(base: str | None) -> dict[str, str]:
    if base is None:
        return {}
    try:
        url("--base", base)
    except ConfigurationError as error:
        fail(str(error))
    return {"base": base.rstrip("/")}


def _introduce(running: Running, host: str) -> None:
    [client] = running.emulator.clients.values()
    people = ", ".join(user.name for user in running.emulator.users.values())
    typer.echo(f"A local Lumin answers at {running.base}, and {people} can sign in there.")
    typer.echo("An application finds it with these settings:\n")
    for name, value in environment(running, client).items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    if not is_loopback(host):
        typer.echo(f"\nWhoever reaches {host} can be anybody here: nobody is asked for a password.", err=True)
    typer.echo("\nCtrl-C stops it; it keeps nothing.")


def environment(running: Running, client: Client) -> dict[str, str]:
    """The settings of an application that is this client (`LuminConfig.from_env`)."""
    return {
        "LUMIN_AUTH_URL": running.base,
        "LUMIN_API_URL": f"{running.base}/v1",
        "LUMIN_CLIENT_ID": client.client_id,
        "LUMIN_CLIENT_SECRET": client.client_secret,
        "LUMIN_REDIRECT_URI": client.redirect_uris[0],
        "LUMIN_SECRET_KEY": secrets.token_urlsafe(32),
    }
