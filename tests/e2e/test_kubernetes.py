"""Stock kubectl, a current one and one from before 1.31, through the gateway to a real cluster."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import DBA, TARGET, KubeRunning, kube_in
from wicketgate_gateway.approvals.model import Choice, Scope, State
from wicketgate_gateway.approvals.service import Approvals, groups_to_check
from wicketgate_gateway.approvals.store import open_store
from wicketgate_gateway.audit.events import (
    Operation,
    OperationFinished,
    SessionEnded,
    SessionKilled,
    SessionStarted,
)
from wicketgate_gateway.contract.identity import Principal, PrincipalKind
from wicketgate_gateway.policy.load import PolicyStore

pytestmark = [pytest.mark.slow, pytest.mark.build]
ANN = "60000000-0000-4000-8000-000000000001"
both = pytest.mark.parametrize("older", [False, True], ids=["current", "older"])


def newest(kube: KubeRunning, text: str) -> Operation:
    """The newest operation whose text holds this."""
    kube.wait(lambda: any(text in o.statement for o in kube.operations()))
    return [o for o in kube.operations() if text in o.statement][-1]


@both
def test_reading(kube: KubeRunning, older: bool) -> None:
    """Lists, tables, YAML; what is not allowed is told with its rule."""
    assert "settings" in kube.kubectl("get", "configmaps", older=older).stdout
    assert "colour: green" in kube.kubectl("get", "configmap", "settings", "-o", "yaml", older=older).stdout
    assert "shop" in kube.kubectl("get", "ns", older=older).stdout
    denied = kube.kubectl("get", "pods", "-n", "kube-system", older=older)
    assert denied.returncode == 1
    assert "Error from server (Forbidden): wicketgate: rule `kube#" in denied.stderr
    assert newest(kube, "list pods in kube-system").effect == "deny"


@both
def test_values_of_secrets_never_come_back(kube: KubeRunning, older: bool) -> None:
    """In no form, by no verb; that there are such is no secret."""
    for arguments in (
        ("get", "secret", "db"),
        ("get", "secret", "db", "-o", "yaml"),
        ("get", "secret", "db", "-o", "json", "--show-managed-fields"),
        ("get", "secrets", "-o", "json"),
        ("get", "secrets", "-o", "jsonpath={.items[*].data}"),
        ("get", "secrets", "--watch", "--request-timeout=2s", "-o", "json"),
        ("describe", "secret", "db"),
        ("annotate", "secret", "db", "x=y", "--overwrite", "-o", "yaml"),
        ("get", "--raw=/api/v1/namespaces/shop/secrets/db"),
    ):
        done = kube.kubectl(*arguments, older=older)
        told = done.stdout + done.stderr
        assert "canary" not in told, arguments
        assert "Y2FuYXJ5" not in told, arguments
    assert "password" in kube.kubectl("get", "secret", "db", "-o", "yaml", older=older).stdout


def test_an_applied_secret_is_masked_where_kubectl_remembers_it(kube: KubeRunning) -> None:
    """And writing back what was masked is refused, since it would destroy the value."""
    text = json.dumps(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "applied"}, "stringData": {"k": "canary-applied"}}
    )
    assert kube.kubectl("apply", "-f", "-", stdin=text).returncode == 0
    shown = kube.kubectl("get", "secret", "applied", "-o", "yaml").stdout
    assert "canary" not in shown
    assert "last-applied" not in shown
    back = kube.kubectl("replace", "-f", "-", stdin=shown)
    assert back.returncode == 1
    assert "masked when you read it" in back.stderr
    kept = kube.cluster.kubectl("-n", "shop", "get", "secret", "applied", "-o", "jsonpath={.data.k}")
    assert kept == "Y2FuYXJ5LWFwcGxpZWQ="
    for path in (kube.state / "journal").rglob("*"):
        if path.is_file():
            assert b"canary-applied" not in path.read_bytes()
            assert b"Y2FuYXJ5LWFwcGxpZWQ" not in path.read_bytes()
    session = newest(kube, "create secrets applied").session
    assert b"canary-applied" not in kube.recorded(session)


@both
def test_writing(kube: KubeRunning, older: bool) -> None:
    """Create, apply on either side, patch, scale, diff and delete, as rules say."""
    name = f"d{int(older)}"
    document: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"a": name}},
            "template": {
                "metadata": {"labels": {"a": name}},
                "spec": {"containers": [{"name": "c", "image": "busybox"}]},
            },
        },
    }
    text = json.dumps(document)
    assert "created" in kube.kubectl("apply", "-f", "-", stdin=text, older=older).stdout
    assert "unchanged" in kube.kubectl("apply", "-f", "-", stdin=text, older=older).stdout
    applied = kube.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text, older=older)
    assert "serverside-applied" in applied.stdout
    assert kube.kubectl("patch", "deployment", name, "-p", '{"spec":{"paused":true}}', older=older).returncode == 0
    for change in ({"hostNetwork": True}, {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}):
        worse = json.loads(text)
        worse["spec"]["template"]["spec"].update(change)
        done = kube.kubectl("apply", "-f", "-", stdin=json.dumps(worse), older=older)
        assert "pods stay pods" in done.stderr
    assert kube.kubectl("create", "configmap", f"c{name}", "--from-literal=a=b", older=older).returncode == 0
    assert "deleted" in kube.kubectl("delete", "deployment", name, older=older).stdout
    assert "deleted" in kube.kubectl("delete", "configmap", f"c{name}", older=older).stdout
    assert kube.kubectl("delete", "secret", "db", older=older).returncode == 1


def test_a_deletion_is_held_with_its_diff_and_runs_once_it_is_approved(
    kube: KubeRunning, decide: Callable[..., Any]
) -> None:
    """The handle comes at once; the same request runs once, when somebody has approved it."""
    kube.kubectl("create", "configmap", "held-1", "--from-literal=a=b")
    waits = kube.kubectl("delete", "configmap", "held-1")
    assert "Error from server (TooManyRequests)" in waits.stderr
    assert "Warning: " in waits.stderr
    handle = waits.stderr.partition("`hold-")[2].partition("`")[0]
    request = decide(f"hold-{handle}")
    assert '"do": "delete configmaps held-1 in shop"' in request.statement
    assert '-  "data": {' in request.blast["plan"]
    assert "deleted" in kube.kubectl("delete", "configmap", "held-1").stdout
    kube.kubectl("create", "configmap", "held-1", "--from-literal=a=b")
    assert "TooManyRequests" in kube.kubectl("delete", "configmap", "held-1").stderr
    assert newest(kube, "delete configmaps held-1").effect == "hold"


@both
def test_a_watch_streams_until_it_is_cut_off(kube: KubeRunning, older: bool) -> None:
    """Each event as it comes; a kill ends it at once, on record."""
    name = f"watched-{int(older)}"
    process = subprocess.Popen(
        kube.command("get", "configmaps", "-w", "-o", "name", older=older), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        while "settings" not in process.stdout.readline():
            pass
        kube.cluster.kubectl("-n", "shop", "create", "configmap", name)
        while name not in process.stdout.readline():
            pass
        session = newest(kube, "watch configmaps in shop").session

        async def kill() -> None:
            store = await open_store(f"sqlite+aiosqlite:///{kube.state}/control.db")
            try:
                await store.kill(Scope.SESSION, session, by="Ann", by_id=ANN, reason="")
            finally:
                await store.close()

        asyncio.run(kill())
        kube.wait(lambda: any(isinstance(e, SessionKilled) and e.session == session for e in kube.events()))
        kube.wait(lambda: any(isinstance(e, SessionEnded) and e.session == session for e in kube.events()))
    finally:
        process.kill()
        process.wait(10)


def test_impersonation_is_not_for_bots(kube: KubeRunning) -> None:
    """Neither a user nor a group."""
    assert "impersonation is not for bots" in kube.kubectl("--as=admin", "get", "pods").stderr


def test_the_agent_may_act_as_the_bot(
    kube_cloud: Any, kube_cluster: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Then the cluster's own roles and audit see the bot: it may do what both allow."""
    name = {"name": "wicketgate-bots"}
    kube_cluster.kubectl("create", "clusterrole", "wicketgate-bots", "--verb=get,list", "--resource=configmaps")
    kube_cluster.kubectl(
        "create", "clusterrolebinding", name["name"], "--clusterrole=wicketgate-bots", "--group=wicketgate:bots"
    )
    allowed = {"verbs": ["read", "create"], "resources": ["configmaps", "pods", "selfsubjectreviews"]}
    policy = {"policy": "all", "targets": [TARGET], "rules": [{"allow": {"kubernetes": allowed}}]}
    folder = tmp_path_factory.mktemp("impersonated")
    with kube_in(folder, kube_cloud, kube_cluster, policy, impersonate=True) as kube:
        assert "settings" in kube.kubectl("get", "configmaps").stdout
        whoami = kube.kubectl("auth", "whoami", "-o", "json")
        assert json.loads(whoami.stdout)["status"]["userInfo"]["username"] == "wicketgate:code-review"
        refused = kube.kubectl("get", "pods")
        assert 'User "wicketgate:code-review" cannot list resource "pods"' in refused.stderr


