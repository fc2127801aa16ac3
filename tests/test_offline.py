"""The guard of conftest.py: tests reach this machine and nothing else."""

import os
import socket

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 443)])
def test_connection_to_another_machine_is_refused(address: tuple[str, int]) -> None:
    with socket.socket() as client, pytest.raises(OSError, match="tests run offline"):
        client.connect(address)
    with pytest.raises(OSError, match="tests run offline"):
        socket.create_connection(address, timeout=1)


def test_connection_to_this_machine_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(("localhost", address[1])) as client:
            assert client.getpeername() == address


def test_hub_is_told_to_stay_offline() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
