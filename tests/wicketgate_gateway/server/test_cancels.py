"""Cancel keys: only the right number with the right secret does anything."""

from wicketgate_gateway.server.cancels import CancelKeys


def test_only_the_whole_key_cancels() -> None:
    keys = CancelKeys()
    done: list[str] = []
    pid, secret = keys.add(lambda: done.append("a"))
    other, other_secret = keys.add(lambda: done.append("b"))
    assert pid != other
    wrong = bytes(b ^ 1 for b in secret)
    for attempt in (
        (pid, wrong),
        (pid, b""),
        (pid, secret + b"\0"),
        (other, secret),
        (pid + 1, secret),
        (0, b"\0" * 4),
    ):
        assert not keys.present(*attempt) or attempt == (other, other_secret)
    assert done == []
    assert keys.present(pid, secret)
    assert done == ["a"]
    keys.remove(pid)
    assert not keys.present(pid, secret)
    assert not keys.present(pid, b"\0" * 4)
