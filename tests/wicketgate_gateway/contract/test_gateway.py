import pytest

from wicketgate_gateway.contract import model, yaml
from wicketgate_gateway.contract.errors import DocumentError
from wicketgate_gateway.contract.gateway import AgentConfig, ClientConfig, GatewayConfig, TargetKind, TlsMode

ID = "00000000-0000-0000-0000-000000000001"
ENTRA = f"entra: {{tenant: {ID}}}\naudience: {ID}\nworkload: {{clientId: {ID}, tokenFile: /run/token}}\n"
GATEWAY = f"""
name: gate
{ENTRA}
agents: {{{ID}: eu-west}}
listen: {{postgres: {{port: 0}}, agents: {{host: 0.0.0.0, port: 7443}}}}
tls: {{certificateFile: /tls/crt, keyFile: /tls/key}}
state: /state
policies: /policies.json
targets: {{orders-db: {{kind: postgres, agent: eu-west, labels: {{env: prod}}}}}}
"""
AGENT = f"""
name: eu-west
gateways: [{{host: gate.example.com, port: 7443}}]
{ENTRA}
targets:
  orders-db: {{kind: postgres, address: 'db:5432', database: orders, credential: /secrets/orders-db}}
"""
CLIENT = f"""
bot: code-review
{ENTRA}
gateway: {{host: gate.example.com, port: 5432, caFile: /ca.pem}}
targets: {{orders-db: postgres}}
"""


def test_what_a_deployment_renders_is_read():
    gateway = model.validate(GatewayConfig, yaml.parse(GATEWAY, "gateway.yaml"))
    assert gateway.targets["orders-db"].kind is TargetKind.POSTGRES
    assert gateway.entra.graph == "https://graph.microsoft.com"
    assert gateway.listen.postgres.host == "127.0.0.1"
    assert gateway.agents == {ID: "eu-west"}
    agent = model.validate(AgentConfig, yaml.parse(AGENT, "agent.yaml"))
    assert agent.targets["orders-db"].tls is TlsMode.VERIFY_FULL
    assert agent.targets["orders-db"].search_path == "public"
    client = model.validate(ClientConfig, yaml.parse(CLIENT, "client.yaml"))
    assert client.gateway.ca_file == "/ca.pem"


def test_limits_have_safe_defaults():
    limits = model.validate(GatewayConfig, yaml.parse(GATEWAY, "gateway.yaml")).limits
    assert (limits.login, limits.groups_cache) == ("20s", "60s")
    assert limits.statement_bytes == 1024 * 1024


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "localhost", "10.0.0.7", "127.0.0.1.example.com", "::ffff:10.0.0.7", ""]
)
def test_no_token_crosses_a_network_in_clear(host: str):
    text = GATEWAY.replace("{port: 0}", f"{{port: 0, plaintext: true, host: '{host}'}}")
    with pytest.raises(DocumentError, match=r"loopback"):
        model.validate(GatewayConfig, yaml.parse(text, "gateway.yaml"))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.3.2.1"])
def test_beside_the_bot_tls_can_be_left_out(host: str):
    text = GATEWAY.replace("{port: 0}", f"{{port: 0, plaintext: true, host: '{host}'}}")
    assert model.validate(GatewayConfig, yaml.parse(text, "gateway.yaml")).listen.postgres.plaintext
    assert not model.validate(GatewayConfig, yaml.parse(GATEWAY, "gateway.yaml")).listen.postgres.plaintext


def test_several_workers_need_a_store_that_they_can_share():
    store = "audit: {store: {urlFile: /secrets/url}}\n"
    for count in (0, 2, 64):
        text = f"{GATEWAY}limits: {{workers: {count}}}\n"
        assert model.validate(GatewayConfig, yaml.parse(text + store, "g")).limits.workers == count
        with pytest.raises(DocumentError, match=r"audit\.store\.urlFile"):
            model.validate(GatewayConfig, yaml.parse(text, "g"))
    for count in (-1, 65):
        with pytest.raises(DocumentError, match="workers"):
            model.validate(GatewayConfig, yaml.parse(f"{GATEWAY}limits: {{workers: {count}}}\n{store}", "g"))


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (GATEWAY.replace("kind: postgres", "kind: oracle"), GatewayConfig, "targets.orders-db.kind"),
        (GATEWAY + "password: x\n", GatewayConfig, "`password`: unknown key"),
        (GATEWAY.replace("port: 0", "port: '0'"), GatewayConfig, "whole number"),
        (GATEWAY.replace("port: 0", "port: 70000"), GatewayConfig, "not a port"),
        (GATEWAY.replace(f"audience: {ID}", "audience: api://gate"), GatewayConfig, "not an object id"),
        (AGENT.replace("kind: postgres,", "kind: postgres, tls: prefer,"), AgentConfig, "tls"),
        (AGENT.replace("gateways: [{host: gate.example.com, port: 7443}]", "gateways: []"), AgentConfig, "gateways"),
        (AGENT.replace("credential:", "password:"), AgentConfig, "unknown key"),
        (CLIENT.replace("bot: code-review", "bot: Code Review"), ClientConfig, "not a name"),
    ],
)
def test_a_mistake_is_told(text, kind, says):
    with pytest.raises(DocumentError) as caught:
        model.validate(kind, yaml.parse(text, "x.yaml"))
    assert says in str(caught.value)


@pytest.mark.parametrize("cache", ["61s", "2m", "1d", "0ms"])
def test_groups_are_never_trusted_for_over_a_minute(cache: str):
    with pytest.raises(DocumentError, match="60s"):
        model.validate(GatewayConfig, yaml.parse(GATEWAY + f"limits: {{groupsCache: {cache}}}\n", "gateway.yaml"))


def people(text: str) -> GatewayConfig:
    return model.validate(GatewayConfig, yaml.parse(GATEWAY.replace("7443}}", "7443}, api: {port: 0}}") + text, "g"))


def test_people_and_their_address_belong_together():
    fine = f"people: {{url: 'https://gate.example:8444', client: {ID}}}\n"
    assert people(fine).people is not None
    for text in (GATEWAY + fine, GATEWAY.replace("7443}}", "7443}, api: {port: 0}}")):
        with pytest.raises(DocumentError, match="belong together"):
            model.validate(GatewayConfig, yaml.parse(text, "g"))


@pytest.mark.parametrize(
    "hook",
    [
        "{format: slack, url: 'http://hooks.example/x'}",
        "{format: slack, url: 'https://user@hooks.example/x'}",
        "{format: slack, url: 'https://hooks.example/#x'}",
        "{format: slack, url: 'https://hooks.example\\\\@evil'}",
        "{format: slack, url: 'file:///etc/passwd'}",
        "{format: slack, url: 'https://'}",
        "{format: slack, url: 'https://x', urlFile: y}",
        "{format: slack}",
        "{url: 'https://x'}",
        "{format: discord, url: 'https://x', secretFile: y}",
    ],
)
def test_a_webhook_that_leads_elsewhere_or_is_unsigned_is_refused(hook: str):
    with pytest.raises(DocumentError):
        people(f"people: {{url: 'https://gate', client: {ID}, webhooks: {{ops: {hook}}}}}\n")


def test_webhooks():
    found = people(
        f"people: {{url: 'https://gate', client: {ID}, webhooks: {{ops: {{url: 'https://x/y', secretFile: s}},"
        " chat: {format: teams, urlFile: u}, here: {format: slack, url: 'http://127.0.0.1:8/x'}}}\n"
    ).people
    assert found is not None
    assert set(found.webhooks) == {"ops", "chat", "here"}
