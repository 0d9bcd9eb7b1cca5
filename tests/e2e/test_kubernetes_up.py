"""`pulumi up` of the kind `kubernetes` on a real cluster: API server, scheduler, kubelet, containerd, kube-proxy, DNS.

The image is the one that the Dockerfile builds. Entra and the stores are on this machine, where pods reach them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.deployed import Deployed, changed, tenant
from tests.engines import Relay
from tests.running import AUDIENCE, SCHEMA

if TYPE_CHECKING:
    from tools.image.engine import Engine
    from tools.kubernetes.cluster import Cluster
    from tools.kubernetes.network import Network
    from tools.kubernetes.node import Node
    from wicketgate.testing.certs import CertificateAuthority
    from wicketgate.testing.postgres import PostgresServer

pytestmark = [
    pytest.mark.alone, pytest.mark.build, pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900),
]  # fmt: skip
NAMESPACE = "wicketgate"
IMAGE, CLIENT = "docker.io/library/wicketgate:test", "docker.io/library/psql:test"
HOST = "gateway-postgres.wicketgate.svc"
REPLICAS = f"gateway-replicas.{NAMESPACE}.svc"
DATABASE, ROLE, CONTROL = "kube_up", "kube_up_owner", "kube_up_control"
RELAY = """
import asyncio, sys
async def carry(reader, writer):
    while data := await reader.read(65536):
        writer.write(data); await writer.drain()
    writer.close()
async def serve(reader, writer):
    far = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
    await asyncio.gather(carry(reader, far[1]), carry(far[0], writer))
async def main():
    async with await asyncio.start_server(serve, "0.0.0.0", 5432) as server:
        await server.serve_forever()
