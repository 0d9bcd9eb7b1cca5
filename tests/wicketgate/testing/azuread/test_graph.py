"""Requests to Graph: headers, retries, pages, errors."""

import json
from typing import Any

import httpx2
import pytest

from wicketgate.testing.azuread.errors import GraphError
from wicketgate.testing.azuread.graph import BETA, V1, Graph


class World:
    """A clock, a Graph that answers from a list, and what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []
        self.pauses: list[float] = []
        self.time = 0.0
        http = httpx2.Client(transport=httpx2.MockTransport(self.handle))
        self.graph = Graph("https://graph.test", lambda: "token", http, now=lambda: self.time, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, body, *headers = answer
        extra = headers[0] if headers else {}
        return (
            httpx2.Response(status, headers=extra)
            if body is None
            else httpx2.Response(status, json=body, headers=extra)
        )


def failure(status: int, message: str = "no", **headers: str) -> tuple[int, Any, dict[str, str]]:
    return status, {"error": {"code": "Code", "message": message}}, headers


def test_a_request_is_signed_and_speaks_odata() -> None:
    world = World((200, {"id": "x"}))
    query = {"$filter": "displayName eq 'a b&c'"}
    assert world.graph.send("GET", V1, "/applications", deadline=60, query=query) == {"id": "x"}
    (request,) = world.requests
    assert request.url.raw_path == b"/v1.0/applications?%24filter=displayName+eq+%27a+b%26c%27"
    assert request.headers["Authorization"] == "Bearer token"
    assert request.headers["OData-Version"] == "4.0"
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"


def test_a_body_is_json_and_an_empty_answer_none() -> None:
    world = World((204, None))
    assert world.graph.send("PATCH", BETA, "/groups/x", deadline=60, body={"a": None}) is None
    assert json.loads(world.requests[0].content) == {"a": None}


@pytest.mark.parametrize("status", [408, 424, 429, 500, 502, 503, 504])
def test_what_is_repeated(status: int) -> None:
    world = World(failure(status), failure(status), (200, {}))
    world.graph.send("POST", V1, "/x", deadline=600)
    assert world.pauses == [1.0, 2.0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 501])
def test_what_is_not_repeated(status: int) -> None:
    world = World(failure(status))
    with pytest.raises(GraphError) as caught:
        world.graph.send("GET", V1, "/x", deadline=600)
    assert caught.value.status == status
    assert world.pauses == []


def test_retry_after_is_obeyed() -> None:
    world = World(failure(429, **{"Retry-After": "7"}), (200, {}))
    world.graph.send("GET", V1, "/x", deadline=600)
    assert world.pauses == [7.0]


def test_an_operation_may_ask_for_more() -> None:
    world = World(failure(404, "not yet"), failure(404, "never"))
    with pytest.raises(GraphError, match="never"):
        world.graph.send("PATCH", V1, "/x", deadline=600, retry=lambda status, error: error == "Code: not yet")
    assert len(world.requests) == 2


def test_it_ends_with_the_time_that_is_left() -> None:
    world = World(*[failure(503)] * 5)
    with pytest.raises(GraphError) as caught:
        world.graph.send("GET", V1, "/x", deadline=31.0)
    assert caught.value.status == 503
    assert world.pauses == [1.0, 2.0, 4.0, 8.0]
    assert world.time < 31
    assert World(failure(503)).answers
    late = World(failure(503))
    with pytest.raises(GraphError):
        late.graph.send("GET", V1, "/x", deadline=0.5)
    assert late.pauses == []


def test_the_longest_pause_is_a_minute() -> None:
    world = World(*[failure(503)] * 8, (200, {}))
    world.graph.send("GET", V1, "/x", deadline=1800)
    assert world.pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 61.0, 61.0]


def test_a_broken_connection_is_repeated_for_reading_alone() -> None:
    world = World(httpx2.ReadError("reset"), (200, {}))
    world.graph.send("GET", V1, "/x", deadline=600)
    assert world.pauses == [1.0]
    with pytest.raises(httpx2.ReadError):
        World(httpx2.ReadError("reset")).graph.send("POST", V1, "/x", deadline=600)
    with pytest.raises(httpx2.ConnectError):
        World(httpx2.ConnectError("refused")).graph.send("GET", V1, "/x", deadline=600)


def test_errors_read_as_the_real_ones() -> None:
    world = World((403, {"error": {"code": "A", "message": "b", "innerError": {"code": "C"}}}))
    with pytest.raises(GraphError) as caught:
        world.graph.send("GET", V1, "/x", deadline=60)
    assert str(caught.value) == "unexpected status 403 (403 Forbidden) with error: A: b: C"
    with pytest.raises(GraphError, match=r"404 Not Found\) received with no body"):
        World((404, None)).graph.send("GET", V1, "/x", deadline=60)
    with pytest.raises(GraphError, match=r'with response: \["x"\]'):
        World((400, ["x"])).graph.send("GET", V1, "/x", deadline=60)


def test_lists_follow_their_pages() -> None:
    link = "https://graph.test/v1.0/users?$skiptoken=2"
    world = World((200, {"value": [{"id": "1"}], "@odata.nextLink": link}), (200, {"value": [{"id": "2"}]}))
    assert [item["id"] for item in world.graph.items(V1, "/users", deadline=60)] == ["1", "2"]
    assert str(world.requests[1].url) == link


def test_a_token_does_not_follow_a_link_elsewhere() -> None:
    world = World((200, {"value": [], "@odata.nextLink": "https://graph.test.evil/v1.0/users"}))
    with pytest.raises(GraphError, match="another host"):
        world.graph.items(V1, "/users", deadline=60)
    assert len(world.requests) == 1


def test_an_answer_must_be_json() -> None:
    http = httpx2.Client(transport=httpx2.MockTransport(lambda _request: httpx2.Response(200, text="hi")))
    with pytest.raises(GraphError, match="Content-Type"):
        Graph("https://graph.test", lambda: "t", http).send("GET", V1, "/x", deadline=1e9)


def test_references_are_urls_of_the_own_host() -> None:
    assert World().graph.reference(BETA, "x") == "https://graph.test/beta/directoryObjects/x"
