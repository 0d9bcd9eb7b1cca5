"""The language host as a conversation: what the engine asks, and what it is answered."""

import json
import os
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from wicketgate.provider.values import encode
from wicketgate.testing.language_host.servicer import LanguageHost

Stub = language_pb2_grpc.LanguageRuntimeStub
SECONDS = 60


def _info(folder: Path, **options: object) -> language_pb2.ProgramInfo:
    given = {"toolchain": "pip", "virtualenv": sys.prefix, **options}
    return language_pb2.ProgramInfo(
        root_directory=str(folder), program_directory=str(folder), entry_point=".", options=encode(given)
    )


def _output(stream: object) -> tuple[bytes, bytes, int | None]:
    out, err, code = b"", b"", None
    for piece in stream:
        kind = piece.WhichOneof("output")
        if kind == "stdout":
            out += piece.stdout
        elif kind == "stderr":
            err += piece.stderr
        else:
            code = piece.exitcode
    return out, err, code


def _code(caught: pytest.ExceptionInfo[grpc.RpcError]) -> grpc.StatusCode:
    return caught.value.code()


def test_handshake_tells_the_engines_address(stub: Stub, host: LanguageHost) -> None:
    stub.Handshake(language_pb2.LanguageHandshakeRequest(engine_address="127.0.0.1:1"), timeout=SECONDS)
    assert host._engine == "127.0.0.1:1"


def test_plugin_info_and_about(stub: Stub, tmp_path: Path) -> None:
    assert stub.GetPluginInfo(empty_pb2.Empty(), timeout=SECONDS).version
    about = stub.About(language_pb2.AboutRequest(info=_info(tmp_path)), timeout=SECONDS)
    assert about.version == ".".join(map(str, sys.version_info[:3]))
    assert os.path.realpath(about.executable) == os.path.realpath(sys.executable)
    assert about.metadata["host"] == "stand-in"


def test_required_packages_and_plugins(stub: Stub, tmp_path: Path) -> None:
    packages = stub.GetRequiredPackages(
        language_pb2.GetRequiredPackagesRequest(info=_info(tmp_path)), timeout=SECONDS
    ).packages
    plugins = stub.GetRequiredPlugins(
        language_pb2.GetRequiredPluginsRequest(info=_info(tmp_path)), timeout=SECONDS
    ).plugins
    expected = [("azuread", "v6.11.1"), ("kubernetes", "v4.25.0")]
    assert [(item.name, item.version) for item in packages] == expected
    assert [(item.name, item.version) for item in plugins] == expected


def test_dependencies(stub: Stub, tmp_path: Path) -> None:
    request = language_pb2.GetProgramDependenciesRequest(info=_info(tmp_path), transitiveDependencies=True)
    found = stub.GetProgramDependencies(request, timeout=SECONDS).dependencies
    assert "pulumi" in {item.name for item in found}


def test_prompts_for_the_toolchain_once(stub: Stub, tmp_path: Path) -> None:
    bare = language_pb2.ProgramInfo(root_directory=str(tmp_path), program_directory=str(tmp_path))
    (prompt,) = stub.RuntimeOptionsPrompts(language_pb2.RuntimeOptionsRequest(info=bare), timeout=SECONDS).prompts
    assert [choice.stringValue for choice in prompt.choices] == ["pip", "uv"]
    chosen = language_pb2.RuntimeOptionsRequest(info=_info(tmp_path))
    assert not stub.RuntimeOptionsPrompts(chosen, timeout=SECONDS).prompts


def test_a_wrong_option_is_an_error_with_its_text(stub: Stub, tmp_path: Path) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.About(language_pb2.AboutRequest(info=_info(tmp_path, toolchain="poetry")), timeout=SECONDS)
    assert _code(caught) == grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "runtime option `toolchain` is `poetry`; this stand-in knows pip, uv"


@pytest.mark.parametrize(
    ("call", "request_type"),
    [
        ("GenerateProgram", language_pb2.GenerateProgramRequest),
        ("GenerateProject", language_pb2.GenerateProjectRequest),
        ("GeneratePackage", language_pb2.GeneratePackageRequest),
        ("Pack", language_pb2.PackRequest),
        ("Link", language_pb2.LinkRequest),
        ("Template", language_pb2.TemplateRequest),
    ],
)
def test_what_only_the_real_host_does(stub: Stub, call: str, request_type: type) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        getattr(stub, call)(request_type(), timeout=SECONDS)
    assert _code(caught) == grpc.StatusCode.UNIMPLEMENTED
    if call != "Template":
        assert "official Pulumi CLI" in (caught.value.details() or "")


def test_no_debugger_is_promised(stub: Stub, tmp_path: Path) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Run(language_pb2.RunRequest(info=_info(tmp_path), attach_debugger=True), timeout=SECONDS)
    assert _code(caught) == grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.RunPlugin(language_pb2.RunPluginRequest(info=_info(tmp_path), attach_debugger=True), timeout=SECONDS))
    assert "debugger" in (caught.value.details() or "")


