from __future__ import annotations

import pytest
from pydantic import ValidationError

from wicketgate_gateway.contract.keeping import Anchor, AuditSettings, RecordingStore, Retention


def test_defaults_seal_each_minute_and_keep_events_longer_than_recordings() -> None:
    assert AuditSettings().every == "60s"
    assert (Retention().recordings, Retention().audit, Retention().every) == ("90d", "400d", "1d")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"file": "/a", "url": "https://b"},
        {"url": "http://b"},
        {"url": "ftp://b"},
        {"url": "b"},
        {"file": "a", "x": 1},
    ],
)
def test_an_anchor_is_one_place_that_can_be_trusted(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Anchor.model_validate(values)


@pytest.mark.parametrize("url", ["https://seals.example.com/in", "s3://bucket/prefix", "az://c/p", "gs://b"])
def test_anchors_by_url(url: str) -> None:
    assert Anchor(url=url).url == url


def test_a_stream_says_its_format() -> None:
    settings = AuditSettings.model_validate({"syslog": {"address": "tcp://log:601", "format": "ocsf"}})
    assert settings.syslog is not None
    assert settings.syslog.format == "ocsf"
    with pytest.raises(ValidationError):
        AuditSettings.model_validate({"otlp": {"url": "https://c/v1/logs", "format": "cef"}})


def test_a_store_keeps_the_local_copy_unless_told() -> None:
    assert RecordingStore(url="s3://b/p").keep_local
    assert not RecordingStore.model_validate({"url": "s3://b/p", "keepLocal": False}).keep_local


@pytest.mark.parametrize("address", ["tcp://log:601", "tls://log", "udp://127.0.0.1:514", "unix:/dev/log"])
def test_addresses_of_syslog(address: str) -> None:
    assert AuditSettings.model_validate({"syslog": {"address": address}}).syslog is not None


@pytest.mark.parametrize("address", ["", "log:601", "tcp:", "tcp://", "unix:log", "http://log"])
def test_what_is_no_address_of_syslog(address: str) -> None:
    with pytest.raises(ValidationError):
        AuditSettings.model_validate({"syslog": {"address": address}})
