from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from wicketgate_gateway.audit.events import Operation
from wicketgate_gateway.recording.blocks import CLIENT, SERVER, Record
from wicketgate_gateway.recording.replay import Answered, Asked, Conversation, Note, Step
from wicketgate_gateway.wire.postgres import errors
from wicketgate_gateway.wire.postgres import messages as m

ID = m.FieldDescription("id", 16384, 1, 23)
Z = m.ready_for_query()
Script = Sequence[tuple[int, bytes]]
Make = Callable[..., Operation]

SIMPLE: Script = [
    (CLIENT, m.query("SELECT 1; SELECT 2")),
    (SERVER, m.row_description([ID]) + m.data_row([b"1"]) + m.command_complete("SELECT 1")),
    (SERVER, m.row_description([ID]) + m.data_row([None]) + m.data_row([b"3"]) + m.command_complete("SELECT 2") + Z),
]
PIPELINE: Script = [
    (
        CLIENT,
        m.parse("s", "SELECT $1")
        + m.describe(b"S", "s")
        + m.bind("p", "s", [b"\0\0\0\5"], [1], [1])
        + m.execute("p")
        + m.bind("p", "s", [None], [], [1])
        + m.execute("p")
        + m.close(b"P", "p")
        + m.SYNC,
    ),
    (
        SERVER,
        m.PARSE_COMPLETE
        + m.parameter_description([23])
        + m.row_description([ID])
        + m.BIND_COMPLETE
        + m.data_row([b"\0\0\0\5"])
        + m.command_complete("SELECT 1")
        + m.BIND_COMPLETE
        + m.data_row([None])
        + m.command_complete("SELECT 1")
        + m.CLOSE_COMPLETE
        + Z,
    ),
]
ERRORS: Script = [
    (CLIENT, m.query("SELECT 1; nonsense")),
    (SERVER, m.command_complete("SELECT 0") + errors.error("ERROR", "42601", "syntax error", hint="think") + Z),
    (CLIENT, m.parse("", "DELETE FROM t") + m.bind("", "") + m.execute("") + m.SYNC),
    (SERVER, errors.error("ERROR", "42501", "denied") + Z),
    (CLIENT, m.parse("x", "DROP TABLE t") + m.describe(b"S", "x") + m.SYNC),
    (SERVER, errors.error("ERROR", "42501", "denied") + Z),
    (CLIENT, m.parse("", "SELECT $1") + m.bind("", "", [b"x"]) + m.execute("") + m.execute("other") + m.SYNC),
    (SERVER, m.PARSE_COMPLETE + errors.error("ERROR", "22P02", "no number") + Z),
    (CLIENT, m.query("SELECT 'after'")),
    (SERVER, errors.notice("careful") + m.command_complete("SELECT 0") + Z),
    (SERVER, errors.error("FATAL", "57P01", "terminating connection")),
]
COPY: Script = [
    (CLIENT, m.query("COPY t TO STDOUT")),
    (
        SERVER,
        m.copy_response(b"H")
        + m.copy_data(b"12345")
        + m.copy_data(b"6")
        + m.message(b"c")
        + m.command_complete("COPY 2")
        + Z,
    ),
    (CLIENT, m.query("COPY t FROM STDIN")),
    (SERVER, m.copy_response(b"G")),
    (CLIENT, m.copy_data(b"x" * 100) + m.COPY_DONE),
    (SERVER, m.command_complete("COPY 1") + Z),
]
SCRIPTS = {"simple": SIMPLE, "pipeline": PIPELINE, "errors": ERRORS, "copy": COPY}


def records(script: Script, size: int = 0) -> list[Record]:
    found: list[Record] = []
    for number, (direction, data) in enumerate(script, 1):
        step = size or len(data)
        found += [Record(number * 1000, direction, data[at : at + step]) for at in range(0, len(data), step)]
    return found


