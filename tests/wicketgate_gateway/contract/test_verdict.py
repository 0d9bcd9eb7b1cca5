import pytest

from wicketgate_gateway.contract.verdict import Effect, HoldTerms, Verdict


@pytest.mark.parametrize("effect", Effect)
def test_only_allow_lets_an_operation_go(effect: Effect):
    assert Verdict(effect, "p#1", hold=HoldTerms("p#1", (), ())).allowed is (effect is Effect.ALLOW)
