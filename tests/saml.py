"""The API's process with SAML sign-in, and browsers that have one under way, for attacks and measurements of it."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import ssl
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from lxml import etree

from wicketgate.testing.certs import CertificateAuthority
from wicketgate.testing.entra import saml, saml_documents
from wicketgate.testing.entra.saml_documents import SAML, Answer, sign
from wicketgate_gateway.contract.policy import Bundle

SESSION = "__Host-wicketgate"
URL = "https://gate.example:8444"
ACS = f"{URL}/ui/saml/acs"
TOKENS = f"{URL}/v1/token"
GRANT = "urn:ietf:params:oauth:grant-type:saml2-bearer"
ENTITY = "api://gateway-saml"
_A = f"{{{SAML}}}"


class Gate:
    """The API's process with SAML sign-in, and browsers for it."""

    def __init__(self, cloud: Any, folder: Path) -> None:
        self.cloud = cloud
        self.app = cloud.clients["gateway-saml"]
        self.ca = CertificateAuthority.open(folder / "ca")
        leaf = self.ca.issue_files(folder / "tls", "api", ["127.0.0.1"])
        (folder / "state").mkdir(mode=0o700)
        (folder / "bundle.json").write_text(Bundle(tenant=cloud.entra.tenant, policies=[], bots={}).render())
        document = {
            "name": "gate",
            "entra": cloud.document(),
            "audience": cloud.audience,
            "workload": cloud.workload("gateway"),
            "agents": {},
            "listen": {"postgres": {"port": 0}, "agents": {"port": 0}, "api": {"port": 0}},
            "people": {
                "url": URL,
                "client": cloud.clients["cli"],
                "saml": {"client": self.app, "entityId": ENTITY, "bearer": True},
            },
            "tls": {"certificateFile": str(leaf.cert_file), "keyFile": str(leaf.key_file)},
            "state": str(folder / "state"),
            "policies": str(folder / "bundle.json"),
            "targets": {},
        }
        self.log = folder / "api.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "wicketgate_gateway.api", "--config", "-"],
                stdin=subprocess.PIPE,
                stderr=output,
                env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
            )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(document).encode() + b"\n")
        self.process.stdin.flush()
        ready = folder / "state" / "api.json"
        end = time.monotonic() + 30
        while not ready.is_file():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "too slow"
            time.sleep(0.02)
        port = json.loads(ready.read_text())["api"]
        context = ssl.create_default_context(cafile=str(self.ca.cert_file))
        self.http = httpx2.Client(base_url=f"https://127.0.0.1:{port}", verify=context, trust_env=False)

    def close(self) -> None:
        self.http.close()
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(15) == 0, self.log.read_text()


class Case:
    """One browser with a sign-in under way, and what its owner can make answers of."""

    def __init__(self, gate: Gate, *, again: bool = False) -> None:
        self.gate = gate
        begun = gate.http.get("/ui/saml/start?to=/ui/" + ("&again=1" if again else ""))
        query = parse_qs(urlsplit(begun.headers["location"]).query)
        request = zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), -15)
        self.request: str = etree.fromstring(request).get("ID")
        self.relay = query["RelayState"][0]
        self.cookie = begun.headers["set-cookie"].partition(";")[0]
        self.key = saml.keys_of(gate.cloud.entra.core, gate.app).current

    def answer(self, who: str = "Ada", **changes: Any) -> Answer:
        """What Entra says of a person; fields may be changed before it is signed."""
        core = self.gate.cloud.entra.core
        client, user = core.directory.principal_of(self.gate.app), core.directory.find_by("user", "displayName", who)
        made = saml.answer_for(
            core,
            core.directory.with_application(client),
            user,
            reply=ACS,
            request=self.request,
            audience=ENTITY,
        )
        return dataclasses.replace(made, **changes)

    def claims(self, who: str = "Ada", **changes: list[str]) -> Answer:
        """An answer whose claims (by the last part of their names) are others; an empty list takes one away."""
        good = self.answer(who)
        kept = [(n, changes.get(n.rpartition("/")[2], list(v))) for n, v in good.attributes]
        return dataclasses.replace(good, attributes=[(n, v) for n, v in kept if v])

    def genuine(self, **changes: Any) -> Any:
        """A signed response, as a tree."""
        return self.signed(saml_documents.response(self.answer(**changes)))

    def signed(self, tree: Any, **how: Any) -> Any:
        sign(tree.find(f"{_A}Assertion"), how.pop("key", self.key), **how)
        return tree

    def root(self) -> Any:
        """An unsigned assertion that says Root."""
        return saml_documents.response(self.answer("Root")).find(f"{_A}Assertion")

    def post(self, body: bytes | str | Any, **more: str) -> httpx2.Response:
        """The form, as Entra's page posts it: bytes or a tree go as base64, text as it is."""
        if not isinstance(body, bytes | str):
            body = etree.tostring(body)
        text = body if isinstance(body, str) else base64.b64encode(body).decode()
        return self.send(urlencode({"SAMLResponse": text, "RelayState": self.relay} | more))

    def send(self, form: str) -> httpx2.Response:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Cookie": self.cookie,
            "Origin": "null",
            "Sec-Fetch-Site": "cross-site",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        }
        self.gate.http.cookies.clear()
        return self.gate.http.post("/ui/saml/acs", content=form, headers=headers)


class Bearer(Case):
    """A program with an assertion for the API, made as for a browser but for recipient and request."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.request = ""
        self.key = saml.keys_of(gate.cloud.entra.core, gate.app).current

    def answer(self, who: str = "Ada", **changes: Any) -> Answer:
        return super().answer(who, **({"recipient": TOKENS} | changes))

    def signed(self, tree: Any, **how: Any) -> Any:
        # Nobody asked: an honest assertion for the API names no request.
        for data in tree.iter(f"{_A}SubjectConfirmationData"):
            if data.get("InResponseTo") == "":
                del data.attrib["InResponseTo"]
        return super().signed(tree, **how)

    def exchange(self, body: bytes | str | Any, **more: Any) -> httpx2.Response:
        """The request for a token: bytes or a tree go as base64url, text as it is."""
        if not isinstance(body, bytes | str):
            body = etree.tostring(body, with_tail=False)
        text = body if isinstance(body, str) else base64.urlsafe_b64encode(body).decode()
        end = time.monotonic() + 60
        while True:
            answer = self.gate.http.post("/v1/token", json={"grant_type": GRANT, "assertion": text} | more)
            if answer.status_code != 429 or time.monotonic() > end:
                return answer
            time.sleep(0.05)  # the gateway bounds what one address may ask

    def me(self, token: str) -> httpx2.Response:
        return self.gate.http.get("/v1/me", headers={"Authorization": f"Bearer {token}"})


def in_session(answer: httpx2.Response) -> bool:
    return any(text.startswith(f"{SESSION}=") and not text.startswith(f'{SESSION}=""') for text in cookies(answer))


def cookies(answer: httpx2.Response) -> list[str]:
    return answer.headers.get_list("set-cookie")