def play(
    script: Script, operations: Sequence[Operation] = (), size: int = 0, **options: int
) -> tuple[list[Step], Conversation]:
    pages = [operations]
    conversation = Conversation(lambda: pages.pop() if pages else (), **options)  # type: ignore[arg-type]
    steps = [step for record in records(script, size) for step in conversation.feed(record)]
    return [*steps, *conversation.finish()], conversation


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_same_however_it_was_split(name: str, size: int) -> None:
    def plain(steps: list[Step]) -> list[object]:
        return [
            (type(step), step.number, step.text, list(step.parameters))
            if isinstance(step, Asked)
            else (step.number, step.rows, step.tag, step.error, step.row_count, step.complete, len(step.notices))
            for step in steps
            if not isinstance(step, Note)
        ]

    assert plain(play(SCRIPTS[name], size=size)[0]) == plain(play(SCRIPTS[name])[0])


def test_a_text_with_two_results() -> None:
    steps, conversation = play(SIMPLE)
    assert [type(step) for step in steps] == [Asked, Answered, Answered]
    asked, first, second = steps
    assert isinstance(asked, Asked)
    assert isinstance(first, Answered)
    assert isinstance(second, Answered)
    assert (asked.text, asked.prepared, asked.time) == ("SELECT 1; SELECT 2", False, 1000)
    assert (first.rows, first.tag, first.duration_ns, first.number) == ([[b"1"]], "SELECT 1", 1000, 1)
    assert (second.rows, second.row_count, second.duration_ns, second.number) == ([[None], [b"3"]], 2, 1000, 1)
    assert second.columns == (ID,)
    assert conversation.missing() == []


def test_a_pipeline_of_prepared_executions() -> None:
    steps, _ = play(PIPELINE)
    asked = [step for step in steps if isinstance(step, Asked)]
    answered = [step for step in steps if isinstance(step, Answered)]
    assert [(a.text, a.prepared, list(a.parameters), list(a.formats)) for a in asked] == [
        ("SELECT $1", True, [b"\0\0\0\5"], [1]),
        ("SELECT $1", True, [None], []),
    ]
    assert [(a.number, a.rows, a.tag) for a in answered] == [
        (1, [[b"\0\0\0\5"]], "SELECT 1"),
        (2, [[None]], "SELECT 1"),
    ]
    # The statement's description does not know the format that Bind asked for.
    assert [column.format for column in answered[0].columns] == [1]
    assert [column.format for column in answered[1].columns] == [1]


def test_errors_notices_and_what_was_skipped() -> None:
    steps, _ = play(ERRORS)
    shown = [(step.number, step.tag, step.error.get("C", "")) for step in steps if isinstance(step, Answered)]
    # Statement 2 was asked for with its Parse, which failed; 3 was only prepared.
    assert shown == [
        (1, "SELECT 0", ""),
        (1, "", "42601"),
        (2, "", "42501"),
        (3, "", "42501"),
        (4, "", "22P02"),
        (5, "(skipped after the error)", ""),
        (6, "SELECT 0", ""),
        (0, "", "57P01"),
    ]
    notice = [step.notices for step in steps if isinstance(step, Answered) and step.notices]
    assert notice[0][0]["M"] == "careful"


def test_copy_counts_bytes() -> None:
    steps, _ = play(COPY)
    answered = [step for step in steps if isinstance(step, Answered)]
    # Out: the data alone. In: whole messages, since they may come in parts.
    assert [(a.tag, a.copied) for a in answered] == [("COPY 2", 6), ("COPY 1", 105)]


def test_rows_are_counted_and_the_first_kept() -> None:
    rows = b"".join(m.data_row([b"%d" % number]) for number in range(1000))
    script = [
        (CLIENT, m.query("SELECT")),
        (SERVER, m.row_description([ID]) + rows + m.command_complete("SELECT 1000") + Z),
    ]
    answered = play(script, max_rows=3)[0][1]
    assert isinstance(answered, Answered)
    assert (answered.row_count, answered.rows) == (1000, [[b"0"], [b"1"], [b"2"]])


