"""`wicketgate login` and `logout`: a person signs in, for deciding and looking."""

from __future__ import annotations

import sys
import webbrowser
from typing import Any

from wicketgate_gateway.cli import output, people
from wicketgate_gateway.cli.api_client import api
from wicketgate_gateway.cli.people import Gate
from wicketgate_gateway.cli.sign_in import SignIn
from wicketgate_gateway.contract.errors import WicketgateError


def login(*, device: bool = False, no_browser: bool = False, json: bool = False, gate: Gate = Gate()) -> None:  # noqa: B008 - frozen
    """Sign in at Entra. The token lasts an hour or so, and stays on this machine, readable for you alone.

    Parameters
    ----------
    device
        Enter a code on another machine, where there is no browser on this one.
    no_browser
        Print the address of the sign-in page, and open nothing.
    json
        Print one object with `name`, `id`, `roles` and `token_ends`.
    """
    settings = gate.settings()
    sign_in = SignIn(settings)
    try:
        if device:
            token = sign_in.by_device(_tell_code)
        else:
            token = sign_in.by_browser(_print_page if no_browser else _open_page)
    finally:
        sign_in.close()
    people.keep(settings, token)
    try:
        with api(settings) as gateway:
            me = gateway.get("/v1/me")
    except WicketgateError:
        people.forget(settings)
        raise
    if json:
        output.print_json(me)
    else:
        name, roles = output.clean(str(me["name"]), line=True), ", ".join(str(role) for role in me["roles"])
        print(f"signed in as {name} ({roles}) until {me['token_ends']}")


def logout(*, json: bool = False, gate: Gate = Gate()) -> None:  # noqa: B008 - frozen
    """Forget the token of the last sign-in.

    Parameters
    ----------
    json
        Print one object with `signed_out`.
    """
    gone = people.forget(gate.settings())
    if json:
        output.print_json({"signed_out": gone})
    else:
        print("signed out" if gone else "you were not signed in")


def _tell_code(made: dict[str, Any]) -> None:
    where = output.clean(str(made.get("verification_uri", "")), line=True)
    code = output.clean(str(made.get("user_code", "")), line=True)
    print(f"open {where} on any machine and enter the code {code}", file=sys.stderr, flush=True)


def _print_page(url: str) -> None:
    print(f"sign in at {url}", file=sys.stderr, flush=True)


def _open_page(url: str) -> None:
    if webbrowser.open(url):
        print("a browser asks you to sign in", file=sys.stderr, flush=True)
    else:
        _print_page(url)
