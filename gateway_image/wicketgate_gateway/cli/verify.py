"""`wicketgate audit verify` and `audit key`: is what the state folder holds all that happened, as it was?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from wicketgate_gateway.audit import evidence
from wicketgate_gateway.audit.seals import KEY, key_text, public_key, signing_key
from wicketgate_gateway.audit.storing import checker
from wicketgate_gateway.audit.verify import Report, purged_recordings, verify
from wicketgate_gateway.cli import output
from wicketgate_gateway.cli.main import INCOMPLETE
from wicketgate_gateway.cli.state import Place, gateway_runs
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.recording.objects import remembered


def audit_verify(
    *,
    anchor: Annotated[tuple[Path, ...], Parameter(name="--anchor")] = (),
    key: str = "",
    recordings: Annotated[bool, Parameter(negative="--no-recordings")] = True,
    json: bool = False,
    place: Place = Place(),  # noqa: B008 - frozen
) -> int:
    """Check that nothing in the state folder was changed, removed, reordered or cut, offline.

    Exit code 0 if all is whole, 4 if anything is not; each thing that is wrong is named.

    Parameters
    ----------
    anchor
        A file (or a folder of objects) with the seals that a place outside has; may be repeated. With --config, the
        anchor's file of `gateway.yaml` is taken by itself.
    key
        The gateway's public key, as `wicketgate audit key` printed it when it was set up.
    recordings
        Check the recordings too.
    json
        One object.
    """
    state = place.folder()
    anchors = list(anchor) or place.anchors()
    if key:
        key = key_text(public_key(key))
    running = gateway_runs(state)
    told = _Progress()
    report = verify(state, anchors=anchors, key=key or None, running=running, on_file=told.file)
    if recordings:
        stored = checker(remembered(state / "recordings"), report)
        evidence.check_recordings(
            report, state / "recordings", purged_recordings(state), running=running, stored=stored
        )
    if json:
        output.print_json(describe(report))
    else:
        _print(report, recordings=recordings)
    return 0 if report.whole else INCOMPLETE


def audit_key(*, json: bool = False, place: Place = Place()) -> None:  # noqa: B008 - frozen
    """Print the public key that the audit is sealed with; keep it outside the gateway.

    Parameters
    ----------
    json
        One object with `key`.
    """
    state = place.folder()
    if not (state / KEY).exists():
        raise WicketgateError(
            f"there is no key in `{state}` yet", code="key-missing", remedy="a gateway makes one when it starts"
        )
    text = key_text(signing_key(state).public_key())
    if json:
        output.print_json({"key": text})
    else:
        print(text)


def describe(report: Report) -> dict[str, Any]:
    """A report for programs."""
    journal, head = report.journal, report.head
    return {
        "whole": report.whole,
        "findings": [
            {"kind": found.kind, "where": found.where, "offset": found.offset, "message": found.message}
            for found in report.findings
        ],
        "notes": report.notes,
        "journal": {
            "files": report.files,
            "frames": journal.frames,
            "events": journal.events,
            "first": output.iso(journal.first) if journal.first else None,
            "last": output.iso(journal.last) if journal.last else None,
        },
        "seals": {
            "key": report.key,
            "count": report.seals,
            "anchored": report.anchored,
            "head": None
            if head is None
            else {"number": head.number, "time": output.iso(head.time), "file": head.file, "offset": head.offset},
        },
        "sessions": len(report.sessions),
        "recordings": report.recordings,
    }


class _Progress:
    def file(self, number: int, of: int) -> None:
        if of > 3 and sys.stderr.isatty():
            print(f"\rfile {number} of {of}", end="\n" if number == of else "", file=sys.stderr, flush=True)


def _print(report: Report, *, recordings: bool) -> None:
    console = output.console()
    for found in report.findings:
        console.print(output.clean(str(found), line=True), style="bold red")
    for note in report.notes:
        console.print("note: " + output.clean(note, line=True), style="dim")
    journal = report.journal
    parts = [
        output.count(journal.events, "event"),
        f"in {output.count(report.files, 'file')}",
        output.count(report.seals, "seal"),
    ]
    if recordings:
        parts.append(f"{output.count(report.recordings, 'recording')} checked")
    if report.whole:
        until = f", sealed until {output.local(report.head.time)}" if report.head else ""
        console.print(f"whole: {', '.join(parts)}{until}", style="green")
    else:
        console.print(
            f"not whole: {output.count(len(report.findings), 'finding')}; {', '.join(parts)}", style="bold red"
        )
