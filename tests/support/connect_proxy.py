"""A small forward proxy for loopback tests: CONNECT and absolute-form, scripted where a test wants trouble."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.support.gateway import read_head

__all__ = ["Asked", "ConnectProxy"]


class Asked(NamedTuple):
    """What the gateway asked the proxy for."""

    method: str
    target: str
    headers: dict[str, str]
    """Lower-case names."""
    connection: int


class ConnectProxy:
    """Leads ``host:port`` to a loopback port, whatever the name: names are the proxy's to resolve.

    :param routes: loopback port by ``host:port``.
    :param context: TLS towards the gateway.
    :param answer: gives the raw answer to CONNECT, or None to open the way.
    """

    def __init__(
        self,
        routes: dict[str, int],
        *,
        context: ssl.SSLContext | None = None,
        answer: Callable[[Asked], bytes | None] | None = None,
    ) -> None:
        self.routes = routes
        self.asked: list[Asked] = []
        self.connections = 0
        self.names: list[str | None] = []
        self._context = context
        if context is not None:
            context.sni_callback = lambda _socket, name, _context: self.names.append(name)  # type: ignore[assignment]
        self._answer = answer
        self._open: set[Any] = set()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> ConnectProxy:
        return self

    def __exit__(self, *exception: object) -> None:
        self._listening.close()
        self.cut()

    def cut(self) -> None:
        """Close all connections."""
        for connection in list(self._open):
            _shut(connection)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            number = self.connections
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: Any, number: int) -> None:
        upstream: socket.socket | None = None
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            head = read_head(connection)
            if not head:
                return
            asked = self._note(head, number)
            if asked.method == "CONNECT":
                refusal = self._answer(asked) if self._answer is not None else None
                if refusal is not None:
                    connection.sendall(refusal)
                    return
                upstream = socket.create_connection(("127.0.0.1", self.routes[asked.target]))
                connection.sendall(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
                rest = head.partition(b"\r\n\r\n")[2]
                upstream.sendall(rest)
                self._join(connection, upstream)
                return
            while head:
                if not asked.target.startswith("http://"):
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                    return
                authority, _, path = asked.target.removeprefix("http://").partition("/")
                if upstream is None:
                    upstream = socket.create_connection(("127.0.0.1", self.routes[authority if ":" in authority else f"{authority}:80"]))
                fields = head.partition(b"\r\n")[2].split(b"\r\n")
                kept = [line for line in fields if not line.lower().startswith(b"proxy-")]
                upstream.sendall(f"{asked.method} /{path} HTTP/1.1\r\n".encode() + b"\r\n".join(kept))
                connection.sendall(_read_answer(upstream, has_body=asked.method != "HEAD"))
                head = read_head(connection)
                if head:
                    asked = self._note(head, number)
        except (OSError, ValueError, KeyError):
            pass
        finally:
            self._open.discard(connection)
            _shut(connection)
            if upstream is not None:
                _shut(upstream)

    def _note(self, head: bytes, number: int) -> Asked:
        lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        asked = Asked(method, target, headers, number)
        self.asked.append(asked)
        return asked

    @staticmethod
    def _join(connection: Any, upstream: socket.socket) -> None:
        """Copy both ways in one thread: an ``SSLSocket`` must not be read and written by two."""
        others = {connection: upstream, upstream: connection}
        reading = {connection, upstream}
        while reading:
            ready, _, _ = select.select(list(reading), [], [], 30)
            if not ready:
                return
            for source in ready:
                target = others[source]
                data = source.recv(65536)
                if data:
                    target.sendall(data)
                    while isinstance(source, ssl.SSLSocket) and source.pending():
                        target.sendall(source.recv(65536))
                elif isinstance(target, ssl.SSLSocket):
                    return  # Python's TLS knows no half-close
                else:
                    reading.discard(source)
                    target.shutdown(socket.SHUT_WR)


def _read_answer(upstream: socket.socket, *, has_body: bool) -> bytes:
    """Read an answer with a Content-Length."""
    answer = read_head(upstream)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next(int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while has_body and len(body) < length:
        piece = upstream.recv(65536)
        answer += piece
        body += piece
    return answer


def _shut(connection: Any) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except (OSError, ValueError):
        pass
    connection.close()
