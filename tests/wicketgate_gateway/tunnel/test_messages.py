from typing import get_args

import msgspec
import pytest

from wicketgate_gateway.contract.catalogue import Catalogue, Column, Relation
from wicketgate_gateway.tunnel import messages
from wicketgate_gateway.tunnel.messages import Control
from wicketgate_gateway.tunnel.stream import encode

CATALOGUE = Catalogue(
    "v1", "15.18", [Relation(16384, "public", "t", "r", [Column(1, "id", 23)], [(1, 2)])], ["pg_class"], [("s", "f")]
)
EXAMPLES: list[Control] = [
    messages.Hello(agent="eu-west", token="t", targets=["a", "b"]),
    messages.Welcome(gateway="g"),
    messages.Rejected(code="c", reason="r"),
    messages.Open(target="t", bot="b", session="s", parameters={"application_name": "psql"}),
    messages.Opened(parameters={"server_version": "15.18"}),
    messages.Failed(code="c", reason="r", sqlstate="28P01"),
    messages.Cancel(),
    messages.HttpRequest(method="GET", path="/a?b=c", headers=[("Accept", "*/*")]),
    messages.CatalogueUpdate(target="t", catalogue=CATALOGUE),
    messages.CatalogueRefresh(target="t"),
    messages.Estimate(
        number=1,
        target="t",
        statement="DELETE FROM t WHERE a = $1",
        types=[23],
        parameters=[b"1", None],
        formats=[0, 1],
    ),
    messages.Estimated(number=1, rows=2, counted=3, plan="Delete on t", note="n"),
    messages.SshConnect(target="t", token="x", user="u", peer="127.0.0.1:5", client="SSH-2.0-x"),
    messages.SshChannel(
        session="s",
        kind="exec",
        command="top",
        env={"LANG": "C"},
        pty="xterm",
        size=(80, 24, 0, 0),
        modes={53: 1},
        cut=9,
    ),
]
decode = msgspec.msgpack.Decoder[Control](Control).decode


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_there_and_back(message: Control) -> None:
    assert decode(encode(message)) == message


def test_each_message_has_an_example_and_a_tag_of_its_own() -> None:
    kinds = get_args(Control)
    assert {type(message) for message in EXAMPLES} == set(kinds)
    assert len({kind.__struct_config__.tag for kind in kinds}) == len(kinds)


def test_a_newer_peers_extra_fields_are_no_harm() -> None:
    assert decode(msgspec.msgpack.encode({"type": "welcome", "gateway": "g", "later": 1})) == EXAMPLES[1]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"type": "nonsense"},
        {"type": "welcome"},
        {"type": "hello", "agent": 5, "token": "t", "targets": []},
        {"type": "open", "target": "t", "bot": "b", "session": "s", "parameters": {"x": 1}},
        {"type": "catalogue", "target": "t", "catalogue": [1, 2]},
        [],
        "welcome",
    ],
)
def test_what_is_none_is_refused(data: object) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(msgspec.msgpack.encode(data))
