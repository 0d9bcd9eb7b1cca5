"""Networks of nodes side by side do not meet."""

from __future__ import annotations

import ipaddress

from tools.kubernetes.network import pod_subnet


def test_nodes_side_by_side_have_other_subnets() -> None:
    found = [ipaddress.ip_network(pod_subnet(number)) for number in range(5000)]
    assert len(set(found)) == 5000
    # Not those of Services, of test engines and of networks like this one.
    assert not any(n.overlaps(ipaddress.ip_network("10.196.0.0/14")) for n in found)
    assert not any(n.overlaps(ipaddress.ip_network("10.71.0.0/24")) for n in found)
