"""A host in this process, and projects on the real engine."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from pulumi.runtime.proto import language_pb2_grpc

from wicketgate.provider.server import start
from wicketgate.testing.language_host.servicer import LanguageHost
from wicketgate.testing.project import Project

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT))  # the test run does not put the checkout on the path, and `tools` is no distribution

from tools.provide import Engine, provide  # noqa: E402


@pytest.fixture
def host() -> Iterator[LanguageHost]:
    """A host without an engine."""
    language_host = LanguageHost()
    yield language_host
    language_host.children.end_all()


@pytest.fixture
def stub(host: LanguageHost) -> Iterator[language_pb2_grpc.LanguageRuntimeStub]:
    """A client of `host`, over gRPC."""

    def register(server: grpc.Server) -> None:
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)

    server, port = start(register)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield language_pb2_grpc.LanguageRuntimeStub(channel)
    server.stop(0).wait()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The pinned engine with our stand-ins; built now if it is not in the cache."""
    return provide(folder=tmp_path_factory.mktemp("engine"), python=Path(sys.executable))


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Callable[..., Project]:
    """Makes a project below the test's folder; keyword arguments are Project's."""

    def make(name: str = "project", **arguments: object) -> Project:
        folder = tmp_path / name
        folder.mkdir()
        return Project(folder, engine.command, engine.env, python=Path(sys.prefix), **arguments)

    return make
