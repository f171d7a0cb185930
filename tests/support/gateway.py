"""A real gateway process and real peers for loopback tests: the gateway, strict and scripted upstreams, TLS clients with every trick.

Nothing here looks into the gateway: it is configured by files, asked over sockets and read by its log.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from OpenSSL import SSL

from tests.support.certs import Issued
from tests.support.nursery import CAN_FORK, Forked, fork_tlsgate
from tests.support.scale import FULL

__all__ = [
    "Client",
    "Gateway",
    "HandshakeRefused",
    "Received",
    "Response",
    "ScriptedUpstream",
    "StrictUpstream",
    "classic",
    "oas",
    "running_gateway",
]


def classic(api_id: str, upstream: int | str, listen_path: str = "/", **fields: Any) -> dict[str, Any]:
    """Return a Classic definition: keyless, stripped, active; ``fields`` are merged at its root (``proxy`` is merged inside).

    :param upstream: port on loopback, or a whole URL.
    """
    target = upstream if isinstance(upstream, str) else f"http://127.0.0.1:{upstream}"
    proxy = {"listen_path": listen_path, "target_url": target, "strip_listen_path": True, **fields.pop("proxy", {})}
    version = {"not_versioned": True, "versions": {"Default": {"name": "Default", **fields.pop("version", {})}}}
    return {"api_id": api_id, "name": api_id, "active": True, "use_keyless": True, "proxy": proxy, "version_data": version, **fields}


def oas(
    api_id: str, upstream: int | str, listen_path: str = "/", *, server: dict[str, Any] | None = None, **extension: Any
) -> dict[str, Any]:
    """Return a Tyk OAS definition: keyless, stripped, active.

    :param server: merged into ``server``.
    :param extension: merged at the root of ``x-tyk-api-gateway`` (``upstream`` inside).
    """
    target = upstream if isinstance(upstream, str) else f"http://127.0.0.1:{upstream}"
    return {
        "openapi": "3.0.3",
        "info": {"title": api_id, "version": "1"},
        "paths": {},
        "components": {},
        "x-tyk-api-gateway": {
            "info": {"id": api_id, "name": api_id, "state": {"active": True}},
            "upstream": {"url": target, **extension.pop("upstream_settings", {})},
            "server": {"listenPath": {"value": listen_path, "strip": True}, "authentication": {"enabled": False}, **(server or {})},
            **extension,
        },
    }


class Gateway:
    """A running ``python -m tlsgate run``; made by :func:`running_gateway`."""

    def __init__(self, folder: Path, config: dict[str, Any], environ: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.config_path = folder / "tyk.conf.json"
        self.apps = folder / "apps"
        self.apps.mkdir(exist_ok=True)
        self.config = config
        self.environ = environ or {}
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.listeners: list[dict[str, str]] = []
        self.process: subprocess.Popen[str] | Forked | None = None
        self._readers: list[threading.Thread] = []
        self._condition = threading.Condition()

    # Set-up.

    def write_config(self) -> None:
        """Write the configuration file anew."""
        self.config_path.write_text(json.dumps(self.config))

    def write_apis(self, *apis: dict[str, Any]) -> None:
        """Make ``apps/`` hold exactly these definitions."""
        for path in self.apps.iterdir():
            path.unlink()
        for api in apis:
            identity = api.get("api_id") or api["x-tyk-api-gateway"]["info"]["id"]
            (self.apps / f"{identity}.json").write_text(json.dumps(api))

    def start(self, timeout_s: float = 30.0) -> None:
        """Start and wait until it serves."""
        self.write_config()
        # A forward proxy of the machine has no say in tests.
        inherited = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
        environ = {**inherited, "PYTHONUNBUFFERED": "1", **self.environ}
        arguments = ["run", "--config", str(self.config_path)]
        if FULL or not CAN_FORK or self.environ or "workers" in self.config.get("tlsgate", {}):
            command = [sys.executable, "-m", "tlsgate", *arguments]
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ, cwd=self.folder
            )
        else:
            self.process = fork_tlsgate(arguments, self.folder, environ)
        self._readers = [threading.Thread(target=target, daemon=True) for target in (self._read_log, self._read_output)]
        for reader in self._readers:
            reader.start()
        self.wait_event("service.started", timeout_s)
        with self._condition:
            self._condition.wait_for(lambda: bool(self.listeners), 5)

    def _read_log(self) -> None:
        assert self.process is not None and self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            try:
                event = json.loads(line)
            except ValueError:
                event = {"event": "text", "message": line}
            with self._condition:
                self.events.append(event)
                self._condition.notify_all()
        with self._condition:
            self.events.append({"event": "process.ended"})
            self._condition.notify_all()

    def _read_output(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("listening "):
                with self._condition:
                    self.listeners.append(dict(part.split("=", 1) for part in line.split()[1:]))
                    self._condition.notify_all()

    # Looking at it.

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self.process is not None
        return self.process.pid

    @property
    def port(self) -> int:
        """Of the main listener."""
        return self.port_of("gateway")

    def port_of(self, role: str, number: int = 0) -> int:
        """Return a listener's port by role (``gateway``, ``control``, ``api``)."""
        with self._condition:
            assert self._condition.wait_for(lambda: len([entry for entry in self.listeners if entry["role"] == role]) > number, 10), (
                self.tail()
            )
        return int([entry for entry in self.listeners if entry["role"] == role][number]["port"])

    def wait_event(
        self, name: str, timeout_s: float = 10.0, *, after: int = 0, match: Callable[[dict[str, Any]], bool] | None = None
    ) -> dict[str, Any]:
        """Return the first event of a name at or after position ``after`` of ``events``; fails with the log when none comes."""

        def find() -> dict[str, Any] | None:
            for event in self.events[after:]:
                if event.get("event") == name and (match is None or match(event)):
                    return event
            return None

        with self._condition:
            self._condition.wait_for(lambda: find() is not None or any(e.get("event") == "process.ended" for e in self.events), timeout_s)
        found = find()
        assert found is not None, f"no event {name!r}; log:\n{self.tail()}"
        return found

    def tail(self, count: int = 30) -> str:
        """Return the end of the log."""
        return "\n".join(self.lines[-count:])

    def rss_kib(self) -> int:
        """Return the resident memory in KiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def cpu_s(self) -> float:
        """Return user and system time used so far in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self) -> int:
        """Return the number of open descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def tracebacks(self) -> list[str]:
        """Return log lines that speak of an unexpected failure."""
        return [line for line in self.lines if "Traceback" in line or '"level":"critical"' in line]

    # Steering it.

    def reload(self, timeout_s: float = 30.0) -> dict[str, Any]:
        """Send SIGHUP and return the event that says how the reload ended."""
        mark = len(self.events)
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)
        with self._condition:
            done = self._condition.wait_for(
                lambda: any(e.get("event") in ("reload.done", "reload.refused", "reload.failed") for e in self.events[mark:]), timeout_s
            )
        assert done, self.tail()
        return next(e for e in self.events[mark:] if e.get("event") in ("reload.done", "reload.refused", "reload.failed"))

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 40.0) -> int:
        """Send a signal and return the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"did not stop:\n{self.tail()}") from None
        self.close()
        return status

    def close(self) -> None:
        """Wait for the readers and close the pipes of an ended process."""
        for reader in self._readers:
            reader.join(5)
        if self.process is not None:
            for stream in (self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()


def base_config(server: Issued | None, folder: Path, **fields: Any) -> dict[str, Any]:
    """Return a configuration for tests: loopback, any port, control API on a port of its own (so that REQUIRE handshakes happen)."""
    http: dict[str, Any] = dict(fields.pop("http_server_options", {}))
    if server is not None:
        path = folder / "server.pem"
        path.write_text(server.full_pem)
        http = {"use_ssl": True, "ssl_certificates": [str(path)], **http}
    own = {"development": True, **fields.pop("tlsgate", {})}
    return {
        "listen_address": "127.0.0.1",
        "listen_port": 0,
        "control_api_port": free_port(),
        "secret": "test-secret-of-32-characters-xxxx",
        "node_secret": "test-node-secret-of-32-characters",
        "app_path": str(folder / "apps"),
        "enable_custom_domains": True,
        "http_server_options": http,
        "tlsgate": own,
        **fields,
    }


@contextmanager
def running_gateway(
    folder: Path, *apis: dict[str, Any], server: Issued | None = None, environ: dict[str, str] | None = None, **config: Any
) -> Iterator[Gateway]:
    """Run a gateway with definitions; on exit it must stop with status 0 and without a traceback in its log.

    :param server: server certificate; None is plain HTTP.
    :param config: fields of the configuration; ``http_server_options`` and ``tlsgate`` are merged with the test defaults.
    """
    gateway = Gateway(folder, base_config(server, folder, **config), environ)
    gateway.write_apis(*apis)
    try:
        gateway.start()
        yield gateway
    except BaseException:
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.process.kill()
            gateway.process.wait()
        gateway.close()
        raise
    status = gateway.stop()
    assert status == 0, f"exit status {status}:\n{gateway.tail()}"
    assert not gateway.tracebacks(), "\n".join(gateway.tracebacks())


_PORTS = itertools.cycle(range(12_000, 32_000))
"""Below what the kernel gives to clients, so that no connection takes a port between its choice and its use."""
for _ in range(random.SystemRandom().randrange(20_000)):  # test processes that run at once begin in different places
    next(_PORTS)


def free_port() -> int:
    """Return a TCP port that is free on loopback now, another one each time."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")


# Clients.


class HandshakeRefused(Exception):
    """The TLS handshake did not end in a usable connection; ``args[0]`` says how (alert text, EOF, reset)."""


class Response(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    """Lower-case names; repeated ones joined by ``, ``."""
    body: bytes
    raw_head: bytes = b""
    trailers: dict[str, str] = {}


class Client:
    """One connection to the gateway, plain or TLS (pyOpenSSL over a socket); reads answers strictly.

    :param sni: server name, None sends none.
    :param identity: client certificate with key; its chain is sent too.
    :param extra_chain: further DER certificates sent after the leaf.
    :param version: 771 or 772 pins the protocol version, None leaves it open.
    :param session: resumed when given; it must come from a connection over the same ``context``.
    :param context: ready-made, with version and ALPN; then ``identity`` belongs to this connection alone, without its chain.
    :param prelude: bytes before everything else, a segment for each piece; the last one travels with what follows.
    :raises HandshakeRefused: also when the refusal comes right after a TLS 1.3 handshake (``settle``).
    """

    def __init__(
        self,
        port: int,
        *,
        tls: bool = True,
        sni: str | None = None,
        identity: Issued | None = None,
        extra_chain: Sequence[bytes] = (),
        version: int | None = None,
        session: SSL.Session | None = None,
        timeout_s: float = 10.0,
        alpn: Sequence[bytes] = (b"http/1.1",),
        settle: bool = True,
        context_hook: Callable[[SSL.Context], None] | None = None,
        context: SSL.Context | None = None,
        prelude: Sequence[bytes] = (),
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, piece in enumerate(prelude, 1):
            self.socket.send(piece, socket.MSG_MORE if number == len(prelude) else 0)
        self.timeout_s = timeout_s
        self.ssl: SSL.Connection | None = None
        self._lock = threading.Lock()  # pyOpenSSL lets go of the interpreter inside OpenSSL: one thread may send while another reads
        self._buffer = b""
        if not tls:
            return
        ready = context is not None
        if context is None:
            context = SSL.Context(SSL.TLS_CLIENT_METHOD)
            if version is not None:
                context.set_min_proto_version(version)
                context.set_max_proto_version(version)
            if alpn:
                context.set_alpn_protos(list(alpn))
            if identity is not None:
                context.use_certificate(identity.certificate)
                context.use_privatekey(identity.key)
                for der in (*identity.chain, *extra_chain):
                    context.add_extra_chain_cert(x509.load_der_x509_certificate(der))
            if context_hook is not None:
                context_hook(context)
        self.ssl = SSL.Connection(context, None)
        if ready and identity is not None:
            self.ssl.use_certificate(identity.certificate)
            self.ssl.use_privatekey(identity.key)
        self.ssl.set_connect_state()
        if sni is not None:
            self.ssl.set_tlsext_host_name(sni.encode())
        if session is not None:
            self.ssl.set_session(session)
        try:
            self._handshake()
            if settle and self.ssl.get_protocol_version() >= 772:
                self._settle()
        except BaseException:
            self.socket.close()
            raise

    def _pump_out(self) -> None:
        assert self.ssl is not None
        while True:
            try:
                self.socket.sendall(self.ssl.bio_read(65536))
            except SSL.WantReadError:
                return
            except OSError as error:
                raise HandshakeRefused(f"send: {error}") from error

    def _pump_in(self) -> None:
        assert self.ssl is not None
        try:
            data = self.socket.recv(65536)
        except TimeoutError as error:
            raise HandshakeRefused("timeout") from error
        except OSError as error:
            raise HandshakeRefused(f"reset: {error}") from error
        if not data:
            raise HandshakeRefused("EOF")
        self.ssl.bio_write(data)

    def _handshake(self) -> None:
        assert self.ssl is not None
        while True:
            try:
                self.ssl.do_handshake()
                self._pump_out()
                return
            except SSL.WantReadError:
                self._pump_out()
                self._pump_in()
            except SSL.Error as error:
                raise HandshakeRefused(str(error)) from error

    def _settle(self) -> None:
        """Wait for what follows a TLS 1.3 handshake at once: session tickets, or the alert that refuses."""
        assert self.ssl is not None
        while True:
            waiting = select.poll()  # select() knows no descriptor above 1023
            waiting.register(self.socket, select.POLLIN)
            if not waiting.poll(self.timeout_s * 1000):
                return
            self._pump_in()
            try:
                self._buffer += self.ssl.recv(65536)
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError as error:
                raise HandshakeRefused("close_notify") from error
            except SSL.Error as error:
                raise HandshakeRefused(str(error)) from error

    @property
    def session(self) -> SSL.Session:
        """The session, for resumption elsewhere; read something first under TLS 1.3."""
        assert self.ssl is not None
        found = self.ssl.get_session()
        assert found is not None
        return found

    def send(self, data: bytes) -> None:
        """Send plain bytes."""
        if self.ssl is None:
            self.socket.sendall(data)
            return
        view = memoryview(data)
        while view:
            with self._lock:
                try:
                    sent = self.ssl.send(view[:16384])
                except SSL.Error as error:
                    raise BrokenPipeError(f"TLS: {error}") from error
            view = view[sent:]
            while True:
                try:
                    with self._lock:
                        piece = self.ssl.bio_read(65536)
                except SSL.WantReadError:
                    break
                self.socket.sendall(piece)

    def recv(self, size: int = 65536) -> bytes:
        """Return some plain bytes; empty at the end (clean or not)."""
        if self._buffer:
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            return data
        if self.ssl is None:
            return self.socket.recv(size)
        while True:
            try:
                with self._lock:
                    return self.ssl.recv(size)
            except SSL.WantReadError:
                data = self.socket.recv(65536)
                if not data:
                    self.truncated = True
                    return b""
                with self._lock:
                    self.ssl.bio_write(data)
            except SSL.ZeroReturnError:
                return b""

    truncated = False
    """TLS ended without a close_notify."""

    def read_until(self, marker: bytes) -> bytes:
        """Return everything up to and with ``marker``; raises EOFError when the connection ends before."""
        data = b""
        while marker not in data:
            piece = self.recv()
            if not piece:
                self._buffer = data
                raise EOFError(data)
            data += piece
        end = data.index(marker) + len(marker)
        self._buffer = data[end:] + self._buffer
        return data[:end]

    def read_exactly(self, size: int) -> bytes:
        """Return ``size`` bytes; raises EOFError with what came when the connection ends before."""
        pieces: list[bytes] = []
        missing = size
        while missing:
            piece = self.recv(missing)
            if not piece:
                raise EOFError(b"".join(pieces))
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def read_response(self, method: str = "GET") -> Response:
        """Read one answer, strictly; 1xx answers are skipped (101 is returned)."""
        while True:
            head = self.read_until(b"\r\n\r\n")
            lines = head[:-4].split(b"\r\n")
            protocol, status_text, *_ = lines[0].split(b" ", 2)
            assert protocol in (b"HTTP/1.1", b"HTTP/1.0"), lines[0]
            status = int(status_text)
            headers = _headers(lines[1:])
            if 100 <= status < 200 and status != 101:
                continue
            trailers: dict[str, str] = {}
            if method == "HEAD" or status in (101, 204, 304):
                body = b""
            elif "transfer-encoding" in headers:
                assert headers["transfer-encoding"] == "chunked" and "content-length" not in headers
                body, trailers = self._read_chunked()
            elif "content-length" in headers:
                body = self.read_exactly(int(headers["content-length"]))
            else:
                body = b""
                while piece := self.recv():
                    body += piece
            return Response(status, headers, body, head, trailers)

    def _read_chunked(self) -> tuple[bytes, dict[str, str]]:
        body = b""
        while True:
            size = int(self.read_until(b"\r\n")[:-2].split(b";")[0], 16)
            if size == 0:
                lines = []
                while (line := self.read_until(b"\r\n")) != b"\r\n":
                    lines.append(line[:-2])
                return body, _headers(lines)
            body += self.read_exactly(size)
            assert self.read_exactly(2) == b"\r\n"

    def request(
        self, method: str = "GET", target: str = "/", *, host: str = "localhost", headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> Response:
        """Send one request and read its answer."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        return self.read_response(method)

    def close(self) -> None:
        """Close at once, without a close_notify."""
        if self.ssl is not None:
            # Else OpenSSL takes the session for broken when the connection is freed, and never resumes it.
            with self._lock:
                self.ssl.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _headers(lines: Sequence[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        key = name.lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return headers


# Upstreams.


class Received(NamedTuple):
    """A request as a strict reader saw it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    raw_head: bytes
    connection: int
    """Number of the connection, from 0."""
    trailers: tuple[tuple[str, str], ...] = ()

    def header(self, name: str) -> str | None:
        """Return the only value of a header, None when it is absent."""
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) <= 1, (name, found)
        return found[0] if found else None


class StrictUpstream:
    """An HTTP/1.1 server on raw sockets that reads by the letter of RFC 9112 and records; ``violations`` lists what it could not accept.

    ``cuts`` counts requests that ended before they were complete: they are neither requests nor violations.

    :param respond: gives the raw answer bytes for a request; the default is 200 with a JSON echo.
    """

    def __init__(self, respond: Callable[[Received], bytes] | None = None) -> None:
        self.requests: list[Received] = []
        self.violations: list[str] = []
        self.cuts = 0
        self.connections = 0
        self._respond = respond or echo
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listening.getsockname()[1])
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> StrictUpstream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and cut all connections."""
        _cut(self._listening)
        for connection in list(self._open):
            _cut(connection)

    @property
    def open_connections(self) -> int:
        """Connections that the gateway keeps open."""
        return len(self._open)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            number = self.connections
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        stream = connection.makefile("rb")
        try:
            while True:
                received = self._read(stream, number)
                if received is None:
                    return
                self.requests.append(received)
                connection.sendall(self._respond(received))
        except _Violation as violation:
            self.violations.append(str(violation))
        except _Cut:
            self.cuts += 1
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            connection.close()

    @staticmethod
    def _read(stream: Any, number: int) -> Received | None:
        first = stream.readline()
        if not first:
            return None
        raw = [first]
        parts = _line(first).split(" ")
        if len(parts) != 3 or parts[2] != "HTTP/1.1" or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
            raise _Violation(f"request line {first!r}")
        headers = _fields(stream, raw)
        names = [name.lower() for name, _ in headers]
        values = {name.lower(): value for name, value in headers}
        if names.count("host") != 1:
            raise _Violation(f"{names.count('host')} Host lines")
        if names.count("content-length") + names.count("transfer-encoding") > 1:
            raise _Violation("several framing headers")
        body = b""
        trailers: list[tuple[str, str]] = []
        if "content-length" in values:
            if not _DIGITS.fullmatch(values["content-length"]):
                raise _Violation("Content-Length")
            body = _exactly(stream, int(values["content-length"]))
        elif "transfer-encoding" in values:
            if values["transfer-encoding"] != "chunked":
                raise _Violation("Transfer-Encoding")
            while True:
                line = _line(stream.readline())
                if not _HEXADECIMAL.fullmatch(line):
                    raise _Violation(f"chunk line {line!r}")
                size = int(line, 16)
                if size == 0:
                    trailers = _fields(stream, [])
                    break
                body += _exactly(stream, size)
                if _exactly(stream, 2) != b"\r\n":
                    raise _Violation("chunk end")
        return Received(parts[0], parts[1], headers, body, b"".join(raw), number, tuple(trailers))


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(r"(?:/[!-\"$-~]*|\*)")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_DIGITS = re.compile(r"[0-9]{1,18}")
_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{1,15}")


class _Violation(Exception):
    """The gateway sent what a strict reader refuses."""


class _Cut(Exception):
    """The connection ended in the middle of a request."""


def _exactly(stream: Any, size: int) -> bytes:
    pieces = []
    while size:
        piece: bytes = stream.read(min(size, 1 << 20))
        if not piece:
            raise _Cut
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _fields(stream: Any, raw: list[bytes]) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    while True:
        line = stream.readline()
        raw.append(line)
        text = _line(line)
        if not text:
            return fields
        name, colon, value = text.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise _Violation(f"header line {line!r}")
        fields.append((name, value.strip(" \t")))


def _line(raw: bytes) -> str:
    if not raw.endswith(b"\n"):
        raise _Cut
    if not raw.endswith(b"\r\n") or b"\r" in raw[:-2] or b"\0" in raw:
        raise _Violation(f"line {raw!r}")
    return raw[:-2].decode("latin-1")


def echo(received: Received) -> bytes:
    """Answer 200 with what was received as JSON."""
    body = json.dumps(
        {"method": received.method, "target": received.target, "headers": received.headers, "body": received.body.decode("latin-1")}
    ).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return head if received.method == "HEAD" else head + body


class ScriptedUpstream:
    """Runs ``script(connection, number)`` in a thread for each accepted connection, which it closes afterwards.

    :param context: wraps connections in TLS (``ssl.SSLContext``), None is plain.
    """

    def __init__(self, script: Callable[[Any, int], None], context: Any = None) -> None:
        self._script = script
        self._context = context
        self.connections = 0
        self.errors: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> ScriptedUpstream:
        return self

    def __exit__(self, *exception: object) -> None:
        _cut(self._listening)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            number = self.connections
            self.connections += 1
            threading.Thread(target=self._run, args=(connection, number), daemon=True).start()

    def _run(self, connection: socket.socket, number: int) -> None:
        try:
            wrapped = self._context.wrap_socket(connection, server_side=True) if self._context is not None else connection
            try:
                self._script(wrapped, number)
            finally:
                _cut(wrapped)
        except Exception as error:
            self.errors.put(error)
        finally:
            connection.close()


def read_head(connection: socket.socket) -> bytes:
    """Read a request head from a plain socket."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece
    return data


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()


def wait_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> bool:
    """Return whether a condition becomes true within a time, asked every 20 ms."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
