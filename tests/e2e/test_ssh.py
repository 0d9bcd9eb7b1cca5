"""Stock ssh through the gateway to a real sshd."""

from __future__ import annotations

from tests.ssh import SshRunning


def test_a_command_that_is_allowed_runs(ssh_gateway: SshRunning) -> None:
    run = ssh_gateway.ssh("uname", "-a")
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.startswith(b"Linux ")


def test_a_command_that_is_denied_does_not(ssh_gateway: SshRunning) -> None:
    run = ssh_gateway.ssh("rm -rf /tmp/wicketgate-never")
    assert run.returncode == 126
    assert run.stdout == b""
    assert b"files are not removed by hand" in run.stderr
    denied = ssh_gateway.operations()[-1]
    assert (denied.statement, denied.effect, denied.rule) == ("rm -rf /tmp/wicketgate-never", "deny", "hosts#4")