def test_install_streams_what_the_tools_print(stub: Stub, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tmp_path / "requirements.txt").touch()
    venv = tmp_path / "venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").write_text("#!/bin/sh\necho installing; echo beware >&2; exit ${CODE:-0}\n")
    (venv / "python").chmod(0o755)
    request = language_pb2.InstallDependenciesRequest(info=_info(tmp_path, virtualenv="venv"))
    answers = list(stub.InstallDependencies(request, timeout=SECONDS))
    assert b"installing\n" in b"".join(answer.stdout for answer in answers)
    assert b"".join(answer.stderr for answer in answers) == b"beware\n"
    (venv / "python").write_text("#!/bin/sh\nexit 7\n")
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.InstallDependencies(request, timeout=SECONDS))
    assert "exit code 7" in (caught.value.details() or "")


def test_a_plugin_is_its_folder_run_with_the_arguments(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text(
        "import json, os, sys\nprint(json.dumps([sys.argv[1:], os.getcwd(), os.environ['WORD']]))\n"
        "print('note', file=sys.stderr)\nsys.exit(5)\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    request = language_pb2.RunPluginRequest(
        pwd=str(elsewhere), args=["--flag", "127.0.0.1:9"], env=["WORD=a=b"], info=_info(tmp_path), kind="resource"
    )
    out, err, code = _output(stub.RunPlugin(request, timeout=SECONDS))
    assert json.loads(out) == [["--flag", "127.0.0.1:9"], str(elsewhere), "a=b"]
    assert (err, code) == (b"note\n", 5)


def test_a_policy_pack_is_run_by_the_sdk(stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text("import sys\nprint('pack', *sys.argv[1:])\n")
    request = language_pb2.RunPluginRequest(
        pwd=str(tmp_path),
        args=["127.0.0.1:9"],
        env=[f"PATH={os.environ['PATH']}"],
        info=_info(tmp_path),
        kind="analyzer",
    )
    out, err, code = _output(stub.RunPlugin(request, timeout=SECONDS))
    assert (out, code) == (f"pack 127.0.0.1:9 {tmp_path}\n".encode(), 0), err


def test_a_cancelled_plugin_ends(stub: Stub, host: LanguageHost, tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(60)\n")
    request = language_pb2.RunPluginRequest(pwd=str(tmp_path), info=_info(tmp_path), kind="resource")
    stream = stub.RunPlugin(request, timeout=SECONDS)
    next(stream)
    (child,) = host.children._running
    stream.cancel()
    assert child.wait(10) == -15


def test_cancel_ends_a_running_program(stub: Stub, host: LanguageHost, tmp_path: Path) -> None:
    answers: list[language_pb2.RunResponse] = []
    request = language_pb2.RunRequest(pwd=str(tmp_path), info=_info(tmp_path, virtualenv=str(_sleeper(tmp_path))))

    def run() -> None:
        answers.append(stub.Run(request, timeout=SECONDS))

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 20
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    stub.Cancel(empty_pb2.Empty(), timeout=SECONDS)
    thread.join(20)
    assert [answer.error for answer in answers] == ["Program was ended by signal 15"]


def _sleeper(folder: Path) -> Path:
    """A virtual environment whose Python only sleeps."""
    python = folder / "sleeper" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\ntouch {folder}/started\nexec sleep 60\n")
    python.chmod(0o755)
    return python.parents[1]


@pytest.mark.parametrize(("exit_code", "error", "bail"), [(0, "", False), (32, "", True), (3, "exit code: 3", False)])
def test_how_a_program_ended(stub: Stub, tmp_path: Path, exit_code: int, error: str, bail: bool) -> None:
    python = _sleeper(tmp_path) / "bin" / "python"
    python.write_text(f'#!/bin/sh\nenv > {tmp_path}/env; echo "$@" > {tmp_path}/args; exit {exit_code}\n')
    request = language_pb2.RunRequest(
        pwd=str(tmp_path),
        project="p",
        stack="s",
        organization="o",
        parallel=4,
        dryRun=True,
        monitor_address="127.0.0.1:2",
        config={"p:key": "value"},
        configSecretKeys=["p:key"],
        info=_info(tmp_path, virtualenv="sleeper"),
    )
    answer = stub.Run(request, timeout=SECONDS)
    assert (answer.error.endswith(error), bool(answer.error), answer.bail) == (True, bool(error), bail)
    environ = (tmp_path / "env").read_text()
    assert 'PULUMI_CONFIG={"p:key": "value"}' in environ
    assert 'PULUMI_CONFIG_SECRET_KEYS=["p:key"]' in environ
    arguments = (tmp_path / "args").read_text()
    assert "value" not in arguments, "config, which may be secret, is in the arguments"
    assert "--monitor 127.0.0.1:2" in arguments
    assert "--dry_run true --parallel 4 ." in arguments
