"""Exchanges against the emulator, which fetches the issuer's keys and compares what the token says."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from wicketgate_gateway.contract.gateway import Entra, Workload
from wicketgate_gateway.identity import exchange, http, workload
from wicketgate_gateway.identity.exchange import AccessToken, ExchangeError
from wicketgate_gateway.identity.workload import WorkloadCredential

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(cloud: Any) -> AsyncIterator[httpx2.AsyncClient]:
    async with http.client(Entra.model_validate(cloud.document())) as made:
        yield made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "_PAUSE_SECONDS", 0.01)


def credential(cloud: Any, client: httpx2.AsyncClient, **changes: Any) -> WorkloadCredential:
    document = {**cloud.workload("bot"), **changes}
    return WorkloadCredential(Entra.model_validate(cloud.document()), Workload.model_validate(document), client)


async def test_a_token_by_the_platforms_token(cloud: Any, client: httpx2.AsyncClient) -> None:
    subject = credential(cloud, client)
    token = await subject.token(f"{cloud.audience}/.default")
    assert token.token.count(".") == 2
    assert token.expires_at > time.time() + 3000
    assert token.token not in repr(token) + str(token)
    assert await subject.token(f"{cloud.audience}/.default") is token


async def test_many_askers_one_exchange(cloud: Any, client: httpx2.AsyncClient) -> None:
    subject = credential(cloud, client)
    tokens = await asyncio.gather(*[subject.token(f"{cloud.audience}/.default") for _ in range(10)])
    assert len({id(token) for token in tokens}) == 1


async def test_renewed_five_minutes_before_its_end(cloud: Any, client: httpx2.AsyncClient) -> None:
    subject = credential(cloud, client)
    scope = f"{cloud.audience}/.default"
    first = await subject.token(scope)
    subject._tokens[scope] = AccessToken(first.token, time.time() + 299)
    assert (await subject.token(scope)).token != first.token


async def test_while_entra_is_away_the_token_serves_to_its_end(cloud: Any, client: httpx2.AsyncClient) -> None:
    subject = credential(cloud, client)
    scope = f"{cloud.audience}/.default"
    old = AccessToken((await subject.token(scope)).token, time.time() + 200)
    subject._tokens[scope] = old
    cloud.entra.set_quirks(throttle_login_next=10)
    assert await subject.token(scope) is old
    subject._tokens[scope] = AccessToken(old.token, time.time() - 1)
    with pytest.raises(ExchangeError) as error:
        await subject.token(scope)
    assert error.value.transient


@pytest.mark.parametrize("quirk", ["throttle_login_next", "stray_700213_next"])
async def test_stray_failures_are_tried_again(cloud: Any, client: httpx2.AsyncClient, quirk: str) -> None:
    cloud.entra.set_quirks(**{quirk: 2})
    assert (await credential(cloud, client).token(f"{cloud.audience}/.default")).token


async def test_the_file_is_read_for_each_exchange(cloud: Any, client: httpx2.AsyncClient, tmp_path: Path) -> None:
    file = tmp_path / "token"
    subject = credential(cloud, client, tokenFile=str(file))
    with pytest.raises(ExchangeError) as error:
        await subject.token(f"{cloud.audience}/.default")
    assert error.value.code == "assertion-unreadable"
    file.write_text(cloud.issuer.token("workload:bot", "api://AzureADTokenExchange") + "\n")
    assert (await subject.token(f"{cloud.audience}/.default")).token


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        (("workload:other", "api://AzureADTokenExchange"), "subject-unknown"),
        (("Workload:Bot", "api://AzureADTokenExchange"), "subject-case"),
        (("workload:bot", "api://another"), "audience-unknown"),
    ],
)
async def test_what_entra_says_becomes_what_to_do(
    cloud: Any, client: httpx2.AsyncClient, tmp_path: Path, claims: tuple[str, str], code: str
) -> None:
    file = tmp_path / "token"
    file.write_text(cloud.issuer.token(*claims))
    with pytest.raises(ExchangeError) as error:
        await credential(cloud, client, tokenFile=str(file)).token(f"{cloud.audience}/.default")
    assert error.value.code == code
    assert error.value.remedy
    assert file.read_text().split(".")[1] not in str(error.value)


async def test_a_bot_without_the_role_gets_no_token(cloud: Any, client: httpx2.AsyncClient) -> None:
    document = {"clientId": cloud.clients["gateway"], "tokenFile": str(cloud.folder / "gateway.token")}
    subject = WorkloadCredential(Entra.model_validate(cloud.document()), Workload.model_validate(document), client)
    with pytest.raises(ExchangeError) as error:
        await subject.token(f"{cloud.audience}/.default")
    assert error.value.code == "role-missing"


async def test_nobody_answers(cloud: Any) -> None:
    entra = Entra.model_validate({**cloud.document(), "authority": "https://localhost:1"})
    async with http.client(entra) as client:
        subject = WorkloadCredential(entra, Workload.model_validate(cloud.workload("bot")), client)
        with pytest.raises(ExchangeError) as error:
            await subject.token("x/.default")
    assert error.value.code == "entra-unreachable"
    assert error.value.transient


async def test_a_certificate_of_nobody_is_not_trusted(cloud: Any) -> None:
    entra = Entra.model_validate({**cloud.document(), "caFile": None})
    async with http.client(entra) as client:
        subject = WorkloadCredential(entra, Workload.model_validate(cloud.workload("bot")), client)
        with pytest.raises(ExchangeError) as error:
            await subject.token("x/.default")
    assert error.value.code == "entra-unreachable"


def test_a_file_that_holds_no_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    for content in (b"", b"\n", b"no jwt", b"a.b", b"\xff\xfe", b"a.b.c " + b"x" * exchange.MAX_ASSERTION, b"a b.c.d"):
        file.write_bytes(content)
        with pytest.raises(ExchangeError):
            workload._read(str(file))
