"""The other bot at work, with stock kubectl, and the engineer who is asked and approves by the command line."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tools.kubernetes.provide import Binaries
from tools.quickstart.cluster import DEPLOYMENT, NAMESPACE, POD
from tools.quickstart.layout import CLUSTER_BOT, Layout
from tools.quickstart.play import cli
from tools.quickstart.services import ENGINEER
from wicketgate_gateway.contract.errors import WicketgateError

SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """A kubectl command of the bot."""

    command: tuple[str, ...]
    held: bool = False
    """Whether an engineer is asked, and says yes."""
    node: bool = False
    """Whether it needs a pod that runs."""


STEPS = (
    Step(("get", "deployments")),
    Step(("get", "secret", "payments", "-o", "jsonpath={.data}")),
    Step(("exec", POD, "--", "ls", "/etc/app"), node=True),
    Step(("exec", POD, "--", "cat", "/etc/app/settings"), held=True, node=True),
    Step(("exec", POD, "--", "rm", "-rf", "/data"), node=True),
    Step(("exec", POD, "--", "sh", "-c", "ls /data; rm -rf /data"), node=True),
    Step(("scale", "deployment", DEPLOYMENT, "--replicas=3"), held=True),
    Step(("delete", "deployment", DEPLOYMENT)),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended."""

    step: Step
    status: int
    output: str
    error: str
    handle: str = ""
    """The approval's, where it was held."""
    shown: str = ""
    """What the engineer was shown beside the request."""


class Engineer:
    """A person with the command line, signed in by device code at the emulated Entra."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        home = layout.path("engineer")
        home.mkdir(exist_ok=True, mode=0o700)
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "WICKETGATE_CONFIG": str(layout.people),
        }

    def sign_in(self) -> None:
        """Raises WicketgateError."""
        process = subprocess.Popen(
            [*cli(), "login", "--device"], env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        line = process.stderr.readline()
        code = re.search(r"enter the code (\S+)", line)
        if code is not None:
            self._enter(code[1])
        _, error = process.communicate(timeout=SECONDS)
        if process.returncode:
            raise WicketgateError(f"{ENGINEER} could not sign in: {line}{error}", remedy="look at the log of `entra`")

    def _enter(self, code: str) -> None:
        """What the person does in a browser: enter the code."""
        layout = self._layout
        key = json.loads(layout.path("entra", "emulator.json").read_text())["admin_key_file"]
        with open(key) as file:
            headers = {"Authorization": f"Bearer {file.read().strip()}", "Content-Type": "application/json"}
        context = ssl.create_default_context(cafile=str(layout.ca))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

        def ask(path: str, body: dict[str, Any] | None = None) -> Any:
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(f"{layout.entra}/_emulator/{path}", data=data, headers=headers)
            with opener.open(request, timeout=20) as answer:
                return json.load(answer)

        user = next(one["id"] for one in ask("state")["user"] if one["name"] == ENGINEER)
        ask("device", {"user_code": code, "user": user, "approve": True})

    def approve(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        """Approve what waits, once something does; its handle, and what was shown. Raises WicketgateError."""
        end = time.monotonic() + SECONDS
        while not (lines := self._run("approvals", "list", "--bot", CLUSTER_BOT, "--json").splitlines()):
            if process.poll() is not None or time.monotonic() > end:
                raise WicketgateError("nobody was asked for approval", remedy="look at the gateway's log")
            time.sleep(0.1)
        handle = str(json.loads(lines[0])["handle"])
        # Shown whole, diff included, before it is sealed by the answer.
        while True:
            found = json.loads(self._run("approvals", "show", handle, "--json"))
            if (found.get("blast") or {}).get("plan") or time.monotonic() > end:
                break
            time.sleep(0.1)
        self._run("approvals", "approve", handle, "--seal", found["seal"], "--comment", "go ahead", "--json")
        return handle, str((found.get("blast") or {}).get("plan", ""))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*cli(), *arguments], env=self._env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise WicketgateError(f"`wicketgate {' '.join(arguments[:2])}` failed: {done.stderr.strip()}")
        return done.stdout


def kubeconfig(layout: Layout) -> str:
    """The bot's, by `wicketgate kube login`. Raises WicketgateError."""
    path = layout.path("kubeconfig")
    command = [*cli(), "kube", "login", "--config", str(layout.cluster_client), "--kubeconfig", str(path)]
    done = subprocess.run([*command, "--namespace", NAMESPACE], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WicketgateError(f"`wicketgate kube login` failed: {done.stderr.strip()}")
    return str(path)


def work(layout: Layout, binaries: Binaries, *, node: bool) -> list[Answer]:
    """Run all steps that this cluster can do; what is held is approved. Raises WicketgateError."""
    base = [str(binaries.kubectl), "--kubeconfig", kubeconfig(layout)]
    engineer = Engineer(layout)
    engineer.sign_in()
    return [_run(base, step, layout, engineer) for step in STEPS if node or not step.node]


def _run(base: Sequence[str], step: Step, layout: Layout, engineer: Engineer) -> Answer:
    process = subprocess.Popen(
        [*base, *step.command], env={**os.environ, "HOME": str(layout.folder)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    handle = shown = ""
    try:
        if step.held:
            handle, shown = engineer.approve(process)
        output, error = process.communicate(timeout=150)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return Answer(step, process.returncode, output.strip("\n"), error.strip("\n"), handle, shown)
