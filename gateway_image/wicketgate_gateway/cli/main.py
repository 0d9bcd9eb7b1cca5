"""The `wicketgate` command: its verbs, its errors, its exit codes.

How this works: verbs are named here as "module:function" and imported only when they run, since `wicketgate token` runs
before every connection of some clients. That one does not even load the command-line library when its arguments are the
usual ones.

Exit codes: 0 done; 1 it did not work; 2 the command line is wrong; 3 what was asked for does not exist; 4 a recording
or the journal is incomplete or damaged (it is shown as far as it goes); 130 interrupted. Errors go to standard error,
as `error: what; what to do next`; with `--json` as an object with `error`, `code` and `remedy`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from cyclopts import App

FAILED = 1
USAGE = 2
NOT_FOUND = 3
INCOMPLETE = 4
INTERRUPTED = 130
_NOT_FOUND_CODES = frozenset(
    {
        "session-unknown",
        "session-ambiguous",
        "recording-missing",
        "session-id-invalid",
        "journal-missing",
        "legal-hold-unknown",
        "hold-unknown",
        "kill-unknown",
    }
)

_VERBS = {
    "replay": ("wicketgate_gateway.cli.replay:replay", "Show a session as it was: statements, verdicts, answers."),
    "token": ("wicketgate_gateway.cli.token:token", "Print the bot's Entra token for the gateway."),
    "connect": ("wicketgate_gateway.cli.connect:connect", "Open a local port that adds the token."),
    "ssh-config": ("wicketgate_gateway.cli.ssh_config:ssh_config", "Write what makes ssh go through the gateway."),
    "ssh-proxy": ("wicketgate_gateway.cli.ssh_proxy:ssh_proxy", "Connect ssh with the gateway: its ProxyCommand."),
    "login": ("wicketgate_gateway.cli.login:login", "Sign in at Entra, to look and to decide."),
    "logout": ("wicketgate_gateway.cli.login:logout", "Forget the sign-in."),
    "kill": ("wicketgate_gateway.cli.kill:kill", "End the sessions of a bot, a group, a target, or all there are."),
}
_SESSIONS = {
    "list": ("wicketgate_gateway.cli.sessions:sessions", "List who was connected, to what, and how it ended."),
    "show": ("wicketgate_gateway.cli.sessions:show", "Show one session: who, what it did, and how it came out."),
    "kill": ("wicketgate_gateway.cli.kill:kill_session", "End one session."),
}
"""`wicketgate sessions` with anything else is `sessions list`."""
_APPROVALS = {
    "list": ("wicketgate_gateway.cli.approvals:list_", "List what is held; --watch goes on."),
    "show": ("wicketgate_gateway.cli.approvals:show", "Show one held operation, whole."),
    "approve": ("wicketgate_gateway.cli.approvals:approve", "Approve one, after it was shown."),
    "deny": ("wicketgate_gateway.cli.approvals:deny", "Deny one, or take back an approval."),
}
_AUDIT = {
    "search": ("wicketgate_gateway.cli.audit:audit", "Search what was allowed, denied or refused, and why."),
    "verify": ("wicketgate_gateway.cli.verify:audit_verify", "Check that nothing was changed, removed or cut."),
    "export": ("wicketgate_gateway.cli.export:audit_export", "Write all events, for other systems."),
    "key": ("wicketgate_gateway.cli.verify:audit_key", "Print the public key that the audit is sealed with."),
    "rebuild": (
        "wicketgate_gateway.cli.audit:rebuild",
        "Build the store for questions again from the journal.",
    ),
}
"""`wicketgate audit` with anything else is `audit search`."""
_RECORDINGS = {
    "search": ("wicketgate_gateway.cli.find:recordings_search", "Find text in what was recorded."),
}
_RETENTION = {
    "run": ("wicketgate_gateway.cli.retention:retention_run", "Delete what is too old, leaving signed tombstones."),
}
_KUBE = {
    "login": ("wicketgate_gateway.cli.kube_login:login", "Write a kubeconfig that goes through the gateway."),
    "token": ("wicketgate_gateway.cli.kube_login:token", "Print the bot's token as kubectl asks for it."),
}
_LEGAL_HOLD = {
    "add": ("wicketgate_gateway.cli.retention:hold_add", "Let nothing be deleted that matches."),
    "lift": ("wicketgate_gateway.cli.retention:hold_lift", "End a legal hold."),
    "list": ("wicketgate_gateway.cli.retention:hold_list", "List the legal holds that stand."),
}

_ACCESS = {
    "diff": ("wicketgate_gateway.cli.access:diff", "List what bots gain and lose from one state to another."),
}
_POLICY = {
    "check": ("wicketgate_gateway.cli.policy_check:check", "Check policies without using them."),
    "test": ("wicketgate_gateway.cli.policy_cases:run_tests", "Run the cases that stand beside policies."),
    "simulate": ("wicketgate_gateway.cli.policy_simulate:simulate", "Explain one decision, and what would change it."),
    "explain-mask": (
        "wicketgate_gateway.cli.policy_explain_mask:explain_mask",
        "Show where a query's columns come from, and how they are masked.",
    ),
    "replay": (
        "wicketgate_gateway.cli.policy_replay:replay",
        "Decide recorded operations again, under another bundle.",
    ),
}


def make_app() -> App:
    """The command-line application."""
    from cyclopts import App, Parameter

    app = App(
        name="wicketgate",
        help="Gives AI coding agents an Entra identity, and lets each of their statements through, or not.",
        help_epilogue=(
            "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 not found, 4 recording incomplete or damaged."
        ),
        version=version,
        help_format="plaintext",
        default_parameter=Parameter(negative=(), show_default=False),
    )
    for name, (where, help_) in _VERBS.items():
        app.command(where, name=name, help=help_)
    for group, verbs, help_ in (
        ("sessions", _SESSIONS, "List sessions, or end one. Without a verb: list."),
        ("approvals", _APPROVALS, "Look at held operations, and answer."),
        ("audit", _AUDIT, "Search the audit, or check it. Without a verb: search."),
        ("recordings", _RECORDINGS, "Look into all recordings."),
        ("retention", _RETENTION, "Delete what is too old."),
        ("kube", _KUBE, "Use kubectl, Helm and client libraries through the gateway."),
        ("legal-hold", _LEGAL_HOLD, "Keep from being deleted what somebody needs."),
        ("policy", _POLICY, "Work on policies."),
        ("access", _ACCESS, "See who may do what."),
    ):
        inner = App(name=group, help=help_)
        for name, (where, text) in verbs.items():
            inner.command(where, name=name, help=text)
        app.command(inner)
    for group, help_, verbs in _toolkit():
        if "" in verbs:  # no group, but a verb
            app.command(verbs[""][0], name=group, help=verbs[""][1])
            continue
        inner = App(name=group, help=help_)
        for name, (where, text) in verbs.items():
            inner.command(where, name=name, help=text)
        app.command(inner)
    app.command(completion)
    return app


def _toolkit() -> list[tuple[str, str, dict[str, tuple[str, str]]]]:
    """Verbs of the toolkit, where it is installed: the gateway knows nothing of it but this entry point."""
    from importlib import metadata

    found: list[tuple[str, str, dict[str, tuple[str, str]]]] = []
    for point in metadata.entry_points(group="wicketgate.commands"):
        try:
            groups = point.load()
        except ImportError:
            continue
        found += [(group, help_, verbs) for group, (help_, verbs) in groups.items()]
    return found


def version() -> str:
    """The version of the installed distribution."""
    from importlib import metadata

    return metadata.version("wicketgate")


def completion(shell: Literal["bash", "zsh", "fish"] | None = None, /, *, json: bool = False) -> None:
    """Print a shell's completion script.

    Save it where your shell looks for it, as in
    `wicketgate completion bash > ~/.local/share/bash-completion/completions/wicketgate`.

    Parameters
    ----------
    shell
        Which shell; without it, the one that runs.
    json
        Print one object with `shell` and `script`.
    """
    if shell is None:
        found = os.path.basename(os.environ.get("SHELL", ""))
        if found not in ("bash", "zsh", "fish"):
            from wicketgate_gateway.contract.errors import WicketgateError

            raise WicketgateError(
                "which shell is not known", code="shell-unknown", remedy="say `wicketgate completion bash|zsh|fish`"
            )
        shell = found  # type: ignore[assignment]
    script = make_app().generate_completion(prog_name="wicketgate", shell=shell)
    if json:
        from wicketgate_gateway.cli.output import print_json

        print_json({"shell": shell, "script": script})
    else:
        sys.stdout.write(script)


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point of the `wicketgate` script; ends the process with an exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`head`) has enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line; gives its exit code. Raises nothing but BrokenPipeError."""
    from wicketgate_gateway.contract.errors import WicketgateError

    try:
        if arguments[:1] == ["token"]:
            quick = _quick_token(arguments[1:])
            if quick is not None:
                return quick
        if arguments[:2] == ["kube", "token"] and len(arguments) == 4 and arguments[2] == "--config":
            from pathlib import Path

            from wicketgate_gateway.cli.kube_login import token

            token(config=Path(arguments[3]))
            return 0
        if arguments[:1] == ["ssh-proxy"] and len(arguments) == 4 and arguments[2] == "--config":
            from pathlib import Path

            from wicketgate_gateway.cli.ssh_proxy import ssh_proxy

            ssh_proxy(arguments[1], config=Path(arguments[3]))
            return 0
        return _run_app(arguments)
    except WicketgateError as error:
        _tell(error, as_json="--json" in arguments)
        return NOT_FOUND if error.code in _NOT_FOUND_CODES else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _run_app(arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    from wicketgate_gateway.contract.errors import WicketgateError

    arguments = _with_default_verb(arguments)
    try:
        result: Any = make_app()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        verb = next((word for word in arguments if not word.startswith("-")), "")
        known = verb in _VERBS or verb in ("policy", "completion", "audit", "sessions", "approvals")
        usage = WicketgateError(
            " ".join(str(error).split()).rstrip("."),
            code="usage",
            remedy=f"`wicketgate {verb} --help` shows how" if known else "`wicketgate --help` lists the commands",
        )
        _tell(usage, as_json="--json" in arguments)
        return USAGE
    return result if isinstance(result, int) else 0


def _with_default_verb(arguments: list[str]) -> list[str]:
    for group, verbs, default in (("audit", _AUDIT, "search"), ("sessions", _SESSIONS, "list")):
        if arguments[:1] == [group] and not {*arguments[1:2]} & {*verbs, "--help", "-h"}:
            return [group, default, *arguments[1:]]
    return arguments


def _quick_token(arguments: list[str]) -> int | None:
    """`wicketgate token`, `--config FILE` and `--json`, without the command-line library; None for all else."""
    options: dict[str, Any] = {}
    rest = iter(arguments)
    for word in rest:
        if word == "--json":
            options["json"] = True
        elif word == "--config":
            options["config"] = next(rest, None)
        elif word.startswith("--config="):
            options["config"] = word.partition("=")[2]
        else:
            return None
    if options.get("config", "") is None:
        return None
    if options.get("config"):
        from pathlib import Path

        options["config"] = Path(str(options["config"]))
    from wicketgate_gateway.cli.token import token

    result: Any = token(**options)
    return result if isinstance(result, int) else 0


def _tell(error: Any, *, as_json: bool) -> None:
    if as_json:
        from wicketgate_gateway.cli.output import to_json

        print(to_json({"error": error.message, "code": error.code, "remedy": error.remedy}), file=sys.stderr)
    else:
        print(f"error: {error}", file=sys.stderr)
