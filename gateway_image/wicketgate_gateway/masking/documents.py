"""Masks for bodies of HTTP answers: fields of JSON documents by path, and whatever detectors find in text.

How this works: the type of the body says how it is read. JSON is read whole, its fields masked, and written anew;
NDJSON line by line; server-sent events one by one; text goes through the detectors as it streams, markup with its
character references undone (`entities`). Encodings are undone first (`decoding`), and the masked body goes out without
one. What cannot be read while fields are to be masked is refused: data in another form would pass with all that should
be hidden.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from wicketgate_gateway.contract.policy import Mask, MaskMethod
from wicketgate_gateway.masking.decoding import MAX_DOCUMENT, Decoding, Inner, unmaskable
from wicketgate_gateway.masking.detectors import Detecting
from wicketgate_gateway.masking.entities import EntityFilter
from wicketgate_gateway.masking.masks import STRICTNESS
from wicketgate_gateway.masking.redactor import Redactor
from wicketgate_gateway.masking.requests import FORM, masked_form
from wicketgate_gateway.masking.text import masked_text
from wicketgate_gateway.policy.http import DEEP, Step, json_steps
from wicketgate_gateway.wire.http.head import Head

_TEXT = ("text/", "application/xml", "application/javascript", "application/yaml")
_LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq"})
_EVENTS = "text/event-stream"
_CHARSETS = ("utf-8", "utf8", "ascii", "8859-1")


@dataclass(frozen=True, slots=True)
class FieldMasks:
    """Paths with their methods, compiled."""

    paths: tuple[tuple[tuple[Step, ...], MaskMethod], ...]
    key: bytes

    @classmethod
    def of(cls, masks: Iterable[Mask], key: bytes) -> FieldMasks:
        """Those of the policy's masks that have `json`."""
        found = [(json_steps(path), mask.method) for mask in masks for path in mask.json_ or ()]
        # Where several meet, the strictest comes last and wins.
        return cls(tuple(sorted(found, key=lambda each: STRICTNESS[each[1]])), key)

    def apply(self, document: Any) -> Any:
        """The document, masked in place."""
        for steps, method in self.paths:
            document = self._apply(document, steps, method)
        return document

    def _apply(self, value: Any, steps: Sequence[Step], method: MaskMethod) -> Any:
        if not steps:
            return self._masked(value, method)
        step, rest = steps[0], steps[1:]
        if step == DEEP:
            value = self._apply(value, rest, method)
            return _each(value, lambda inner: self._apply(inner, steps, method))
        if step is None:
            return _each(value, lambda inner: self._apply(inner, rest, method))
        if isinstance(step, int):
            if isinstance(value, list) and step < len(value):
                value[step] = self._apply(value[step], rest, method)
        elif isinstance(value, dict):
            for name in value:
                if name.lower() == step.lower():
                    value[name] = self._apply(value[name], rest, method)
        return value

    def _masked(self, value: Any, method: MaskMethod) -> Any:
        if method is MaskMethod.NULL or value is None:
            return None
        if isinstance(value, dict | list):
            return _each(value, lambda inner: self._masked(inner, method))
        text = value if isinstance(value, str) else json.dumps(value)
        masked = masked_text(method, text.encode(errors="surrogatepass"), self.key)
        return masked.decode(errors="replace")


