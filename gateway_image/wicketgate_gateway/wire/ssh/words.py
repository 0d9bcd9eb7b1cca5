"""A command line as the remote shell will read it, where that is certain; a *script* where it is not.

How this works: `sshd` hands the text to the user's login shell (`$SHELL -c TEXT`). A strict subset of POSIX sh
(XCU 2.2, 2.3, 2.10) has one reading in every shell of that family, be it dash, bash, ksh, zsh or BusyBox: plain words,
single quotes, double quotes without anything special within, a backslash before a printable character. Whatever is
beyond it (operators, expansions, assignments, keywords, globs, newlines, control and invisible characters, bytes that
are not UTF-8) makes the whole text a script, which only a rule for scripts can allow. So do the few commands whose
arguments are code or change what later words mean. The subset is decided by character tables; nothing is expanded.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

MAX_COMMAND = 128 * 1024
"""Bytes: Linux itself takes no longer single argument (MAX_ARG_STRLEN)."""
MAX_WORDS = 4096

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:,+@%=")
_SPACE = frozenset(" \t")
_NOT_IN_DOUBLE = frozenset('$`\\!"')
# `!` is history expansion in csh and interactive bash; csh's `^` and zsh's `=word`, `~` are kept out by `_PLAIN` too.
_GRAMMAR = """
if then else elif fi do done case esac while until for in function select time coproc foreach end repeat switch
begin and or not nocorrect noglob [[ ]] { } !
"""
_BUILTINS = """
eval exec . source command builtin trap alias unalias set shopt setopt unsetopt emulate export readonly declare typeset
local hash enable bind autoload zmodload unset cd pushd popd umask exit return shift let fc history
"""
_KEYWORDS = frozenset(_GRAMMAR.split())
_CODE = frozenset(_BUILTINS.split())
"""Builtins that run their words as code, or that mean nothing but for what would follow."""


@dataclass(frozen=True, slots=True)
class Command:
    """A text that every POSIX shell reads as this one simple command."""

    text: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A text that is not certainly one simple command; `why` says what makes it so."""

    text: str
    """Bytes that are not UTF-8 are shown as `\\xNN`."""
    why: str
    exact: bool = True
    """Whether `text` is exactly what would run: no rule can match what is not."""


def read(raw: bytes) -> Command | Script:
    """What the text of an exec request is. Never raises."""
    if len(raw) > MAX_COMMAND:
        return Script(raw[:MAX_COMMAND].decode("utf-8", "backslashreplace"), "too long", exact=False)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return Script(raw.decode("utf-8", "backslashreplace"), "not UTF-8", exact=False)
    if "\0" in text:
        # sshd cuts at NUL, or does not: what would run is not certain.
        return Script(text, "a NUL byte", exact=False)
    for character in text:
        if character not in _PLAIN and not " " <= character <= "~" and not _visible(character):
            return Script(text, f"the character U+{ord(character):04X}")
    words = _split(text)
    if isinstance(words, str):
        return Script(text, words)
    if not words:
        return Script(text, "no command")
    first = words[0]
    if first in _KEYWORDS:
        return Script(text, f"`{first}` is a word of the shell's grammar")
    if first in _CODE:
        return Script(text, f"`{first}` is the shell's own and can run or change anything")
    if not first or first[0] in "%=-+" or "=" in first:
        # An assignment, zsh's `=command`, a job or an option of the shell.
        return Script(text, "it begins with an assignment" if "=" in first else "it begins with no command's name")
    return Command(text, tuple(words))


def _visible(character: str) -> bool:
    if character == "\t":
        return True
    if character < "\x80":
        return False
    category = unicodedata.category(character)
    # Marks can hide or disguise what they stand on; all of C and Z is invisible.
    return category[0] in "LNSP"


def _split(text: str) -> list[str] | str:
    """The words, or why there is no certain answer."""
    words: list[str] = []
    word: list[str] | None = None
    at, end = 0, len(text)
    while at < end:
        character = text[at]
        at += 1
        if character in _SPACE:
            if word is not None:
                words.append("".join(word))
                word = None
                if len(words) > MAX_WORDS:
                    return "too many words"
            continue
        start = word is None
        if word is None:
            word = []
        if character == "'":
            close = text.find("'", at)
            if close < 0:
                return "a quote that is not closed"
            if "!" in text[at:close]:
                return "`!`"  # csh expands it even here
            word.append(text[at:close])
            at = close + 1
        elif character == '"':
            close = text.find('"', at)
            if close < 0:
                return "a quote that is not closed"
            inside = text[at:close]
            special = next((c for c in inside if c in _NOT_IN_DOUBLE), "")
            if special:
                return f"`{special}` within double quotes"
            word.append(inside)
            at = close + 1
        elif character == "\\":
            if at == end:
                return "a backslash at the end"
            if not " " <= text[at] <= "~":
                return "a backslash before what is not plain"
            if start and not words and text[at] not in _PLAIN:
                return "a command's name that begins with an escape"
            word.append(text[at])
            at += 1
        elif character in _PLAIN:
            if start and character == "=" and words:
                return "a word that begins with `=`"  # zsh: the path of that command
            word.append(character)
        elif character >= "\x80":
            word.append(character)
        else:
            return f"`{character}`"
    if word is not None:
        words.append("".join(word))
    return words


def quote(words: tuple[str, ...]) -> str:
    """Words as a text that `read` takes apart into the same words, if it can at all; for people to read and tests."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if word and all(c in _PLAIN for c in word) and word[0] != "=":
        return word
    return "'" + word.replace("'", "'\\''") + "'"
