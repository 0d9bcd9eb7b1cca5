"""The pages that a person sees: plain HTML without scripts, every name escaped."""

import html

from starlette.responses import HTMLResponse, Response

from wicketgate.testing.entra.core import Core

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:28rem;margin:4rem auto;padding:0 1rem}}
button{{display:block;width:100%;margin:.5rem 0;padding:.75rem;text-align:left;font:inherit}}
small{{color:#555}}</style></head><body><h1>{title}</h1>{body}</body></html>"""


def page(title: str, body: str, status: int = 200) -> Response:
    """A page; `body` is HTML, `title` is text."""
    return HTMLResponse(_PAGE.format(title=html.escape(title), body=body), status, headers=HEADERS)


def people_form(core: Core, action: str, hidden: dict[str, str]) -> str:
    """A form with a button for each person in the tenant, which posts `user` and the hidden fields."""
    fields = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in hidden.items()
    )
    buttons = "".join(
        f'<button name="user" value="{html.escape(user["id"])}">{html.escape(str(user["displayName"]))}<br>'
        f"<small>{html.escape(str(user['userPrincipalName']))}</small></button>"
        for user in core.directory.all("user")
    )
    empty = "" if buttons else "<p>The tenant has no people. Seed some.</p>"
    return f'<form method="post" action="{html.escape(action)}">{fields}{buttons}{empty}</form>'
