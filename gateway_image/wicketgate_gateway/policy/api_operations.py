"""Which operation of its OpenAPI document a request is, and which it may be.

How this works: an `allow` by operation needs the one that it is for certain: its path is of exactly one template, or of
one that is more exact than all others. A `deny` or `hold` by operation is met by any that a server may take the request
for: other case, a last `/` more or less, a less exact template, the GET behind a HEAD.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from wicketgate_gateway.contract import openapi
from wicketgate_gateway.contract.openapi import ApiOperation


class _Compiled:
    __slots__ = ("exact", "loose", "name", "segments")

    def __init__(self, operation: ApiOperation) -> None:
        self.name = operation.id or ""
        self.segments = operation.path[1:].split("/")
        self.exact = [openapi.segment_pattern(each) for each in self.segments]
        bare = self.segments[:-1] if len(self.segments) > 1 and not self.segments[-1] else self.segments
        self.loose = [openapi.segment_pattern(each, ignore_case=True) for each in bare]


class Operations:
    """The operations of one target. `names` are all their ids."""

    def __init__(self, operations: Iterable[ApiOperation]) -> None:
        self.names: frozenset[str] = frozenset()
        self._exact: dict[tuple[str, int], list[_Compiled]] = defaultdict(list)
        self._loose: dict[tuple[str, int], list[_Compiled]] = defaultdict(list)
        for operation in operations:
            made = _Compiled(operation)
            self._exact[operation.method, len(made.segments)].append(made)
            self._loose[operation.method, len(made.loose)].append(made)
            self.names |= {made.name} - {""}

    def find(self, method: str, segments: Sequence[str]) -> tuple[str, frozenset[str]]:
        """The id of the operation that a request is (empty: none, or not for certain), and of all that it may be."""
        certain = self._certain(method, segments)
        bare = segments[:-1] if len(segments) > 1 and not segments[-1] else segments
        methods = (method, "GET") if method == "HEAD" else (method,)
        possible = {
            each.name
            for one in methods
            for each in self._loose.get((one, len(bare)), ())
            if each.name and all(p.match(s) for p, s in zip(each.loose, bare, strict=True))
        }
        return certain, frozenset(possible)

    def _certain(self, method: str, segments: Sequence[str]) -> str:
        fitting = self._fitting(method, segments)
        if not fitting and method == "HEAD":
            fitting = self._fitting("GET", segments)
        for one in fitting:
            if all(one is other or openapi.exacter(one.segments, other.segments) for other in fitting):
                return one.name
        return ""

    def _fitting(self, method: str, segments: Sequence[str]) -> list[_Compiled]:
        return [
            each
            for each in self._exact.get((method, len(segments)), ())
            if all(p.match(s) for p, s in zip(each.exact, segments, strict=True))
        ]
