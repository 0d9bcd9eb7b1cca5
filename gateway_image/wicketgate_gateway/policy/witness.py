"""Texts that tell wildcard patterns apart: one for each way in which some of them match and the others do not.

How this works: all patterns run side by side as one automaton over the characters that they name and a few that none
does. A breadth-first walk meets each combination of answers first by a shortest text, which is its witness. If two sets
of patterns differ on any text at all, they differ on a witness of their union, unless the walk was cut short.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_STATES = 20_000
_FILLERS = "xyzqjkvw0123456789abcdefghilmnoprstu"
_Token = tuple[bool, str | None, str]
"""Whether it repeats, the one character (None: any but), and the excluded ones."""


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern: `*` is any number of characters but those of `barred`, `?` one, unless `single` is off.

    Without `dash` a text that begins with `-` does not match a pattern that begins with `*`. With `below`, what matches
    is one or more characters of any kind after `/` and the pattern.
    """

    text: str
    single: bool = True
    barred: str = ""
    dash: bool = True
    below: bool = False
    any_case: bool = False

    def tokens(self) -> tuple[_Token, ...]:
        """What it is made of."""
        text = self.text.lower() if self.any_case else self.text
        found: list[_Token] = []
        if not self.dash and text.startswith("*"):
            found = [(False, None, "-"), (True, None, self.barred)]
            text = text[1:]
        for char in text:
            if char == "*":
                found.append((True, None, self.barred))
            elif char == "?" and self.single:
                found.append((False, None, ""))
            else:
                found.append((False, char, ""))
        if self.below:
            found += [(False, "/", ""), (False, None, ""), (True, None, "")]
        return tuple(found)

    def empty(self) -> bool:
        """Whether `*` at the beginning may also stand for nothing at all, which `tokens` leaves out."""
        return not self.dash and self.text.startswith("*")


def _close(tokens: Sequence[_Token], positions: Iterable[int]) -> frozenset[int]:
    found: set[int] = set()
    for position in positions:
        found.add(position)
        while position < len(tokens) and tokens[position][0]:
            position += 1
            found.add(position)
    return frozenset(found)


def _step(tokens: Sequence[_Token], positions: frozenset[int], char: str) -> frozenset[int]:
    after: set[int] = set()
    for position in positions:
        if position == len(tokens):
            continue
        repeats, wanted, barred = tokens[position]
        if (wanted is None and char not in barred) or wanted == char:
            after.add(position if repeats else position + 1)
    return _close(tokens, after)


@dataclass(frozen=True, slots=True)
class Witnesses:
    """The texts, and whether they are all that it takes."""

    texts: tuple[str, ...]
    complete: bool


def witnesses(patterns: Iterable[Glob], *, empty: bool = False, allowed: str = "", most: int = MAX_STATES) -> Witnesses:
    """A shortest text for each combination of patterns that match and patterns that do not.

    The empty text is left out unless `empty`. `allowed` are further characters that texts may hold, such as `-`.
    """
    globs = sorted(set(patterns), key=repr)
    compiled: list[tuple[_Token, ...]] = []
    for glob in globs:
        compiled.append(glob.tokens())
        if glob.empty():  # `*x` also matches `x`
            compiled.append(Glob(glob.text.lstrip("*"), glob.single, glob.barred).tokens())
    named = {char for tokens in compiled for _, char, _ in tokens if char is not None}
    barred = {char for tokens in compiled for _, _, chars in tokens for char in chars}
    fillers = [char for char in _FILLERS if char not in named][:1]
    alphabet = [*fillers, *sorted(named | barred | set(allowed))]
    start = tuple(_close(tokens, (0,)) for tokens in compiled)
    seen = {start}
    pending: list[tuple[tuple[frozenset[int], ...], str]] = [(start, "")]
    found: dict[frozenset[int], str] = {}
    complete = True

    def note(state: tuple[frozenset[int], ...], text: str) -> None:
        found.setdefault(frozenset(i for i, tokens in enumerate(compiled) if len(tokens) in state[i]), text)

    if empty:
        note(start, "")
    for state, text in pending:  # grows as it goes
        for char in alphabet:
            after = tuple(_step(tokens, state[i], char) for i, tokens in enumerate(compiled))
            note(after, text + char)  # also where the state was met: by the empty text, which is not told
            if after in seen:
                continue
            if len(seen) >= most:
                complete = False
                break
            seen.add(after)
            pending.append((after, text + char))
    if not complete:  # at least what each says by itself
        for glob in globs:
            plain = glob.text.replace("*", "x").replace("?", "x") + ("/x" if glob.below else "")
            found.setdefault(frozenset({-1 - globs.index(glob)}), plain)
    return Witnesses(tuple(dict.fromkeys(found.values())), complete)
