"""Signing in and out, whole."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.cli import login, main, people

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def enters(cloud: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has the person of that name enter the code that is told."""

    def choose(name: str) -> None:
        def tell(made: dict[str, Any]) -> None:
            threading.Thread(target=cloud.entra.approve_device, args=(made["user_code"], cloud.ids[name])).start()

        monkeypatch.setattr(login, "_tell_code", tell)

    return choose


def test_in_and_out(as_person: Run, enters: Callable[[str], None]) -> None:
    enters("Dana")
    code, _, err = as_person("", "approvals", "list")
    assert (code, err) == (main.FAILED, "error: you are not signed in; `wicketgate login`\n")
    code, out, _ = as_person("", "login", "--device")
    assert code == 0
    assert out.startswith("signed in as Dana (Approval.Decide) until ")
    assert main.run(["approvals", "list"]) == 0
    assert main.run(["logout"]) == 0
    assert main.run(["approvals", "list"]) == main.FAILED


def test_a_token_that_the_gateway_refuses_is_not_kept(
    as_person: Run, enters: Callable[[str], None], desk: Any, tmp_path: Path
) -> None:
    enters("Dana")
    file = tmp_path / "people.yaml"
    file.write_text(file.read_text().replace(desk.cloud.clients["cli"], desk.cloud.clients["other-cli"]))
    code, out, err = as_person("", "login", "--device", "--json")
    assert (code, out) == (main.FAILED, "")
    assert '"code":"wrong-client"' in err
    assert not people.forget(people.Gate().settings())


def test_the_code_is_told_on_standard_error_without_what_could_hide(capsys: pytest.CaptureFixture[str]) -> None:
    login._tell_code({"verification_uri": "https://x\x1b[2J", "user_code": "ABC\n"})
    assert capsys.readouterr().err == "open https://x\\x1b[2J on any machine and enter the code ABC \n"
