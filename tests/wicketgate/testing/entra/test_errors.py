"""The refusals' documents."""

import pytest

from wicketgate.testing.entra import errors


def test_every_code_has_status_error_and_text() -> None:
    assert len(errors.AADSTS) > 40
    for code, (status, error, text) in errors.AADSTS.items():
        assert code > 9999
        assert status in (400, 401)
        assert error.replace("_", "").isalpha()
        assert text.endswith((".", "'", "]")) or "https://" in text
        assert "  " not in text


def test_the_codes_that_the_toolkit_relies_on() -> None:
    for code in (700016, 7000215, 7000222, 700027, 500011, 700211, 700212, 700213, 7002138, 90002, 501051, 50105):
        assert code in errors.AADSTS


def test_a_login_error_fills_its_text_and_nothing_else() -> None:
    error = errors.login_error(700016, app="a", tenant_name="Contoso")
    body = error.body("https://login.example", "c-1")
    assert body["error_description"].startswith("AADSTS700016: Application with identifier 'a' was not found")
    assert body["correlation_id"] == "c-1"
    assert body["trace_id"] in body["error_description"]
    with pytest.raises(KeyError):
        errors.login_error(700016)
    with pytest.raises(KeyError):
        errors.login_error(1)


def test_graph_errors() -> None:
    body = errors.not_found("x").body("r", "c")
    assert body["error"]["code"] == "Request_ResourceNotFound"
    assert body["error"]["innerError"]["request-id"] == "r"
    assert errors.denied().message == "Insufficient privileges to complete the operation."
    assert (errors.conflict("m").status, errors.bad_request("m").status, errors.denied().status) == (409, 400, 403)
