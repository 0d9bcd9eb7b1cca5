"""What the `wicketgate` command can do with a stack: verbs that only the toolkit has."""
