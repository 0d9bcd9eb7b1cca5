"""What the parts share."""

from wicketgate.testing.entra.server import EntraEmulator


def test_names_and_clock(entra: EntraEmulator) -> None:
    core = entra.core
    assert core.issuer == f"{entra.url}/{entra.tenant}/v2.0"
    assert core.names_tenant(entra.tenant.upper())
    assert core.names_tenant("contoso.onmicrosoft.com")
    assert not core.names_tenant("common")
    before = core.clock()
    entra.set_quirks(clock_skew=3600)
    assert 3599 <= core.clock() - before <= 3605
