"""What a stack may say of a place, and what it is told when it says something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from wicketgate import config
from wicketgate.places import Autoscale, GivenCertificate, KubernetesDeploy
from wicketgate_gateway.contract.errors import DocumentError

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "local" / "settings.yaml"


def stack(deploy: str, tmp_path: Path, *more: str) -> config.StackConfig:
    """The settings with this `deploy`, as the engine gives them, from a file that has lines."""
    data: dict[str, Any] = yaml.safe_load(GOLDEN.read_text())
    data["gateway"] |= {"deploy": yaml.safe_load(deploy), **(yaml.safe_load(more[0]) if more else {})}
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text(yaml.safe_dump({"config": {f"wicketgate:{k}": v for k, v in data.items()}}, sort_keys=False))
    return config.load(data, file)


KUBERNETES = "{kind: kubernetes, image: 'registry.example/wicketgate:1', certificate: {issuer: corporate}"


def test_a_kind_that_does_not_exist_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"Pulumi\.prod\.yaml:\d+:\d+"):
        stack("{kind: nomad}", tmp_path)


def test_several_gateways_need_a_store_that_they_share(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"Pulumi\.prod\.yaml:\d+:\d+.*no store of held operations"):
        stack(KUBERNETES + "}", tmp_path, "{control: {}}")
    assert stack(KUBERNETES + ", replicas: 1}", tmp_path, "{control: {}}").gateway.deploy.kind == "kubernetes"


def test_an_agent_elsewhere_must_exist(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"there is no agent `near`.*known: `desk`, `far`"):
        stack(KUBERNETES + ", agents: {near: {context: other}}}", tmp_path)


def test_compose_wants_a_name_for_the_gateway(tmp_path: Path) -> None:
    deploy = (
        "{kind: compose, folder: d, image: 'x:1', certificateFile: c, keyFile: k, caFile: a, tokenFolder: t, "
        "secretFolder: s}"
    )
    assert stack(deploy, tmp_path).gateway.deploy.kind == "compose"
    with pytest.raises(DocumentError, match="is no name of the gateway"):
        stack(deploy, tmp_path, "{host: 10.0.0.1}")
    with pytest.raises(DocumentError, match="user"):
        stack(deploy.replace("folder: d", "folder: d, user: '0:0'"), tmp_path)


@pytest.mark.parametrize("image", ["wicketgate:latest", "Upper/case:1", "a b"])
def test_an_image_says_which_one_it_is(image: str) -> None:
    with pytest.raises(ValidationError, match="image"):
        KubernetesDeploy.model_validate({"kind": "kubernetes", "image": image, "certificate": {"secret": "tls"}})


def test_a_certificate_comes_from_one_place() -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        GivenCertificate(secret="a", issuer="b")
    with pytest.raises(ValidationError, match="max"):
        Autoscale(max=1)
