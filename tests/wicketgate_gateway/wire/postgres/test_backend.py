"""A server's messages, however the bytes are split."""

import pytest

from wicketgate_gateway.wire.postgres import messages as m
from wicketgate_gateway.wire.postgres.backend import BackendDecoder, BackendMessage

DATA = (
    m.AUTHENTICATION_OK
    + m.parameter_status("server_version", "18.4")
    + m.backend_key_data(7, b"1234")
    + m.ready_for_query()
    + m.data_row([b"a", None])
    + m.command_complete("SELECT 1")
)


def test_split_at_every_byte() -> None:
    whole = BackendDecoder()
    whole.feed(DATA)
    expected = list(whole)
    assert [x.kind for x in expected] == ["R", "S", "K", "Z", "D", "C"]
    assert expected[4] == BackendMessage("D", m.data_row([b"a", None])[5:])
    for i in range(len(DATA)):
        decoder = BackendDecoder()
        found: list[BackendMessage] = []
        for part in (DATA[:i], DATA[i:]):
            decoder.feed(part)
            found += list(decoder)
        assert found == expected
        assert decoder.buffered == 0


@pytest.mark.parametrize("data", [b"~\0\0\0\4", b"D\0\0\0\3", b"D\x7f\0\0\0"])
def test_refused(data: bytes) -> None:
    decoder = BackendDecoder()
    decoder.feed(data)
    with pytest.raises(m.ProtocolError):
        list(decoder)
