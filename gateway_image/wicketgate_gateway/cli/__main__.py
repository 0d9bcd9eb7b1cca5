"""`python -m wicketgate_gateway.cli` is `wicketgate`."""

from wicketgate_gateway.cli.main import main

main()
