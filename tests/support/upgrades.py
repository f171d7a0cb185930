"""An upstream that takes upgrades."""

from __future__ import annotations

import socket

from tests.support.gateway import read_head

__all__ = ["echo_upgraded"]


def echo_upgraded(connection: socket.socket, number: int) -> None:
    """An upstream that takes an upgrade and returns what it gets; anything else is 200."""
    while b"upgrade" not in (head := read_head(connection)).lower():
        if not head:
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    while piece := connection.recv(4096):
        connection.sendall(piece)
