"""Run as the engine runs a plugin: `python -m wicketgate.testing.azuread [ENGINE_ADDRESS]`."""

from wicketgate.provider.server import serve
from wicketgate.testing.azuread.provider import AzureadProvider

WORKERS = 64  # the engine runs that many operations at once, and most of them wait


def main() -> None:
    """Serve until the engine ends this process."""
    serve(AzureadProvider(), workers=WORKERS)


if __name__ == "__main__":
    main()
