"""The provider `wicketgate-local`: local files, spoken to over gRPC by the Pulumi engine.

How this works: `Check` settles the inputs, `Diff` compares them with the state, and `Create`, `Update`, `Read` and
`Delete` act on the file whose path is the resource's id. The state knows the digest of what was written; a file with
another digest was changed by someone else, and its content, which may be anything, is never taken into the state.
"""

import os
import re
from collections.abc import Mapping
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Any, ClassVar, Final

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

from wicketgate.deploy.localfile import files
from wicketgate.provider.base import BaseProvider, ProviderError, reported
from wicketgate.provider.values import UNKNOWN, decode, encode, holds_secret, holds_unknown

PACKAGE: Final = "wicketgate-local"
FILE: Final = "wicketgate-local:index:File"
_INPUTS: Final = ("path", "content", "mode")
_DEFAULT_MODE: Final = "0600"
_MODE: Final = re.compile(r"0?[0-7]{3}")
_SHARED_WRITE: Final = 0o022

_DiffResponse: Final = provider_pb2.DiffResponse


class LocalFileProvider(BaseProvider):
    """`pulumirpc.ResourceProvider` of `wicketgate-local`."""

    version: ClassVar[str] = distribution_version("wicketgate")

    def schema(self) -> Mapping[str, Any]:
        """One resource, `File`."""
        text = {"type": "string"}
        inputs = {
            "path": {**text, "description": "The absolute path.", "willReplaceOnChanges": True},
            "content": {**text, "description": "The text, written as UTF-8. Never a secret."},
            "mode": {**text, "description": "The permissions in octal.", "default": _DEFAULT_MODE},
        }
        digest = {**text, "description": "`sha256:` and the digest of what was written."}
        return {
            "name": PACKAGE,
            "version": self.version,
            "description": "Local files, written whole and removed only if unchanged.",
            "license": "Apache-2.0",
            "resources": {
                FILE: {
                    "description": "A text file on the machine that runs `pulumi up`.",
                    "properties": {**inputs, "digest": digest},
                    "required": [*_INPUTS, "digest"],
                    "inputProperties": inputs,
                    "requiredInputs": ["path", "content"],
                }
            },
        }

    @reported
    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The inputs with the default mode, or what is wrong with them."""
        _known(request.urn)
        inputs = {key: value for key, value in decode(request.news).items() if value is not None}
        failures = [provider_pb2.CheckFailure(property=key, reason=reason) for key, reason in _failures(inputs)]
        inputs.setdefault("mode", _DEFAULT_MODE)
        if isinstance(inputs["mode"], str) and _MODE.fullmatch(inputs["mode"]):
            inputs["mode"] = f"{int(inputs['mode'], 8):04o}"
        return provider_pb2.CheckResponse(inputs=encode(inputs), failures=failures)

    @reported
    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Another path replaces; another content or mode updates."""
        olds, news = decode(request.olds), decode(request.news)
        ignored = set(request.ignoreChanges)
        changed = [key for key in _INPUTS if key not in ignored and olds.get(key) != news.get(key)]
        kinds = provider_pb2.PropertyDiff.Kind
        detailed = {
            key: provider_pb2.PropertyDiff(
                kind=kinds.UPDATE_REPLACE if key == "path" else kinds.UPDATE, inputDiff=False
            )
            for key in changed
        }
        return _DiffResponse(
            changes=_DiffResponse.DIFF_SOME if changed else _DiffResponse.DIFF_NONE,
            diffs=changed,
            replaces=["path"] if "path" in changed else [],
            stables=["path"],
            detailedDiff=detailed,
            hasDetailedDiff=True,
        )

    @reported
    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Write the file. One that is there already is taken over only if it is the same to the byte."""
        inputs = decode(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=encode(_outputs(inputs)))
        path, content = Path(inputs["path"]), _bytes(inputs)
        found = files.look(path)
        if found is not None and found.digest != files.digest(content):
            raise ProviderError(
                f"`{path}` exists already and is not what this resource would write; move it away, or take it over "
                f"with `pulumi import {FILE} NAME {path}`"
            )
        files.write(path, content, int(inputs["mode"], 8))
        return provider_pb2.CreateResponse(id=str(path), properties=encode(_outputs(inputs)))

    @reported
    def Read(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """The file as it is now. One that is gone has no id, so that the next update writes it again."""
        path = Path(request.id)
        if problem := _path_problem(request.id):
            raise ProviderError(f"`{request.id}` {problem}")
        found = files.look(path)
        if found is None:
            return provider_pb2.ReadResponse()
        state = decode(request.properties)
        if not state:
            return _imported(path, found)
        if found.digest != state.get("digest"):
            # What others wrote may be a secret: only the fact goes into the state.
            state["content"] = f"(changed by someone else: {found.digest or 'no regular file'})"
        state |= {"digest": found.digest or "", "mode": found.mode}
        inputs = decode(request.inputs) | {key: state[key] for key in _INPUTS if key in state}
        return provider_pb2.ReadResponse(id=request.id, properties=encode(state), inputs=encode(inputs))

    @reported
    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Write the new content and mode, over whatever is there; a change by someone else is named."""
        inputs = decode(request.news)
        if request.preview:
            return provider_pb2.UpdateResponse(properties=encode(_outputs(inputs)))
        path, content = Path(request.id), _bytes(inputs)
        found = files.look(path)
        if found is not None and found.digest is None:
            raise ProviderError(f"`{path}` is no regular file any more; move it away")
        written = (decode(request.olds).get("digest"), files.digest(content))
        if found is not None and found.digest not in written:
            self.log.warn(request.urn, f"`{path}` had been changed by someone else; it is written anew")
        files.write(path, content, int(inputs["mode"], 8))
        return provider_pb2.UpdateResponse(properties=encode(_outputs(inputs)))

    @reported
    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        """Remove the file, unless someone else has changed it: then it is left, with a warning."""
        path = Path(request.id)
        state = decode(request.properties)
        # Not the state's `digest`: after a refresh that is the one of the changed file.
        known = files.digest(str(state.get("content", "")).encode())
        if not files.remove(path, known):
            self.log.warn(request.urn, f"`{path}` was changed by someone else, and is left as it is")
        return empty_pb2.Empty()


