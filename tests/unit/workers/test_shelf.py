"""Tests of `tlsgate.workers.shelf`."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from tlsgate.systemd import InheritedSocket
from tlsgate.workers import shelf as shelf_module
from tlsgate.workers.shelf import SocketShelf


def accepts(port: int, address: str = "127.0.0.1") -> bool:
    """Tell whether a port is open."""
    try:
        socket.create_connection((address, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_place_is_bound_once() -> None:
    """Every worker gets the same socket, which listens and does not block."""
    shelf = SocketShelf()
    place = ("127.0.0.1", 0)
    fd = shelf.find(place, 10)
    assert shelf.find(place, 10) == fd
    port = shelf.number(place)
    assert accepts(port)
    borrowed = socket.socket(fileno=fd)
    assert not os.get_blocking(fd)
    assert borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    borrowed.detach()
    shelf.close()
    assert not accepts(port)
    assert shelf.number(place) == 0


def test_what_nobody_uses_is_closed() -> None:
    """And bound anew when somebody asks again."""
    shelf = SocketShelf()
    kept, dropped = ("127.0.0.1", 0), ("127.0.0.2", 0)
    shelf.find(kept, 10)
    shelf.find(dropped, 10)
    port = shelf.number(dropped)
    assert shelf.prune({kept}) == [port]
    assert not accepts(port, "127.0.0.2")
    assert accepts(shelf.number(kept))
    shelf.find(dropped, 10)
    assert accepts(shelf.number(dropped), "127.0.0.2")
    shelf.close()


def test_a_port_in_use_is_said_so() -> None:
    """And is free for the next try."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = ("127.0.0.1", taken.getsockname()[1])
        shelf = SocketShelf()
        with pytest.raises(OSError) as caught:
            shelf.find(place, 10)
        assert caught.value.errno == errno.EADDRINUSE
    shelf.find(place, 10)
    shelf.close()


def test_all_addresses_are_both_families_or_the_one_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty address: IPv6 and IPv4 on one socket, IPv4 alone where the host has no IPv6."""
    shelf = SocketShelf()
    shelf.find(("", 0), 10)
    assert accepts(shelf.number(("", 0)))
    shelf.close()
    families: list[int] = []
    listen = shelf_module._listen

    def without(family: int, address: str, port: int, backlog: int) -> socket.socket:
        families.append(family)
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no")
        return listen(family, address, port, backlog)

    monkeypatch.setattr(shelf_module, "_listen", without)
    shelf.find(("", 0), 10)
    assert families == [socket.AF_INET6, socket.AF_INET]
    shelf.close()


def test_inherited_sockets_are_taken_first_and_the_rest_is_named() -> None:
    """By address and port; once."""
    given, odd = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    entries = [
        InheritedSocket(entry.fileno(), name, socket.AF_INET, *entry.getsockname()) for entry, name in ((given, "given"), (odd, "odd"))
    ]
    port = given.getsockname()[1]
    given.detach()
    shelf = SocketShelf(entries)
    assert shelf.find(("127.0.0.1", port), 10) == entries[0].fd
    assert [entry.name for entry in shelf.take_unused()] == ["odd"]
    assert shelf.take_unused() == []
    shelf.close()
    odd.close()
