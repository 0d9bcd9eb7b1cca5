"""A bundle put in force by a person: whole, accounted for, or not at all."""

import os
from pathlib import Path

import pytest

from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.policy import Bundle
from wicketgate_gateway.policy import applied
from wicketgate_gateway.policy.applied import Account

BUNDLE = Bundle.model_validate({"tenant": "11111111-1111-4111-8111-111111111111", "policies": []})
ACCOUNT = Account(digest=BUNDLE.digest, before="sha256:0", policy="orders", by="Root", by_id="r", reason="incident 7")


def test_the_bundle_takes_the_files_place_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    file.write_text("{}")
    file.chmod(0o640)
    applied.apply(BUNDLE, file, tmp_path, ACCOUNT)
    assert file.read_text() == BUNDLE.render()
    assert file.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / applied.FILE).stat().st_mode & 0o777 == 0o600
    account = applied.account_of(BUNDLE.digest, file, tmp_path)
    assert account is not None
    assert account.model_copy(update={"file": ""}) == ACCOUNT
    assert sorted(os.listdir(tmp_path)) == ["bundle.json", applied.FILE]


def test_another_bundle_has_no_account(tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    assert applied.account_of(BUNDLE.digest, file, tmp_path) is None
    file.write_text("{}")
    (tmp_path / applied.FILE).write_text("nonsense")
    assert applied.account_of(BUNDLE.digest, file, tmp_path) is None
    applied.apply(BUNDLE, file, tmp_path, ACCOUNT)
    assert applied.account_of("sha256:other", file, tmp_path) is None


def test_nobody_is_named_for_the_same_bundle_from_a_deployment(tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    file.write_text("{}")
    applied.apply(BUNDLE, file, tmp_path, ACCOUNT)
    new = tmp_path / "new"
    new.write_text(BUNDLE.render())
    new.replace(file)
    assert applied.account_of(BUNDLE.digest, file, tmp_path) is None


def test_what_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "gone" / "bundle.json"
    with pytest.raises(WicketgateError, match="cannot be written") as raised:
        applied.apply(BUNDLE, file, tmp_path, ACCOUNT)
    assert raised.value.code == "policy-not-writable"
    assert not file.exists()
    file.parent.mkdir()
    file.write_text("{}")
    with pytest.raises(WicketgateError, match="cannot be written"):
        applied.apply(BUNDLE, file, tmp_path / "no-state", ACCOUNT)
    assert (file.read_text(), os.listdir(file.parent)) == ("{}", ["bundle.json"])
