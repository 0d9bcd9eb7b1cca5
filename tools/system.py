"""The system's own programs that tests drive: which are missing, and Debian's packages that bring them.

How this works: as root on a system with apt-get they are installed, and said; elsewhere they are named with the command
that installs them, and the tests that need them fail (never skip).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_PLACES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")


@dataclass(frozen=True, slots=True)
class Program:
    """A program, the package that has it, and what tests do with it."""

    name: str
    package: str
    purpose: str


PROGRAMS = (
    Program("psql", "postgresql-client", "the stock client of PostgreSQL"),
    Program("pg_ctlcluster", "postgresql", "a real PostgreSQL server"),
    Program("npm", "npm", "node-postgres, and the accessibility checker"),
    Program("git", "git", "git over SSH"),
    Program("ssh", "openssh-client", "the stock clients ssh, scp and sftp"),
    Program("sshd", "openssh-server", "a real SSH server; it need not run"),
    Program("rsync", "rsync", "rsync over SSH"),
    Program("chromium", "chromium", "the web UI in a real browser"),
    Program("curl", "curl", "the stock client of HTTP"),
)


def missing(programs: Sequence[Program] = PROGRAMS, places: Sequence[str] = _PLACES) -> list[Program]:
    """Those that are neither on PATH nor where systems keep them (sshd is often not on a user's PATH)."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *places))
    return [program for program in programs if shutil.which(program.name, path=path) is None]


def provide(progress: Callable[[str], None], lacking: Sequence[Program] | None = None) -> bool:
    """Install what is missing, or say how; gives whether all is there now. Raises nothing."""
    lacking = missing() if lacking is None else lacking
    if not lacking:
        return True
    packages = sorted({program.package for program in lacking})
    names = ", ".join(f"{program.name} ({program.purpose})" for program in lacking)
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        progress(f"missing: {names}; install them (`{' '.join(command)}`), or their tests fail")
        return False
    progress(f"installing {' '.join(packages)}, for tests: {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if not list(Path("/var/lib/apt/lists").glob("*Packages*")):
        subprocess.run(["apt-get", "update", "-q"], env=environment, capture_output=True, check=False, timeout=600)
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1200)
    if result.returncode:
        progress(f"apt-get failed: {result.stderr.strip()[-500:]}")
    left = missing(lacking)
    return not left
