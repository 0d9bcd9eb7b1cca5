import pytest
from pydantic import BaseModel, ValidationError

from wicketgate_gateway.contract.values import Date, Duration, Name, Port, Uuid, seconds


class Values(BaseModel):
    duration: Duration = "1s"
    name: Name = "a"
    uuid: Uuid = "00000000-0000-0000-0000-000000000000"
    port: Port = 1
    date: Date = "2027-01-01"


GOOD = [
    {"duration": "250ms"},
    {"duration": "90d"},
    {"name": "a"},
    {"name": "code-review-2"},
    {"name": "a" * 63},
    {"uuid": "0af3b2c4-1234-4abc-8def-0123456789ab"},
    {"port": 0},
    {"port": 65535},
    {"date": "2028-02-29"},
]
BAD = [
    {"duration": "10"},
    {"duration": "10 m"},
    {"duration": "-1s"},
    {"duration": "1.5h"},
    {"duration": 10},
    {"duration": "10m\n"},
    {"duration": "١s"},
    {"name": ""},
    {"name": "-a"},
    {"name": "a-"},
    {"name": "A"},
    {"name": "a.b"},
    {"name": "a\n"},
    {"name": "ä"},
    {"name": "a" * 64},
    {"uuid": "0AF3B2C4-1234-4ABC-8DEF-0123456789AB"},
    {"uuid": "x"},
    {"uuid": "0af3b2c4-1234-4abc-8def-0123456789ab\n"},
    {"port": -1},
    {"port": 65536},
    {"date": "2027-02-29"},
    {"date": "30.06.2027"},
    {"date": "20270630"},
    {"date": "2027-W01-1"},
]


@pytest.mark.parametrize("values", GOOD, ids=str)
def test_taken_as_written(values):
    ((key, value),) = values.items()
    assert getattr(Values(**values), key) == value


@pytest.mark.parametrize("values", BAD, ids=str)
def test_refused_with_what_to_write(values):
    with pytest.raises(ValidationError) as caught:
        Values(**values)
    message = caught.value.errors()[0]["msg"]
    assert "not a" in message


@pytest.mark.parametrize(
    ("text", "value"), [("250ms", 0.25), ("30s", 30), ("10m", 600), ("12h", 43200), ("90d", 7776000)]
)
def test_seconds(text: str, value: float):
    assert seconds(text) == value
