"""What hangs on the queue's entries by itself."""

from wicketgate_gateway.wire.postgres.expected import Ask, Expected, Portal, SqlPrepared


class Text:
    masked = False
    hides_errors = False
    changes = ()
    copies_in = False
    copies_out = True


def test_what_sql_prepared_is_never_passed_on_as_it_is() -> None:
    made = SqlPrepared(Text())
    assert made.masked
    assert made.hides_errors
    assert not made.copies_in
    assert not made.copies_out


def test_a_portal_knows_nothing_before_the_server_confirms_it() -> None:
    portal = Portal((Text(),), None, (1,))
    assert portal.prepared is None
    assert not portal.known
    assert portal.fields is None


def test_an_entry_is_open_until_it_is_settled() -> None:
    expected = Expected(Ask.EXECUTE, name="p")
    assert not expected.settled
    assert expected.denial is None
    assert expected.sql is None
