"""Requests as the API server reads them, and those that can be read in more than one way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wicketgate_gateway.wire.kubernetes.request import Request, RequestError, understand


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/api/v1/namespaces/a/pods", ("list", "", "v1", "pods", "", "a", "")),
        ("HEAD", "/api/v1/namespaces/a/pods/b", ("get", "", "v1", "pods", "", "a", "b")),
        ("GET", "/api/v1/pods?watch=true", ("watch", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/pods?watch=1", ("watch", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/pods?watch=false", ("list", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dx", ("list", "", "v1", "pods", "", "", "x")),
        ("GET", "/api/v1/pods?fieldSelector=,metadata.name%3Dx,metadata.name%3Dy",
         ("list", "", "v1", "pods", "", "", "x")),
        ("GET", "/api/v1/pods?fieldSelector=%25!%3Da,metadata.name%3Dx", ("list", "", "v1", "pods", "", "", "x")),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Da%5C%2Cb", ("list", "", "v1", "pods", "", "", "a,b")),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dx,a%3Db%3Dc", ("list", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Da%5Cb", ("list", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%3D..", ("list", "", "v1", "pods", "", "", "")),
        ("GET", "/api/v1/pods?fieldSelector=metadata.name%21%3Dx", ("list", "", "v1", "pods", "", "", "")),
        ("DELETE", "/api/v1/namespaces/a/pods", ("deletecollection", "", "v1", "pods", "", "a", "")),
        ("DELETE", "/api/v1/namespaces/a", ("delete", "", "v1", "namespaces", "", "a", "a")),
        ("PUT", "/api/v1/namespaces/a/finalize", ("update", "", "v1", "namespaces", "finalize", "a", "a")),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale",
         ("patch", "apps", "v1", "deployments", "scale", "a", "b")),
        ("GET", "/api/v1/namespaces/a/pods/b/exec?command=ls", ("create", "", "v1", "pods", "exec", "a", "b")),
        ("POST", "/api/v1/namespaces/a/pods/b/attach", ("create", "", "v1", "pods", "attach", "a", "b")),
        ("GET", "/api/v1/nodes/n/proxy/a//b"[:-3], ("get", "", "v1", "nodes", "proxy", "", "n")),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
         ("get", "rbac.authorization.k8s.io", "v1", "clusterroles", "", "", "system:node")),
    ],
)  # fmt: skip
def test_as_request_info_does(method: str, target: str, expected: tuple[str, ...]) -> None:
    """Verb, group, version, resource, subresource, namespace, name."""
    r = understand(method, target)
    assert (r.verb, r.group, r.version, r.resource, r.subresource, r.namespace, r.name) == expected


@pytest.mark.parametrize("target", ["/", "/version", "/api", "/api/v1", "/apis/apps/v1", "/metrics", "/openapi/v3"])
def test_paths_that_are_no_resource(target: str) -> None:
    """The verb is the method in lower case."""
    request = understand("GET", target)
    assert (request.verb, request.resource, request.target) == ("get", "", target)


@pytest.mark.parametrize(
    "target",
    [
        "//api/v1/pods", "/api/v1//pods", "/api/v1/pods/", "/api/v1/./pods", "/api/v1/%2e%2e/pods", "/api/v1/a%2fb",
        "/api/v1/pods/%252e", "/api/v1/Pods", "/api/v1/pods?watch", "/api/v1/pods?watch=yes", "/api/v1/pods?a=b",
        "/api/v1/pods?limit=x", "/api/v1/pods?limit=1&limit=2", "/api/v1/pods;a", "/api/v1/pods?a;b", "api/v1/pods",
        "/api/v1/pods#x", "/api/v1/watch/pods", "/api/v1/proxy/pods/x", "/api/v1/namespaces/a/pods/b/log/c",
        "/api/v1/pods?dryRun=all", "/api/v1/pods/%", "/api/v1/pods/%zz", "/api/v1/pods/%ff", "/api/v1/pods/a%00",
        "/api/v1/namespaces/A/pods", "/api/v1/pods/x?watch=true", "http://x/api/v1/pods", "/" + "a/" * 70 + "a",
        "/" + "a" * 20000,
    ],
)  # fmt: skip
def test_what_is_unclear_is_refused(target: str) -> None:
    """There is no second reading to be had."""
    with pytest.raises(RequestError):
        understand("GET", target)


@pytest.mark.parametrize("method", ["get", "OPTIONS", "CONNECT", "TRACE", "PROPFIND", ""])
def test_other_methods(method: str) -> None:
    """Are none."""
    with pytest.raises(RequestError):
        understand(method, "/api/v1/pods")


def test_what_else_is_known() -> None:
    """Argv, labels, streams, dry run, the path behind proxy."""
    exec_ = understand("GET", "/api/v1/namespaces/a/pods/b/exec?command=sh&command=-c&command=a%20b+c&stdin=1")
    assert exec_.command == ("sh", "-c", "a b c")
    assert exec_.switch("stdin")
    assert exec_.connects
    assert understand("GET", "/api/v1/secrets?labelSelector=owner%3Dhelm%2Cname%3D%3Dx").labels == {
        "owner": "helm", "name": "x",
    }  # fmt: skip
    assert understand("GET", "/api/v1/secrets?labelSelector=owner%20in%20(a)").labels == {}
    assert understand("GET", "/api/v1/namespaces/a/pods/b/log?follow=true").streams
    assert understand("POST", "/api/v1/namespaces/a/pods?dryRun=All").dry_run
    proxied = understand("GET", "/api/v1/namespaces/a/pods/b/proxy/x/y/?q=1&q=2")
    assert (proxied.rest, proxied.target) == (("x", "y"), "/api/v1/namespaces/a/pods/b/proxy/x/y/?q=1&q=2")


@given(st.lists(st.sampled_from("abzAZ09-._~:@%/ü\0 +&=?;\\"), max_size=30).map("".join))
def test_what_is_forwarded_is_understood_as_the_same(text: str) -> None:
    """The canonical target leads to the very same request."""
    target = "/api/v1/namespaces/a/pods/" + text
    try:
        request = understand("GET", target)
    except RequestError:
        return
    again = understand("GET", request.target)
    assert isinstance(again, Request)
    assert again == request
    assert "//" not in request.path
    assert "/../" not in request.path
