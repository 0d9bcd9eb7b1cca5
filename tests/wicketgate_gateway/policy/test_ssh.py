"""What rules on SSH cover and meet, the attack first."""

from __future__ import annotations

from typing import Any

import pytest

from wicketgate_gateway.contract.ssh import FileOperation, SshTerms
from wicketgate_gateway.policy.ssh import (
    Copy,
    Exec,
    File,
    Forward,
    Pty,
    ScriptText,
    Shell,
    SshRule,
    Subsystem,
    Variable,
    compile_terms,
    values,
)
from wicketgate_gateway.wire.ssh import words


def rule(**terms: Any) -> SshRule:
    return compile_terms(SshTerms.model_validate(terms))


def command(text: str) -> Exec | ScriptText:
    found = words.read(text.encode())
    if isinstance(found, words.Command):
        return Exec(found.words)
    return ScriptText(found.text, found.exact, found.why)


@pytest.mark.parametrize(
    ("pattern", "text", "covered"),
    [
        ("uname -a", "uname -a", True),
        ("uname -a", "uname '-a'", True),
        ("uname -a", "uname", False),
        ("uname -a", "uname -a -r", False),
        ("uname -a", "./uname -a", False),
        ("uname -a", "/tmp/uname -a", False),
        ("uname -a", "uname -a; id", False),
        ("uname -a", "Uname -a", False),
        ("systemctl status *", "systemctl status nginx", True),
        ("systemctl status *", "systemctl status --help", False),
        ("systemctl status *", "systemctl status a b", False),
        ("systemctl status *", "systemctl status 'a b'", True),
        ("git log **", "git log --output=/etc/x", True),
        ("git log *", "git log --output=/etc/x", False),
        ("git log **", "git log", True),
        ("ls /srv/*", "ls /srv/x/y", True),
        ("tail -*", "tail -5", True),
        ("tail *", "tail -5", False),
        ("tail *", "tail ''", True),
    ],
)
def test_commands_word_by_word(pattern: str, text: str, covered: bool) -> None:
    assert rule(commands=pattern).covers(command(text)) is covered


def test_scripts_are_covered_by_their_whole_text_alone() -> None:
    allowed = rule(scripts="cd /srv && make test")
    assert allowed.covers(command("cd /srv && make test"))
    assert not allowed.covers(command("cd /srv && make test; id"))
    assert not allowed.covers(command("cd  /srv && make test"))
    assert not rule(scripts="*").covers(ScriptText("ls \\xff", False, "not UTF-8"))
    assert not rule(commands="cd **").covers(command("cd /srv && make test"))
    assert rule(scripts="a\nb").covers(command("a\nb"))


@pytest.mark.parametrize(
    "text",
    [
        "true; rm -rf /",
        "x=1 rm a",
        "r'm' a; b",
        "/bin/rm a | b",
        "sh -c 'x'; `echo r`m",
        "$A /",
        "a*b",
        "e\\val x && y",
    ],
)
def test_a_denied_command_is_met_in_scripts_that_could_run_it(text: str) -> None:
    assert rule(commands="rm **").meets(command(text))


def test_a_script_that_cannot_is_not_met() -> None:
    assert not rule(commands="rm **").meets(command("cd /srv && make format"))
    assert not rule(commands="rm **").meets(command("make alarm-rm-x && true"))


def test_files() -> None:
    read, write = FileOperation.READ, FileOperation.WRITE
    tree = rule(paths=["/srv/app/**"], operations=["read", "write"])
    assert tree.covers(File(read, "/srv/app/a/b"))
    assert tree.covers(File(read, "/srv/app"))
    assert not tree.covers(File(write, "/srv/app"))
    assert not tree.covers(File(read, "/srv/application/x"))
    assert not tree.covers(File(FileOperation.REMOVE, "/srv/app/a"))
    assert not tree.covers(File(read, "/srv"))
    only = rule(paths="/srv/*.log")
    assert only.covers(File(read, "/srv/a.log"))
    assert not only.covers(File(read, "/srv/a/b.log"))
    assert not only.covers(File(write, "/srv/a.log"))
    home = rule(paths=["~/in/**"])
    assert home.covers(File(read, "/srv/people/app/in/x", "/srv/people/app"))
    assert not home.covers(File(read, "/srv/people/application/in/x", "/srv/people/app"))
    assert not home.covers(File(read, "/in/x", ""))
    assert not home.covers(File(read, "/srv/people/app/.ssh/in/x", "/srv/people/app"))
    assert rule(paths="/**").covers(File(read, "/etc/passwd"))
    assert rule(paths="/etc/**").meets(File(FileOperation.LINK, "/etc/x"))


def test_a_copy_is_a_matter_of_paths_and_a_rule_on_the_command_never_allows_it() -> None:
    copy = Copy(("scp", "-t", "/x"))
    assert rule(paths="/srv/x").covers(copy)
    assert not rule(commands=["scp **"], scripts="*").covers(copy)
    assert rule(commands=["scp **"]).meets(copy)
    assert not rule(paths="/**").meets(copy)
    assert str(copy) == "scp -t /x"


def test_variables() -> None:
    assert rule(env="LC_*").covers(Variable("LC_ALL", "C"))
    assert rule(env="MODE=test*").covers(Variable("MODE", "test1"))
    assert not rule(env="MODE=test").covers(Variable("MODE", "prod"))
    for name in ("LD_PRELOAD", "BASH_ENV", "PATH", "BASH_FUNC_ls%%", "GIT_SSH_COMMAND", "PYTHONPATH"):
        assert not rule(env="*").covers(Variable(name, "x"))
        assert rule(env="*").meets(Variable(name, "x"))
    assert rule(env="PATH").covers(Variable("PATH", "/x"))


def test_the_rest_is_off_unless_it_is_named() -> None:
    nothing = rule(commands="ls **")
    for point in (Shell(), Pty(), Forward("a:1"), Subsystem("sftp"), Subsystem("x"), Variable("A", ""), object()):
        assert not nothing.covers(point)
        assert not nothing.meets(point)
    assert rule(shell=True).covers(Shell())
    assert rule(shell=True).covers(Pty())
    assert rule(pty=True).covers(Pty())
    assert not rule(pty=True).covers(Shell())
    assert rule(forward="*.internal:5432").covers(Forward("db.internal:5432"))
    assert not rule(forward="db.internal:5432").covers(Forward("db.internal:22"))
    assert rule(subsystems="netconf").covers(Subsystem("netconf"))
    assert not rule(subsystems="netconf").covers(Subsystem("sftp"))
    assert rule(paths="/x").covers(Subsystem("sftp"))


def test_what_people_read() -> None:
    assert str(rule(commands="ls *", env="LANG", shell=True)) == "`ls *`, a shell, setting `LANG`"
    assert str(Exec(("a", "\x1b[2J"))) == "a \\x1b[2J"
    assert str(File(FileOperation.READ, "/a\n")) == "read /a\\n"


def test_values_of_conditions() -> None:
    found = values([Exec(("a", "b")), Pty()], "a b", {"LANG": "C"}, pty=True)
    assert found == {
        "op.command": "a b",
        "op.argv": ["a", "b"],
        "op.env": {"LANG": "C"},
        "op.paths": [],
        "op.pty": True,
    }
