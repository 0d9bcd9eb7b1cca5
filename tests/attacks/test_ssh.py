"""Attacks over SSH: through the real gateway, against a real sshd, each refused and on record.

The judge looks from the other side: what was printed holds no canary, nothing was made or changed at the target, and
the attempt stands in the journal as a denial, or the connection as refused.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from paramiko import common
from paramiko.message import Message
from paramiko.sftp import CMD_OPEN, CMD_REALPATH, CMD_STAT, SFTPError, int64

from tests.running import Cloud
from tests.ssh import SshRunning, owned
from wicketgate_gateway.audit.events import RecordingClosed

pytestmark = pytest.mark.slow

GROUND = Path(f"/tmp/wicketgate-ssh-attack-{os.getpid()}")  # another run beside this one has its own
OPEN, VAULT, MARK = GROUND / "open", GROUND / "vault", GROUND / "mark"
SECONDS = 60
"""For whatever must come about; a machine at work takes its time."""
CANARY = "canary-ssh-51c7"
POLICY: dict[str, Any] = {
    "policy": "attacked",
    "targets": ["web-1"],
    "rules": [
        {"allow": {"ssh": {"commands": ["uname -a", "echo *", "cat", f"cat {OPEN}/*", "sleep *", "git log *"]}}},
        {"allow": {"ssh": {"commands": ["tar -tf *", "env"], "env": ["LANG", "LC_*", "*_MODE"]}}},
        {"allow": {"ssh": {"scripts": [f"cd {OPEN} && ls"]}}},
        {"allow": {"ssh": {"paths": [f"{OPEN}/**"], "operations": ["read", "write", "rename", "link"]}}},
        {"deny": {"ssh": {"paths": [f"{OPEN}/private/**"]}}},
        {"deny": {"ssh": {"commands": ["rm **"]}}},
    ],
}


@pytest.fixture(scope="module")
def gateway(make_ssh_gateway: Callable[..., SshRunning]) -> Iterator[SshRunning]:
    """A gateway of their own, and a ground with a canary on it."""
    shutil.rmtree(GROUND, ignore_errors=True)
    for folder in (OPEN / "private", VAULT):
        folder.mkdir(parents=True)
    (VAULT / "key").write_text(CANARY)
    (OPEN / "private" / "key").write_text(CANARY)
    (OPEN / "a.txt").write_text("fine\n")
    (OPEN / "to-vault").symlink_to(VAULT)
    (OPEN / "to-key").symlink_to(VAULT / "key")
    (OPEN / "to-root").symlink_to("/")
    (OPEN / "up").symlink_to("..")
    owned(GROUND)
    yield make_ssh_gateway(policies=[POLICY])
    shutil.rmtree(GROUND, ignore_errors=True)


def connect(gateway: SshRunning, token: str | None = None, target: str = "web-1") -> paramiko.Transport:
    """A client that logged in by its token as password."""
    transport = paramiko.Transport(("127.0.0.1", gateway.ports["ssh"]))
    transport.banner_timeout = transport.auth_timeout = SECONDS
    transport.start_client(timeout=SECONDS)
    transport.auth_password(target, gateway.cloud.bot_token() if token is None else token)
    return transport


@pytest.fixture(scope="module")
def connections() -> Iterator[list[paramiko.Transport]]:
    """The connections that are shared."""
    made: list[paramiko.Transport] = []
    yield made
    for transport in made:
        transport.close()


@pytest.fixture
def client(gateway: SshRunning, connections: list[paramiko.Transport]) -> paramiko.Transport:
    """One connection for those attacks that leave it whole, and another where one did not."""
    if not connections or not connections[-1].is_active():
        connections.append(connect(gateway))
    return connections[-1]


def answer(channel: paramiko.Channel) -> tuple[int, bytes]:
    """The exit status and all that was printed."""
    channel.settimeout(SECONDS)
    channel.shutdown_write()
    said = b"".join(iter(lambda: channel.recv(65536), b""))
    said += b"".join(iter(lambda: channel.recv_stderr(65536), b""))
    status = channel.recv_exit_status()
    channel.close()
    return status, said


def execute(client: paramiko.Transport, command: str | bytes) -> tuple[int, bytes]:
    """One command."""
    channel = client.open_session(timeout=SECONDS)
    channel.exec_command(command)
    return answer(channel)


def untouched() -> None:
    """Nothing happened at the target."""
    assert (VAULT / "key").read_text() == CANARY
    assert (OPEN / "private" / "key").read_text() == CANARY
    assert not MARK.exists()
    assert sorted(os.listdir(VAULT)) == ["key"]


def judged(gateway: SshRunning, before: int, said: bytes) -> None:
    """It is on record as denied, nothing got out, and nothing happened."""
    assert CANARY.encode() not in said
    untouched()
    made = gateway.operations()[before:]
    assert made, "nothing is on record"
    assert [operation.effect for operation in made] == ["deny"] * len(made)


def _ended(gateway: SshRunning, command: str) -> bool:
    """Whether the sessions that ran this command are over, and their recordings closed."""
    ran = {operation.session for operation in gateway.operations() if command in operation.statement}
    return bool(ran) and ran <= {event.session for event in gateway.events() if isinstance(event, RecordingClosed)}


COMMANDS: dict[str, str | bytes] = {
    "semicolon": f"uname -a; touch {MARK}",
    "and": f"uname -a && touch {MARK}",
    "or": f"false || touch {MARK}",
    "background": f"uname -a & touch {MARK}",
    "pipe": f"echo x | tee {MARK}",
    "pipe-to-shell": f"echo 'touch {MARK}' | sh",
    "output-redirection": f"echo x > {MARK}",
    "append": f"echo x >> {MARK}",
    "clobber": f"echo x >| {MARK}",
    "input-redirection": f"cat < {VAULT}/key",
    "here-document": f"cat << E\n`touch {MARK}`\nE",
    "here-string": f"cat <<< $(touch {MARK})",
    "process-substitution": f"cat <(touch {MARK})",
    "dollar-substitution": f"echo $(touch {MARK})",
    "backtick-substitution": f"echo `touch {MARK}`",
    "substitution-in-double-quotes": f'echo "$(touch {MARK})"',
    "backtick-in-double-quotes": f'echo "`touch {MARK}`"',
    "arithmetic": f"echo $(( $(touch {MARK}) 1 ))",
    "parameter-default": f"echo ${{x:-$(touch {MARK})}}",
    "ifs": f"cat$IFS{VAULT}/key",
    "ifs-braces": f"cat${{IFS}}{VAULT}/key",
    "newline": f"uname -a\ntouch {MARK}",
    "carriage-return": f"uname -a\rtouch {MARK}",
    "newline-in-quotes": f"echo 'a\ntouch {MARK}'",
    "nul": f"uname -a\0; touch {MARK}".encode(),
    "backslash-newline": f"uname -a \\\n; touch {MARK}",
    "comment-then-newline": f"uname -a #\ntouch {MARK}",
    "history": "echo !!",
    "brace-expansion": f"cat {{{OPEN}/a.txt,{VAULT}/key}}",
    "glob-in-path": f"cat {GROUND}/v*/key",
    "question-mark": f"cat {GROUND}/vaul?/key",
    "bracket": f"cat {GROUND}/[v]ault/key",
    "tilde": "echo ~root",
    "assignment": f"BASH_ENV={VAULT}/key bash -c true",
    "path-assignment": "PATH=/tmp uname -a",
    "ld-preload-assignment": "LD_PRELOAD=/tmp/x.so uname -a",
    "eval": f"eval touch {MARK}",
    "quoted-eval": f"e''val touch {MARK}",
    "exec-builtin": f"exec touch {MARK}",
    "dot": f". {VAULT}/key",
    "source": f"source {VAULT}/key",
    "command-builtin": f"command touch {MARK}",
    "trap": f"trap 'touch {MARK}' EXIT",
    "function": f"uname() {{ touch {MARK}; }}; uname -a",
    "subshell": f"(touch {MARK})",
    "group": f"{{ touch {MARK}; }}",
    "if": f"if true; then touch {MARK}; fi",
    "negation": f"! touch {MARK}",
    "coproc": f"coproc touch {MARK}",
    "zsh-equals": "echo =uname",
    "denied-name-quoted": f"r'm' -rf {VAULT}",
    "denied-name-escaped": f"r\\m -rf {VAULT}",
    "denied-by-path": f"/bin/rm -rf {VAULT}",
    "other-path": "/tmp/uname -a",
    "relative-path": "./uname -a",
    "trailing-word": "uname -a -r",
    "option-in-a-wildcard": f"cat --show-all {VAULT}/key",
    "option-injection": f"git log --output={MARK}",
    "option-for-a-star": "echo --help",
    "dots-in-a-pattern": f"cat {VAULT}/key",
    "two-words-for-one": f"cat {OPEN}/a.txt {VAULT}/key",
    "tar-runs-programs": f"tar -tf x --to-command=touch\\ {MARK}",
    "case": "UNAME -a",
    "unicode-space": "uname\u00a0-a",
    "unicode-homoglyph": "un\u0430me -a",
    "fullwidth": "\uff55\uff4e\uff41\uff4d\uff45 -a",
    "bidi": "uname -a \u202e",
    "zero-width": "uname\u200b -a",
    "not-utf-8": b"uname -a \xff",
    "overlong-utf-8": b"uname -a \xc0\xae",
    "surrogate": b"uname -a \xed\xa0\x80",
    "escape-sequence": "echo \x1b[2J",
    "unclosed-quote": f"echo 'x; touch {MARK}",
    "empty": "",
    "blanks": "   ",
    "many-words": "echo " + "x " * 5000,
    "script-with-more": f"cd {OPEN} && ls; touch {MARK}",
    "script-with-a-blank": f"cd {OPEN}  && ls",
    "script-in-another-case": f"CD {OPEN} && ls",
    "shell-c": f"sh -c 'touch {MARK}'",
    "env-runs": f"env touch {MARK}",
    "xargs": f"xargs touch {MARK}",
    "scp-program": f"scp -S /tmp/x -f {OPEN}/a.txt",
    "scp-pattern": f"scp -f {VAULT}/*",
    "scp-by-path": f"/usr/bin/scp -f {VAULT}/key",
    "scp-both-ways": f"scp -t -f {VAULT}/key",
    "rsync-server": f"rsync --server --sender -logDtpre.iLsfxC . {VAULT}/",
    "sftp-server": "/usr/lib/openssh/sftp-server",
    "internal-sftp": "internal-sftp",
    "git-upload-pack": f"git-upload-pack '{VAULT}'",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(gateway: SshRunning, client: paramiko.Transport, name: str) -> None:
    before = len(gateway.operations())
    status, said = execute(client, COMMANDS[name])
    assert status == 126, said
    assert (b"`scp -s`" in said) == name.startswith("scp-")
    judged(gateway, before, said)


COPIES: dict[str, tuple[str, bytes]] = {
    "sink-elsewhere": (f"scp -t {VAULT}", b"C0644 1 x\nx\0"),
    "sink-over-a-file": (f"scp -t {VAULT}/key", b"C0644 1 key\nx\0"),
    "sink-by-a-link": (f"scp -t {OPEN}/to-vault", b"C0644 1 x\nx\0"),
    "sink-over-a-linked-file": (f"scp -t {OPEN}/to-key", b"C0644 1 x\nx\0"),
    "sink-in-what-is-denied": (f"scp -t {OPEN}/private", b"C0644 1 x\nx\0"),
    "sink-name-with-dots": (f"scp -t {OPEN}", b"C0644 1 ../mark\nx\0"),
    "sink-name-of-dots": (f"scp -r -t {OPEN}", b"D0755 0 ..\nC0644 1 mark\nx\0E\n"),
    "sink-absolute-name": (f"scp -t {OPEN}", f"C0644 1 {MARK}\nx\0".encode()),
    "sink-folder-uninvited": (f"scp -t {OPEN}", b"D0755 0 new\nE\n"),
    "sink-special-bits": (f"scp -p -t {OPEN}", b"C4755 1 new\nx\0"),
    "sink-huge": (f"scp -t {OPEN}", b"C0644 99999999999999999999 new\nx"),
    "sink-no-protocol": (f"scp -t {OPEN}", b"GET / HTTP/1.1\r\n\r\n"),
    "sink-long-line": (f"scp -t {OPEN}", b"C0644 1 " + b"x" * 20_000),
    "source-elsewhere": (f"scp -f {VAULT}/key", bytes(20)),
    "source-tree": (f"scp -r -f {VAULT}", bytes(20)),
    "source-by-a-link": (f"scp -f {OPEN}/to-key", bytes(20)),
    "source-by-dots": (f"scp -f {OPEN}/../vault/key", bytes(20)),
    "source-tree-with-what-is-denied": (f"scp -r -f {OPEN}/private", bytes(20)),
    "source-of-a-root": ("scp -r -f /", bytes(20)),
    "source-of-a-device": ("scp -f /dev/zero", bytes(20)),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_by_the_old_protocol(gateway: SshRunning, client: paramiko.Transport, name: str) -> None:
    command, sent = COPIES[name]
    before = len(gateway.operations())
    channel = client.open_session(timeout=SECONDS)
    channel.exec_command(command)
    with contextlib.suppress(OSError):  # it may be over by then
        channel.sendall(sent)
    status, said = answer(channel)
    assert status in (1, 126), said
    assert CANARY.encode() not in said
    untouched()
    assert sorted(os.listdir(OPEN)) == ["a.txt", "private", "to-key", "to-root", "to-vault", "up"]
    made = gateway.operations()[before:]
    assert made[0].statement == command
    assert not [
        o for o in made[1:] if o.effect == "allow" and not all(p.startswith(("read", "write")) for p in o.relations)
    ]


@pytest.mark.parametrize("name", [b"sftp\xff", b"\xff", b"sftp\xc0\x80", b"s\xe4ftp"])
def test_subsystems_that_are_no_text(gateway: SshRunning, client: paramiko.Transport, name: bytes) -> None:
    before = len(gateway.operations())
    channel = client.open_session(timeout=SECONDS)
    channel.invoke_subsystem(name)
    status, said = answer(channel)
    assert status == 126, said
    judged(gateway, before, said)


@pytest.mark.parametrize("size", [12_000, 13_000, 40_000, 100_000, 140_000, 250_000, 300_000])
def test_long_commands(gateway: SshRunning, size: int) -> None:
    transport = connect(gateway)
    other = connect(gateway)
    before = len(gateway.operations())
    status = -1
    with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
        status, _ = execute(transport, "touch " + "x" * size)
    assert status in (-1, 126)
    if status == 126:
        judged(gateway, before, b"")
    transport.close()
    untouched()
    # Other sessions, which share the tunnel, go on.
    assert execute(other, "uname -a")[0] == 0
    other.close()


ENVIRONMENT = [
    "LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "PATH", "SHELLOPTS", "PS4", "PROMPT_COMMAND",
    "BASH_FUNC_uname%%",
    "GIT_SSH_COMMAND", "PYTHONSTARTUP", "PERL5OPT", "NODE_OPTIONS", "LESSOPEN", "HOME", "IFS", "OTHER", "LANG ",
]  # fmt: skip


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_variables_do_not_pass(gateway: SshRunning, client: paramiko.Transport, name: str) -> None:
    channel = client.open_session(timeout=SECONDS)
    channel.set_environment_variable(name, "() { :; }; canary-env")
    channel.exec_command("env")
    status, said = answer(channel)
    assert status == 0
    assert b"canary-env" not in said
    assert not [point for point in gateway.operations()[-1].relations if point.startswith("env ")]


# SFTP


@pytest.fixture
def sftp(client: paramiko.Transport) -> Iterator[paramiko.SFTPClient]:
    """A session of SFTP."""
    made = paramiko.SFTPClient.from_transport(client)
    assert made is not None
    yield made
    made.close()


FILES: dict[str, Callable[[paramiko.SFTPClient], object]] = {
    "read-elsewhere": lambda s: s.open(f"{VAULT}/key").read(),
    "dots": lambda s: s.open(f"{OPEN}/../vault/key").read(),
    "many-dots": lambda s: s.open(f"{OPEN}/x/../../vault/key").read(),
    "link-to-file": lambda s: s.open(f"{OPEN}/to-key").read(),
    "link-to-folder": lambda s: s.open(f"{OPEN}/to-vault/key").read(),
    "link-to-root": lambda s: s.open(f"{OPEN}/to-root/etc/passwd").read(),
    "link-up": lambda s: s.open(f"{OPEN}/up/vault/key").read(),
    "link-then-dots": lambda s: s.open(f"{OPEN}/to-vault/../vault/key").read(),
    "denied-within": lambda s: s.open(f"{OPEN}/private/key").read(),
    "denied-by-dots": lambda s: s.open(f"{OPEN}/private/../private/key").read(),
    "denied-double-slash": lambda s: s.open(f"{OPEN}//private///key").read(),
    "write-elsewhere": lambda s: s.open(str(MARK), "w"),
    "write-by-link": lambda s: s.open(f"{OPEN}/to-vault/new", "w"),
    "append-elsewhere": lambda s: s.open(f"{VAULT}/key", "a"),
    "truncate-by-link": lambda s: s.open(f"{OPEN}/to-key", "w"),
    "list-elsewhere": lambda s: s.listdir(str(VAULT)),
    "list-by-link": lambda s: s.listdir(f"{OPEN}/to-vault"),
    "stat-elsewhere": lambda s: s.stat(f"{VAULT}/key"),
    "lstat-by-folder-link": lambda s: s.lstat(f"{OPEN}/to-vault/key"),
    "readlink-elsewhere": lambda s: s.readlink("/proc/self/exe"),
    "realpath-elsewhere": lambda s: s.normalize(f"{OPEN}/to-vault"),
    "remove": lambda s: s.remove(f"{OPEN}/a.txt"),
    "remove-by-link": lambda s: s.remove(f"{OPEN}/to-vault/key"),
    "rmdir": lambda s: s.rmdir(f"{OPEN}/private"),
    "mkdir-elsewhere": lambda s: s.mkdir(f"{VAULT}/x"),
    "rename-out": lambda s: s.rename(f"{OPEN}/a.txt", str(MARK)),
    "rename-in": lambda s: s.rename(f"{VAULT}/key", f"{OPEN}/stolen"),
    "posix-rename-in": lambda s: s.posix_rename(f"{VAULT}/key", f"{OPEN}/stolen"),
    "symlink-out": lambda s: s.symlink(f"{VAULT}/key", f"{OPEN}/mine"),
    "symlink-relative-out": lambda s: s.symlink("../vault/key", f"{OPEN}/mine"),
    "symlink-elsewhere": lambda s: s.symlink(f"{OPEN}/a.txt", str(MARK)),
    "chmod": lambda s: s.chmod(f"{OPEN}/a.txt", 0o777),
    "chown": lambda s: s.chown(f"{OPEN}/a.txt", 0, 0),
    "truncate": lambda s: s.truncate(f"{OPEN}/a.txt", 0),
    "utime": lambda s: s.utime(f"{OPEN}/a.txt", (0, 0)),
    "proc": lambda s: s.open("/proc/self/environ").read(),
    "home": lambda s: s.open(".ssh/authorized_keys", "w"),
    "tilde": lambda s: s.open("~/.bashrc", "w"),
    "hard-link": lambda s: extended(s, b"hardlink@openssh.com", f"{VAULT}/key", f"{OPEN}/hard"),
    "copy-data": lambda s: extended(s, b"copy-data", f"{VAULT}/key", f"{OPEN}/copy"),
    "other-home": lambda s: extended(s, b"expand-path@openssh.com", "~root/x"),
    "users-by-id": lambda s: extended(s, b"users-groups-by-id@openssh.com", "0", "0"),
}


def extended(client: paramiko.SFTPClient, name: bytes, *arguments: str) -> None:
    """An extended request."""
    kind, message = client._request(200, name, *arguments)  # pyright: ignore[reportPrivateUsage]
    if kind == 101:
        client._convert_status(message)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("name", FILES)
def test_files(gateway: SshRunning, sftp: paramiko.SFTPClient, name: str) -> None:
    said: object = b""
    with pytest.raises((OSError, SFTPError)):
        said = FILES[name](sftp)
    assert CANARY not in str(said)
    untouched()
    assert (OPEN / "a.txt").read_text() == "fine\n"
    assert (OPEN / "a.txt").stat().st_mode & 0o777 == 0o644
    assert sorted(os.listdir(OPEN)) == ["a.txt", "private", "to-key", "to-root", "to-vault", "up"]


def test_paths_that_are_no_text(sftp: paramiko.SFTPClient) -> None:
    for path in (b"/tmp/\xff", b"/tmp/a\0/etc/passwd", b"/" + b"x" * 3000):
        for command in (CMD_OPEN, CMD_STAT, CMD_REALPATH):
            arguments = (1, paramiko.SFTPAttributes()) if command == CMD_OPEN else ()
            with pytest.raises((OSError, SFTPError)):
                sftp._request(command, path, *arguments)  # pyright: ignore[reportPrivateUsage]


def test_a_handle_that_was_not_given(sftp: paramiko.SFTPClient) -> None:
    for handle in (b"\0\0\0\0", b"\0\0\0\1", b"x" * 200):
        with pytest.raises((OSError, SFTPError)):
            sftp._request(5, handle, int64(0), 100)  # pyright: ignore[reportPrivateUsage]


def test_a_handle_for_reading_does_not_write(sftp: paramiko.SFTPClient) -> None:
    with sftp.open(f"{OPEN}/a.txt", "r") as file, pytest.raises((OSError, SFTPError)):
        sftp._request(6, file.handle, int64(0), b"changed")  # type: ignore[attr-defined]
    assert (OPEN / "a.txt").read_text() == "fine\n"


@pytest.mark.parametrize(
    "packet",
    [
        b"\0\0\0\0\1",
        b"\xff\xff\xff\xff\1",
        struct.pack(">IBI", 5, 3, 3),
        struct.pack(">IBI", 5, 1, 3) * 2,
        struct.pack(">IBI", 5, 1, 3) + struct.pack(">IBII", 9, 3, 1, 0xFFFFFFF0),
        struct.pack(">IBI", 5, 1, 3) + struct.pack(">IB", 3, 3) + b"ab",
    ],
)
def test_sftp_packets_that_are_broken(gateway: SshRunning, packet: bytes) -> None:
    transport = connect(gateway)
    channel = transport.open_session(timeout=SECONDS)
    channel.invoke_subsystem("sftp")
    channel.sendall(packet)
    channel.settimeout(SECONDS)
    status = channel.recv_exit_status()
    assert status == 255
    transport.close()
    untouched()


# Channels


@pytest.mark.parametrize(
    "name",
    [
        "shell",
        "netconf",
        "sftp; touch /tmp/x",
        "sftp\0x",
        "SFTP",
        "sftp-server",
        "",
        "/bin/sh",
        "../bin/sh",
        "x" * 5000,
    ],
)
def test_subsystems(gateway: SshRunning, name: str) -> None:
    transport = connect(gateway)
    before = len(gateway.operations())
    channel = transport.open_session(timeout=SECONDS)
    channel.invoke_subsystem(name)
    status, said = answer(channel)
    assert status == 126
    judged(gateway, before, said)
    transport.close()


def test_a_shell_is_off(gateway: SshRunning, client: paramiko.Transport) -> None:
    for pty in (False, True):
        before = len(gateway.operations())
        channel = client.open_session(timeout=SECONDS)
        if pty:
            channel.get_pty()
        channel.invoke_shell()
        with contextlib.suppress(OSError):  # it may be over by then
            channel.sendall(f"touch {MARK}\nexit\n".encode())
        status, said = answer(channel)
        assert status == 126
        judged(gateway, before, said)


def test_a_terminal_is_off(gateway: SshRunning, client: paramiko.Transport) -> None:
    before = len(gateway.operations())
    channel = client.open_session(timeout=SECONDS)
    channel.get_pty()
    channel.exec_command("uname -a")
    status, said = answer(channel)
    assert status == 126
    judged(gateway, before, said)


@pytest.mark.parametrize("second", ["exec", "shell", "subsystem", "pty"])
def test_a_second_request_on_a_channel(gateway: SshRunning, second: str) -> None:
    transport = connect(gateway)
    before = len(gateway.operations())
    channel = transport.open_session(timeout=SECONDS)
    channel.exec_command("sleep 1")
    # On record before anything else is: what is late would be taken for the next test's.
    gateway.wait(lambda: len(gateway.operations()) > before)
    with contextlib.suppress(paramiko.SSHException, OSError):
        if second == "exec":
            channel.exec_command(f"touch {MARK}")
        elif second == "shell":
            channel.invoke_shell()
        elif second == "subsystem":
            channel.invoke_subsystem("sftp")
        else:
            channel.get_pty()
    time.sleep(1.2)  # what it would run is over by then
    transport.close()
    untouched()
    assert [operation.statement for operation in gateway.operations()[before:]] == ["sleep 1"]


def test_exec_after_shell(gateway: SshRunning) -> None:
    transport = connect(gateway)
    channel = transport.open_session(timeout=SECONDS)
    channel.invoke_shell()
    with pytest.raises((paramiko.SSHException, OSError)):
        channel.exec_command(f"touch {MARK}")
    transport.close()
    untouched()


def test_a_variable_after_the_command(gateway: SshRunning) -> None:
    transport = connect(gateway)
    channel = transport.open_session(timeout=SECONDS)
    channel.exec_command("env")
    with contextlib.suppress(paramiko.SSHException, OSError):
        channel.set_environment_variable("LANG", "canary-late")
    _, said = answer(channel)
    assert b"canary-late" not in said
    transport.close()


def test_many_channels_at_once(gateway: SshRunning) -> None:
    transport = connect(gateway)
    channels: list[paramiko.Channel] = []
    with contextlib.suppress(paramiko.SSHException):
        for _ in range(200):
            channel = transport.open_session(timeout=SECONDS)
            channel.exec_command("sleep 5")
            channels.append(channel)
    assert 0 < len(channels) <= 64
    transport.close()
    # Its operations come on record while it ends; the next test counts its own.
    gateway.wait(lambda: _ended(gateway, "sleep 5"), 60)


@pytest.mark.parametrize(
    "where", [("127.0.0.1", 22), ("localhost", 1), ("169.254.169.254", 80), ("::1", 22), ("a b", 1)]
)
def test_forwarding_is_off(gateway: SshRunning, client: paramiko.Transport, where: tuple[str, int]) -> None:
    before = len(gateway.operations())
    said = b""
    with contextlib.suppress(paramiko.SSHException, OSError):
        channel = client.open_channel("direct-tcpip", where, ("127.0.0.1", 1), timeout=SECONDS)
        channel.settimeout(SECONDS)
        said = channel.recv(100)
    assert said == b""
    gateway.wait(lambda: len(gateway.operations()) > before)
    judged(gateway, before, said)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("direct-streamlocal@openssh.com", ("/run/docker.sock", "", 0)),
        ("forwarded-tcpip", ("127.0.0.1", 22, "127.0.0.1", 1)),
        ("x11", ("127.0.0.1", 1)),
        ("auth-agent@openssh.com", ()),
        ("tun@openssh.com", (1, 0x7FFFFFFF)),
        ("session@other", ()),
    ],
)
def test_other_channels(client: paramiko.Transport, kind: str, more: tuple[Any, ...]) -> None:
    message = Message()
    message.add_byte(common.cMSG_CHANNEL_OPEN)
    message.add_string(kind)
    number = 900 + len(kind)
    for value in (number, 1 << 20, 32768):
        message.add_int(value)
    for value in more:
        message.add_string(value) if isinstance(value, str) else message.add_int(value)
    channel = paramiko.Channel(number)
    client._channels.put(number, channel)  # pyright: ignore[reportPrivateUsage]
    client.channel_events[number] = event = __import__("threading").Event()
    channel._set_transport(client)  # pyright: ignore[reportPrivateUsage]
    client._send_user_message(message)  # pyright: ignore[reportPrivateUsage]
    assert event.wait(SECONDS)
    assert client._channels.get(number) is None  # pyright: ignore[reportPrivateUsage]


def test_listening_is_off(client: paramiko.Transport) -> None:
    with pytest.raises(paramiko.SSHException):
        client.request_port_forward("127.0.0.1", 0)
    for name in ("streamlocal-forward@openssh.com", "cancel-tcpip-forward", "hostkeys-prove-00@openssh.com"):
        assert client.global_request(name, ("/tmp/x",), wait=True) is None


def test_agent_and_x11_forwarding_are_off(gateway: SshRunning, client: paramiko.Transport) -> None:
    channel = client.open_session(timeout=SECONDS)
    with pytest.raises((paramiko.SSHException, OSError)):
        channel.request_x11()
    channel = client.open_session(timeout=SECONDS)
    with contextlib.suppress(paramiko.SSHException, OSError):
        channel.request_forward_agent(lambda _: None)
    channel.exec_command("env")
    _, said = answer(channel)
    assert b"SSH_AUTH_SOCK" not in said
    assert b"DISPLAY" not in said


# Log-in


def test_nothing_is_open_before_the_log_in(gateway: SshRunning) -> None:
    transport = paramiko.Transport(("127.0.0.1", gateway.ports["ssh"]))
    transport.banner_timeout = transport.auth_timeout = SECONDS
    transport.start_client(timeout=SECONDS)
    transport.authenticated = True  # what a client thinks of itself
    with pytest.raises((paramiko.SSHException, EOFError, OSError)):
        transport.open_session(timeout=5)
    transport.close()


def bad_log_ins(cloud: Cloud) -> dict[str, Callable[[paramiko.Transport], object]]:
    """Ways in that are none."""
    key = paramiko.ECDSAKey.generate()
    return {
        "none": lambda t: t.auth_none("web-1"),
        "key": lambda t: t.auth_publickey("web-1", key),
        "interactive": lambda t: t.auth_interactive("web-1", lambda *_: ["x"]),
        "empty": lambda t: t.auth_password("web-1", ""),
        "word": lambda t: t.auth_password("web-1", "password"),
        "long": lambda t: t.auth_password("web-1", "x" * 30000),
        "other-audience": lambda t: t.auth_password("web-1", cloud.mint(aud="api://other")),
        "no-role": lambda t: t.auth_password("web-1", cloud.mint(roles=None)),
        "agents-role": lambda t: t.auth_password("web-1", cloud.mint(roles=["Agent.Connect"])),
        "expired": lambda t: t.auth_password("web-1", cloud.mint(exp=int(time.time()) - 3600)),
        "unsigned": lambda t: t.auth_password("web-1", cloud.bot_token().rpartition(".")[0] + "."),
        "other-bot": lambda t: t.auth_password("web-1", cloud.bot_token("stranger")),
        "other-target": lambda t: t.auth_password("hidden-1", cloud.bot_token()),
        "no-target": lambda t: t.auth_password("nowhere", cloud.bot_token()),
        "empty-user": lambda t: t.auth_password("", cloud.bot_token()),
        "root": lambda t: t.auth_password("root", cloud.bot_token()),
        "user-with-nul": lambda t: t.auth_password("web-1\0x", cloud.bot_token()),
    }


@pytest.mark.parametrize(
    "name",
    [
        "none", "key", "interactive", "empty", "word", "long", "other-audience", "no-role", "agents-role", "expired",
        "unsigned", "other-bot", "other-target", "no-target", "empty-user", "root", "user-with-nul",
    ],
)  # fmt: skip
def test_log_ins(gateway: SshRunning, running_cloud: Cloud, name: str) -> None:
    transport = paramiko.Transport(("127.0.0.1", gateway.ports["ssh"]))
    transport.banner_timeout = transport.auth_timeout = SECONDS
    transport.start_client(timeout=SECONDS)
    started = sum(type(e).__name__ == "SessionStarted" for e in gateway.events())
    with pytest.raises((paramiko.SSHException, EOFError, OSError)):
        bad_log_ins(running_cloud)[name](transport)
    assert not transport.is_authenticated()
    transport.close()
    assert sum(type(e).__name__ == "SessionStarted" for e in gateway.events()) == started


def test_tries_are_counted(gateway: SshRunning, running_cloud: Cloud) -> None:
    transport = paramiko.Transport(("127.0.0.1", gateway.ports["ssh"]))
    transport.banner_timeout = transport.auth_timeout = SECONDS
    transport.start_client(timeout=SECONDS)
    for _ in range(3):
        with pytest.raises(paramiko.SSHException):
            transport.auth_password("web-1", "wrong")
    with pytest.raises((paramiko.SSHException, EOFError, OSError)):
        transport.auth_password("web-1", running_cloud.bot_token())
    transport.close()


# The protocol


RAW: dict[str, bytes] = {
    "ssh-1": b"SSH-1.5-x\r\n",
    "no-version": b"GET / HTTP/1.1\r\n\r\n" * 2000,
    "long-version": b"SSH-2.0-" + b"x" * 20000 + b"\r\n",
    "packet-too-long": b"SSH-2.0-x\r\n" + struct.pack(">I", 0x7FFFFFFF) + b"x" * 100,
    "packet-of-nothing": b"SSH-2.0-x\r\n" + struct.pack(">IB", 0, 0) * 10,
    "padding-over-the-packet": b"SSH-2.0-x\r\n" + struct.pack(">IB", 12, 255) + b"x" * 100,
    "channel-before-keys": b"SSH-2.0-x\r\n" + struct.pack(">IBB", 12, 10, 90) + b"x" * 10,
    "log-in-before-keys": b"SSH-2.0-x\r\n" + struct.pack(">IBB", 12, 10, 50) + b"x" * 10,
    "success-before-keys": b"SSH-2.0-x\r\n" + struct.pack(">IBB", 12, 10, 52) + b"x" * 10,
    "newkeys-before-keys": b"SSH-2.0-x\r\n" + struct.pack(">IBB", 12, 10, 21) + b"x" * 10,
    "tls-garbage": b"\x16\x03\x01\xff\xff" + b"x" * 1000,
    "nothing": b"",
}


@pytest.mark.parametrize("name", RAW)
def test_bytes_that_are_no_ssh(gateway: SshRunning, name: str) -> None:
    with socket.create_connection(("127.0.0.1", gateway.ports["ssh"]), SECONDS) as sock:
        sock.sendall(RAW[name])
        sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while sock.recv(65536):
                pass
    assert connect_works(gateway)


def test_strict_key_exchange_refuses_what_is_slipped_in(gateway: SshRunning) -> None:
    """CVE-2023-48795 (Terrapin): an IGNORE before the keys are in use would shift the sequence numbers."""
    with socket.create_connection(("127.0.0.1", gateway.ports["ssh"]), SECONDS) as sock:
        sock.sendall(b"SSH-2.0-terrapin\r\n")
        names = [
            b"curve25519-sha256,kex-strict-c-v00@openssh.com", b"ssh-ed25519", b"chacha20-poly1305@openssh.com",
            b"chacha20-poly1305@openssh.com", b"hmac-sha2-256", b"hmac-sha2-256", b"none", b"none", b"", b"",
        ]  # fmt: skip
        body = b"\x14" + bytes(16) + b"".join(struct.pack(">I", len(n)) + n for n in names) + bytes(5)
        sock.sendall(packet(b"\x02" + struct.pack(">I", 0)) + packet(body))
        said = b""
        sock.settimeout(SECONDS)
        with contextlib.suppress(ConnectionError):
            while more := sock.recv(65536):
                said += more
    assert b"kex-strict-s-v00@openssh.com" in said
    assert connect_works(gateway)


def packet(payload: bytes) -> bytes:
    """A packet without encryption."""
    padding = 8 - (len(payload) + 5) % 8
    padding += 8 if padding < 4 else 0
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


def connect_works(gateway: SshRunning) -> bool:
    """Whether the gateway still serves others."""
    transport = connect(gateway)
    status, said = execute(transport, "uname -a")
    transport.close()
    return status == 0 and said.startswith(b"Linux")


def test_only_strong_algorithms_are_offered(gateway: SshRunning) -> None:
    for name, attribute, values in (
        ("kex", "kex", ("diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1")),
        ("ciphers", "ciphers", ("aes128-cbc", "3des-cbc")),
        ("macs", "digests", ("hmac-sha1", "hmac-md5")),
    ):
        for value in values:
            transport = paramiko.Transport(("127.0.0.1", gateway.ports["ssh"]))
            with contextlib.suppress(ValueError):
                setattr(transport.get_security_options(), attribute, (value,))
                with pytest.raises((paramiko.SSHException, EOFError, OSError)):
                    transport.start_client(timeout=SECONDS)
            transport.close()
            assert name


def test_rekeying_in_the_middle(gateway: SshRunning) -> None:
    transport = connect(gateway)
    channel = transport.open_session(timeout=SECONDS)
    first = len(gateway.operations())
    channel.exec_command("cat")
    gateway.wait(lambda: len(gateway.operations()) > first)
    for number in range(5):
        channel.sendall(b"x" * 1000)
        transport.renegotiate_keys()
        before = len(gateway.operations())
        status, said = execute(transport, f"touch {MARK}-{number}")
        assert status == 126
        judged(gateway, before, said)
        # Its reader's thread, were it still at that channel's end, would wait for the keys that it has to read itself.
        transport.global_request("ping@example.com", wait=True)
    transport.close()


PREFACES: dict[str, bytes] = {
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "ssh": b"SSH-2.0-x\r\n",
    "no-token": b"WICKETGATE-SSH/1\nconnect web-1\n\n",
    "bad-token": b"WICKETGATE-SSH/1\nconnect web-1\nx.y.z\n",
    "no-target": b"WICKETGATE-SSH/1\nconnect nowhere\nTOKEN\n",
    "hidden-target": b"WICKETGATE-SSH/1\nconnect hidden-1\nTOKEN\n",
    "two-targets": b"WICKETGATE-SSH/1\nconnect web-1 hidden-1\nTOKEN\n",
    "target-with-dots": b"WICKETGATE-SSH/1\nconnect ../web-1\nTOKEN\n",
    "long": b"WICKETGATE-SSH/1\nconnect " + b"x" * 50000,
    "nul": b"WICKETGATE-SSH/1\nconnect web-1\0\nTOKEN\n",
    "other-version": b"WICKETGATE-SSH/9\nconnect web-1\nTOKEN\n",
}


@pytest.mark.parametrize("name", PREFACES)
def test_prefaces(gateway: SshRunning, name: str) -> None:
    context = ssl.create_default_context(cafile=str(gateway.ca_file))
    started = sum(type(e).__name__ == "SessionStarted" for e in gateway.events())
    with (
        socket.create_connection(("127.0.0.1", gateway.ports["ssh"]), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(PREFACES[name].replace(b"TOKEN", gateway.cloud.bot_token().encode()) + b"SSH-2.0-x\r\n")
        said = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
            while more := sock.recv(65536):
                said += more
    assert not said.startswith(b"ok")
    assert b"SSH-2.0" not in said
    assert sum(type(e).__name__ == "SessionStarted" for e in gateway.events()) == started


def test_silent_clients_hold_up_nobody(gateway: SshRunning) -> None:
    silent = [socket.create_connection(("127.0.0.1", gateway.ports["ssh"]), SECONDS) for _ in range(60)]
    try:
        for sock in silent[:20]:
            sock.sendall(b"SSH-2.0-silent\r\n")
        for sock in silent[20:40]:
            sock.sendall(b"\x16")
        assert connect_works(gateway)
    finally:
        for sock in silent:
            sock.close()


def test_a_client_that_does_not_read_harms_no_other(gateway: SshRunning) -> None:
    deaf = connect(gateway)
    channel = deaf.open_session(window_size=32768, timeout=SECONDS)
    channel.exec_command(f"cat {OPEN}/a.txt")
    busy = deaf.open_session(timeout=SECONDS)
    busy.exec_command("cat")
    with contextlib.suppress(TimeoutError, OSError):
        busy.settimeout(0.2)
        for _ in range(400):
            busy.sendall(b"x" * 32768)
    assert connect_works(gateway)
    deaf.close()


@pytest.mark.parametrize("size", [70_000, 200_000])
def test_a_huge_name_or_token_costs_no_other_client_anything(
    gateway: SshRunning, client: paramiko.Transport, size: int
) -> None:
    """Both go over the link that all clients share: the one who sends them is no bot yet."""
    for name, token in (("x" * size, "t"), ("web-1", "t" * size), ("\u4e2d" * (size // 3), "\u4e2d" * (size // 3))):
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            connect(gateway, token, name).close()
    assert execute(client, "uname -a")[0] == 0
    other = connect(gateway)
    assert execute(other, "uname -a")[0] == 0
    other.close()


@pytest.mark.parametrize("filler", ["x", "\x01", "\u4e2d", "'"])
@pytest.mark.parametrize("kind", ["exec", "subsystem", "env", "pty", "forward"])
def test_a_huge_request_costs_no_other_channel_anything(
    gateway: SshRunning, client: paramiko.Transport, kind: str, filler: str
) -> None:
    """What opens a channel goes over the link and the tunnel that all sessions share."""
    other = connect(gateway)
    neighbour = other.open_session(timeout=SECONDS)
    neighbour.exec_command("cat")
    text = filler * (30_000 // len(filler.encode()))
    with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
        if kind == "forward":
            client.open_channel("direct-tcpip", (text, 1), ("127.0.0.1", 1), timeout=SECONDS)
        else:
            channel = client.open_session(timeout=SECONDS)
            if kind == "env":
                for number in range(40):
                    channel.set_environment_variable(f"LC_{number}", text[:900])
                    channel.set_environment_variable(text[:900], "x")
            if kind == "pty":
                channel.get_pty(text)
            if kind == "subsystem":
                channel.invoke_subsystem(text)
            else:
                channel.exec_command(text if kind == "exec" else "uname -a")
            status, said = answer(channel)
            assert CANARY.encode() not in said
            assert status != 0 or kind in ("env", "pty")
    neighbour.sendall(b"still here")
    assert answer(neighbour) == (0, b"still here")
    other.close()
    untouched()
