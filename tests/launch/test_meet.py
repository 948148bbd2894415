"""Where workers find each other: the addresses that TF_CONFIG may name, and the chief's door."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from pai_train.errors import LaunchError
from pai_train.launch.meet import meet
from pai_train.launch.tf_config import Workers, read


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"], ids=["v4", "name", "v6"])
def test_workers_meet_at_addresses_of_either_kind(host):
    if "[" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server(("", 0)) as door:
        port = door.getsockname()[1]
    addresses = (f"{host}:{port}", f"{host}:1")

    def come(rank):
        with meet(Workers(addresses, rank), {"same": 1}, 20.0) as star:
            return star.gather(rank)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(come, range(2))) == [[0, 1], [0, 1]]


@pytest.mark.parametrize("address", ["host", "host:0", "host:65536", "http://host:1", "::1:5"])
def test_what_is_no_address_is_told(address):
    cluster = {"worker": ["host:65535", address]}
    config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}})
    with pytest.raises(LaunchError, match="not host:port") as caught:
        read({"TF_CONFIG": config})
    assert caught.value.fault.got == address