def test_who_has_no_token(kube: KubeRunning) -> None:
    """Is told so, as an API server tells it."""
    done = kube.kubectl("get", "pods", token="e30.e30.e30")
    assert done.returncode == 1
    assert "Unauthorized" in done.stderr or "logged in" in done.stderr
    other = kube.kubectl("get", "pods", target="other")
    assert "no policy lets this bot use the target `other`" in other.stderr


def test_the_record(kube: KubeRunning) -> None:
    """A session with its client, each request as an operation, its end with the status."""
    kube.kubectl("get", "configmap", "settings", "-o", "name")
    operation = newest(kube, "get configmaps settings in shop")
    assert (operation.effect, operation.rule, operation.kinds) == ("allow", "kube#1", ["get"])

    def ends() -> list[OperationFinished]:
        of_it = (operation.session, operation.seq)
        return [e for e in kube.events() if isinstance(e, OperationFinished) and (e.session, e.seq) == of_it]

    kube.wait(ends)
    finished = ends()
    assert (finished[0].outcome, finished[0].sqlstate) == ("ok", "200")
    started = next(e for e in kube.events() if isinstance(e, SessionStarted) and e.session == operation.session)
    assert started.protocol == "kubernetes"
    assert started.client.startswith("kubectl/v1.36.3")
    recorded = kube.recorded(operation.session)
    assert b"GET /api/v1/namespaces/shop/configmaps/settings" in recorded
    assert b"green" in recorded
    assert kube.cloud.bot_token().encode() not in recorded


