"""Both flows against the emulator, with a person who clicks; and what is sent to the redirect by others."""

import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from wicketgate_gateway.cli import sign_in
from wicketgate_gateway.cli.people import Settings
from wicketgate_gateway.cli.sign_in import SignIn, SignInError
from wicketgate_gateway.contract.gateway import Entra
from wicketgate_gateway.identity.http import tls_context


@pytest.fixture
def flow(cloud: Any) -> Iterator[SignIn]:
    entra = Entra.model_validate(cloud.document())
    made = SignIn(Settings(entra, cloud.audience, cloud.clients["cli"], "https://gate.example", None))
    yield made
    made.close()


class Browser:
    """Opens the sign-in page and clicks a person; follows the redirect unless told not to."""

    def __init__(self, cloud: Any, name: str) -> None:
        self.cloud, self.name = cloud, name
        self.asked: dict[str, str] = {}
        self.back = ""
        self.threads: list[threading.Thread] = []

    def __call__(self, url: str) -> None:
        self.asked = {name: found[0] for name, found in parse_qs(urlsplit(url).query).items()}
        thread = threading.Thread(target=self.click, args=(url,))
        self.threads.append(thread)
        thread.start()

    def click(self, url: str) -> None:
        with httpx2.Client(verify=tls_context(str(self.cloud.entra.ca_file)), trust_env=False) as http:
            page = http.get(url)
            found = re.search(r'name="request" value="([^"]+)"', page.text)
            assert found
            form = {"request": found[1], "user": self.cloud.ids[self.name]}
            answer = http.post(f"{self.cloud.entra.authority}/{self.cloud.entra.tenant}/login", data=form)
            self.back = answer.headers["location"]
            self.follow(http)

    def follow(self, http: httpx2.Client) -> None:
        assert http.get(self.back).status_code == 200


def test_code_and_pkce(flow: SignIn, cloud: Any) -> None:
    browser = Browser(cloud, "Dana")
    token = flow.by_browser(browser)
    browser.threads[0].join()
    assert token.token.count(".") == 2
    assert (browser.asked["code_challenge_method"], browser.asked["prompt"]) == ("S256", "login")
    assert browser.asked["scope"] == f"{cloud.audience}/Gateway.Use"  # no offline_access: nothing lasts
    assert browser.asked["redirect_uri"].startswith("http://127.0.0.1:")
    # The redirect's port is closed, and its code of no use to who sees it.
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(browser.back, timeout=2)
    with httpx2.Client(verify=tls_context(str(cloud.entra.ca_file)), trust_env=False) as http:
        form = {
            "grant_type": "authorization_code",
            "client_id": cloud.clients["cli"],
            "code": parse_qs(urlsplit(browser.back).query)["code"][0],
            "redirect_uri": browser.asked["redirect_uri"],
            "code_verifier": "x" * 64,
        }
        answer = http.post(f"{cloud.entra.authority}/{cloud.entra.tenant}/oauth2/v2.0/token", data=form)
        assert answer.status_code == 400


def test_what_others_send_to_the_redirect_counts_for_nothing(flow: SignIn, cloud: Any) -> None:
    class Crowded(Browser):
        def follow(self, http: httpx2.Client) -> None:
            base = self.asked["redirect_uri"]
            state = self.asked["state"]
            for query in (
                "code=stolen",
                "code=stolen&state=guess",
                "error=access_denied&state=",
                f"code=a&code=b&state={state}x",
                f"code=a&state={state}&state={state}",
            ):
                assert http.get(f"{base}?{query}").status_code == 400
            assert http.get(f"{base}other?code=a&state={state}").status_code == 400
            super().follow(http)

    browser = Crowded(cloud, "Dana")
    assert flow.by_browser(browser).token
    browser.threads[0].join()


def test_an_error_comes_back(flow: SignIn, cloud: Any) -> None:
    class Declined(Browser):
        def click(self, url: str) -> None:
            with httpx2.Client(trust_env=False) as http:
                back = {"error": "access_denied", "error_description": "no\nx", "state": self.asked["state"]}
                http.get(self.asked["redirect_uri"], params=back)

    with pytest.raises(SignInError, match=r"Entra did not sign you in: no$"):
        flow.by_browser(Declined(cloud, "Dana"))


def test_nobody_comes(flow: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "BROWSER_SECONDS", 0.1)
    with pytest.raises(SignInError) as error:
        flow.by_browser(lambda url: None)
    assert error.value.code == "sign-in-timeout"


def test_a_person_without_a_role_gets_no_token(flow: SignIn, cloud: Any) -> None:
    with pytest.raises(SignInError, match="AADSTS50105"):
        flow.by_device(lambda made: cloud.entra.approve_device(made["user_code"], cloud.ids["Nils"]))


def test_device_code(flow: SignIn, cloud: Any) -> None:
    told: dict[str, Any] = {}

    def tell(made: dict[str, Any]) -> None:
        told.update(made)
        timer = threading.Timer(1.2, cloud.entra.approve_device, (made["user_code"], cloud.ids["Dana"]))
        timer.start()

    assert flow.by_device(tell).token.count(".") == 2
    assert told["verification_uri"].startswith("https://")


def test_device_code_declined(flow: SignIn, cloud: Any) -> None:
    from wicketgate.testing.entra import device

    def tell(made: dict[str, Any]) -> None:
        device.decide(cloud.entra.core, made["user_code"], "", approve=False)

    with pytest.raises(SignInError) as error:
        flow.by_device(tell)
    assert error.value.code == "sign-in-declined"
