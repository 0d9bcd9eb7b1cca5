import pytest

from wicketgate_gateway.policy.conditions import (
    MAX_LENGTH,
    VARIABLES,
    ConditionError,
    Outcome,
    activation,
    compile_condition,
)

VALUES = {
    "op.statement": "SELECT 1",
    "op.kinds": ["select"],
    "op.classes": ["read"],
    "op.relations": ["public.orders"],
    "op.functions": [],
    "op.columns": ["id"],
    "bot.name": "code-review",
    "bot.groups": ["reviewers"],
    "target.name": "orders-db",
    "target.labels": {"env": "prod"},
}
NOON = 12 * 3600.0


def outcome(source: str) -> Outcome:
    return compile_condition(source).test(activation(VALUES, NOON))


@pytest.mark.parametrize(
    "source",
    [
        "true",
        "op.statement.startsWith('SELECT')",
        "op.kinds == ['select'] && 'read' in op.classes",
        "op.relations.all(r, r.startsWith('public.'))",
        "'id' in op.columns && op.functions.size() == 0",
        "bot.name == 'code-review' && 'reviewers' in bot.groups",
        "target.name == 'orders-db' && target.labels.env == 'prod'",
        "!has(target.labels.zone)",
        "now.getHours() == 12 && now.getHours('Europe/Berlin') == 13",
        "now < timestamp('2030-01-01T00:00:00Z')",
        "op.statement.matches('^SELECT')",
    ],
)
def test_true(source: str):
    assert outcome(source) is Outcome.TRUE
    assert outcome(f"!({source})") is Outcome.FALSE


@pytest.mark.parametrize(
    "source",
    [
        "target.labels['zone'] == 'a'",
        "target.labels.zone != 'a'",
        "1 / (op.functions.size()) == 1",
        "op.functions[0] == 'x'",
        "op.statement.matches('a(')",
        "int(bot.name) > 0",
        "timestamp(bot.name) < now",
        "target.labels.all(k, target.labels[k + 'x'] == '')",
    ],
)
def test_an_error_is_neither_true_nor_false(source: str):
    assert outcome(source) is Outcome.ERROR
    assert outcome(f"!({source})") is Outcome.ERROR


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("op.statment == ''", "undeclared reference to 'op.statment' (line 1, character 3"),
        ("op.statement", "of type STRING, not BOOL"),
        ("1", "of type INT, not BOOL"),
        ("dyn(true)", "of type DYN, not BOOL"),
        ("op.kinds", "not BOOL"),
        ("op.statement == 1", "no matching overload"),
        ("bot", "undeclared reference"),
        ("true &&", "Syntax error"),
        ("", "Syntax error"),
        ("target.labels.env", "not BOOL"),
        ("now", "not BOOL"),
        ("true\0", "NUL"),
        ("true " + " " * MAX_LENGTH, "longer than"),
    ],
)
def test_what_is_no_boolean_does_not_compile(source: str, says: str):
    with pytest.raises(ConditionError) as caught:
        compile_condition(source)
    assert says in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("source", "text", "bot", "time"),
    [
        ("true", False, False, False),
        ("op.kinds == []", False, False, False),
        ("op.statement == ''", True, False, False),
        ("{'a': op.statement}['a'] == ''", True, False, False),
        ("[1].exists(x, op.statement.size() == x)", True, False, False),
        ("'op.statement' == ''", False, False, False),
        ("bot.name == ''", False, True, False),
        ("'x' in bot.groups", False, True, False),
        ("now.getHours() > 1 || op.statement == ''", True, False, True),
    ],
)
def test_it_is_known_what_an_answer_depends_on(source, text, bot, time):
    condition = compile_condition(source)
    assert (condition.reads_text, condition.reads_bot, condition.reads_time) == (text, bot, time)


def test_every_variable_has_a_value_of_its_type():
    for name in VARIABLES:
        assert outcome(f"{name} == {name}") is Outcome.TRUE
