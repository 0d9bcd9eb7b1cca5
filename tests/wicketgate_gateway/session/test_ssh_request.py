"""What a channel asks for, understood."""

from __future__ import annotations

import json

import pytest

from wicketgate_gateway.policy.ssh import Copy, Exec, Forward, Pty, ScriptText, Shell, Subsystem, Variable
from wicketgate_gateway.session.ssh_request import is_legacy_scp, understand
from wicketgate_gateway.tunnel.messages import SshChannel


def asked(kind: str, command: str = "", **more: object) -> SshChannel:
    return SshChannel(session="s", kind=kind, command=command, **more)  # type: ignore[arg-type]


def langs(variable: Variable) -> bool:
    return variable.name == "LANG"


def test_a_command_with_its_environment() -> None:
    wanted = asked("exec", "uname '-a'", env={"LANG": "C", "LD_PRELOAD": "x", "WICKETGATE_REASON": "why"}, pty="xterm")
    found = understand(wanted, langs)
    assert found.points == (Exec(("uname", "-a")), Variable("LANG", "C"), Pty())
    assert found.wanted.env == {"LANG": "C"}
    assert found.left_out == ("LD_PRELOAD",)
    assert (found.text, found.reason) == ("uname '-a'", "why")
    assert json.loads(found.facts["argv"]) == ["uname", "-a"]
    assert (found.facts["env"], found.facts["pty"]) == ('{"LANG": "C"}', "xterm")


def test_the_kinds() -> None:
    assert understand(asked("shell", pty="xterm"), langs).points == (Shell(),)
    assert understand(asked("subsystem", "netconf"), langs).points == (Subsystem("netconf"),)
    forward = understand(asked("forward", "db:1", env={"LANG": "C"}, pty="x"), langs)
    assert forward.points == (Forward("db:1"),)
    assert (forward.wanted.env, forward.wanted.pty) == ({}, "")


def test_what_is_not_whole_or_unknown_is_nothing_that_a_rule_can_allow() -> None:
    for wanted in (
        asked("exec", "uname -a", cut=20_000),
        asked("subsystem", "sftp", cut=20_000),
        asked("shell", "id"),
        asked("other", "id"),
        asked("exec", "a\0b"),
    ):
        (point, *_) = understand(wanted, langs).points
        assert isinstance(point, ScriptText)
        assert not point.exact


def test_a_variable_with_a_nul_is_left_out() -> None:
    assert understand(asked("exec", "id", env={"LANG": "a\0b"}), lambda _: True).left_out == ("LANG",)


@pytest.mark.parametrize("kind", ["exec", "subsystem"])
def test_what_only_shows_what_was_sent_matches_nothing(kind: str) -> None:
    request = understand(SshChannel(session="s", kind=kind, command="sftp", inexact=True), lambda _: True)
    (point,) = request.points
    assert isinstance(point, ScriptText)
    assert not point.exact


@pytest.mark.parametrize(
    ("text", "legacy"),
    [
        ("scp -t /x", True), ("scp -r -p -f '/x y'", True), ("/usr/bin/scp -rt .", True), ("scp -f *.txt", True),
        ("scp a b", False), ("tar -tf x", False), ("uname -a", False), ("", False),
    ],
)  # fmt: skip
def test_legacy_scp_is_known(text: str, legacy: bool) -> None:
    assert is_legacy_scp(understand(SshChannel(session="s", kind="exec", command=text), lambda _: True)) is legacy


def test_a_copy_is_done_by_sftp() -> None:
    found = understand(asked("exec", "scp -r -t /x", env={"LANG": "C"}), langs)
    assert found.points == (Copy(("scp", "-r", "-t", "/x")),)
    assert (found.text, found.kind, found.file_by_file) == ("scp -r -t /x", "exec", True)
    assert (found.wanted.kind, found.wanted.command, found.wanted.env) == ("subsystem", "sftp", {})
    assert understand(asked("subsystem", "sftp"), langs).file_by_file
    for other in (
        asked("exec", "scp -t /x", pty="xterm"),
        asked("exec", "scp -t *"),
        asked("exec", "scp -t /x", cut=9),
    ):
        assert understand(other, langs).copying is None
        assert not understand(other, langs).file_by_file
