"""`wicketgate connect TARGET` for HTTP services: a local address that adds the token to each request.

How this works: a tool speaks HTTP/1.1 without TLS to 127.0.0.1. Each request's head is read by the gateway's own strict
parser and written anew with the target's name and a fresh token in headers of ours; body and answer pass as they are,
as does all behind an upgrade. Paths are the service's own, so redirects lead back here.

The address stands for the bot. So only this user's processes may use it (`connect`), and no page of a web site that the
user looks at: what another origin causes, or asks for by another host name (DNS rebinding), is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from typing import Any

from wicketgate_gateway.cli.connect import LOCAL, START_SECONDS, Connector, gateway_context
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import ClientConfig
from wicketgate_gateway.wire.http import headers as rules
from wicketgate_gateway.wire.http import problem
from wicketgate_gateway.wire.http.body import Body
from wicketgate_gateway.wire.http.head import (
    HttpError,
    RequestHead,
    head_end,
    parse_request,
    parse_response,
    request_length,
    response_length,
    write_request,
    write_response,
)

_CHUNK = 64 * 1024
_OURS = frozenset({"x-wicketgate-token", "x-wicketgate-target", "authorization", "proxy-authorization"})
"""What the gateway would take for a token or a target."""
_ASKED_BY_OTHERS = frozenset({"cross-site", "same-site"})


class HttpConnector(Connector):
    """The local address of one HTTP service."""

    def __init__(self, config: ClientConfig, target: str, *, any_user: bool = False) -> None:
        super().__init__(config, target, any_user=any_user)
        if config.http is None:
            raise WicketgateError(
                f"`{target}` is an HTTP service, and client.yaml does not say where the gateway takes HTTP",
                code="client-config-incomplete",
                remedy="have the gateway's `httpPort` set and the file rendered again",
            )
        self._endpoint = config.http
        self._tls = gateway_context(config.http)
        self._port = 0

    async def listen(self, port: int) -> int:
        """See `Connector`."""
        self._port = await super().listen(port)
        return self._port

    def described(self, port: int) -> dict[str, object]:
        """See `Connector`."""
        return {**super().described(port), "url": f"http://{LOCAL}:{port}"}

    def hint(self, port: int) -> str:
        """See `Connector`."""
        return f"curl http://{LOCAL}:{port}/"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a tool, to its end."""
        requests, answers = _Requests(reader), _Answers(writer)
        upstream: asyncio.StreamWriter | None = None
        passing: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._check_peer(writer)
            while (passing is None or not passing.done()) and (head := await requests.head()) is not None:
                length = request_length(head)
                self._check_origin(head)
                async with asyncio.timeout(START_SECONDS):
                    token = await self._fresh_token()
                    if upstream is None:
                        source, upstream = await self.dial()
                        passing = asyncio.get_running_loop().create_task(answers.pass_on(source))
                answers.expect(head.method)
                upstream.write(self._written(head, token.token))
                if head.listed("upgrade"):
                    await requests.all_to(upstream)
                    return
                await requests.body_to(upstream, Body(length))
            if passing is not None:
                await asyncio.wait({passing, *answers.complete()}, return_when=asyncio.FIRST_COMPLETED)
        except HttpError as error:
            _say(writer, error.status, error.code, error.message)
        except TimeoutError:
            _say(writer, 504, "gateway-timeout", "the gateway did not answer in time")
        except WicketgateError as error:
            _say(writer, 403 if error.code.startswith("peer-") else 502, error.code, str(error))
        finally:
            if passing is not None:
                passing.cancel()
                await asyncio.gather(passing, return_exceptions=True)
            answers.stop()
            if upstream is not None:
                upstream.close()

    def _check_origin(self, head: RequestHead) -> None:
        own = {f"{host}:{self._port}" for host in (LOCAL, "localhost")}
        if head.first("host").lower() not in own:
            raise HttpError("this address has no such name", code="host-foreign", status=403)
        origins = {value.lower() for value in head.all("origin")}
        if origins - {f"http://{host}" for host in own} or _ASKED_BY_OTHERS & set(head.listed("sec-fetch-site")):
            raise HttpError("no web site may use this address", code="origin-foreign", status=403)

    def _written(self, head: RequestHead, token: str) -> bytes:
        headers = rules.without(head.headers, _OURS)
        ours = (("X-Wicketgate-Target", self.target), ("X-Wicketgate-Token", token))
        return write_request(head.method, head.target, (*headers, *ours))

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TLS connection to the gateway. Raises WicketgateError."""
        end = self._endpoint
        where = f"{end.host}:{end.port}"
        try:
            async with asyncio.timeout(START_SECONDS):
                return await asyncio.open_connection(end.host, end.port, ssl=self._tls, server_hostname=end.host)
        except ssl.SSLCertVerificationError as error:
            raise WicketgateError(
                f"the certificate of `{where}` was refused: {error.verify_message}",
                code="gateway-certificate-refused",
                remedy="check `http.caFile` and `http.host` in client.yaml",
            ) from None
        except OSError as error:
            reason = error.strerror or "it hung up"
            raise WicketgateError(f"`{where}` cannot be reached: {reason}", code="gateway-unreachable") from None


class _Requests:
    """What a tool sends."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._buffer = b""

    async def head(self) -> RequestHead | None:
        """The next request's head; None at the end. Raises HttpError."""
        while (end := head_end(self._buffer)) < 0:
            data = await self._reader.read(_CHUNK)
            if not data:
                return None
            self._buffer += data
        raw, self._buffer = self._buffer[:end], self._buffer[end:]
        return parse_request(raw)

    async def body_to(self, sink: asyncio.StreamWriter, body: Body) -> None:
        """Pass a request's body on as it comes. Raises HttpError."""
        while not body.done:
            data = self._buffer or await self._reader.read(_CHUNK)
            self._buffer = b""
            if not data:
                body.ended()
            for _ in body.feed(data):
                pass
            sink.write(data[: len(data) - len(body.rest)])
            await sink.drain()
        self._buffer, body.rest = body.rest + self._buffer, b""

    async def all_to(self, sink: asyncio.StreamWriter) -> None:
        """Pass all on, to the end: the connection is no longer HTTP."""
        data, self._buffer = self._buffer, b""
        while data or (data := await self._reader.read(_CHUNK)):
            sink.write(data)
            await sink.drain()
            data = b""


