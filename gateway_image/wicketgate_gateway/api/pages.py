"""The one page for a browser: where a message's link leads. It shows nothing of a request, and it does nothing."""

from __future__ import annotations

import html

from fastapi.responses import HTMLResponse

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{handle}</title><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem}}
pre{{background:#8881;padding:.75rem;overflow:auto}}</style></head><body><h1>{handle}</h1>
<p>A statement of a bot is held, and approvers are asked. To see the whole of it, and to decide:</p>
<pre>wicketgate login
wicketgate approvals show {handle}
wicketgate approvals approve {handle}
wicketgate approvals deny {handle}</pre></body></html>"""


def approval(handle: str) -> HTMLResponse:
    """How to look at the request of that handle, whether or not there is one."""
    return HTMLResponse(_PAGE.format(handle=html.escape(handle)))
