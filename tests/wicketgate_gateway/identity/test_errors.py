from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.identity.errors import Refused


def test_a_refusal_has_a_code_a_reason_and_a_remedy() -> None:
    error = Refused("role-missing", "the role is missing", "assign it")
    assert isinstance(error, WicketgateError)
    assert (error.code, error.reason, error.remedy) == ("role-missing", "the role is missing", "assign it")
    assert str(error) == "the role is missing; assign it"
