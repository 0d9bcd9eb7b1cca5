"""What is missing, and the command that grants it: the printed command is run, with a stand-in for `az`."""

import json
import os
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from wicketgate.identity.doctor import permissions
from wicketgate.identity.doctor.findings import Finding, Report
from wicketgate.identity.signin import Cloud, Principal
from wicketgate.testing.entra.seed import DEPLOYER

AZ = """#!/bin/sh
if [ "$1" = ad ]; then echo {graph}; exit; fi
for one in "$@"; do printf '%s\\n' "$one"; done
"""


def run(command: str, folder: Path, graph: str) -> list[str]:
    """The arguments that `az` gets from the command in a shell."""
    az = folder / "az"
    az.write_text(AZ.format(graph=graph))
    az.chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def obey(practice: Any, command: str, folder: Path) -> None:
    """Runs a remedy as an administrator would."""
    graph = practice.id("Microsoft Graph")
    arguments = run(command, folder, graph)
    given = dict(pairwise(arguments))
    path = given["--url"].removeprefix(f"{practice.entra.graph}/v1.0/")
    body = json.loads(given["--body"]) if "--body" in given else None
    practice.graph(given["--method"], path, body)


def test_the_printed_command_grants_what_is_missing(
    practice: Any, tmp_path: Path, codes: Callable[[Report], list[tuple[str, str]]]
) -> None:
    directory = practice.entra.core.directory
    for one in list(directory.store.all("appRoleAssignment")):
        if one["principalId"] == practice.id(DEPLOYER):
            directory.store.remove("appRoleAssignment", one["id"])
    missing = [one for one in practice.visit().findings if one.code == "permission-missing"]
    assert len(missing) == 4
    for one in missing:
        obey(practice, one.remedy, tmp_path)
    assert [code for code, _ in codes(practice.visit())] == []


def test_the_scoped_role_is_missed_and_its_command_grants_it(
    practice: Any, tmp_path: Path, only: Callable[[Report, str], Finding]
) -> None:
    directory = practice.entra.core.directory
    for one in list(directory.store.all("unifiedRoleAssignment")):
        directory.store.remove("unifiedRoleAssignment", one["id"])
    found = only(practice.visit(), "role-assignment-missing")
    assert practice.id("wicketgate-gate") in found.remedy
    obey(practice, found.remedy, tmp_path)
    assert not practice.visit().sick


def test_what_cannot_be_seen_is_not_claimed(practice: Any, only: Callable[[Report, str], Finding]) -> None:
    directory = practice.entra.core.directory
    graph = directory.principal_of(permissions.roles.GRAPH_CLIENT_ID)
    roles = {role["value"]: role["id"] for role in graph["appRoles"]}
    for one in list(directory.store.all("appRoleAssignment")):
        if one["appRoleId"] == roles["RoleManagement.Read.Directory"]:
            directory.store.remove("appRoleAssignment", one["id"])
    found = only(practice.visit(), "role-assignment-unproven")
    assert found.level == "note"


def test_too_wide_permissions_are_told(practice: Any) -> None:
    report = Report()
    who = Principal("t", "o", "c", "ci", False, frozenset({"Directory.ReadWrite.All"}), frozenset())
    permissions.look(practice.config(), Cloud(), who, report)
    assert [one.code for one in report.findings] == ["permission-too-wide"]


@pytest.mark.parametrize(
    ("roles", "found"),
    [
        (set[str](), ["role-missing", "group-creation-unknown"]),
        ({"62e90394-69f5-4237-9190-012177145e10"}, []),
    ],
)
def test_a_person_is_judged_by_directory_roles(practice: Any, roles: set[str], found: list[str]) -> None:
    report = Report()
    who = Principal("t", "o", "c", "ada", True, frozenset({"Directory.AccessAsUser.All"}), frozenset(roles))
    permissions.look(practice.config(), Cloud(), who, report)
    assert [one.code for one in report.findings] == found


def test_without_a_gateway_the_remedy_says_what_comes_first() -> None:
    assert "gateway-principal" in permissions.scoped_command("https://graph", "o", "")
