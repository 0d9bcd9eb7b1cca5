"""Operations as text mean to test cases what they mean to the gateway."""

from __future__ import annotations

import pytest

from wicketgate_gateway.contract.ssh import FileOperation
from wicketgate_gateway.policy.ssh import Copy, Exec, File, Forward, Pty, ScriptText, Shell, Subsystem, Variable
from wicketgate_gateway.policy.ssh_trial import HOME, points_of


def test_what_is_written_in_cases() -> None:
    assert points_of("uname -a") == ([Exec(("uname", "-a"))], "uname -a")
    assert points_of("shell") == ([Shell()], "")
    assert points_of("subsystem x") == ([Subsystem("x")], "")
    assert points_of("forward a:1") == ([Forward("a:1")], "")
    assert points_of("sftp read /a b; sftp write ~/c")[0] == [
        File(FileOperation.READ, "/a b", HOME),
        File(FileOperation.WRITE, f"{HOME}/c", HOME),
    ]
    assert points_of("env:A=1 pty: top")[0] == [Exec(("top",)), Variable("A", "1"), Pty()]
    assert isinstance(points_of("a; b")[0][0], ScriptText)


def test_a_copy_is_what_the_gateway_makes_of_it() -> None:
    assert points_of("scp -t /x")[0] == [Copy(("scp", "-t", "/x"))]
    assert points_of("scp -t /x", ["scp -t /x"])[0] == [Copy(("scp", "-t", "/x"))]


def test_what_was_recorded_is_what_it_was() -> None:
    assert points_of("shell", ["script shell (x)"])[0] == [Exec(("shell",))]
    assert points_of("db:1", ["forward to db:1"])[0] == [Forward("db:1")]
    assert points_of("top", ["top", "env A=1", "pty"])[0] == [Exec(("top",)), Variable("A", "1"), Pty()]


@pytest.mark.parametrize("text", ["sftp read", "sftp steal /x", "sftp read x"])
def test_what_is_nothing_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        points_of(text)