def waiting(kube: KubeRunning, seconds: float = 15.0) -> Any:
    """The newest request that waits for people."""

    async def work() -> Any:
        store = await open_store(f"sqlite+aiosqlite:///{kube.state}/control.db")
        try:
            return await store.list((State.PENDING,))
        finally:
            await store.close()

    end = time.monotonic() + seconds
    while not (found := [one for one in asyncio.run(work()) if "CONNECT" in one.statement]):
        assert time.monotonic() < end, "nobody was asked"
        time.sleep(0.05)
    return found[-1]


@pytest.fixture
def decide(kube: KubeRunning) -> Callable[..., Any]:
    """Answers a held operation as one of `dba`, and gives what was asked."""

    async def work(handle: str, choice: Choice) -> Any:
        store = await open_store(f"sqlite+aiosqlite:///{kube.state}/control.db")
        try:
            policy = PolicyStore(str(kube.folder / "policies.json")).current.digest
            request = await store.get(handle)
            ann = Principal(
                PrincipalKind.PERSON, "t", ANN, "cli", "Ann", "uti",
                time.time() + 60, groups=frozenset([DBA]),
            )  # fmt: skip
            approvals = Approvals(store, policy=lambda: policy)
            return await approvals.decide(
                handle, ann, choice, checked=groups_to_check(request), comment="", seal=request.seal
            )
        finally:
            await store.close()

    return lambda handle, choice=Choice.APPROVE: asyncio.run(work(handle, choice))


# --- with a node: root only ------------------------------------------------------------------------------------------


