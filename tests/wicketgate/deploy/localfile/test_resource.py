"""`File` in programs: its registration under mocks, and its life under the real engine."""

import sys
from pathlib import Path

import pulumi
import pytest
from pulumi.runtime import mocks

from wicketgate.deploy import localfile
from wicketgate.testing.project import Project

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT))  # the test run does not put the checkout on the path, and `tools` is no distribution

from tools.provide import Engine, provide  # noqa: E402

PLUGIN = Path(localfile.__file__).with_name("plugin")


class _Mocks(mocks.Mocks):
    def __init__(self) -> None:
        self.seen: list[mocks.MockResourceArgs] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, object]]:
        self.seen.append(args)
        return "/a/b", {**args.inputs, "mode": "0600", "digest": "sha256:0"}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, object], None]:
        return {}, None


def test_the_registration() -> None:
    monitor = _Mocks()
    mocks.set_mocks(monitor)

    @pulumi.runtime.test
    def program() -> pulumi.Output[None]:
        file = localfile.File("one", path="/a/b", content="x")

        def check(values: list[str]) -> None:
            assert values == ["/a/b", "x", "0600", "sha256:0"]

        return pulumi.Output.all(file.path, file.content, file.mode, file.digest).apply(check)

    program()
    (seen,) = monitor.seen
    assert (seen.typ, seen.name, seen.inputs) == (
        "wicketgate-local:index:File",
        "one",
        {"path": "/a/b", "content": "x"},
    )


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The pinned engine; built now if it is not in the cache."""
    return provide(folder=tmp_path_factory.mktemp("engine"), python=Path(sys.executable))


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Project:
    plugin = tmp_path / "plugin"  # outside the checkout, whose lock file would have its environment brought in step
    plugin.mkdir()
    (plugin / "__main__.py").write_text((PLUGIN / "__main__.py").read_text())
    options = f"{{toolchain: pip, virtualenv: {sys.prefix}}}"
    (plugin / "PulumiPlugin.yaml").write_text(f"runtime: {{name: python, options: {options}}}\n")
    mine = Project(
        tmp_path / "project", engine.command, engine.env, python=Path(sys.prefix), plugins={"wicketgate-local": plugin}
    )
    mine.program(
        f"""
        import pulumi
        from wicketgate.deploy.localfile import File

        config = pulumi.Config()
        name = config.get("name") or "one.txt"
        content = config.get_secret("secret") or config.get("text") or "hello"
        file = File("file", path="{tmp_path}/out/" + name, content=content)
        pulumi.export("digest", file.digest)
        """
    )
    return mine


@pytest.mark.build
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_life_of_a_file(project: Project, tmp_path: Path) -> None:
    one, two = tmp_path / "out" / "one.txt", tmp_path / "out" / "two.txt"
    project.up()
    assert one.read_text() == "hello"
    assert project.planned() == {"same": 2}

    project.pulumi("config", "set", "text", "bye")
    assert project.planned() == {"same": 1, "update": 1}
    project.up()
    assert one.read_text() == "bye"

    one.write_text("hunter2")
    project.refresh()
    assert "hunter2" not in str(project.state())
    assert project.planned() == {"same": 1, "update": 1}
    assert "changed by someone else" not in project.up().text  # the refresh has told it
    assert one.read_text() == "bye"

    project.pulumi("config", "set", "name", "two.txt")
    assert project.planned() == {"same": 1, "replace": 1}
    project.up()
    assert (one.exists(), two.read_text()) == (False, "bye")

    two.unlink()
    project.refresh()
    assert project.planned() == {"same": 1, "create": 1}
    project.up()

    two.write_text("theirs")
    assert "is left as it is" in project.destroy().text
    assert two.read_text() == "theirs"


@pytest.mark.build
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_secret_is_refused_at_preview(project: Project, tmp_path: Path) -> None:
    project.pulumi("config", "set", "--secret", "secret", "hunter2")
    done = project.pulumi("preview", check=False)
    assert done.code != 0
    assert "`content` is secret" in done.text
    assert "hunter2" not in done.text
    assert not (tmp_path / "out").exists()


@pytest.mark.build
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_import_of_a_file(project: Project, tmp_path: Path) -> None:
    theirs = tmp_path / "out" / "one.txt"
    theirs.parent.mkdir()
    theirs.write_text("hello")
    theirs.chmod(0o600)
    options = ("--yes", "--protect=false", "--generate-code=false")
    project.pulumi("import", "wicketgate-local:index:File", "file", str(theirs), *options)
    assert project.planned().get("create", 0) == 0