def _failures(inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    failures = [(key, f"`{key}` is no property of a file") for key in sorted(set(inputs) - set(_INPUTS))]
    failures += [(key, f"`{key}` is missing") for key in ("path", "content") if key not in inputs]
    for key in _INPUTS:
        value = inputs.get(key)
        if value is None or key not in inputs:
            continue
        if holds_secret(value):
            failures.append((key, f"`{key}` is secret; a rendered file is no place for it, so pass a reference"))
        elif value is not UNKNOWN and not isinstance(value, str):
            failures.append((key, f"`{key}` must be a text"))
    path, mode = inputs.get("path"), inputs.get("mode")
    if isinstance(path, str) and (problem := _path_problem(path)):
        failures.append(("path", f"`{path}` {problem}"))
    if isinstance(mode, str):
        if not _MODE.fullmatch(mode):
            failures.append(("mode", f"`{mode}` is not three octal digits, such as `0600`"))
        elif int(mode, 8) & _SHARED_WRITE:
            failures.append(("mode", f"`{mode}` lets others write; only the owner may"))
        elif not int(mode, 8) & 0o400:
            failures.append(("mode", f"`{mode}` does not let the owner read"))
    return failures


def _path_problem(path: str) -> str:
    if "\0" in path:
        return "holds a NUL"
    if not os.path.isabs(path):
        return "is not absolute"
    if os.path.normpath(path) != path or path == "/":
        return f"is not normal; write `{os.path.normpath(path)}`" if path != "/" else "is no file"
    return ""


def _bytes(inputs: Mapping[str, Any]) -> bytes:
    if holds_secret(dict(inputs)) or holds_unknown(dict(inputs)):  # Check saw to it; a file is never worth a guess
        raise ProviderError("a file's properties must be known and must not be secret")
    return str(inputs["content"]).encode()


def _outputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    known = isinstance(inputs["content"], str) and not holds_unknown(dict(inputs))
    return {**inputs, "digest": files.digest(_bytes(inputs)) if known else UNKNOWN}


def _imported(path: Path, found: files.Found) -> Any:
    if found.digest is None:
        raise ProviderError(f"`{path}` is no regular file")
    try:
        content = path.read_bytes().decode()
    except UnicodeDecodeError as cause:
        raise ProviderError(f"`{path}` is not UTF-8 text") from cause
    inputs = {"path": str(path), "content": content, "mode": found.mode}
    return provider_pb2.ReadResponse(
        id=str(path), properties=encode({**inputs, "digest": files.digest(content.encode())}), inputs=encode(inputs)
    )


def _known(urn: str) -> None:
    kind = urn.split("::")[2].rpartition("$")[2] if urn.count("::") >= 3 else ""
    if kind != FILE:
        raise ProviderError(f"`{kind}` is no resource of {PACKAGE}")
