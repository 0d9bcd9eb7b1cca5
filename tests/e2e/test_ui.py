"""The web UI in a real Chromium: sign in at the emulated Entra, look, answer; a real bot waits and goes on."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.e2e.test_holds_people import Gated, Tenant
from tests.running import DATABASE, ROLE
from tests.ssh import Sshd, SshRunning, free_port
from tests.web import Upstream
from wicketgate_gateway.audit.events import PolicyLoaded

pytestmark = pytest.mark.slow
SHOTS = os.environ.get("WICKETGATE_SCREENSHOTS", "")
POLICY: dict[str, Any] = {
    "policy": "people",
    "targets": ["orders-db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read"], "relations": ["public.*", "pg_catalog.*"]}}},
        {"allow": {"sql": {"statements": ["read"], "functions": ["pg_sleep"]}}},
        {"deny": {"sql": {"relations": ["public.secrets"]}, "because": "secrets are for people"}},
        {
            "hold": {
                "sql": {"statements": ["write"], "relations": ["public.ui_invoices"]},
                "approvers": {"groups": ["dba"]},
                "wait": "60s",
            }
        },
        # Nobody waits for these: their pages are looked at.
        {
            "hold": {
                "sql": {"statements": ["write"], "relations": ["public.ui_refunds"]},
                "approvers": {"groups": ["dba"]},
                "wait": "1s",
            }
        },
    ],
    "mask": [{"columns": ["public.customers.email"], "with": "partial"}],
}


HOSTS: dict[str, Any] = {
    "policy": "hosts",
    "targets": ["web-1"],
    "rules": [
        {"allow": {"ssh": {"commands": ["uname -a", "printf **", "cat", "ls **"], "pty": True}}},
        {"deny": {"ssh": {"commands": ["rm **"]}, "because": "files are not removed by hand"}},
        {
            "hold": {
                "ssh": {"commands": ["touch **"]},
                "approvers": {"groups": ["dba"]},
                "wait": "60s",
            }
        },
    ],
}
API: dict[str, Any] = {
    "policy": "orders-api",
    "targets": ["orders-api"],
    "rules": [
        {"allow": {"http": {"routes": ["/orders", "/orders/**"]}}},
        {"allow": {"http": {"methods": "POST", "routes": "/orders/**"}}},
        {"deny": {"http": {"routes": "/orders/secret/**"}, "because": "it is secret"}},
        {"hold": {"http": {"methods": "POST", "routes": "/refunds"}, "approvers": {"groups": ["dba"]}, "wait": "60s"}},
    ],
    "mask": [{"json": ["$.**.email", "$.**.card"], "with": "redact"}],
}


class Shown(Gated, SshRunning):
    """A gateway whose API's address is known before it starts, before a database, a host and an HTTP service."""

    port = 0
    upstream: Upstream

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def write_gateway(self, **limits: Any) -> None:
        super().write_gateway(**limits)
        file = self.folder / "gateway.yaml"
        config = json.loads(file.read_text())
        config["listen"]["api"]["port"] = self.port
        config["listen"]["http"] = {"port": 0}
        config["people"]["url"] = self.url
        config["people"]["applyPolicies"] = True
        labels = {"env": "prod", "team": "orders"}
        kinds = {"orders-db": "postgres", "orders-api": "http", "web-1": "ssh"}
        config["targets"] = {name: {"kind": kind, "agent": "eu", "labels": labels} for name, kind in kinds.items()}
        file.write_text(json.dumps(config))

    def _write_agent(self) -> None:
        super(SshRunning, self)._write_agent()
        file = self.folder / "agent.yaml"
        config = json.loads(file.read_text())
        leaf = self.cloud.ca.issue_files(self.folder, "client-of-orders", ["agent.example"])
        credential = self.folder / "web-credential"
        credential.mkdir(mode=0o700, exist_ok=True)
        for name, source in (("tls.crt", leaf.cert_file), ("tls.key", leaf.key_file)):
            (credential / name).write_bytes(Path(source).read_bytes())
        assert self.sshd is not None
        config["targets"] = {
            "orders-db": config["targets"]["orders-db"],
            "web-1": self.sshd.target(),
            "orders-api": {
                "kind": "http",
                "address": f"https://localhost:{self.upstream.port}",
                "caFile": str(self.cloud.ca.cert_file),
                "auth": "client-certificate",
                "credential": str(credential),
            },
        }
        file.write_text(json.dumps(config))

    def curl(self, *arguments: str) -> str:
        """Stock curl; an argument that begins with `/` is a path of `orders-api`."""
        base = f"https://localhost:{self.ports['http']}/t/orders-api"
        command = [
            "curl",
            "-sS",
            "--cacert",
            str(self.ca_file),
            "-H",
            f"Authorization: Bearer {self.cloud.bot_token()}",
        ]
        command += [base + a if a.startswith("/") else a for a in arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, env=self.environment())
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def shown(
    running_cloud: Any, whole_cloud: Any, tmp_path_factory: pytest.TempPathFactory, sshd: Sshd
) -> Iterator[Shown]:
    """A gateway with the web UI, in the people's tenant, where its address is registered."""
    running_cloud.postgres.sql(
        f"SET ROLE {ROLE}; CREATE TABLE ui_invoices(id int PRIMARY KEY, amount int NOT NULL DEFAULT 0);"
        "INSERT INTO ui_invoices(id) SELECT generate_series(1, 20); CREATE TABLE ui_refunds(id int, amount int)",
        DATABASE,
    )
    tenant: Any = Tenant(whole_cloud, running_cloud.ca, running_cloud.postgres, running_cloud.credential)
    folder = tmp_path_factory.mktemp("shown")
    running = Shown(folder, tenant, running_cloud.ca.cert_file, sshd=sshd)
    leaf = running_cloud.ca.issue_files(folder, "upstream", ["localhost", "127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert_file, leaf.key_file)
    running.upstream = Upstream(context)
    running.port = free_port()
    whole_cloud.allow_redirect("gateway", f"{running.url}/ui/signed-in")
    running.write_policies(POLICY, HOSTS, API)
    running.write_gateway()
    running.start_gateway()
    running.start_agent()
    running.wait_for_agent()
    running.wait(lambda: (running.state / "api.json").exists(), 60)
    yield running
    for name in list(running.processes):
        running.stop(name)
    running.upstream.close()


@pytest.fixture
def visit(browser: Browser, shown: Shown) -> Iterator[Callable[..., Page]]:
    """`visit("Dana")`: a page of that person, signed in; anything that the page's policy blocks fails the test."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_page(name: str = "", **options: Any) -> Page:
        options = {"viewport": {"width": 1440, "height": 900}, **options}
        context = browser.new_context(ignore_https_errors=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: _said(m, shown, wrong))
        page.on("pageerror", lambda e: wrong.append(str(e)))
        page.on("request", lambda r: _ours(r.url, shown, wrong))
        if name:
            sign_in(page, shown, name)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def _said(message: ConsoleMessage, shown: Shown, wrong: list[str]) -> None:
    # What Entra's own page says is not ours; a page that was refused on purpose is an error to the console.
    refused = "responded with a status of 4" in message.text
    if message.type in ("error", "warning") and message.location["url"].startswith(shown.url) and not refused:
        wrong.append(message.text)


def _ours(url: str, shown: Shown, wrong: list[str]) -> None:
    entra = shown.cloud.entra.authority  # pyright: ignore[reportAttributeAccessIssue] - a Tenant
    if not url.startswith((shown.url, entra, "data:")):
        wrong.append(f"a request to {url}")


def sign_in(page: Page, shown: Shown, name: str, to: str = "/ui/") -> None:
    page.goto(shown.url + to)
    page.get_by_role("button", name="Sign in with Microsoft").click()
    page.get_by_role("button", name=name).click()
    page.wait_for_url(f"{shown.url}/ui/**")
    page.get_by_role("button", name="Sign out").wait_for()


def search(page: Page, shown: Shown, query: str) -> None:
    """The audit with that query, once the store has what is looked for."""

    def found() -> bool:
        page.goto(f"{shown.url}/ui/audit?{query}")
        return page.locator("tbody tr").count() > 0

    shown.wait(found, 60)


def shot(page: Page, name: str) -> None:
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_a_held_statement_is_seen_approved_and_goes_on(shown: Shown, visit: Any, pool: Any) -> None:
    text = "UPDATE ui_invoices SET amount = amount + 1 WHERE id = 1"
    waits = pool.submit(shown.psql, "SET wicketgate.reason = 'ticket 4711'", text)
    page = visit("Dana")
    page.get_by_text("ticket 4711").wait_for(timeout=20_000)
    shot(page, "approvals-light")
    page.get_by_role("link", name="code-review").first.click()
    assert page.get_by_role("heading", level=1).inner_text() == "code-review wants to run this at orders-db"
    assert text in page.locator("pre.code").first.inner_text()
    shot(page, "approval-light")
    # By keyboard alone: the key leads to the button, the second one presses it.
    page.keyboard.press("a")
    assert page.evaluate("document.activeElement.accessKey") == "a"
    page.keyboard.press("Enter")
    page.get_by_text("Dana").first.wait_for()
    result = waits.result(60)
    assert result.returncode == 0, result.stderr
    assert shown.cloud.postgres.sql("SELECT amount FROM ui_invoices WHERE id = 1", DATABASE).strip() == "1"
    page.locator(".standing .is-used").wait_for(timeout=20_000)
    shot(page, "approval-used")
    # The replay shows who said so, and the audit proves it.
    auditor = visit("Ada")
    search(auditor, shown, "q=id+%3D+1&target=orders-db&event=operation")
    auditor.locator("tbody a").first.click()
    auditor.get_by_text("Dana approves").wait_for(timeout=30_000)
    auditor.get_by_text("goes out, as approved by Dana").wait_for()
    auditor.get_by_text("UPDATE 1").or_(auditor.get_by_text(text)).first.wait_for()
    auditor.get_by_text("whole, matches").wait_for()
    shown.wait(lambda: (shown.state / "seals.ndjson").is_file(), 60)
    auditor.get_by_role("link", name="Audit", exact=True).click()
    auditor.get_by_role("button", name="Verify now").click()
    auditor.get_by_text("Verified until").wait_for(timeout=60_000)
    assert auditor.locator(".chain.good").count() == 1


def test_a_denial_needs_a_reason_and_reaches_the_bot(shown: Shown, visit: Any, pool: Any) -> None:
    waits = pool.submit(shown.psql, "UPDATE ui_invoices SET amount = 7 WHERE id = 2")
    page = visit("Dana")
    page.get_by_role("link", name="id = 2").click(timeout=20_000)
    page.get_by_role("button", name="Deny").click()
    page.get_by_text("a denial needs a reason").wait_for()
    page.go_back()
    page.keyboard.press("c")
    page.keyboard.type("not on a Friday")
    page.get_by_role("button", name="Deny").click()
    page.locator(".standing .is-denied").wait_for()
    assert "not on a Friday" in waits.result(60).stderr


def test_what_a_bot_sends_is_never_markup(shown: Shown, visit: Any, pool: Any) -> None:
    evil = "<img src=x onerror=alert(1)></pre><script>alert(2)</script>"
    text = f"UPDATE ui_invoices SET amount = length('{evil}') WHERE id = 3"
    waits = pool.submit(shown.psql, f"SET wicketgate.reason = '{evil}'", text)
    page = visit("Dana")
    page.on("dialog", lambda d: pytest.fail(f"a script ran: {d.message}"))
    page.get_by_role("link", name="id = 3").click(timeout=20_000)
    assert text in page.locator("pre.code").first.inner_text()
    assert page.locator("img[src=x]").count() == 0
    page.get_by_label("Comment").fill("no")
    page.get_by_role("button", name="Deny").click()
    page.locator(".standing .is-denied").wait_for()
    waits.result(60)
    auditor = visit("Ada")
    search(auditor, shown, "q=onerror")
    auditor.get_by_text("onerror=alert(1)").first.wait_for()
    assert auditor.locator("img[src=x]").count() == 0


def test_sessions_replay_audit_and_policies(shown: Shown, visit: Any) -> None:
    shown.psql("SELECT id, name, email FROM customers ORDER BY id", "SELECT * FROM secrets", "SELECT 1/0")
    page = visit("Ada")
    page.get_by_role("heading", name="Sessions").wait_for()
    shot(page, "sessions-light")
    search(page, shown, "q=1%2F0")
    page.locator("tbody a").first.click()
    page.get_by_text("a***@example.com").first.wait_for()
    page.get_by_text("secrets are for people").first.wait_for()
    page.get_by_text("division by zero").first.wait_for()
    page.get_by_text("whole, matches").wait_for()
    shot(page, "session-light")
    page.get_by_role("searchbox").fill("division")
    page.keyboard.press("Enter")
    page.get_by_text("1 entry with").wait_for()
    page.get_by_role("link", name="Audit", exact=True).click()
    page.get_by_label("Verdict").select_option("deny")
    page.get_by_role("button", name="Search").click()
    page.get_by_text("SELECT * FROM secrets").first.wait_for()
    assert "verdict=deny" in page.url
    shot(page, "audit-light")
    page.get_by_role("link", name="Policies").click()
    page.get_by_role("link", name="people").click()
    editor = page.get_by_label("The policy, as YAML")
    editor.fill(editor.input_value().replace("public.secrets", "public.nowhere"))
    page.get_by_role("button", name="Try it out").click()
    page.get_by_text("would come out differently").wait_for()
    page.get_by_role("table", name="What would have changed").get_by_text("SELECT * FROM secrets").first.wait_for()
    shot(page, "policy-light")
    editor = page.get_by_label("The policy, as YAML")
    editor.fill(editor.input_value() + "\nnonsense: 1\n")
    page.get_by_role("button", name="Try it out").click()
    page.get_by_text("people.yaml:").first.wait_for()
    page.get_by_role("link", name="Bots & targets").click()
    page.get_by_text("connected").first.wait_for()
    shot(page, "access-light")


def test_dark_and_narrow(shown: Shown, visit: Any) -> None:
    shown.psql(
        "SET wicketgate.reason = 'INC-4711: the importer stopped'", "UPDATE ui_refunds SET amount = 7 WHERE id = 4"
    )
    for name, options in (
        ("dark", {"color_scheme": "dark", "viewport": {"width": 1440, "height": 900}}),
        ("narrow", {"viewport": {"width": 390, "height": 844}}),
        ("narrow-dark", {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}),
    ):
        page = visit("Dana", **options)
        page.get_by_role("link", name="id = 4").wait_for(timeout=20_000)
        shot(page, f"approvals-{name}")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.get_by_role("link", name="id = 4").click()
        page.get_by_role("button", name="Approve").wait_for()
        shot(page, f"approval-{name}")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        auditor = visit("Ada", **options)
        for place in ("sessions", "audit", "policies", "policies/people", "access"):
            auditor.goto(f"{shown.url}/ui/{place}")
            shot(auditor, f"{place.replace('/', '-')}-{name}")
            assert auditor.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (place, name)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(shown: Shown, visit: Any, axe: Any, scheme: str) -> None:
    number = 5 if scheme == "light" else 6
    shown.psql(f"UPDATE ui_refunds SET amount = 7 WHERE id = {number}")
    page = visit("Dana", color_scheme=scheme)
    page.get_by_role("link", name=f"id = {number}").wait_for(timeout=20_000)
    found = axe.faults(page)
    page.get_by_role("link", name=f"id = {number}").click()
    page.get_by_role("button", name="Approve").wait_for()
    found += axe.faults(page)
    page.get_by_label("Comment").fill("no")
    page.get_by_role("button", name="Deny").click()
    page.locator(".standing .is-denied").wait_for()
    auditor = visit("Ada", color_scheme=scheme)
    places = ["sessions", "audit", "policies", "policies/people", "access"]
    places.append(auditor.locator("tbody a").first.get_attribute("href").removeprefix("/ui/"))
    for place in places:
        auditor.goto(f"{shown.url}/ui/{place}")
        found += axe.faults(auditor)
    assert found == []


def test_a_terminal_is_played_by_keyboard(shown: Shown, visit: Any, axe: Any) -> None:
    """A command with a terminal, played, sought in and searched, without a mouse."""
    lines = [
        r"\033[1mimporter.service\033[0m \033[32mactive (running)\033[0m since Tue 08:14",
        r"  \033[2mjournal:\033[0m <img src=x onerror=alert(1)> \342\200\256flip",
        r"  08:14:02 \033[33mwarn\033[0m  retry 3 of 5, needle in line three",
        r"  08:14:07 \033[36minfo\033[0m  4 711 rows, 12 files, 0.8 s",
        r"\033[44;97m ok \033[0m all checks passed",
    ]
    done = shown.ssh("printf", "'" + r"\n".join(lines) + r"\n'", options=["-tt"])
    assert done.returncode == 0, done.stderr
    for scheme in ("light", "dark"):
        page = visit("Ada", color_scheme=scheme)
        page.on("dialog", lambda d: pytest.fail(f"a script ran: {d.message}"))
        search(page, shown, "target=web-1&q=printf")
        page.locator("tbody a").first.click()
        page.get_by_text("whole, matches").wait_for()
        player = page.locator("details.terminal[open] .ap-player")
        player.wait_for()
        page.keyboard.press("/")
        page.keyboard.type("needle")
        page.keyboard.press("Enter")
        page.get_by_text("1 entry with").wait_for()
        seek = page.locator("[data-seek]").first
        page.locator("details.terminal[open] .ap-player").wait_for()
        seek.focus()
        page.keyboard.press("Enter")  # leads the player there, and the keys to the player
        screen = page.locator(".ap-player .ap-term")
        screen.get_by_text("needle in line three").wait_for()
        assert "⟦U+202E⟧flip" in screen.inner_text()
        assert "<img src=x onerror=alert(1)>" in screen.inner_text()
        assert page.locator("img[src=x]").count() == 0
        assert page.evaluate("document.activeElement.className").startswith("ap-wrapper")
        page.evaluate("window.scrollTo(0, 0)")
        shot(page, f"terminal-{scheme}")
        page.keyboard.press("0")
        screen.get_by_text("needle in line three").wait_for(state="detached")
        page.keyboard.press(" ")
        screen.get_by_text("needle in line three").wait_for()  # played to there
        assert axe.faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_running_session_is_followed_and_ended(shown: Shown, visit: Any) -> None:
    command = ["ssh", *shown.options(), "-tt", "web-1", "cat"]
    client = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=shown.environment()
    )
    try:
        assert client.stdin is not None
        client.stdin.write(b"first words\n")
        client.stdin.flush()
        page = visit("Root")
        page.goto(f"{shown.url}/ui/sessions?target=web-1&live=1")
        page.locator("tbody a").first.click(timeout=30_000)
        screen = page.locator(".ap-player .ap-term")
        screen.get_by_text("first words").first.wait_for(timeout=60_000)
        client.stdin.write(b"and later ones\n")
        client.stdin.flush()
        screen.get_by_text("and later ones").first.wait_for(timeout=60_000)
        shot(page, "live")
        page.get_by_text("End this session").click()
        page.get_by_label("Why").fill("seen enough")
        page.get_by_role("button", name="End it now").click()
        assert client.wait(60) != 0
        page.get_by_text("whole, matches").wait_for(timeout=60_000)
    finally:
        client.kill()
        client.wait(20)


def test_requests_are_listed_with_bodies(shown: Shown, visit: Any) -> None:
    answers = shown.curl("/orders/7?fields=name", "/orders/secret/1", "/orders/8")
    assert answers.count("Ann") == 2, answers
    assert "ann@example.com" not in answers
    sent = '{"note": "<b>needle</b>", "to": 7}'
    assert "Ann" in shown.curl("-H", "Content-Type: application/json", "-d", sent, "/orders/7")
    page = visit("Ada")
    search(page, shown, "target=orders-api&q=POST")
    page.locator("tbody a").first.click()
    page.get_by_text("POST", exact=True).wait_for()
    page.get_by_text("request body").click()
    page.get_by_text("<b>needle</b>").first.wait_for()
    search(page, shown, "target=orders-api&q=fields")
    page.locator("tbody a").first.click()
    page.get_by_text("it is secret").first.wait_for()
    page.get_by_text("200 OK").first.wait_for()
    page.locator("details.body summary").first.click()
    shot(page, "requests-light")
    page.keyboard.press("g")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    page.wait_for_url("**#n2")


def test_a_request_and_a_command_are_held(shown: Shown, visit: Any, pool: Any) -> None:
    body = '{"order": 7, "amount": 20, "to": "Ann"}'
    refund = pool.submit(shown.curl, "-H", "Content-Type: application/json", "-d", body, "/refunds")
    touch = pool.submit(shown.ssh, "touch", "/tmp/wicketgate-ui-touched", target="web-1")
    page = visit("Dana")
    for title, part in (("POST /refunds", '"amount": 20'), ("touch /tmp/wicketgate-ui-touched", "touch")):
        page.goto(f"{shown.url}/ui/approvals")
        page.get_by_role("link", name=title).click(timeout=60_000)
        assert part in page.locator("section pre.code").all_inner_texts()[-1 if "POST" in title else 0]
        shot(page, f"approval-{title[:4].strip().lower()}")
        page.keyboard.press("c")
        page.keyboard.type("not today")
        page.keyboard.press("Escape")
        page.keyboard.press("d")
        page.keyboard.press("Enter")
        page.locator(".standing .is-denied").wait_for()
    assert "not today" in refund.result(90)
    assert b"not today" in touch.result(90).stderr


def test_roles_decide_what_is_shown(shown: Shown, visit: Any) -> None:
    page = visit("Erik")
    assert page.get_by_role("link", name="Sessions").count() == 0
    assert page.goto(f"{shown.url}/ui/sessions").status == 403
    assert page.goto(f"{shown.url}/ui/nothing").status == 404
    page.goto(f"{shown.url}/ui/")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with Microsoft").wait_for()
    page.goto(f"{shown.url}/ui/approvals")
    page.get_by_role("button", name="Sign in with Microsoft").wait_for()


def test_a_policy_is_put_in_force_at_once(shown: Shown, visit: Any) -> None:
    """The last one: what it changes stays."""
    assert "secrets are for people" in shown.psql("SELECT * FROM secrets").stderr
    page = visit("Root")
    page.goto(f"{shown.url}/ui/policies/people")
    editor = page.get_by_label("The policy, as YAML")
    editor.fill(editor.input_value().replace("secrets are for people", "ask the team first"))
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("heading", name="Put it in force").wait_for()
    page.get_by_label("Why").fill("INC-4711")
    page.get_by_role("button", name="Apply now").click()
    page.get_by_role("heading", name="Policies").wait_for()
    shown.wait(lambda: "ask the team first" in shown.psql("SELECT * FROM secrets").stderr, 60)
    loaded = [event for event in shown.events() if isinstance(event, PolicyLoaded)]
    assert (loaded[-1].by, loaded[-1].reason) == ("Root", "INC-4711")
    assert loaded[0].by == ""
