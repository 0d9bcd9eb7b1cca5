"""One configuration, one store."""

from pathlib import Path
from typing import Any

import pytest

from wicketgate_gateway.approvals.place import store_url
from wicketgate_gateway.contract.errors import WicketgateError
from wicketgate_gateway.contract.gateway import GatewayConfig

ID = "00000000-0000-4000-8000-000000000001"


def config(state: Path, **more: Any) -> GatewayConfig:
    return GatewayConfig.model_validate(
        {
            "name": "gate",
            "entra": {"tenant": ID},
            "audience": ID,
            "workload": {"clientId": ID, "tokenFile": "x"},
            "agents": {},
            "listen": {"postgres": {"port": 0}, "agents": {"port": 0}},
            "tls": {"certificateFile": "x", "keyFile": "x"},
            "state": str(state),
            "policies": "x",
            "targets": {},
            **more,
        }
    )


def test_sqlite_in_the_state_folder(tmp_path: Path) -> None:
    assert store_url(config(tmp_path)) == f"sqlite+aiosqlite:///{tmp_path}/control.db"


def test_a_url_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql+asyncpg://u:secret@db/control\n")
    assert store_url(config(tmp_path, control={"urlFile": str(file)})) == "postgresql+asyncpg://u:secret@db/control"


@pytest.mark.parametrize("content", ["", "a b", "x" * 5000, None])
def test_a_file_without_one_says_so_and_not_what_it_holds(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "url"
    if content is not None:
        file.write_text(content)
    with pytest.raises(WicketgateError) as error:
        store_url(config(tmp_path, control={"urlFile": str(file)}))
    assert error.value.code == "store-url-unreadable"
    assert not content or content not in str(error.value)
