"""What parses to a certain argv does so as real shells read it; everything else is a script."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wicketgate_gateway.wire.ssh.words import MAX_COMMAND, Command, Script, quote, read

PLAIN = [
    ("uname -a", ("uname", "-a")),
    ("  ls\t-l  /srv ", ("ls", "-l", "/srv")),
    ("git-upload-pack 'team/shop.git'", ("git-upload-pack", "team/shop.git")),
    ('echo "a b" c', ("echo", "a b", "c")),
    ("echo a\\ b", ("echo", "a b")),
    ("echo 'a'\"b\"c", ("echo", "abc")),
    ("echo ''", ("echo", "")),
    ("echo '$HOME `x` ; | &'", ("echo", "$HOME `x` ; | &")),
    ("rsync --server -vlogDtpre.iLsfxCIvu . /srv/in", ("rsync", "--server", "-vlogDtpre.iLsfxCIvu", ".", "/srv/in")),
    ("ls /srv/größe", ("ls", "/srv/größe")),
    ("echo a=b", ("echo", "a=b")),
]
SCRIPTS = [
    "",
    "   ",
    "a; b",
    "a && b",
    "a | sh",
    "a & b",
    "a > /etc/x",
    "a < /etc/x",
    "echo $HOME",
    "echo ${IFS}",
    "cat$IFS/etc/x",
    "echo `id`",
    'echo "$(id)"',
    'echo "`id`"',
    "echo *",
    "echo ?",
    "echo [a]",
    "echo {a,b}",
    "echo ~",
    "~/x",
    "echo ~root",
    "a\nb",
    "a\rb",
    "'a\nb'",
    "a # b",
    "!!",
    "echo '!!'",
    'echo "!"',
    "FOO=1 uname",
    "PATH=/tmp uname",
    "=ls",
    "echo =ls",
    "if true",
    "while true",
    "time ls",
    "! ls",
    "{ ls",
    "[[ a",
    "eval ls",
    "exec ls",
    ". /tmp/x",
    "source /tmp/x",
    "command ls",
    "alias ls=x",
    "export A=1",
    "'unclosed",
    '"unclosed',
    "back\\",
    "a\\\nb",
    'echo "a\\b"',
    "e'va'l ls",
    "\\eval ls",
    '"eval" ls',
    "\\;x",
    "(ls)",
    "ls )",
    "echo ^x^y",
    "%1",
    "-c ls",
    "a\x00b",
    "a\x1b[2Jb",
    "a\x7fb",
    "ls\u00a0-l",
    "ls\u2003-l",
    "ls \u202egpj",
    "ls \u200b",
    "l\u0301s",
    "a\x0bb",
    "a\x0cb",
    "ls\u2028x",
    "cd /srv",
]


@pytest.mark.parametrize(("text", "words"), PLAIN)
def test_a_plain_command_has_its_words(text: str, words: tuple[str, ...]) -> None:
    assert read(text.encode()) == Command(text, words)


@pytest.mark.parametrize("text", SCRIPTS)
def test_whatever_else_is_a_script(text: str) -> None:
    found = read(text.encode())
    assert isinstance(found, Script), found
    assert found.why


def test_what_is_not_text_cannot_be_matched_at_all() -> None:
    for raw in (b"ls \xff", b"ls \xc0\xaf", b"a\0b", b"ls " + b"x" * MAX_COMMAND, b"ls \xed\xa0\x80"):
        found = read(raw)
        assert isinstance(found, Script)
        assert not found.exact


SHELLS = [found for name in ("dash", "bash", "zsh", "busybox", "ksh", "mksh") if (found := shutil.which(name))]


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=60, deadline=None)
@given(text=st.text(st.sampled_from("ab -='\"\\$;|&*?[]{}()~!#\n\t<>`%^@:,.é/"), min_size=1, max_size=14))
def test_a_command_is_what_real_shells_make_of_it(shell: str, text: str) -> None:
    found = read(b"printf " + text.encode())
    if not isinstance(found, Command):
        return
    rest = text
    arguments = [shell, *(["sh"] if shell.endswith("busybox") else []), "-c"]
    script = 'args() { for x in "$@"; do printf \'%s\\0\' "$x"; done; }; args ' + rest
    run = subprocess.run([*arguments, script], capture_output=True, timeout=10, check=True)
    assert run.stdout.decode() == "".join(f"{word}\0" for word in found.words[1:])


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_quoted_words_come_back(words: list[str]) -> None:
    found = read(quote(tuple(words)).encode("utf-8", "surrogatepass"))
    if isinstance(found, Command):
        assert found.words == tuple(words)
