"""A Graph URL's path as segments: names, keys in either form, casts.

`/groups/ID/members/graph.user/$count` and `/applications(appId='…')/owners/$ref` are both read here and nowhere else.
"""

import re
from dataclasses import dataclass

_KEYED = re.compile(r"(?P<name>[A-Za-z][\w.]*)\((?P<inside>.*)\)")
_PAIR = re.compile(r"\s*(?P<name>\w+)\s*=\s*'(?P<value>(?:[^']|'')*)'\s*")
_QUOTED = re.compile(r"\s*'(?P<value>(?:[^']|'')*)'\s*")
_CASTS = ("microsoft.graph.", "graph.")


class PathError(ValueError):
    """The path is no resource path."""


@dataclass(frozen=True)
class Segment:
    """One step. `key` is set for `name(key)`; `key_name` if it names an alternate key, as in `(appId='…')`."""

    text: str
    key: str | None = None
    key_name: str | None = None

    @property
    def cast(self) -> str | None:
        """The kind that the segment casts to, or None if it is no cast."""
        for prefix in _CASTS:
            if self.text.lower().startswith(prefix):
                return self.text[len(prefix) :]
        return None


def parse_path(path: str) -> list[Segment]:
    """Splits a path (already percent-decoded). Raises PathError."""
    segments: list[Segment] = []
    for part in path.strip("/").split("/"):
        match = _KEYED.fullmatch(part)
        if match is None:
            if not part:
                raise PathError("Resource not found for the segment ''.")
            segments.append(Segment(part))
            continue
        inside = match["inside"]
        if pair := _PAIR.fullmatch(inside):
            segments.append(Segment(match["name"], pair["value"].replace("''", "'"), pair["name"]))
        elif quoted := _QUOTED.fullmatch(inside):
            segments.append(Segment(match["name"], quoted["value"].replace("''", "'")))
        elif not inside.strip():
            segments.append(Segment(match["name"]))
        else:
            raise PathError(f"Invalid key in segment '{part}'.")
    return segments
