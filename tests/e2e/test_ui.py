"""The web UI in a real Chromium: sign in at the emulated Entra, look, answer; a real bot waits and goes on."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.e2e.test_holds_people import Gated, Tenant
from tests.running import DATABASE, ROLE

pytestmark = pytest.mark.slow
CHROMIUM = "/usr/bin/chromium"
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
                "sql": {"statements": ["write"], "relations": ["public.ui_held"]},
                "approvers": {"groups": ["dba"]},
                "wait": "60s",
            }
        },
    ],
    "mask": [{"columns": ["public.customers.email"], "with": "partial"}],
}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Shown(Gated):
    """A gateway whose API's address is known before it starts, as a stack's is."""

    port = 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def write_gateway(self, **limits: Any) -> None:
        super().write_gateway(**limits)
        file = self.folder / "gateway.yaml"
        config = json.loads(file.read_text())
        config["listen"]["api"]["port"] = self.port
        config["people"]["url"] = self.url
        file.write_text(json.dumps(config))


@pytest.fixture(scope="module")
def shown(running_cloud: Any, whole_cloud: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A gateway with the web UI, in the people's tenant, where its address is registered."""
    running_cloud.postgres.sql(
        f"SET ROLE {ROLE}; CREATE TABLE ui_held(id int PRIMARY KEY, n int NOT NULL DEFAULT 0);"
        "INSERT INTO ui_held(id) SELECT generate_series(1, 20)",
        DATABASE,
    )
    tenant: Any = Tenant(whole_cloud, running_cloud.ca, running_cloud.postgres, running_cloud.credential)
    running = Shown(tmp_path_factory.mktemp("shown"), tenant, running_cloud.ca.cert_file)
    running.port = free_port()
    whole_cloud.allow_redirect("gateway", f"{running.url}/ui/signed-in")
    running.write_policies(POLICY)
    running.write_gateway()
    running.start_gateway()
    running.start_agent()
    running.wait_for_agent()
    running.wait(lambda: (running.state / "api.json").exists(), 30)
    yield running
    for name in list(running.processes):
        running.stop(name)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def visit(browser: Browser, shown: Shown) -> Iterator[Callable[..., Page]]:
    """`visit("Dana")`: a page of that person, signed in; anything that the page's policy blocks fails the test."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []

    def open_page(name: str = "", **options: Any) -> Page:
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


def shot(page: Page, name: str) -> None:
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_a_held_statement_is_seen_approved_and_goes_on(shown: Shown, visit: Any, pool: Any) -> None:
    text = "UPDATE ui_held SET n = n + 1 WHERE id = 1"
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
    assert shown.cloud.postgres.sql("SELECT n FROM ui_held WHERE id = 1", DATABASE).strip() == "1"
    page.locator(".standing .is-used").wait_for(timeout=20_000)
    shot(page, "approval-used")


def test_a_denial_needs_a_reason_and_reaches_the_bot(shown: Shown, visit: Any, pool: Any) -> None:
    waits = pool.submit(shown.psql, "UPDATE ui_held SET n = 7 WHERE id = 2")
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
    text = f"UPDATE ui_held SET n = length('{evil}') WHERE id = 3"
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
    auditor.goto(f"{shown.url}/ui/audit?q=onerror")
    auditor.get_by_text("onerror=alert(1)").first.wait_for()
    assert auditor.locator("img[src=x]").count() == 0


def test_sessions_replay_audit_and_policies(shown: Shown, visit: Any) -> None:
    shown.psql("SELECT id, name, email FROM customers ORDER BY id", "SELECT * FROM secrets", "SELECT 1/0")
    page = visit("Ada")
    page.get_by_role("heading", name="Sessions").wait_for()
    shot(page, "sessions-light")
    page.locator("tbody a").first.click()
    page.get_by_text("a***@example.com").first.wait_for()
    page.get_by_text("secrets are for people").first.wait_for()
    page.get_by_text("division by zero").first.wait_for()
    page.get_by_text("whole, matches").wait_for()
    shot(page, "session-light")
    page.get_by_role("searchbox").fill("division")
    page.keyboard.press("Enter")
    page.get_by_text("1 steps").wait_for()
    page.get_by_role("link", name="Audit", exact=True).click()
    page.get_by_label("Verdict").select_option("deny")
    page.get_by_role("button", name="Search").click()
    page.get_by_text("SELECT * FROM secrets").first.wait_for()
    assert "verdict=deny" in page.url
    shot(page, "audit-light")
    page.get_by_role("link", name="Policies").click()
    page.get_by_role("link", name="people").click()
    editor = page.locator("textarea")
    editor.fill(editor.input_value().replace("public.secrets", "public.nowhere"))
    page.get_by_role("button", name="Try it out").click()
    page.get_by_text("would come out differently").wait_for()
    page.get_by_role("table", name="What would have changed").get_by_text("SELECT * FROM secrets").first.wait_for()
    shot(page, "policy-light")
    editor = page.locator("textarea")
    editor.fill(editor.input_value() + "\nnonsense: 1\n")
    page.get_by_role("button", name="Try it out").click()
    page.get_by_text("people.yaml:").first.wait_for()
    page.get_by_role("link", name="Bots & targets").click()
    page.get_by_text("connected").first.wait_for()
    shot(page, "access-light")


def test_dark_and_narrow(shown: Shown, visit: Any, pool: Any) -> None:
    waits = pool.submit(shown.psql, "UPDATE ui_held SET n = 7 WHERE id = 4")
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
        for place in ("sessions", "audit", "policies", "access"):
            auditor.goto(f"{shown.url}/ui/{place}")
            shot(auditor, f"{place}-{name}")
            assert auditor.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (place, name)
    page.get_by_label("Comment").fill("no")
    page.get_by_role("button", name="Deny").click()
    waits.result(60)


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, an accessibility checker; a dependency of tests alone."""
    folder = Path(__file__).parent / "node"
    if shutil.which("npm") is None:
        pytest.fail("there is no `npm` on PATH; install Node.js 18 or newer")
    source = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not source.is_file():
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    return source.read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_accessible(shown: Shown, visit: Any, pool: Any, axe: str, scheme: str) -> None:
    number = 5 if scheme == "light" else 6
    waits = pool.submit(shown.psql, f"UPDATE ui_held SET n = 7 WHERE id = {number}")
    page = visit("Dana", color_scheme=scheme)
    page.get_by_role("link", name=f"id = {number}").wait_for(timeout=20_000)
    found = _faults(page, axe)
    page.get_by_role("link", name=f"id = {number}").click()
    page.get_by_role("button", name="Approve").wait_for()
    found += _faults(page, axe)
    page.get_by_label("Comment").fill("no")
    page.get_by_role("button", name="Deny").click()
    page.locator(".standing .is-denied").wait_for()
    waits.result(60)
    auditor = visit("Ada", color_scheme=scheme)
    places = ["sessions", "audit", "policies", "policies/people", "access"]
    places.append(auditor.locator("tbody a").first.get_attribute("href").removeprefix("/ui/"))
    for place in places:
        auditor.goto(f"{shown.url}/ui/{place}")
        found += _faults(auditor, axe)
    assert found == []


def _faults(page: Page, axe: str) -> list[str]:
    # By the browser's own protocol: the page's policy would run no such script.
    page.evaluate(axe)
    result = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})")
    return [
        f"{page.url}: {fault['id']}: {node['html'][:150]} {node['failureSummary'][:200]}"
        for fault in result["violations"]
        for node in fault["nodes"]
    ]


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
