"""The `wicketgate` command."""
