"""Where a server listens: what is told when it cannot, and the address that a browser understands."""

from __future__ import annotations

import socket

import pytest

from mulmed.errors import MulmedError
from mulmed.web.listening import listen, url_of


def test_a_free_port_is_found_and_a_taken_one_told() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert url_of("127.0.0.1", first) == f"http://127.0.0.1:{port}"
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        with pytest.raises(MulmedError, match="cannot listen: Address already in use") as taken:
            listen("127.0.0.1", port)
    assert taken.value.where == f"127.0.0.1, port {port}"


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(MulmedError, match="cannot listen: Cannot assign") as other:
        listen("192.0.2.1", 0)  # of no machine (RFC 5737)
    assert "--host" in other.value.remedy


def test_an_ipv6_address_stands_in_brackets() -> None:
    try:
        listening = listen("::1", 0)
    except MulmedError:
        pytest.skip("this machine has no IPv6")
    with listening:
        assert url_of("::1", listening) == f"http://[::1]:{listening.getsockname()[1]}"
