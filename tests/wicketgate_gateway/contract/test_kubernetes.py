"""What rules may say of this protocol."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from wicketgate_gateway.contract.kubernetes import KubernetesTerms


def test_terms_say_something() -> None:
    """A rule without terms would match everything."""
    with pytest.raises(ValidationError, match="needs at least one of"):
        KubernetesTerms.model_validate({})
