"""`pulumirpc.LanguageRuntime` for Python: the calls that the engine makes, answered as the real host
answers them.

Code generation and packing (`GenerateProgram`, `GenerateProject`, `GeneratePackage`, `Pack`, `Link`) are
the real host's alone: they are answered UNIMPLEMENTED with a hint, and `Template` without one, which the
engine expects.
"""

import importlib.metadata
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from wicketgate.testing.language_host import environment, options, packages
from wicketgate.testing.language_host.environment import PythonEnvironment
from wicketgate.testing.language_host.options import OptionsError
from wicketgate.testing.language_host.processes import Children

_PROGRAM: Final = Path(__file__).with_name("program.py")
_SHOWN_TO_USER: Final = 32
_ONLY_OFFICIAL: Final = "{} needs the official Pulumi CLI: this language host is a stand-in, which only runs programs"


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs programs, policy packs and plugins written in Python. One object a host process; safe to share."""

    def __init__(self, engine_address: str = "") -> None:
        self.children: Final = Children()
        self._engine = engine_address

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The engine says where it listens; newer engines say so here too."""
        self._engine = request.engine_address or self._engine
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The stand-in's version, which is Wicketgate's."""
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("wicketgate"))

    def About(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The Python that would run the program; without one, the first on PATH."""
        with _reported(context):
            found = _find(request.info)
            executable, version = packages.about(found)
        return language_pb2.AboutResponse(
            executable=executable, version=version, metadata={"toolchain": found.toolchain, "host": "stand-in"}
        )

    def GetProgramDependencies(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The distributions that the program has."""
        with _reported(context):
            found = packages.distributions(_prepare(request.info), transitive=request.transitiveDependencies)
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[language_pb2.DependencyInfo(name=name, version=version) for name, version in found]
        )

    def GetRequiredPackages(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The resource plugins, by version, that the program's SDKs need."""
        with _reported(context):
            found = packages.required_packages(_prepare(request.info))
        return language_pb2.GetRequiredPackagesResponse(packages=found)

    def GetRequiredPlugins(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The same for older engines, which know no parameterized plugins."""
        with _reported(context):
            found = packages.required_packages(_prepare(request.info))
        return language_pb2.GetRequiredPluginsResponse(
            plugins=[
                plugin_pb2.PluginDependency(name=item.name, kind=item.kind, version=item.version, server=item.server)
                for item in found
            ]
        )

    def RuntimeOptionsPrompts(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """What `pulumi new` asks for: the toolchain, unless the project names one."""
        if "toolchain" in request.info.options.fields:
            return language_pb2.RuntimeOptionsResponse()
        kind = language_pb2.RuntimeOptionPrompt.RuntimeOptionType.STRING

        def value(text: str) -> Any:
            return language_pb2.RuntimeOptionPrompt.RuntimeOptionValue(
                promptType=kind, stringValue=text, displayName=text
            )

        prompt = language_pb2.RuntimeOptionPrompt(
            key="toolchain",
            description="The toolchain to use for installing dependencies and running the program",
            promptType=kind,
            choices=[value(name) for name in options.TOOLCHAINS],
            default=value("uv"),
        )
        return language_pb2.RuntimeOptionsResponse(prompts=[prompt])

    def InstallDependencies(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Iterator[Any]:
        """Install what the program needs; streams what the tools print."""
        answer = language_pb2.InstallDependenciesResponse
        with _reported(context):
            chosen = options.read(request.info)
            found = environment.find(chosen)
            folder = Path(request.directory or chosen.program)
            commands = found.install_commands(folder)
        env = found.uv_environ(os.environ) if found.toolchain == "uv" else found.environ(os.environ)
        for command in commands:
            yield answer(stdout=f"Running {Path(command[0]).name} {' '.join(command[1:])}\n".encode())
            for piece in self.children.stream(command, folder, env, context.add_callback):
                if isinstance(piece, int):
                    if piece != 0:
                        context.abort(grpc.StatusCode.UNKNOWN, f"`{' '.join(command)}` failed with exit code {piece}")
                elif piece[0] == "stdout":
                    yield answer(stdout=piece[1])
                else:
                    yield answer(stderr=piece[1])
        yield answer(stdout=b"Finished installing dependencies\n")

    def Run(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Run the program once. Its output is the host's; the answer says how it ended."""
        if request.attach_debugger:
            _only_official(context, "attaching a debugger")
        with _reported(context):
            chosen = options.read(request.info)
            found = _prepare(request.info)
        pwd = Path(request.pwd or chosen.program)
        env = found.environ(os.environ)
        env["PULUMI_CONFIG"] = json.dumps(dict(request.config))
        env["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(list(request.configSecretKeys))
        if chosen.typechecker is not None:
            code = self.children.run([found.python, "-m", chosen.typechecker, "."], pwd, env, context.add_callback)
            if code != 0:
                return language_pb2.RunResponse(error=f"`{chosen.typechecker}` found errors in the program")
        code = self.children.run(self._program(found, request), pwd, env, context.add_callback)
        if code == 0:
            return language_pb2.RunResponse()
        if code == _SHOWN_TO_USER:
            return language_pb2.RunResponse(bail=True)
        how = f"was ended by signal {-code}" if code < 0 else f"exited with non-zero exit code: {code}"
        return language_pb2.RunResponse(error=f"Program {how}")

    def RunPlugin(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        """Run a policy pack (`analyzer`) or another plugin in Python; streams its output, then its exit
        code.
        """
        if request.attach_debugger:
            _only_official(context, "attaching a debugger")
        answer = language_pb2.RunPluginResponse
        with _reported(context):
            chosen = options.read(request.info)
            found = _prepare(request.info)
        env = found.environ(dict(entry.partition("=")[::2] for entry in request.env) or os.environ)
        target = str(chosen.program if chosen.entry_point == "." else chosen.program / chosen.entry_point)
        if request.kind == "analyzer":
            engine = request.args[-1] if request.args else self._engine
            command = [found.python, "-u", "-m", "pulumi.policy", *request.args[:-1], engine, target]
        else:
            command = [found.python, "-u", target, *request.args]
        pwd = Path(request.pwd or chosen.program)
        for piece in self.children.stream(command, pwd, env, context.add_callback):
            if isinstance(piece, int):
                yield answer(exitcode=piece)
            elif piece[0] == "stdout":
                yield answer(stdout=piece[1])
            else:
                yield answer(stderr=piece[1])

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """End what runs; the calls that it belongs to answer with an error."""
        self.children.cancel()
        return empty_pb2.Empty()

    def GenerateProgram(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Only the real host generates code."""
        _only_official(context, "writing a program (for `pulumi import`, `--generate-code=false` does without)")

    def GenerateProject(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Only the real host generates code."""
        _only_official(context, "converting a project")

    def GeneratePackage(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Only the real host generates code."""
        _only_official(context, "generating an SDK")

    def Pack(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Only the real host packs SDKs."""
        _only_official(context, "packing an SDK")

    def Link(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Only the real host links SDKs."""
        _only_official(context, "linking an SDK")

    def _program(self, found: PythonEnvironment, request: Any) -> list[str]:
        entry = request.info.entry_point or request.program or "."
        return [
            found.python,
            "-u",
            str(_PROGRAM),
            *("--monitor", request.monitor_address),
            *("--engine", self._engine),
            *("--project", request.project),
            *("--stack", request.stack),
            *("--organization", request.organization),
            *("--root_directory", request.info.root_directory),
            *("--pwd", request.pwd),
            *("--dry_run", "true" if request.dryRun else "false"),
            *("--parallel", str(request.parallel)),
            entry,
            *request.args,
        ]


class _reported:  # noqa: N801  reads as a statement
    """Turns what a project got wrong into the call's error, with its text alone."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OptionsError):
            self._context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))


def _find(info: Any) -> PythonEnvironment:
    return environment.find(options.read(info))


def _prepare(info: Any) -> PythonEnvironment:
    found = _find(info)
    found.prepare()
    return found


def _only_official(context: grpc.ServicerContext, what: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, _ONLY_OFFICIAL.format(what))
    raise AssertionError("abort raises")
