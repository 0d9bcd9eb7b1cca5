"""Requests by msgraph-sdk against the emulator: pages, bounds on repetition, errors, and where the token goes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from azure.identity import ClientSecretCredential

from wicketgate.identity import graph as graphs
from wicketgate.identity.graph import Graph, GraphError, connect, first_line, quoted
from wicketgate.identity.signin import Cloud, SignInError
from wicketgate.testing.entra.server import EntraEmulator

T = TypeVar("T")
SEED: dict[str, Any] = {
    "applications": [
        {
            "displayName": "doctor",
            "graphRoles": ["Application.ReadWrite.All"],
            "secrets": [{"secretText": "doctor-secret"}],
        }
    ]
}


@pytest.fixture(scope="module")
def entra() -> Iterator[EntraEmulator]:
    with EntraEmulator(seed=SEED) as emulator:
        yield emulator


@pytest.fixture
def ask(entra: EntraEmulator) -> Callable[[Callable[[Graph], Awaitable[T]]], tuple[T, list[float]]]:
    """Runs a question; what it gives, and the pauses that were taken."""
    doctor = entra.core.directory.find_by("application", "displayName", "doctor")
    assert doctor is not None

    def run(question: Callable[[Graph], Awaitable[T]], *, secret: str = "doctor-secret") -> tuple[T, list[float]]:
        cloud = Cloud(entra.authority, entra.graph, str(entra.ca_file))
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        async def go() -> T:
            signed = ClientSecretCredential(entra.tenant, doctor["appId"], secret, **cloud.options())
            async with connect(cloud, signed) as graph:
                graph.sleep = sleep
                return await question(graph)

        return asyncio.run(go()), slept

    entra.core.quirks.update({"throttle_next": 0, "fail_next": 0, "fail_status": 503, "retry_after": 1})
    return run


def test_lists_are_read_page_by_page(ask: Any) -> None:
    async def question(graph: Graph) -> list[str]:
        for n in range(5):
            await graph.send("POST", "applications", {"displayName": f"page-{n}"})
        found = await graph.items(f"applications?$filter=startswith(displayName,{quoted('page-')})&$top=2")
        return [one["displayName"] for one in found]

    assert sorted(ask(question)[0]) == [f"page-{n}" for n in range(5)]


def test_retry_after_is_obeyed_and_counted(entra: EntraEmulator, ask: Any) -> None:
    async def question(graph: Graph) -> tuple[dict[str, int], float]:
        entra.core.quirks.update({"throttle_next": 2, "retry_after": 5})
        await graph.get("organization")
        return dict(graph.repeated), graph.waited

    assert ask(question) == (({"429": 2}, 10.0), [5.0, 5.0])


def test_repetition_is_bounded(entra: EntraEmulator, ask: Any) -> None:
    async def question(graph: Graph) -> int:
        entra.core.quirks.update({"fail_next": 1000})
        with pytest.raises(GraphError) as caught:
            await graph.get("organization")
        return caught.value.status

    assert ask(question) == (503, [1.0, 2.0, 4.0, 8.0, 16.0])


def test_a_pause_that_is_too_long_is_not_taken(entra: EntraEmulator, ask: Any) -> None:
    async def question(graph: Graph) -> int:
        entra.core.quirks.update({"throttle_next": 1000, "retry_after": 3600})
        with pytest.raises(GraphError) as caught:
            await graph.get("organization")
        return caught.value.status

    assert ask(question) == (429, [])


def test_only_named_statuses_are_tried_again(ask: Any) -> None:
    async def question(graph: Graph) -> str:
        with pytest.raises(GraphError) as caught:
            await graph.get("applications/00000000-0000-4000-8000-000000000000")
        assert await graph.find("applications/00000000-0000-4000-8000-000000000000") is None
        return caught.value.word

    assert ask(question) == ("Request_ResourceNotFound", [])


def test_lag_is_outlasted_where_the_caller_says_so(ask: Any) -> None:
    async def question(graph: Graph) -> int:
        with pytest.raises(GraphError) as caught:
            await graph.send("GET", "applications/00000000-0000-4000-8000-000000000000", again=frozenset({404}))
        return caught.value.status

    assert ask(question) == (404, [1.0, 2.0, 4.0, 8.0, 16.0])


def test_a_refused_sign_in_holds_no_secret(ask: Any) -> None:
    with pytest.raises(SignInError, match="AADSTS7000215") as caught:
        ask(lambda graph: graph.get("organization"), secret="wrong-secret")
    assert "wrong-secret" not in str(caught.value)


def test_a_ca_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    async def go() -> None:
        async with connect(Cloud(ca_file=str(tmp_path / "none.pem")), None):  # type: ignore[arg-type]  # never used
            pass

    with pytest.raises(GraphError, match="cannot be used"):
        asyncio.run(go())


class Adapter:
    """An adapter that answers what it was told."""

    def __init__(self, *answers: dict[str, Any] | bytes) -> None:
        self.answers = list(answers)

    async def send_primitive_async(self, request: Any, kind: str, errors: Any) -> httpx.Response:
        answer = self.answers.pop(0)
        sent = httpx.Request("GET", request.url)
        if isinstance(answer, bytes):
            return httpx.Response(200, content=answer, request=sent)
        return httpx.Response(200, json=answer, request=sent)


@pytest.mark.parametrize(
    "answer", [{"value": [], "@odata.nextLink": "https://evil.example/v1.0/next"}, b"<html>", b"[]"]
)
def test_what_is_not_graphs_is_refused(answer: Any) -> None:
    graph = Graph(Adapter(answer), "https://graph.example")  # type: ignore[arg-type]  # as much as is asked of it
    with pytest.raises(GraphError) as caught:
        asyncio.run(graph.items("applications"))
    assert caught.value.code == "graph-malformed"


def test_pages_without_end_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MAX_PAGES", 3)
    page = {"value": [{}], "@odata.nextLink": "https://graph.example/v1.0/next"}
    graph = Graph(Adapter(*[page] * 9), "https://graph.example")  # type: ignore[arg-type]  # as above
    with pytest.raises(GraphError, match="more than 3 pages"):
        asyncio.run(graph.items("applications"))


def test_what_others_say_is_one_line() -> None:
    assert first_line("a\x1b[2J\nb") == "a?[2J"
    assert len(first_line("x" * 999)) == 300
    assert quoted("O'Hara & co") == "%27O%27%27Hara%20%26%20co%27"
