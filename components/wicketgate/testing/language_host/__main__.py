"""`pulumi-language-python`: `python -m wicketgate.testing.language_host [flags] [ENGINE_ADDRESS]`."""

import argparse
import sys

import grpc
from pulumi.runtime.proto import language_pb2_grpc

from wicketgate.provider.server import run_until_ended, start
from wicketgate.testing.language_host.servicer import LanguageHost

_WORKERS = 64  # a worker is held by each program and plugin for as long as it runs


def main(arguments: list[str]) -> None:
    """Serve until the engine ends us. The flags are the real host's; those about logging and tracing do
    nothing.
    """
    parser = argparse.ArgumentParser(prog="pulumi-language-python", allow_abbrev=False)
    for flag in ("--tracing", "-tracing"):
        parser.add_argument(flag, dest="tracing", default="")
    for flag in ("--logtostderr", "-logtostderr", "--logflow", "-logflow"):
        parser.add_argument(flag, dest="ignored", action="store_true")
    # Engines from before the handshake said by flags what `Run` says today; hosts of other languages still do.
    for flag in ("-root", "-binary", "-options", "-buildTarget"):
        parser.add_argument(flag, dest="ignored_text")
    parser.add_argument("-v", "--v", dest="verbose", default="")
    parser.add_argument("engine", nargs="?", default="")
    host = LanguageHost(parser.parse_args(arguments).engine)

    def register(server: grpc.Server) -> None:
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)

    run_until_ended(lambda: start(register, workers=_WORKERS), before_stop=host.children.end_all)


if __name__ == "__main__":
    main(sys.argv[1:])