asyncio.run(main())
"""
POLICY: dict[str, Any] = {
    "policy": "orders",
    "targets": ["orders-db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.customers", "pg_catalog.*"]}}},
        {
            "hold": {
                "sql": {"statements": ["write"], "relations": ["public.uploads"]},
                "approvers": {"groups": ["dba"]},
                "wait": "90s",
            }
        },
    ],
    "mask": [
        {"columns": ["public.customers.email"], "with": "hash"},
        {"columns": ["public.customers.card"], "with": "redact"},
    ],
}
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


@dataclass
class Up:
    """The cluster, and the stack on it."""

    network: Network
    cluster: Cluster
    ca: CertificateAuthority
    postgres: PostgresServer
    stack: Deployed
    _tokens: dict[str, str] = field(default_factory=dict[str, str])

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl prints, as the administrator."""
        return self.cluster.kubectl(*arguments, stdin=stdin)

    def create(self, *documents: dict[str, Any]) -> None:
        """Create objects."""
        self.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))

    def pods(self, namespace: str = NAMESPACE) -> dict[str, dict[str, Any]]:
        """The pods of a namespace, by name."""
        found = self.cluster.request(f"/api/v1/namespaces/{namespace}/pods")["items"]
        return {pod["metadata"]["name"]: pod for pod in found}

    def token(self, bot: str) -> str:
        """The bot's token, by the exchange of its service account's."""
        if bot not in self._tokens:
            assertion = self.kubectl("-n", "ci", "create", "token", bot, f"--audience={AUDIENCE}").strip()
            self._tokens[bot] = self.stack.exchanged(bot, assertion)
        return self._tokens[bot]

    def psql_command(self, bot: str, host: str = HOST, *commands: str) -> list[str]:
        """psql in the bot's pod."""
        dsn = (
            f"host={host} port=5432 dbname=orders-db user={bot} sslmode=verify-full "
            "sslrootcert=/etc/ca/ca.crt connect_timeout=20"
        )
        binary = str(self.cluster.binaries.kubectl)
        inside = ["env", f"PGPASSWORD={self.token(bot)}", "psql", "-X", "-A", "-t", "-q", dsn]
        each = [part for command in commands for part in ("-c", command)]
        kubectl = [binary, "--kubeconfig", str(self.cluster.kubeconfig()), "-n", "ci", "exec", "-i", "bot", "--"]
        return [*kubectl, *inside, *each]

    def psql(self, bot: str, *commands: str, host: str = HOST) -> subprocess.CompletedProcess[str]:
        """What psql says in the bot's pod."""
        return subprocess.run(
            self.psql_command(bot, host, *commands),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def inside(self, pod: str, namespace: str, *command: str) -> subprocess.CompletedProcess[str]:
        """What a command does in a pod."""
        kubectl = [str(self.cluster.binaries.kubectl), "--kubeconfig", str(self.cluster.kubeconfig())]
        return subprocess.run(
            [*kubectl, "-n", namespace, "exec", pod, "--", *command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def reaches(self, pod: str, namespace: str, host: str, port: int) -> bool:
        """Whether a pod gets a connection."""
        if pod in ("bot", "reader"):
            return self.inside(pod, namespace, "nc", "-w", "4", host, str(port), "-e", "/bin/true").returncode == 0
        code = f"import socket; socket.create_connection(({host!r}, {port}), 4).close()"
        return self.inside(pod, namespace, "python3", "-c", code).returncode == 0


class Long:
    """One long session of psql."""

    def __init__(self, up: Up, bot: str, host: str = HOST) -> None:
        self.process = subprocess.Popen(
            up.psql_command(bot, host), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, bufsize=1,
        )  # fmt: skip

    def ask(self, statement: str) -> str:
        """The line that answers it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(statement + ";\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self) -> str:
        """End it; what else it said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        rest = self.process.stdout.read()
        self.process.wait(30)
        return rest


def eventually(condition: Callable[[], object], what: str, seconds: float = 120.0) -> Any:
    """What the condition gives once it holds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.2)
    return found


def _secret(name: str, namespace: str, kind: str = "Opaque", **files: str) -> dict[str, Any]:
    data = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in files.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name, "namespace": namespace},
            "data": data}  # fmt: skip


def _config_map(name: str, namespace: str, text: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": text}}


def _namespace(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}


def _volume(number: int, path: Path) -> dict[str, Any]:
    path.mkdir(parents=True)
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1"]}
    return {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"state-{number}"},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "local": {"path": str(path)},
            "persistentVolumeReclaimPolicy": "Retain",
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }  # fmt: skip


def _pod(name: str, namespace: str, image: str, labels: dict[str, str], **container: Any) -> dict[str, Any]:
    spec = {
        "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "main", "image": image, "imagePullPolicy": "Never",
                        "resources": {"requests": {"cpu": "200m"}}, **container}],
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels},
            "spec": spec}  # fmt: skip


def _account(name: str, namespace: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    from tools.kubernetes.network import Network

    made = Network(tmp_path_factory.mktemp("network"), print)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def node(
    network: Network, container_engine: Engine, built_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """A cluster with one node, which has the image."""
    from tools.kubernetes.cluster import Cluster
    from tools.kubernetes.images import archive, program
    from tools.kubernetes.node import Node, packages
    from tools.kubernetes.provide import provide
    from wicketgate.testing.postgres import Binaries

    folder = tmp_path_factory.mktemp("cluster")
    cluster = Cluster(folder, provide(), address=network.host)
    made = Node(cluster, network=network)
    try:
        cluster.start(controllers=True)
        cluster.start_scheduler()
        cluster.publish_issuer()
        made.start()
        network.serve(cluster)
        container_engine.docker("tag", built_image, IMAGE)
        container_engine.docker("save", "-o", str(folder / "wicketgate.tar"), IMAGE)
        busybox = packages(lambda _: None) / "bin/busybox"
        (folder / "psql.tar").write_bytes(archive(CLIENT, busybox, program(Binaries.find().folder / "psql")))
        for name in ("wicketgate", "psql"):
            made.load(folder / f"{name}.tar")
        yield made
    finally:
        made.stop()
        cluster.stop()


@pytest.fixture(scope="module")
def up(
    network: Network, node: Node, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Up]:
    from wicketgate.testing.certs import CertificateAuthority
    from wicketgate.testing.entra.server import EntraEmulator
    from wicketgate.testing.issuer.server import WorkloadIssuer

    folder = tmp_path_factory.mktemp("up")
    cluster, host = node.cluster, network.host
    password = secrets.token_urlsafe(18)
    postgres.create_user(ROLE, password)
    postgres.create_database(DATABASE, ROLE)
    postgres.create_database(CONTROL, ROLE)
    postgres.sql(f"SET ROLE {ROLE};" + SCHEMA, DATABASE)
    ca = CertificateAuthority.open(folder / "ca")
    with contextlib.ExitStack() as stack:
        relay = Relay(host, postgres.port)
        stack.callback(relay.listener.close)
        issuer = stack.enter_context(WorkloadIssuer(folder / "issuer"))
        trust = [issuer.ca_file, cluster.ca_file]
        entra = stack.enter_context(
            EntraEmulator(
                folder / "entra", host=host, public_host=host, ca_dir=ca.folder, trust=trust, seed=tenant(issuer)
            )
        )

        def workload(name: str, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
            return [{"kubernetes": {"issuer": cluster.issuer, "namespace": namespace, "serviceAccount": name}}]

        config: dict[str, Any] = {
            "entra": {},
            "gateway": {
                "host": HOST,
                "apiPort": 8444,
                "metricsPort": 9464,
                "credentials": workload("gateway"),
                "control": {"urlFile": "/run/secrets/stores/control-url"},
                "masks": {"keyFile": "/run/secrets/stores/mask-key"},
                "deploy": {
                    "kind": "kubernetes", "kubeconfigFile": str(cluster.kubeconfig()), "image": IMAGE,
                    "imagePullPolicy": "Never", "namespace": NAMESPACE, "createNamespace": False, "replicas": 2,
                    "stateSize": "1Gi", "storageClass": "", "keepState": False,
                    "certificate": {"secret": "gateway-tls"}, "caConfigMap": "gateway-ca",
                    "entraCaConfigMap": "gateway-ca", "gatewaySecrets": ["stores"], "storePorts": [relay.port],
                    "botNamespaces": ["ci"],
                    "monitoring": {"namespaces": ["monitoring"], "serviceMonitor": False},
                    "agents": {"desk": {"replicas": 1}},
                },
            },
            "agents": {"desk": {"credentials": workload("agent-desk")}},
            "targets": {
                "orders-db": {
                    "kind": "postgres", "address": "orders-db.shop.svc:5432", "database": DATABASE, "agent": "desk",
                    "credential": {"secret": "orders-db"}, "tls": "disable",
                },
            },
            "approvers": {"dba": {"group": "dba"}},
            "groups": {"reviewers": {"policies": ["orders"]}},
            "bots": {
                "code-review": {
                    "owner": "group:platform-team", "groups": ["reviewers"], "expires": "2027-06-30",
                    "credentials": workload("code-review", "ci"),
                },
            },
        }  # fmt: skip
        made = Up(network, cluster, ca, postgres, Deployed(folder, "kubernetes", entra, issuer, config))
        leaf = ca.issue_files(folder, "gateway", [HOST, f"*.gateway-replicas.{NAMESPACE}.svc"])
        ca_text = ca.cert_file.read_text()
        assert postgres.ca_file is not None
        url = (
            f"postgresql+asyncpg://{ROLE}:{password}@{host}:{relay.port}/{CONTROL}"
            "?sslmode=verify-ca&sslrootcert=/run/secrets/stores/ca"
        )
        bot = _pod("bot", "ci", CLIENT, {"app": "bot"}, volumeMounts=[{"name": "ca", "mountPath": "/etc/ca"}])
        bot["spec"]["volumes"] = [{"name": "ca", "configMap": {"name": "gateway-ca"}}]
        made.create(_namespace(NAMESPACE, RESTRICTED), _namespace("shop"), _namespace("ci"), _namespace("monitoring"))
        # What must be there before `up`, as the docs say.
        made.create(
            _secret("gateway-tls", NAMESPACE, "kubernetes.io/tls",
                    tls_crt=leaf.cert_file.read_text(), tls_key=leaf.key_file.read_text()),
            _secret("orders-db", NAMESPACE, username=ROLE, password=password),
            _config_map("gateway-ca", NAMESPACE, ca_text), _config_map("gateway-ca", "ci", ca_text),
            *(_volume(i, folder / "volumes" / str(i)) for i in range(2)),
        )  # fmt: skip
        made.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "stores", "namespace": NAMESPACE},
             "stringData": {"control-url": url, "mask-key": secrets.token_hex(32),
                            "ca": postgres.ca_file.read_text()}},
            # The target, and the bot.
            _pod("orders-db", "shop", IMAGE, {"app": "orders-db"}, command=["python3", "-c", RELAY],
                 args=[host, str(relay.port)]),
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders-db", "namespace": "shop"},
             "spec": {"selector": {"app": "orders-db"}, "ports": [{"port": 5432}]}},
            _pod("reader", "monitoring", CLIENT, {"app": "reader"}),
            _account("code-review", "ci"), _account("nightly-report", "ci"),
            bot,
        )  # fmt: skip
        made.stack.begin(POLICY, kubernetes=True)
        yield made


def it_comes_up_and_a_bot_gets_its_answer(up: Up) -> None:
    first = up.stack.up()
    assert {"kubernetes-gateway-gateway", "kubernetes-agent-desk-agent", "gateway-application"} <= first["create"]
    pods = up.pods()
    assert set(pods) >= {"gateway-0", "gateway-1"}
    assert len(pods) == 3
    for name, pod in pods.items():
        ready = {c["type"]: c["status"] for c in pod["status"]["conditions"]}
        assert ready["Ready"] == "True", name
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0, name
    allowed = up.psql("code-review", "SELECT name, email, card FROM customers WHERE id = 1")
    assert allowed.returncode == 0, allowed.stderr
    name, email, card = allowed.stdout.strip().split("|")
    assert name == "Ann"
    assert "ann@example.com" not in email
    assert "4111111111111111" not in card
    denied = up.psql("code-review", "SELECT * FROM secrets")
    assert denied.returncode != 0
    assert "nobody sees this" not in denied.stdout + denied.stderr
    # Each gateway hides one value by one digest: they share the key.
    hidden = {
        up.psql("code-review", "SELECT email FROM customers WHERE id = 1", host=f"{pod}.{REPLICAS}").stdout
        for pod in ("gateway-0", "gateway-1")
    }
    assert hidden == {email + "\n"}


def a_second_up_and_a_refresh_change_nothing(up: Up) -> None:
    assert changed(up.stack.up()) == set()
    up.stack.of_stack("refresh", "--yes", "--expect-no-changes")
    state = up.stack.run("stack", "export", "--stack", up.stack.name)
    for name, key in (("orders-db", "password"), ("stores", "mask-key"), ("gateway-tls", "tls.key")):
        found = json.loads(up.kubectl("-n", NAMESPACE, "get", "secret", name, "-o", "json"))["data"][key]
        assert found not in state
        assert base64.b64decode(found).decode().splitlines()[0].strip() not in state


def one_bot_more_drops_no_session(up: Up) -> None:
    before = {name: pod["metadata"]["uid"] for name, pod in up.pods().items()}
    long = Long(up, "code-review")
    assert long.ask("SELECT name FROM customers WHERE id = 1") == "Ann"
    up.stack.config["bots"]["nightly-report"] = {
        **up.stack.config["bots"]["code-review"],
        "credentials": [{"kubernetes": {"issuer": up.cluster.issuer, "namespace": "ci",
                                        "serviceAccount": "nightly-report"}}],
    }  # fmt: skip
    done = up.stack.up()
    assert {n for n in done["create"] if "nightly-report" not in n} == set()
    assert changed(done) - done["create"] <= {"kubernetes-gateway-policies", "policies", "wicketgate-kubernetes"}
    # Kubelet brings the ConfigMap into the volumes, within a minute or so, and each gateway takes it while it runs.
    digest = up.stack.run("stack", "output", "policy", "--stack", up.stack.name).strip()
    for pod in ("gateway-0", "gateway-1"):
        eventually(
            lambda pod=pod: digest in up.kubectl("-n", NAMESPACE, "logs", pod), f"{pod} to take the new bundle", 150
        )
        assert up.psql("nightly-report", "SELECT 1", host=f"{pod}.{REPLICAS}").returncode == 0
    assert long.ask("SELECT name FROM customers WHERE id = 2") == "Bob"
    assert long.close() == ""
    assert {name: pod["metadata"]["uid"] for name, pod in up.pods().items()} == before


def replicas_are_one_gateway_and_die_alone(up: Up) -> None:
    people = up.stack.people(up.pods()["gateway-1"]["status"]["podIP"], 8444, HOST, up.ca.cert_file)
    first, second = (Long(up, "code-review", f"gateway-{i}.{REPLICAS}") for i in (0, 1))
    assert first.ask("SELECT name FROM customers WHERE id = 1") == "Ann"
    assert second.ask("SELECT name FROM customers WHERE id = 1") == "Ann"
    # What one gateway holds is answered through the other.
    held = Long(up, "code-review", f"gateway-0.{REPLICAS}")
    assert held.process.stdin is not None
    held.process.stdin.write("INSERT INTO uploads VALUES (7, 'held');\n")
    held.process.stdin.flush()
    people.approve("INSERT INTO uploads")
    assert "ERROR" not in held.close()
    assert up.postgres.sql("SELECT value FROM uploads", DATABASE).strip() == "held"
    # One dies: its own connections go, and nothing else.
    up.kubectl("-n", NAMESPACE, "delete", "pod", "gateway-0", "--grace-period=0", "--force", "--wait=false")
    # psql looks at its connection when it has something to say.
    eventually(lambda: first.ask("SELECT name FROM customers WHERE id = 1") != "Ann", "the session's end")
    assert first.process.wait(60) != 0
    assert second.ask("SELECT name FROM customers WHERE id = 3") == "Cid"
    assert up.psql("code-review", "SELECT 1", host=f"gateway-1.{REPLICAS}").stdout == "1\n"
    # It comes back with its own journal, and agents come back to it.
    eventually(
        lambda: up.psql("code-review", "SELECT 1", host=f"gateway-0.{REPLICAS}").returncode == 0, "gateway-0 again"
    )
    assert second.ask("SELECT name FROM customers WHERE id = 1") == "Ann"
    assert second.close() == ""


def a_bot_reaches_the_target_through_the_gateway_and_no_other_way(up: Up) -> None:
    at = {name: pod["status"]["podIP"] for name, pod in {**up.pods(), **up.pods("shop"), **up.pods("ci")}.items()}
    (agent,) = (name for name in at if name.startswith("agent-"))
    target = at["orders-db"]
    # The counter-check: without rules each way is open.
    assert up.reaches("bot", "ci", target, 5432)
    assert up.reaches("gateway-0", NAMESPACE, target, 5432)
    assert up.reaches("bot", "ci", at["gateway-0"], 8443)
    assert up.reaches("bot", "ci", at["gateway-0"], 9464)
    assert up.reaches("orders-db", "shop", at["gateway-0"], 5432)
    assert up.reaches("reader", "monitoring", at["gateway-0"], 5432)
    assert up.inside("bot", "ci", "ping", "-c", "1", "-W", "4", at[agent]).returncode == 0
    # The target's owner lets the agent in and nobody else, as the docs say.
    selector = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}
    peer = {
        "namespaceSelector": selector,
        "podSelector": {"matchLabels": {"app.kubernetes.io/component": "agent-desk"}},
    }
    up.create(
        {
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "orders-db", "namespace": "shop"},
            "spec": {"podSelector": {"matchLabels": {"app": "orders-db"}}, "ingress": [{"from": [peer]}]},
        }
    )  # fmt: skip
    up.network.enforce(up.cluster)
    assert up.psql("code-review", "SELECT name FROM customers WHERE id = 1").stdout == "Ann\n"
    assert not up.reaches("bot", "ci", target, 5432)
    assert not up.reaches("gateway-0", NAMESPACE, target, 5432)
    assert up.reaches(agent, NAMESPACE, target, 5432)
    # Nobody reaches an agent, bots reach no port of a gateway but their own, and not each other's gateways.
    assert up.reaches("bot", "ci", at["gateway-0"], 5432)
    assert not up.reaches("bot", "ci", at["gateway-0"], 8443)
    assert not up.reaches("orders-db", "shop", at["gateway-0"], 5432)
    assert up.inside("bot", "ci", "ping", "-c", "1", "-W", "4", at[agent]).returncode != 0
    # Monitoring reads the metrics, and reaches nothing else; bots do not.
    assert not up.reaches("bot", "ci", at["gateway-0"], 9464)
    assert not up.reaches("reader", "monitoring", at["gateway-0"], 5432)
    said = up.inside("reader", "monitoring", "wget", "-q", "-O", "-", f"http://{at['gateway-1']}:9464/metrics").stdout
    values = dict(line.rsplit(" ", 1) for line in said.splitlines() if not line.startswith("#"))
    assert float(values['wicketgate_operations_total{effect="allow"}']) > 0
    assert float(values['wicketgate_agent_up{agent="desk"}']) == 1
    assert "code-review" not in said


def destroy_leaves_nothing(up: Up) -> None:
    up.stack.of_stack("destroy", "--yes", "--skip-preview")
    eventually(lambda: not up.pods(), "the pods to be gone")
    kinds = (
        "statefulsets,deployments,services,configmaps,serviceaccounts,networkpolicies,poddisruptionbudgets,"
        "persistentvolumeclaims"
    )
    eventually(
        lambda: (
            set(up.kubectl("-n", NAMESPACE, "get", kinds, "-o", "name").split())
            == {"configmap/gateway-ca", "configmap/kube-root-ca.crt", "serviceaccount/default"}
        ),
        "all but what was there before to be gone",
    )
    assert up.stack.left_in_entra() == set()


def test_the_life_of_a_deployment(up: Up) -> None:
    """One story, since each part stands on those before."""
    for part in (
        it_comes_up_and_a_bot_gets_its_answer,
        a_second_up_and_a_refresh_change_nothing,
        one_bot_more_drops_no_session,
        replicas_are_one_gateway_and_die_alone,
        a_bot_reaches_the_target_through_the_gateway_and_no_other_way,
        destroy_leaves_nothing,
    ):
        began = time.monotonic()
        part(up)
        print(f"{part.__name__}: {time.monotonic() - began:.1f} s")
