from __future__ import annotations

from typing import Any

from wicketgate_gateway.audit.heads import Sealer
from wicketgate_gateway.audit.seals import Breach, Head, Seal, SealLog, signing_key

Sealed = Any  # the fixture of conftest.py


def seals(sealed: Sealed) -> list[Seal]:
    return [signed.seal for signed in sealed.log.read().signed]


def test_nothing_to_seal(tmp_path: Any) -> None:
    sealer = Sealer(tmp_path / "journal", SealLog(tmp_path), signing_key(tmp_path))
    assert sealer.seal() == []
    assert SealLog(tmp_path).read().signed == []


def test_each_file_is_sealed_where_it_ends(sealed: Sealed) -> None:
    heads = {(seal.file, seal.offset) for seal in seals(sealed) if isinstance(seal, Head)}
    assert {(number, path.stat().st_size) for number, path in enumerate(sealed.files(), 1)} <= heads


def test_what_did_not_grow_is_sealed_once(sealed: Sealed) -> None:
    before = len(seals(sealed))
    sealed.seal()
    sealer = Sealer(sealed.journal, sealed.log, sealed.key)
    assert sealer.seal() == sealer.seal() == []
    assert len(seals(sealed)) == before
    sealed.run(1, rotate_bytes=100_000)
    assert len(seals(sealed)) > before


def test_a_cut_file_is_a_breach_told_once(sealed: Sealed) -> None:
    path = sealed.files()[-1]
    with path.open("r+b") as file:
        file.truncate(sealed.frames(path)[-1][0])
    sealer = Sealer(sealed.journal, sealed.log, sealed.key)
    made = [signed.seal for signed in sealer.seal()]
    assert [type(seal) for seal in made] == [Breach, Head]
    assert isinstance(made[0], Breach)
    assert "ends before what was sealed" in made[0].reason
    assert sealer.seal() == []


def test_a_removed_file_is_a_breach(sealed: Sealed) -> None:
    sealed.files()[-1].unlink()
    made = [signed.seal for signed in Sealer(sealed.journal, sealed.log, sealed.key).seal()]
    assert isinstance(made[0], Breach)
    assert "gone" in made[0].reason


def test_a_journal_that_is_gone_is_a_breach_told_once(sealed: Sealed) -> None:
    for path in sealed.files():
        path.unlink()
    sealer = Sealer(sealed.journal, sealed.log, sealed.key)
    assert [type(signed.seal) for signed in sealer.seal()] == [Breach]
    assert sealer.seal() == []


def test_a_chain_that_does_not_go_on_from_the_last_head_is_a_breach(sealed: Sealed) -> None:
    path = sealed.files()[-1]
    sealed.remake(path, 1, lambda payload: payload[:-1] + bytes([payload[-1] ^ 1]))
    before = len(seals(sealed))
    sealed.run(1, rotate_bytes=100_000)
    made = seals(sealed)[before:]
    assert isinstance(made[0], Breach)
    assert "chain is broken" in made[0].reason
    # It goes on with what is there now, so that the next change is found too.
    last = made[-1]
    assert isinstance(last, Head)
    assert (last.file, last.offset) == (len(sealed.files()), sealed.files()[-1].stat().st_size)
    assert [type(seal) for seal in made].count(Breach) == 1


def test_a_torn_tail_is_waited_for(sealed: Sealed) -> None:
    path = sealed.files()[-1]
    path.write_bytes(path.read_bytes() + b"\0\0\1\0half")
    assert Sealer(sealed.journal, sealed.log, sealed.key).seal() == []
    sealed.run(1)
    assert sealed.kinds() == []


def test_damage_in_the_last_file_is_a_breach_and_the_next_file_is_sealed(sealed: Sealed) -> None:
    sealed.run(1, rotate_bytes=100_000)
    path = sealed.files()[-1]
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(bytes(data))
    (sealed.state / "seals.ndjson").unlink()
    sealer = Sealer(sealed.journal, sealed.log, sealed.key)
    made = [signed.seal for signed in sealer.seal()]
    assert [type(seal) for seal in made].count(Breach) == 1
    assert sealer.seal() == []
    sealed.run(1)
    last = seals(sealed)[-1]
    assert isinstance(last, Head)
    assert last.file == len(sealed.files())
