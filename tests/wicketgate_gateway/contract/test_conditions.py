"""The compiler of conditions is tested with what uses it, in policy/test_conditions.py; here, what is its own."""

import subprocess
import sys

import pytest

from wicketgate_gateway.contract.conditions import MAX_LENGTH, ConditionError, compile_expression, environment


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("op.statment == ''", "undeclared reference to 'op.statment'"),
        ("1", "of type INT, not BOOL"),
        ("bot.name ==", "Syntax error"),
        ("true" + " " * MAX_LENGTH, "longer than"),
        ("true\0", "NUL"),
    ],
)
def test_what_does_not_compile_is_told(source: str, says: str):
    with pytest.raises(ConditionError) as caught:
        compile_expression(source)
    assert says in caught.value.message
    assert caught.value.remedy


def test_an_environment_may_lack_variables():
    compile_expression("bot.name == 'x'")
    with pytest.raises(Exception, match=r"bot\.name"):
        environment("bot.name").compile("bot.name == 'x'")


def test_reading_documents_does_not_load_cel():
    code = "import sys, wicketgate_gateway.contract.checks; sys.exit('cel_expr_python' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
