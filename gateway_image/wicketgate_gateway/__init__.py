"""The gateway, the agent beside the targets, and the `wicketgate` command."""
