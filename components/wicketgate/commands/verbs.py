"""The toolkit's verbs, as the `wicketgate` command finds them (entry point `wicketgate.commands`); imports nothing."""

GROUPS: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "init": ("", {"": ("wicketgate.commands.init:init", "Write a new stack file.")}),
    "doctor": ("", {"": ("wicketgate.commands.doctor:doctor", "Look at a stack's identities in Entra.")}),
    "adopt": (
        "Take what exists in Entra into a stack.",
        {
            "bot": ("wicketgate.commands.adopt:bot", "Take an application in, as a bot."),
            "group": ("wicketgate.commands.adopt:group", "Take a group in, as a group of bots."),
        },
    ),
    "guardrails": (
        "What no stack may contain.",
        {"check": ("wicketgate.commands.guardrails:check", "Check an exported state.")},
    ),
    "bot": (
        "Bots in a stack file.",
        {
            "add": ("wicketgate.commands.bots:add", "Onboard a bot: add its lines to the stack file."),
            "remove": ("wicketgate.commands.bots:remove", "Take a bot's lines out of the stack file."),
            "list": ("wicketgate.commands.bots:list_", "List the bots of a stack file."),
        },
    ),
    "target": (
        "Targets in a stack file.",
        {
            "add": ("wicketgate.commands.targets:add", "Add a target to the stack file."),
            "remove": ("wicketgate.commands.targets:remove", "Take a target out of the stack file."),
            "list": ("wicketgate.commands.targets:list_", "List the targets of a stack file."),
        },
    ),
}
"""Per group: what it is for, and per verb where it is and what it does; a verb without a name is the group's own."""
