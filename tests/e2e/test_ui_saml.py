"""Sign-in by SAML in a real Chromium: Entra's page posts across sites, and the person decides on a held operation."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.test_holds_people import Gated, Tenant
from tests.running import DATABASE, ROLE

pytestmark = pytest.mark.slow
POLICY: dict[str, Any] = {
    "policy": "by-saml",
    "targets": ["orders-db"],
    "rules": [
        {"allow": {"sql": {"statements": ["read"]}}},
        {
            "hold": {
                "sql": {"statements": ["write"], "relations": ["public.saml_held"]},
                "approvers": {"groups": ["dba"]},
                "wait": "60s",
            }
        },
    ],
}


class BySaml(Gated):
    """A gateway at an address that is known before it starts, with sign-in by SAML."""

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
        config["people"]["saml"] = {"client": self.cloud.client("gateway-saml"), "entityId": "api://gateway-saml"}
        file.write_text(json.dumps(config))


@pytest.fixture(scope="module")
def shown(running_cloud: Any, whole_cloud: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BySaml]:
    running_cloud.postgres.sql(
        f"SET ROLE {ROLE}; CREATE TABLE saml_held(id int PRIMARY KEY, n int NOT NULL DEFAULT 0);"
        "INSERT INTO saml_held(id) SELECT generate_series(1, 5)",
        DATABASE,
    )
    tenant: Any = Tenant(whole_cloud, running_cloud.ca, running_cloud.postgres, running_cloud.credential)
    running = BySaml(tmp_path_factory.mktemp("saml"), tenant, running_cloud.ca.cert_file)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        running.port = taken.getsockname()[1]
    whole_cloud.allow_redirect("gateway-saml", f"{running.url}/ui/saml/acs")
    running.write_policies(POLICY)
    running.write_gateway()
    running.start_gateway()
    running.start_agent()
    running.wait_for_agent()
    running.wait(lambda: (running.state / "api.json").exists(), 30)
    yield running
    for name in list(running.processes):
        running.stop(name)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_sign_in_page_is_accessible(shown: BySaml, browser: Browser, axe: Any, scheme: Any) -> None:
    context = browser.new_context(ignore_https_errors=True, color_scheme=scheme)
    page = context.new_page()
    for address in ("sign-in", "sign-in?again=1", "nothing-here"):
        page.goto(f"{shown.url}/ui/{address}")
        assert axe.faults(page) == []
    page.goto(f"{shown.url}/ui/sign-in")
    for name in ("Sign in with Microsoft", "Sign in with SAML"):
        page.keyboard.press("Tab")
        while page.evaluate("document.activeElement.className") == "skip":
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.innerText") == name
    context.close()


def test_a_person_signs_in_and_approves(shown: BySaml, page: Page) -> None:
    # Another host than the gateway's: the form that comes back is from another site, as Entra's is.
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(shown.psql, "UPDATE saml_held SET n = n + 1 WHERE id = 1")
        page.goto(f"{shown.url}/ui/approvals")
        page.get_by_role("button", name="Sign in with SAML").click()
        page.get_by_role("button", name="Dana").click()
        page.wait_for_url(f"{shown.url}/ui/approvals")
        page.get_by_role("link", name="id = 1").click(timeout=20_000)
        page.get_by_role("button", name="Approve").click()
        page.locator(".standing .is-used").wait_for(timeout=20_000)
        assert waits.result(60).returncode == 0
    assert shown.cloud.postgres.sql("SELECT n FROM saml_held WHERE id = 1", DATABASE).strip() == "1"
    kept = {cookie.get("name"): cookie for cookie in page.context.cookies(shown.url)}
    assert kept["__Host-wicketgate"].get("sameSite") == "Strict"
    assert "__Host-wicketgate-saml" not in kept
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{shown.url}/ui/approvals")
    page.get_by_role("button", name="Sign in with SAML").wait_for()


def test_another_sites_page_cannot_post_anything_else(shown: BySaml, page: Page) -> None:
    """The session's cookie stays at home, also where a form may come from another site."""
    page.goto(f"{shown.url}/ui/sessions")
    page.get_by_role("button", name="Sign in with SAML").click()
    page.get_by_role("button", name="Dana").click()
    page.wait_for_url(f"{shown.url}/ui/sessions")
    for path in ("/ui/saml/acs", "/ui/sign-out"):
        page.goto("data:text/html,<form method=post></form>")
        with page.expect_navigation():
            page.evaluate(f"const f = document.forms[0]; f.action = '{shown.url}{path}'; f.submit()")
        assert page.get_by_role("button", name="Sign out").count() == 0
    page.goto(f"{shown.url}/ui/sessions")
    page.get_by_role("button", name="Sign out").wait_for()
