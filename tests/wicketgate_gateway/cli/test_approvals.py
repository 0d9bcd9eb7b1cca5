"""`wicketgate approvals` against a running API: what is shown, and that nothing is approved unseen."""

import json
import os
import pty
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from wicketgate_gateway.approvals.model import State
from wicketgate_gateway.cli import approvals, main

Run = Callable[..., tuple[int, str, str]]
EVIL = "DELETE FROM orders\nseal        0000\n\x1b[2J\u202eWHERE id = 1"


def test_list_and_show_whole(as_person: Run, desk: Any) -> None:
    assert as_person("Dana", "approvals", "list")[2] == "nothing is held\n"
    held = desk.hold(EVIL, parameters=())
    code, out, _ = as_person("Dana", "approvals", "list")
    assert code == 0
    assert held.handle in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    code, out, _ = as_person("Dana", "approvals", "show", held.handle)
    assert code == 0
    for part in (
        f"handle      {held.handle}",
        "statement   DELETE FROM orders\n          │ seal        0000\n          │ ⟦U+001B⟧[2J⟦U+202E⟧WHERE id = 1\n",
        f"bot         code-review ({desk.cloud.ids['bot']}), answered for by group:platform-team",
        "setting     search_path = public",
        "reason      customer <b>asked</b>",
        "reaches     estimate: 1",
        f"approvers   1 of dba ({desk.cloud.ids['dba']})",
        f"seal        {held.seal}",
        "careful     holds characters that do not show",
    ):
        assert part in out
    code, out, _ = as_person("Dana", "approvals", "show", held.handle.upper(), "--json")
    assert json.loads(out)["statement"] == EVIL


def test_a_long_statement_is_not_cut(as_person: Run, desk: Any) -> None:
    statement = "DELETE FROM orders WHERE id IN (" + ", ".join(str(n) for n in range(8000)) + ")"
    held = desk.hold(statement, parameters=())
    assert statement in as_person("Dana", "approvals", "show", held.handle)[1]
    assert statement in as_person("Dana", "approvals", "list")[1]


def test_parameters(as_person: Run, desk: Any) -> None:
    out = as_person("Dana", "approvals", "show", desk.hold().handle)[1]
    assert "$1          '42'  (type 23, binary)\n" in out
    assert "$2          NULL  (type 25)\n" in out


def test_a_script_approves_what_it_names_by_seal_or_nothing(as_person: Run, desk: Any) -> None:
    held, other = desk.hold(), desk.hold()
    code, _, err = as_person("Dana", "approvals", "approve", held.handle)
    assert (code, "no terminal" in err) == (main.FAILED, True)
    code, _, err = as_person("Dana", "approvals", "approve", held.handle, "--seal", other.seal, "--json")
    assert (code, json.loads(err)["code"]) == (main.FAILED, "seal-mismatch")
    assert desk.stands(held.handle).state is State.PENDING
    code, out, _ = as_person("Dana", "approvals", "approve", held.handle, "--seal", held.seal, "--comment", "fine")
    assert (code, out) == (0, f"{held.handle} is approved\n")
    assert desk.stands(held.handle).votes[0].comment == "fine"
    assert as_person("Dana", "approvals", "list")[1].split()[8] == "approved"


def test_deny_and_take_back(as_person: Run, desk: Any) -> None:
    held = desk.hold()
    as_person("Dana", "approvals", "approve", held.handle, "--seal", held.seal)
    assert as_person("Dana", "approvals", "deny", held.handle)[:2] == (0, f"{held.handle} is denied\n")
    assert held.handle not in as_person("Dana", "approvals", "list")[1]
    assert held.handle in as_person("Dana", "approvals", "list", "--all")[1]


def test_quorum(as_person: Run, desk: Any) -> None:
    held = desk.hold(quorum=2)
    out = as_person("Dana", "approvals", "approve", held.handle, "--seal", held.seal)[1]
    assert out == f"{held.handle}: your answer counts; 2 are needed\n"


def test_refusals_and_what_does_not_exist(as_person: Run, desk: Any) -> None:
    held = desk.hold()
    code, _, err = as_person("Erik", "approvals", "show", held.handle)
    assert (code, err) == (main.FAILED, "error: you are not in a group that may decide this; ask `dba`\n")
    assert as_person("Dana", "approvals", "show", "hold-zzzzzz")[0] == main.NOT_FOUND
    for handle in ("../kills", "a b", "", "x" * 40, "hold-é"):
        assert as_person("Dana", "approvals", "show", handle)[0] in (main.NOT_FOUND, main.USAGE)


@pytest.mark.parametrize(("says", "state"), [("y\n", State.APPROVED), ("n\n", State.PENDING), ("\n", State.PENDING)])
def test_at_a_terminal_it_is_shown_and_asked(as_person: Run, desk: Any, says: str, state: State) -> None:
    held = desk.hold()
    as_person("Dana", "approvals", "list")  # leaves Dana signed in
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "wicketgate_gateway.cli", "approvals", "approve", held.handle],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
    )
    os.close(slave)
    shown = b""
    end = time.monotonic() + 20
    while b"[y/N]" not in shown:
        assert time.monotonic() < end, shown
        if select.select([master], [], [], 0.2)[0]:
            shown += os.read(master, 65536)
    assert held.seal.encode() in shown
    assert b"\x1b[2J" not in shown
    os.write(master, says.encode())
    assert process.wait(20) == (0 if state is State.APPROVED else main.FAILED)
    os.close(master)
    assert desk.stands(held.handle).state is state


def test_watch(as_person: Run, desk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    held = desk.hold()
    as_person("Dana", "approvals", "list")
    process = subprocess.Popen(
        [sys.executable, "-m", "wicketgate_gateway.cli", "approvals", "list", "--watch", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert process.stdout is not None
    killer = threading.Timer(25, process.kill)
    killer.start()
    try:
        assert json.loads(process.stdout.readline())["handle"] == held.handle
        more = desk.hold()
        assert json.loads(process.stdout.readline())["handle"] == more.handle
        desk.call("POST", f"/v1/approvals/{more.handle}/deny", "Dana", json={})
        states = {json.loads(process.stdout.readline())["state"] for _ in range(2)}
        assert "denied" in states
    finally:
        killer.cancel()
        process.terminate()
        process.wait()
        process.stdout.close()


def test_the_end_of_a_stream_is_an_error() -> None:
    class Ended:
        def stream(self, path: str) -> Any:
            yield "end", {"code": "token-expired", "detail": "the token has expired"}

    with pytest.raises(Exception, match="the token has expired"):
        approvals._watch(Ended(), "", "", False)  # type: ignore[arg-type]
