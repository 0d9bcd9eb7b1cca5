"""`./quickstart`: everything started, the stack up, one bot at work, and how to go on by hand."""

from __future__ import annotations

import argparse
import base64
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

from rich.console import Console
from rich.text import Text

from tools.engine.cache import ProvideError
from tools.provide import Engine, provide
from tools.quickstart import layout as layouts
from tools.quickstart import play, play_cluster, pulumi, services
from tools.quickstart.layout import BOT, CLUSTER, CLUSTER_BOT, MORE, ROOT, TARGET, Layout
from wicketgate.testing.postgres import PostgresError, PostgresServer
from wicketgate_gateway.contract.errors import WicketgateError


class Story:
    """A line a step on the terminal; with `--json` on standard error, so that standard output stays one object."""

    def __init__(self, *, aside: bool) -> None:
        self.console = Console(stderr=aside, highlight=False, soft_wrap=True)
        self._started = time.monotonic()

    def done(self, what: str, detail: str) -> None:
        """A step that succeeded."""
        elapsed = time.monotonic() - self._started
        line = Text.assemble(("  ✓ ", "green"), (f"{what:<18}", "bold"), detail, (f"  {elapsed:.1f} s", "dim"))
        self.console.print(line)

    def say(self, text: str, style: str = "") -> None:
        """A line of its own."""
        self.console.print(Text(text, style=style))

    def progress(self, line: str) -> None:
        """What a long step is doing."""
        self.console.print(Text(f"    {line}", style="dim"))


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="./quickstart", description="The whole product on this machine, with Entra emulated."
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--stop", action="store_true", help="end all that it started; state stays")
    group.add_argument("--reset", action="store_true", help="end it and forget its state")
    group.add_argument("--json", action="store_true", help="print one JSON object with what a script needs to go on")
    group.add_argument("--env", action="store_true", help='print what `eval "$(./quickstart --env)"` sets for pulumi')
    parser.add_argument(
        "--with", dest="extra", choices=sorted(MORE), default="",
        help="with a real cluster too, and a bot that uses kubectl: a quickstart of its own, beside the plain one",
    )  # fmt: skip
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run it; gives the exit status."""
    options = arguments(argv)
    story = Story(aside=options.json or options.env)
    layout = layouts.load(layouts.default_folder(options.extra), options.extra)
    try:
        if options.stop or options.reset:
            return _end(layout, story, forget=options.reset)
        return _run(layout, story, options)
    except (WicketgateError, ProvideError, PostgresError) as error:
        story.say(f"error: {error}", "red")
        return 1
    except KeyboardInterrupt:
        story.say("interrupted; `./quickstart` goes on where it stopped, `./quickstart --stop` ends it", "yellow")
        return 130


def _end(layout: Layout, story: Story, *, forget: bool) -> int:
    ended = services.stop(layout)
    story.say(f"ended: {', '.join(ended)}" if ended else "nothing was running")
    if forget:
        PostgresServer(layout.path("postgres")).destroy()
        shutil.rmtree(layout.folder)
        story.say(f"forgot {layout.folder.relative_to(ROOT) if layout.folder.is_relative_to(ROOT) else layout.folder}")
    return 0


def _run(layout: Layout, story: Story, options: argparse.Namespace) -> int:
    quiet = options.json or options.env
    if not quiet:
        story.say("\nWicketgate quickstart: one bot, from its lines in the stack file to psql's answer\n", "bold")
    engine = provide(folder=layout.path("engine"), progress=story.progress)
    story.done("Pulumi engine", _engine_line(engine))
    services.certificates(layout)
    services.issuer(layout)
    story.done("workload issuer", f"{layout.issuer}, as a CI system or a cluster has one")
    services.entra(layout)
    story.done("Entra (emulated)", f"{layout.entra}, tenant {layouts.TENANT}")
    server = services.database(layout)
    story.done("demo database", f"a real PostgreSQL on {server.host}:{server.port}")
    cluster = services.cluster(layout, story.progress) if layout.extra else None
    if cluster is not None:
        what = "API server, etcd, containerd and kubelet" if cluster[1]["node"] else "API server and etcd, no node"
        story.done("demo cluster", f"a real Kubernetes on 127.0.0.1:{layout.ports['cluster']}: {what}")
    env = pulumi.environment(layout, engine, server)
    if options.env:
        sys.stdout.write("".join(f"export {k}={shlex.quote(v)}\n" for k, v in sorted(env.items())))
        return 0
    outcome = pulumi.up(layout, engine, env)
    story.done("pulumi up", f"stack `{layout.stack}`: {outcome}")
    services.gateway(layout)
    story.done("gateway", f"listens on 127.0.0.1:{layout.ports['gateway']}")
    services.agent(layout)
    story.done("agent", "dialled out to the gateway; holds the database's credential")
    secret = play.token(layout)
    answers = play.work(layout, secret)
    session = play.last_session(layout)
    used = play_cluster.work(layout, cluster[0], node=cluster[1]["node"]) if cluster is not None else []
    if options.json:
        sys.stdout.write(json.dumps(facts(layout, engine, env, server)) + "\n")
    else:
        tell(layout, story, answers, session)
        if cluster is not None:
            tell_cluster(layout, story, used, cluster[1]["missing"])
        tell_more(layout, story)
    return 0


def _engine_line(engine: Engine) -> str:
    how = {"installed": "the installed one", "downloaded": "downloaded", "built": "built from its Go module"}
    stand_ins = sorted(name for name, kind in engine.plugins.items() if kind == "stand-in")
    line = how[engine.source]
    return f"{line}; stand-ins for {', '.join(stand_ins)}, since downloads are closed here" if stand_ins else line


def facts(layout: Layout, engine: Engine, env: dict[str, str], server: PostgresServer) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "gateway": {"host": "127.0.0.1", "port": layout.ports["gateway"], "ca_file": str(layout.ca)},
        "database": TARGET,
        "psql": play.psql_command(layout),
        "token": play.token_command(layout),
        "cli": play.cli(),
        "processes": services.pids(layout),
        "postgres": {"host": server.host, "port": server.port, "admin_dsn": server.admin_dsn},
        "emulator": {"url": layout.entra},
        "pulumi": {"command": str(engine.command), "env": env, "stack": layout.stack},
    }


def tell(layout: Layout, story: Story, answers: list[play.Answer], session: dict[str, Any]) -> None:
    """The story of the bot, for a person."""
    say = story.say
    say(f"\nThe bot `{BOT}` has no key. Its CI token was exchanged at Entra for a token that opens the gateway only;")
    say(f"psql sends it as the password of the database `{TARGET}`. The agent logged in for it.\n")
    for answer in answers:
        denied = answer.error.startswith("ERROR") or "ERROR:" in answer.error
        masked = any(mark in answer.output for mark in ("•", "*"))
        word, style = ("denied", "red") if denied else ("masked", "yellow") if masked else ("allowed", "green")
        story.console.print(Text.assemble((f"  {word:<8}", f"bold {style}"), (answer.step.statement, "bold")))
        for line in (answer.error if denied else answer.output).splitlines():
            say(f"          {line}", "" if not denied else "red" if line.startswith("ERROR") else "dim")
        say("")
    config = layout.rendered / "gateway.yaml"
    cli = shlex.join(_short(play.cli()))
    place = _short([str(config)])[0]
    say(f"Everything was recorded as session {session['session']}:")
    say(f"  {cli} replay {session['session']} --at-once --config {place}", "cyan")
    say(f"  {cli} audit --verdict deny --config {place}", "cyan")


def tell_cluster(layout: Layout, story: Story, answers: list[play_cluster.Answer], missing: str) -> None:
    """The story of the bot with kubectl."""
    say = story.say
    say(f"\nThe bot `{CLUSTER_BOT}` uses stock kubectl against `{CLUSTER}`: `wicketgate kube login` wrote its")
    say("kubeconfig, which holds no token and no certificate of the cluster's. The agent adds its own.\n")
    for answer in answers:
        denied = bool(answer.status)
        masked = "masked-by-wicketgate" in _decoded(answer.output) or "redacted" in answer.output.lower()
        word, style = ("denied", "red") if denied else ("masked", "yellow") if masked else ("allowed", "green")
        if answer.handle:
            word, style = "held", "magenta"
        command = shlex.join(["kubectl", *answer.step.command])
        story.console.print(Text.assemble((f"  {word:<8}", f"bold {style}"), (command, "bold")))
        if answer.handle:
            say(f"          {services.ENGINEER} was asked, and read beside the command:", "dim")
            for line in answer.shown.splitlines()[:24]:
                say(f"            {line}", "dim")
            say(f"          and ran: wicketgate approvals approve {answer.handle}", "magenta")
        for line in (*answer.error.splitlines(), *answer.output.splitlines()):
            say(f"          {line}", "red" if denied else "")
        say("")
    if missing:
        say(f"Left out: commands in pods, since there is no node here: {missing}.", "yellow")
    say("That too was recorded; the newest sessions, and what was refused:")
    config = _short([str(layout.rendered / "gateway.yaml")])[0]
    cli = shlex.join(_short(play.cli()))
    say(f"  {cli} sessions --bot {CLUSTER_BOT} --config {config}", "cyan")
    say(f"  {cli} audit --bot {CLUSTER_BOT} --verdict deny --config {config}", "cyan")
    say(f"  KUBECONFIG={_short([str(layout.path('kubeconfig'))])[0]} kubectl get pods", "cyan")


def _decoded(text: str) -> str:
    """The text, with its base64 words read."""

    def read(match: re.Match[str]) -> str:
        try:
            return base64.b64decode(match[0], validate=True).decode()
        except ValueError:
            return match[0]

    return re.sub(r"[A-Za-z0-9+/]{8,}={0,2}", read, text)


def tell_more(layout: Layout, story: Story) -> None:
    """How a person goes on by hand."""
    say = story.say
    say("Go on by hand:")
    say(f'  PGPASSWORD="$({shlex.join(_short(play.token_command(layout)))})" \\', "cyan")
    say(f"    {shlex.join(_short(play.psql_command(layout)))}", "cyan")
    say(f'  eval "$(./quickstart{_flag(layout)} --env)" && "$WICKETGATE_PULUMI" up --stack {layout.stack}', "cyan")
    say(f"Add a bot: six lines in stacks/Pulumi.{layout.stack}.yaml, then `pulumi up` again (docs/onboard-a-bot.md).")
    say(f"End it: ./quickstart{_flag(layout)} --stop     Forget it: ./quickstart{_flag(layout)} --reset\n", "dim")


def _flag(layout: Layout) -> str:
    return f" --with {layout.extra}" if layout.extra else ""


def _short(command: list[str]) -> list[str]:
    prefix = f"{ROOT}/"
    return [part.removeprefix(prefix) if part.startswith(prefix) else part for part in command]


def entry() -> None:
    """The process's way in."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