def test_verdicts_are_matched_by_text_and_time(make_operation: Make) -> None:
    operations = [
        make_operation(1, "SELECT 1", time=900),
        make_operation(2, "SELECT 2", time=2900, effect="deny"),
        make_operation(3, "SELECT 1", time=4900),
        make_operation(4, "ALTER ROLE x PASSWORD '***'", time=6900),
    ]
    answer = m.command_complete("SELECT 0") + Z
    script = [
        (CLIENT, m.query("SELECT 1")),
        (SERVER, answer),
        (CLIENT, m.query("SELECT 2")),
        (SERVER, answer),
        (CLIENT, m.query("SELECT 1")),
        (SERVER, answer),
        (CLIENT, m.query("ALTER ROLE x PASSWORD 'secret'")),
        (SERVER, answer),
        (CLIENT, m.query("SELECT 'never decided'")),
        (SERVER, answer),
    ]
    steps, conversation = play(script, operations)
    found = [step.operation.seq if step.operation else None for step in steps if isinstance(step, Asked)]
    assert found == [1, 2, 3, 4, None]
    assert conversation.missing() == []


def test_what_went_out_but_is_not_recorded_is_named(make_operation: Make) -> None:
    operations = [
        make_operation(1, "SELECT 1; SELECT 2", time=1000),
        make_operation(2, "DELETE FROM t", time=2000),
        make_operation(3, "DROP TABLE t", time=2000, effect="deny"),
        make_operation(4, "SELECT 1; SELECT 2", time=2001),
    ]
    _, conversation = play(SIMPLE, operations)
    assert [operation.seq for operation in conversation.missing()] == [2, 4]


def test_many_operations_come_page_by_page(make_operation: Make) -> None:
    number = 3000
    operations = [make_operation(seq, f"SELECT {seq}", time=seq * 2000) for seq in range(1, number + 1)]
    pages = [operations[at : at + 100] for at in range(0, number, 100)]
    conversation = Conversation(lambda: pages.pop(0) if pages else ())
    matched = 0
    for seq in range(1, number + 1, 2):  # every second one is not in the recording
        for step in conversation.feed(Record(seq * 2000, CLIENT, m.query(f"SELECT {seq}"))):
            assert isinstance(step, Asked)
            assert step.operation is not None
            assert step.operation.seq == seq
            matched += 1
        list(conversation.feed(Record(seq * 2000 + 10**10, SERVER, m.command_complete("SELECT 0") + Z)))
    assert matched == number // 2
    assert [operation.seq for operation in conversation.missing()] == list(range(2, number + 1, 2))


def test_a_recording_that_stops_in_an_answer() -> None:
    script = [*SIMPLE[:1], (SERVER, m.row_description([ID]) + m.data_row([b"1"])), (CLIENT, m.query("SELECT 2"))]
    steps, _ = play(script)
    first, second = [step for step in steps if isinstance(step, Answered)]
    assert (first.number, first.rows, first.complete) == (1, [[b"1"]], False)
    assert (second.number, second.rows, second.complete) == (2, [], False)


def test_broken_bytes_are_told_and_the_other_side_goes_on() -> None:
    script = [
        (CLIENT, m.query("SELECT 1")),
        (CLIENT, b"\xff" * 20),
        (CLIENT, m.query("unseen")),
        (SERVER, m.command_complete("SELECT 0") + Z),
        (SERVER, b"\xff" * 20),
        (SERVER, m.command_complete("unseen")),
    ]
    steps, _ = play(script)
    assert [type(step) for step in steps] == [Asked, Note, Answered, Note]


def test_executions_of_what_was_prepared_before_the_recording_began() -> None:
    script = [(CLIENT, m.bind("", "old") + m.execute("") + m.execute("nowhere") + m.SYNC)]
    steps, _ = play(script)
    assert [step.text for step in steps if isinstance(step, Asked)] == ["(statement `old`)", "(portal `nowhere`)"]
