"""The stand-in under the real engine: programs, policy packs and component packages in Python."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wicketgate.testing.project import Project

pytestmark = [pytest.mark.build, pytest.mark.slow, pytest.mark.timeout(1200)]

MakeProject = Callable[..., Project]

_TWO = """
import pulumi

class Box(pulumi.ComponentResource):
    def __init__(self, name, opts=None):
        super().__init__("project:index:Box", name, {}, opts)
        self.register_outputs({})

outer = Box("outer")
Box("inner", pulumi.ResourceOptions(parent=outer))
config = pulumi.Config()
pulumi.export("word", config.require("word"))
pulumi.export("key", config.require_secret("key"))
pulumi.export("where", [pulumi.get_project(), pulumi.get_stack(), pulumi.get_organization()])
print("printed by the program")
"""


def test_up_twice_and_destroy(project: MakeProject) -> None:
    mine = project()
    mine.program(_TWO)
    mine.pulumi("config", "set", "word", "hello")
    mine.pulumi("config", "set", "--secret", "key", "sesame")
    assert mine.planned() == {"create": 3}
    first = mine.up()
    assert "printed by the program" in first.text
    assert "sesame" not in first.text
    assert mine.outputs() == {"word": "hello", "key": "sesame", "where": ["project", "test", "organization"]}
    assert [item["type"].rpartition(":")[2] for item in mine.state()] == ["Stack", "Box", "Box"]
    assert "sesame" not in str(mine.state())
    assert mine.planned() == {"same": 3}
    mine.pulumi("preview", "--expect-no-changes")
    mine.destroy()
    assert mine.state() == []


@pytest.mark.parametrize(
    ("program", "expected", "unexpected"),
    [
        ("raise ValueError('broken on purpose')", "ValueError: broken on purpose", "run_in_stack"),
        ("import pulumi\nraise pulumi.RunError('shown as it is')", "shown as it is", "Traceback"),
        ("import sys\nsys.exit(7)", "non-zero exit code: 7", "Traceback"),
    ],
)
def test_a_failing_program_fails_the_update_with_its_reason(
    project: MakeProject, program: str, expected: str, unexpected: str
) -> None:
    mine = project()
    mine.program(program)
    done = mine.pulumi("up", "--yes", "--skip-preview", check=False)
    assert done.code != 0
    assert expected in done.text
    assert unexpected not in done.text


def test_a_missing_program_is_said(project: MakeProject) -> None:
    mine = project()
    done = mine.pulumi("preview", check=False)
    assert done.code != 0
    assert "__main__.py" in done.text


def test_a_wrong_option_is_said(project: MakeProject) -> None:
    mine = project()
    mine.program("")
    mine.write("Pulumi.yaml", "name: project\nruntime: {name: python, options: {toolchain: conda}}\n")
    done = mine.pulumi("preview", check=False)
    assert done.code != 0
    assert "`conda`" in done.text


def test_a_policy_pack_judges_a_preview(project: MakeProject) -> None:
    mine = project()
    mine.program(_TWO)
    mine.pulumi("config", "set", "word", "hello")
    mine.pulumi("config", "set", "--secret", "key", "sesame")
    options = f"{{toolchain: pip, virtualenv: {sys.prefix}}}"
    mine.write("pack/PulumiPolicy.yaml", f"name: pack\nruntime: {{name: python, options: {options}}}\n")
    mine.write(
        "pack/__main__.py",
        """
        from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

        def check(args, report):
            if args.resource_type == "project:index:Box" and args.name == "inner":
                report("no box in a box")

        PolicyPack(
            name="pack",
            enforcement_level=EnforcementLevel.MANDATORY,
            policies=[ResourceValidationPolicy(name="flat", description="Boxes are flat.", validate=check)],
        )
        """,
    )
    done = mine.pulumi("preview", "--policy-pack", "pack", check=False)
    assert done.code != 0
    assert "no box in a box" in done.text
    mine.write("pack/__main__.py", (mine.folder / "pack/__main__.py").read_text().replace('"inner"', '"none"'))
    mine.pulumi("preview", "--policy-pack", "pack")


def test_a_component_package_in_python(project: MakeProject, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    options = f"{{toolchain: pip, virtualenv: {sys.prefix}}}"
    (package / "PulumiPlugin.yaml").write_text(f"runtime: {{name: python, options: {options}}}\n")
    (package / "greeting.py").write_text(
        "from typing import TypedDict\n"
        "import pulumi\n"
        "class GreetingArgs(TypedDict):\n"
        "    who: pulumi.Input[str]\n"
        "class Greeting(pulumi.ComponentResource):\n"
        "    text: pulumi.Output[str]\n"
        "    def __init__(self, name: str, args: GreetingArgs, opts: pulumi.ResourceOptions | None = None) -> None:\n"
        "        super().__init__('greet:index:Greeting', name, {}, opts)\n"
        "        self.text = pulumi.Output.concat('hello ', args['who'])\n"
        "        self.register_outputs({'text': self.text})\n"
    )
    (package / "__main__.py").write_text(
        "from greeting import Greeting\n"
        "from pulumi.provider.experimental import component_provider_host\n"
        "component_provider_host(name='greet', components=[Greeting], version='1.0.0')\n"
    )
    mine = project(plugins={"greet": package})
    mine.program(
        """
        import pulumi

        class Greeting(pulumi.ComponentResource):
            text: pulumi.Output[str]

            def __init__(self, name, who):
                super().__init__("greet:index:Greeting", name, {"who": who, "text": None}, None, remote=True)

        pulumi.export("text", Greeting("one", "world").text)
        """
    )
    mine.up()
    assert mine.outputs() == {"text": "hello world"}
    mine.destroy()


def test_nothing_is_left_running(project: MakeProject) -> None:
    mine = project()
    mine.program("import pulumi\npulumi.export('one', 1)")
    mine.up()
    mark = f"PULUMI_BACKEND_URL={mine.env['PULUMI_BACKEND_URL']}".encode()
    assert _within(10, lambda: not _processes_with(mark)), _processes_with(mark)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_update_leaves_nothing_running(project: MakeProject, number: signal.Signals) -> None:
    mine = project()
    started = mine.folder / "started"
    mine.program(f"import pathlib, time\npathlib.Path({str(started)!r}).touch()\ntime.sleep(300)")
    command = [mine.command, "up", "--yes", "--skip-preview", "--non-interactive"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=mine.folder, env=mine.env, stdin=quiet, stdout=quiet, stderr=quiet) as update:
        assert _within(30, started.exists)
        update.send_signal(number)
        assert update.wait(30) != 0
    mark = f"PULUMI_BACKEND_URL={mine.env['PULUMI_BACKEND_URL']}".encode()
    assert _within(20, lambda: not _processes_with(mark)), _processes_with(mark)


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _processes_with(mark: bytes) -> list[str]:
    """The processes whose environment holds `mark`: all that the engine started inherit it."""
    found: list[str] = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def test_the_mark_would_be_seen(project: MakeProject) -> None:
    mine = project()
    with subprocess.Popen(["sleep", "30"], env=mine.env) as child:
        try:
            assert _processes_with(f"PULUMI_BACKEND_URL={mine.env['PULUMI_BACKEND_URL']}".encode()) == ["sleep 30 "]
        finally:
            child.kill()