@pytest.mark.root
@both
def test_exec(kube_node: KubeRunning, older: bool) -> None:
    """Output, input, exit codes; what is not allowed does not run; all of it is on record without a terminal too."""
    kube = kube_node
    assert "etc" in kube.kubectl("exec", "web", "--", "ls", "/", older=older).stdout.split()
    assert kube.kubectl("exec", "-i", "web", "--", "cat", stdin="to-cat", older=older).stdout == "to-cat"
    counted = kube.kubectl("exec", "-i", "web", "--", "wc", "-c", stdin="x" * 100_000, older=older)
    assert counted.stdout.strip() == "100000"
    failed = kube.kubectl("exec", "web", "--", "cat", "/nowhere", older=older)
    assert failed.returncode == 1
    assert "No such file" in failed.stderr
    for command in (["id", "-u"], ["sh", "-c", "ls; id"], ["sh"], ["busybox", "ls"]):
        denied = kube.kubectl("exec", "web", "--", *command, older=older)
        assert denied.returncode == 1
        assert "no rule of `kube` allows `create pods/exec web in shop" in denied.stderr
    operation = newest(kube, "create pods/exec web in shop: wc -c")
    assert operation.effect == "allow"
    recorded = kube.recorded(operation.session)
    assert b"x" * 1000 in recorded
    assert b"100000\n" in recorded
    replayed = subprocess.run(
        [sys.executable, "-m", "wicketgate_gateway.cli", "replay", operation.session, "--state", str(kube.state)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert replayed.returncode == 0, replayed.stderr
    assert "create pods/exec web in shop: wc -c" in replayed.stdout
    assert "exit 0" in replayed.stdout


@pytest.mark.root
@both
def test_copies(kube_node: KubeRunning, older: bool, tmp_path: Path) -> None:
    """In and out, whole."""
    data = secrets.token_bytes(3_000_000)
    (tmp_path / "in").write_bytes(data)
    assert kube_node.kubectl("cp", str(tmp_path / "in"), "web:/tmp/blob", older=older).returncode == 0
    assert kube_node.kubectl("cp", "web:/tmp/blob", str(tmp_path / "out"), older=older).returncode == 0
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.root
@both
def test_port_forward(kube_node: KubeRunning, older: bool) -> None:
    """The port that a rule names, and no other."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    process = subprocess.Popen(
        kube_node.command(
            "port-forward", "--address", "127.0.0.1", "pod/web", f"{ports[0]}:8080", f"{ports[1]}:8081", older=older
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        assert b"Forwarding" in process.stdout.readline()
        assert b"Forwarding" in process.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/", timeout=10) as answer:
            assert answer.read() == b"hello-web\n"
        with pytest.raises((ConnectionError, urllib.error.URLError)):
            urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}/", timeout=10)
    finally:
        process.terminate()
        process.wait(10)
    assert newest(kube_node, "pods/portforward web in shop port 8081").effect == "deny"


@pytest.mark.root
@both
def test_logs_stream(kube_node: KubeRunning, older: bool) -> None:
    """`logs -f` gives each line as it comes."""
    process = subprocess.Popen(kube_node.command("logs", "-f", "web", "--tail=1", older=older), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        began = time.monotonic()
        lines = [process.stdout.readline() for _ in range(5)]
        assert all(line.startswith(b"line ") for line in lines[1:])
        assert time.monotonic() - began < 20
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.root
@both
def test_a_held_exec_tells_that_it_waits_and_runs_what_was_approved(
    kube_node: KubeRunning, decide: Callable[..., Any], older: bool
) -> None:
    """On standard error; the approver reads the command and the pod; denied, it does not run."""
    for choice in (Choice.APPROVE, Choice.DENY):
        path = f"/tmp/held-{int(older)}-{choice.value}"
        process = subprocess.Popen(
            kube_node.command("exec", "web", "--", "touch", path, older=older),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        request = waiting(kube_node)
        assert f"pods/exec web in shop: touch {path}" in request.statement
        assert "container main: docker.io/library/busybox:test" in request.blast["plan"]
        decide(request.handle, choice)
        _, errors = process.communicate(timeout=30)
        assert f"held for approval as `{request.handle}`" in errors
        there = kube_node.cluster.kubectl("-n", "shop", "exec", "web", "--", "ls", "/tmp")
        assert (Path(path).name in there.split()) is (choice is Choice.APPROVE)
        assert (process.returncode == 0) is (choice is Choice.APPROVE)
