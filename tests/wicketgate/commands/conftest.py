"""A project with one stack file."""

from __future__ import annotations

from pathlib import Path

import pytest

STACK = """\
config:
  wicketgate:gateway:
    host: gate.example.com
    postgresPort: ${GATE_PORT}  # of the machine
    deploy:
      kind: local
      folder: out
      certificateFile: a
      keyFile: b
      caFile: c
      tokenFolder: d
      secretFolder: e
  wicketgate:agents:
    eu: {credentials: [{oidc: {issuer: "https://issuer", subject: agent}}]}
  wicketgate:targets:
    orders: {kind: postgres, address: "db:5432", database: orders, agent: eu, credential: {secret: orders}}
  wicketgate:groups:
    readers: {policies: [orders-readonly]}
  # who may use it
  wicketgate:bots:
    review:
      owner: group:platform
      groups: [readers]
      expires: 2027-06-30
      credentials:
        - github: {repository: acme/shop, branch: main}
"""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stack file; the folder is the project's."""
    (tmp_path / "Pulumi.yaml").write_text("name: x\nruntime: python\nmain: stacks\nstackConfigDir: stacks\n")
    (tmp_path / "stacks" / "inner").mkdir(parents=True)
    path = tmp_path / "stacks" / "Pulumi.dev.yaml"
    path.write_text(STACK)
    monkeypatch.chdir(tmp_path / "stacks" / "inner")
    monkeypatch.delenv("GATE_PORT", raising=False)
    return path
