"""`python -m tools.quickstart`."""

from tools.quickstart.main import entry

entry()