def _each(value: Any, work: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        for name in value:
            value[name] = work(value[name])
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            value[i] = work(inner)
    return value


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number out of range")
    return value


def masked_json(data: bytes, fields: FieldMasks, detecting: Detecting | None) -> bytes:
    """A JSON document, masked. Raises ValueError or RecursionError for what is none."""
    document = fields.apply(json.loads(data.decode("utf-8-sig"), parse_float=_number))
    out = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    return out if detecting is None else detecting.text(out, quote=True)


class JsonFilter:
    """One JSON document, whole."""

    def __init__(self, fields: FieldMasks, detecting: Detecting | None) -> None:
        self._fields, self._detecting = fields, detecting
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        """See `Inner`."""
        self._held += data
        if len(self._held) > MAX_DOCUMENT:
            raise unmaskable(f"it is JSON of over {MAX_DOCUMENT} bytes", "ask for less at once, by pages")
        return b""

    def finish(self) -> bytes:
        """See `Inner`."""
        held = bytes(self._held)
        if not held.strip():
            return held
        try:
            return masked_json(held, self._fields, self._detecting)
        except (ValueError, RecursionError):
            raise unmaskable("it is not JSON", "") from None


class LinesFilter:
    """NDJSON: a document a line."""

    def __init__(self, fields: FieldMasks, detecting: Detecting | None) -> None:
        self._fields, self._detecting = fields, detecting
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """See `Inner`."""
        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > MAX_DOCUMENT:
            raise unmaskable(f"a line is over {MAX_DOCUMENT} bytes", "ask for less at once")
        return b"".join(self._line(line) + b"\n" for line in lines)

    def finish(self) -> bytes:
        """See `Inner`."""
        held, self._held = self._held, b""
        return self._line(held) if held else b""

    def _line(self, line: bytes) -> bytes:
        if not line.strip():
            return line
        try:
            return masked_json(line.lstrip(b"\x1e"), self._fields, self._detecting)
        except (ValueError, RecursionError):
            raise unmaskable("a line is not JSON", "") from None


class EventsFilter:
    """Server-sent events: the data of each is masked as JSON, or as text where it is none."""

    def __init__(self, fields: FieldMasks, detecting: Detecting | None) -> None:
        self._fields, self._detecting = fields, detecting
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """See `Inner`."""
        buffer, tail = (self._held + data).replace(b"\r\n", b"\n"), b""
        if buffer.endswith(b"\r"):
            buffer, tail = buffer[:-1], b"\r"
        *events, held = buffer.replace(b"\r", b"\n").split(b"\n\n")
        self._held = held + tail
        if len(self._held) > MAX_DOCUMENT:
            raise unmaskable(f"an event is over {MAX_DOCUMENT} bytes", "")
        return b"".join(self._event(event) + b"\n\n" for event in events)

    def finish(self) -> bytes:
        """See `Inner`: an event without its end is none."""
        return b""

    def _event(self, event: bytes) -> bytes:
        kept: list[bytes] = []
        data: list[bytes] = []
        for line in event.split(b"\n"):
            name, _, value = line.partition(b":")
            if name == b"data":
                data.append(value.removeprefix(b" "))
            else:
                kept.append(line if self._detecting is None else self._detecting.text(line))
        if data:
            masked = self._data(b"\n".join(data))
            kept += [b"data: " + line for line in masked.split(b"\n")]
        return b"\n".join(kept)

    def _data(self, data: bytes) -> bytes:
        try:
            return masked_json(data, self._fields, self._detecting)
        except (ValueError, RecursionError):
            if self._fields.paths and data.strip()[:1] in (b"{", b"["):
                raise unmaskable("an event is not JSON", "") from None
            return data if self._detecting is None else self._detecting.text(data)


class TextFilter:
    """Text, as it streams."""

    def __init__(self, detecting: Detecting) -> None:
        self._redactor = Redactor(detecting)

    def feed(self, data: bytes) -> bytes:
        """See `Inner`."""
        return self._redactor.feed(data)

    def finish(self) -> bytes:
        """See `Inner`."""
        return self._redactor.flush()


class FormFilter:
    """A form, whole: `+` is a blank in it."""

    def __init__(self, detecting: Detecting) -> None:
        self._detecting = detecting
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        """See `Inner`."""
        self._held += data
        if len(self._held) > MAX_DOCUMENT:
            raise unmaskable(f"it is a form of over {MAX_DOCUMENT} bytes", "ask for less at once")
        return b""

    def finish(self) -> bytes:
        """See `Inner`."""
        return masked_form(self._detecting, bytes(self._held))


def body_filter(masks: Sequence[Mask], detecting: Detecting | None, key: bytes, head: Head) -> Inner | None:
    """What masks an answer's body; None if nothing must be. Raises HttpError for what cannot be masked."""
    fields = FieldMasks.of(masks, key)
    if not fields.paths and detecting is None:
        return None
    inner = _by_type(head.first("content-type"), fields, detecting)
    encodings = [each for each in head.listed("content-encoding") if each != "identity"]
    if not encodings:
        return inner
    if len(encodings) > 1:
        raise unmaskable("it is encoded more than once", "")
    return Decoding(encodings[0], inner)


def _by_type(content_type: str, fields: FieldMasks, detecting: Detecting | None) -> Inner:
    kind, _, parameters = content_type.lower().partition(";")
    kind = kind.strip()
    if "charset" in parameters and not any(charset in parameters for charset in _CHARSETS):
        raise unmaskable("its character set is not one that is looked into", "")
    if kind in _LINES or ("stream" in parameters and "json" in kind):
        return LinesFilter(fields, detecting)
    if kind == _EVENTS:
        return EventsFilter(fields, detecting)
    if kind == "application/json" or kind.endswith("+json") or fields.paths:
        # Where fields are masked, all is taken for JSON whatever it says that it is: what is none is refused.
        return JsonFilter(fields, detecting)
    assert detecting is not None
    if kind == FORM:
        return FormFilter(detecting)
    if kind == "text/html" or kind in ("text/xml", "application/xml") or kind.endswith("+xml"):
        return EntityFilter(TextFilter(detecting))
    if kind.startswith(_TEXT) or kind.endswith("+yaml") or not kind:
        return TextFilter(detecting)
    raise unmaskable(f"`{kind[:60]}` is not a type that is looked into", "ask for text or JSON")
