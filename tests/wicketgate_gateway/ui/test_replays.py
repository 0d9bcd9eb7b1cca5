"""Replays as pages, for each protocol; and what a recording holds is never markup, whatever a bot or a target sent."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from wicketgate_gateway.session.ssh import RECORD_HEAD
from wicketgate_gateway.wire.kubernetes import record as kubernetes
from wicketgate_gateway.wire.postgres import messages as m
from wicketgate_gateway.wire.ssh import channel as frames
from wicketgate_gateway.wire.ssh.channel import Kind

EVIL = [
    "<img src=x onerror=alert(1)>",
    "</code></pre></details><script>alert(1)</script>",
    "\"'><svg/onload=alert(1)>",
    "<!--",
    "{{ 7 * 7 }}${7*7}",
    "javascript:alert(1)",
    "&lt;b&gt;&#60;i&#62;",
    "\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07",
    "\x1b]0;<b>title</b>\x07\x1b[2J\x1b[31mred",
    "\x9b31m\x1bP<b>\x1b\\",
    "abc\u202egnp.exe\u2066x\u2069\u200b\u00ad",
    "a\u0301" * 40,
    "\x00\x01\x02\x7f",
    "x" * 70_000,
    "\n" * 500,
]
TEXT = "\n".join(EVIL)
GOOD = ("<html", "<script src=", "</script>", "<!doctype")


def ssh(number: int, *parts: bytes) -> bytes:
    return b"".join(RECORD_HEAD.pack(number, len(part)) + part for part in parts)


def shell(output: bytes, command: str = "shell", channel: int = 1) -> list[tuple[str, bytes]]:
    begun = {"kind": "exec" if command != "shell" else "shell", "command": command, "pty": True, "size": [90, 20]}
    begin = frames.frame(Kind.BEGIN, json.dumps(begun).encode())
    return [
        ("client", ssh(channel, begin)),
        ("server", ssh(channel, frames.data_frames(Kind.STDOUT, output), frames.exit_status(3))),
    ]


def says(protocol: str, evil: str) -> tuple[list[tuple[str, bytes]], list[str]]:
    """A recording of that protocol in which all that can hold a text holds `evil`, and what was asked."""
    data = evil.encode()
    line = evil.replace("\n", " ").replace("\x00", "")
    if protocol == "ssh":
        return shell(data, line), [line]
    if protocol == "http":
        head = b"POST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(data)
        answer = b"HTTP/1.1 200 <b>OK</b>\r\nContent-Type: text/<i>\r\nContent-Length: %d\r\n\r\n" % len(data)
        return [("client", head + data), ("server", answer + data)], ["POST /x"]
    if protocol == "kubernetes":
        asked = kubernetes.pack(kubernetes.Kind.REQUEST, json.dumps({"seq": 1, "text": f"get {line}"}).encode())
        error = kubernetes.pack(kubernetes.Kind.ERROR, json.dumps({"message": evil}).encode())
        client = asked + kubernetes.pack(kubernetes.Kind.BODY, data)
        server = b"".join(kubernetes.pack(k, data) for k in (kubernetes.Kind.STDOUT, kubernetes.Kind.CONTENT)) + error
        return [("client", client), ("server", server)], [f"get {line}"]
    columns = m.row_description([m.FieldDescription(line[:60], 1, 1, 25)])
    row = m.data_row([data.replace(b"\0", b"")])
    told = m.command_complete(line[:200]) + m.ready_for_query()
    return [("client", m.query(line)), ("server", columns + row + told)], [line]


@pytest.mark.parametrize("protocol", ["postgres", "ssh", "http", "kubernetes"])
def test_what_was_recorded_is_never_markup(record: Any, tab: Any, protocol: str) -> None:
    session = record(protocol, *says(protocol, TEXT))
    page = tab("Ada")
    for address in (f"/ui/sessions/{session}", f"/ui/sessions/{session}?q=onerror", f"/ui/audit?session={session}"):
        answer = page.get(address)
        assert answer.status_code == 200, answer.text[:500]
        text = answer.text
        for part in ("<img src=x", "<script>", "<svg/onload", "<!--", "<b>", "<i>", "</b>", 'href="javascript'):
            assert part not in text, (address, part)
        assert "49" not in text.partition("{{ 7")[2][:20]
        for letter in "\x00\x01\x07\x1b\x7f\x9b\u202e\u2066\u200b\u00ad\u0301":
            assert letter not in text, (address, hex(ord(letter)))
        assert len(text) < 1_500_000
    plain = re.sub(r"<[^>]*>", "", page.get(f"/ui/sessions/{session}").text)
    assert "onerror=alert(1)" in plain  # it is there, as a text


def test_each_output_reaches_the_player_as_json(record: Any, tab: Any) -> None:
    page = tab("Ada")
    said = [ssh_piece for n, evil in enumerate(EVIL, 1) for ssh_piece in shell(evil.encode(), channel=n)]
    session = record("ssh", said, ["shell"])
    for number, evil in enumerate(EVIL, 1):
        _is_played(page.get(f"/ui/sessions/{session}/terminal/{number}"), evil)


def _is_played(answer: Any, evil: str) -> None:
    assert answer.headers["content-type"].startswith("application/x-asciicast")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith("attachment")
    head, *events = (json.loads(line) for line in answer.text.splitlines())
    assert head["term"] == {"cols": 90, "rows": 20}
    shown = "".join(text for _, code, text in events if code == "o")
    assert not {"\u202e", "\u2066", "\u2069"} & set(shown)
    if "\u202e" not in evil:
        assert shown == evil


def test_a_session_is_replayed_by_operation(record: Any, tab: Any) -> None:
    body, answer = b'{"amount":5,"to":"x"}', b'{"error":"no money"}'
    said = [
        ("client", b"GET /orders/7 HTTP/1.1\r\n\r\n"),
        ("server", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("client", b"POST /pay HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body),
        ("server", b"HTTP/1.1 402 Payment Required\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer),
    ]
    session = record("http", said, ["GET /orders/7", "POST /pay"])
    page = tab("Ada")
    text = page.get(f"/ui/sessions/{session}").text
    assert "whole, matches" in text
    for part in ("204 No Content", "402 Payment Required", "request body", "&#34;no money&#34;", 'id="n2"'):
        assert part.replace("&#34;", '"') in text.replace("&#34;", '"').replace("&quot;", '"'), part
    found = page.get(f"/ui/sessions/{session}?q=money").text
    assert "1 entry with" in found
    assert "/orders/7" not in found
    gone = page.get(f"/ui/sessions/{session}?go=2")
    assert (gone.status_code, gone.headers["location"]) == (303, f"/ui/sessions/{session}#n2")
    assert page.get(f"/ui/sessions/{session}?go=%3Cb%3E").headers["location"] == f"/ui/sessions/{session}"
    # It has ended: whoever followed it loads the whole page.
    part = page.get(f"/ui/sessions/{session}/operations", **{"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-refresh"]) == (204, "true")


def test_the_terminal_of_a_session(record: Any, tab: Any) -> None:
    session = record("ssh", shell(b"$ whoami\r\nbot\r\n"), ["shell"])
    page = tab("Ada")
    text = page.get(f"/ui/sessions/{session}?q=whoami").text
    assert f'data-cast="/ui/sessions/{session}/terminal/1"' in text
    assert "data-seek=" in text
    # It has ended: the stream says so at once, after what there is.
    lines = page.get(f"/ui/sessions/{session}/terminal/1/live").text.splitlines()
    first = json.loads(lines[0].removeprefix("data: "))
    assert (first["cols"], first["init"]) == (90, "$ whoami\r\nbot\r\n")
    assert "event: done" in lines


def test_a_terminal_that_is_not_there(record: Any, tab: Any) -> None:
    session = record("ssh", shell(b"x"), ["shell"])
    page = tab("Ada")
    for number in ("0", "9", "-1", "x", "1e3", "%00", "99999999999", "..%2f1", "١"):
        for end in ("", "/live"):
            assert page.get(f"/ui/sessions/{session}/terminal/{number}{end}").status_code == 404, number


def test_who_may_look(record: Any, tab: Any) -> None:
    session = record("ssh", shell(b"very private"), ["shell"])
    token = tab().desk.token("Ada")
    pages = (
        (tab("Dana"), 403, {}),
        (tab("Erik"), 403, {}),
        (tab(), 303, {}),
        (tab(), 303, {"Authorization": f"Bearer {token}"}),
    )
    for end in ("", "/operations", "/terminal/1", "/terminal/1/live", "?go=1", "?q=x"):
        for page, status, headers in pages:
            answer = page.get(f"/ui/sessions/{session}{end}", **headers)
            assert answer.status_code == status, end
            assert "private" not in answer.text


def test_another_site_gets_no_recording(record: Any, tab: Any) -> None:
    session = record("ssh", shell(b"very private"), ["shell"])
    page = tab("Ada")
    for headers in (
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ):
        answer = page.get(f"/ui/sessions/{session}/terminal/1", **headers)
        assert answer.status_code == 403
        assert "private" not in answer.text


def test_a_damaged_recording_is_said(record: Any, tab: Any) -> None:
    session = record("ssh", shell(b"x" * 5000), ["shell", "never recorded"])
    page = tab("Ada")
    text = page.get(f"/ui/sessions/{session}").text
    assert "statement 2 went out, and the recording does not hold it" in text
    (file,) = (page.desk.folder / "state" / "recordings").rglob(f"*{session}*/000001.wgr")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    text = page.get(f"/ui/sessions/{session}").text
    assert "not whole" in text
    assert "damaged" in text
    file.unlink()
    text = page.get(f"/ui/sessions/{session}").text
    assert "has no recording" in text
    assert page.get(f"/ui/sessions/{session}/terminal/1").status_code == 404
