"""Addresses are taken before anything is begun, and given back."""

import socket

import pytest

from bellwire.kit.listening import CannotListen, close_all, listen_on


def test_a_free_port() -> None:
    sockets = listen_on("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    close_all(sockets)
    again = listen_on("127.0.0.1", port)
    assert [one.getsockname() for one in again] == [("127.0.0.1", port)]
    close_all(again)


def test_all_addresses_of_a_name_get_the_same_port() -> None:
    sockets = listen_on("localhost", 0)
    assert len({one.getsockname()[1] for one in sockets}) == 1
    close_all(sockets)


def test_what_cannot_be_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"port {port} of 127\.0\.0\.1 is in use"):
            listen_on("127.0.0.1", port)
    with pytest.raises(CannotListen, match=r"nowhere\.invalid"):
        listen_on("nowhere.invalid", 0)
    with pytest.raises(CannotListen, match="no such address"):
        listen_on("192.0.2.1", 0)
