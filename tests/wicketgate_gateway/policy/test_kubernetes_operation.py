"""From requests to points."""

from __future__ import annotations

import pytest

from wicketgate_gateway.policy.kubernetes import UNKNOWN
from wicketgate_gateway.policy.kubernetes_operation import command_of, point_of
from wicketgate_gateway.policy.ssh import Exec, ScriptText, Shell
from wicketgate_gateway.wire.kubernetes import body
from wicketgate_gateway.wire.kubernetes.request import RequestError, understand


@pytest.mark.parametrize(
    ("argv", "stdin", "expected"),
    [
        (("ls", "-l"), False, Exec(("ls", "-l"))),
        (("sh", "-c", "ls -l"), False, Exec(("ls", "-l"))),
        (("/bin/sh", "-c", "ls -l | wc"), False, ScriptText),
        (("sh",), False, Shell()),
        (("bash",), True, Shell()),
        (("bash", "-s"), True, Shell()),
        (("bash", "script.sh"), False, ScriptText),
        (("busybox", "sh", "-c", "id"), False, Exec(("id",))),
        (("sh", "-c", "sh"), True, Shell()),
        (("python3",), True, Shell()),
        (("python3", "x.py"), True, Exec(("python3", "x.py"))),
        (("cat",), True, Exec(("cat",))),
        (("tar", "xmf", "-", "-C", "/tmp"), True, Exec(("tar", "xmf", "-", "-C", "/tmp"))),
        ((), False, None),
        (("",), False, None),
    ],
)
def test_what_runs(argv: tuple[str, ...], stdin: bool, expected: object) -> None:
    """Argv, or the text that a shell is given."""
    found = command_of(argv, stdin=stdin)
    assert isinstance(found, expected) if isinstance(expected, type) else found == expected


def test_a_patch_is_not_known_before_it_is_applied() -> None:
    """Unless what it leads to is given."""
    request = understand("PATCH", "/apis/apps/v1/namespaces/prod/deployments/web")
    patch = body.read(request, "application/merge-patch+json", b'{"spec":{"replicas":3}}')
    assert point_of(request, patch).object is UNKNOWN
    assert point_of(request, patch, {"spec": {}}).object == {"spec": {}}


def test_a_created_objects_name_is_in_its_body() -> None:
    """The path has none; where both have one they are the same."""
    request = understand("POST", "/api/v1/namespaces/prod/pods?dryRun=All")
    point = point_of(request, body.read(request, "application/json", b'{"metadata":{"name":"x"}}'))
    assert (point.name, point.dry_run, str(point)) == ("x", True, "create pods x in prod")
    with pytest.raises(RequestError, match="another namespace"):
        point_of(request, body.read(request, "", b'{"metadata":{"name":"x","namespace":"kube-system"}}'))


def test_paths_that_are_no_resource() -> None:
    """By method and path."""
    assert str(point_of(understand("GET", "/metrics"), None)) == "get /metrics"