class _Answers:
    """What the gateway answers, passed on as it is; knows whether each request has its answer."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._methods: deque[str] = deque()
        self._idle = asyncio.Event()
        self._waiting: set[asyncio.Task[Any]] = set()

    def expect(self, method: str) -> None:
        """A request goes out."""
        self._methods.append(method)
        self._idle.clear()

    def complete(self) -> set[asyncio.Task[Any]]:
        """What is done when all answers are complete."""
        if not self._methods:
            self._idle.set()
        self._waiting = {asyncio.get_running_loop().create_task(self._idle.wait())}
        return self._waiting

    def stop(self) -> None:
        """Nobody waits any more."""
        for task in self._waiting:
            task.cancel()

    async def pass_on(self, source: asyncio.StreamReader) -> None:
        """All that comes, to its end; then the tool's connection ends, too."""
        buffer, body, raw = b"", None, False
        with contextlib.suppress(OSError, HttpError):
            while data := await source.read(_CHUNK):
                self._writer.write(data)
                await self._writer.drain()
                while not raw and (data or buffer):
                    buffer, data = buffer + data, b""
                    if body is None:
                        if (end := head_end(buffer)) < 0:
                            break
                        head, buffer = parse_response(buffer[:end]), buffer[end:]
                        raw = head.status == 101
                        if head.status < 200:
                            continue
                        body = Body(response_length(head, self._methods[0] if self._methods else "GET"))
                    for _ in body.feed(buffer):
                        pass
                    buffer = b""
                    if body.done:
                        buffer, body = body.rest, None
                        self._answered()
        self._writer.close()

    def _answered(self) -> None:
        if self._methods:
            self._methods.popleft()
        if not self._methods:
            self._idle.set()


def _say(writer: asyncio.StreamWriter, status: int, code: str, detail: str) -> None:
    body = problem.document(status, code, detail)
    headers = [("Content-Type", problem.TYPE), ("Content-Length", str(len(body))), ("Connection", "close")]
    with contextlib.suppress(OSError, RuntimeError):
        writer.write(write_response(status, problem.REASONS.get(status, "Error"), headers) + body)
