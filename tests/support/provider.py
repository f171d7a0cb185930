"""An identity provider for tests: keys that can be changed, a key set over HTTP or TLS, tokens as a test wants them."""

from __future__ import annotations

import base64
import hmac
import json
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tests.support.certs import Issued

__all__ = ["Provider", "b64", "sign_hmac"]

_RSA = {number: rsa.generate_private_key(65537, 2048) for number in range(2)}
_EC = ec.generate_private_key(ec.SECP256R1())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    """A gateway with many APIs asks for all their sets at once."""


class Provider:
    """Serves ``/keys``, and whatever else a test puts into ``pages``; counts what it is asked.

    :param server: its certificate; None is plain HTTP.
    :param clients: PEM of the CA whose clients it wants to see; empty asks nobody.
    """

    def __init__(self, server: Issued | None = None, folder: Path | None = None, *, clients: str = "") -> None:
        self.keys: dict[str, Any] = {"rsa": _RSA[0], "ec": _EC}
        self.pages: dict[str, tuple[int, bytes]] = {}
        self.answers: dict[str, Callable[[bytes], tuple[int, bytes]]] = {}
        """Pages that depend on the body; a status of 0 closes the connection without a word."""
        self.peers: list[dict[str, Any] | None] = []
        """The client's certificate of each request."""
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, bytes, dict[str, str]]] = []
        """Method, path, body and headers of each request."""
        self.delay_s = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def _answer(self, body: bytes) -> None:
                outer.asked.append((self.command, self.path, body, {name.lower(): value for name, value in self.headers.items()}))
                peer = getattr(self.connection, "getpeercert", None)
                outer.peers.append(peer() if peer is not None else None)
                if outer.delay_s:
                    time.sleep(outer.delay_s)
                made = outer.answers.get(self.path)
                status, data = outer.page(self.path) if made is None else made(body)
                if not status:
                    return  # which closes the connection
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **outer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Silence."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        scheme = "http"
        if server is not None:
            assert folder is not None
            path = folder / "provider.pem"
            path.write_text(server.full_pem)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(path)
            if clients:
                context.verify_mode = ssl.CERT_OPTIONAL
                context.load_verify_locations(cadata=clients)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.port = int(self._server.server_address[1])
        self.url = f"{scheme}://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Provider:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def page(self, path: str) -> tuple[int, bytes]:
        """What a path answers."""
        if path in self.pages:
            return self.pages[path]
        if path == "/keys":
            return 200, json.dumps({"keys": [_jwk(kid, key) for kid, key in self.keys.items()]}).encode()
        return 404, b"{}"

    def discover(self, path: str = "", issuer: str = "", **members: Any) -> str:
        """Serve a discovery document below a path, and return the issuer: that of the path unless another one is given."""
        issuer = issuer or self.url + path
        tree = {"issuer": issuer, "jwks_uri": f"{self.url}/keys", **members}
        self.pages[f"{path.removesuffix('/')}/.well-known/openid-configuration"] = (200, json.dumps(tree).encode())
        return issuer

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(1 for _, asked, _, _ in self.asked if asked == path)

    def rotate(self, kid: str = "rsa2") -> None:
        """Replace the RSA key by another one of another id."""
        self.keys = {kid: _RSA[1], "ec": _EC}

    def token(
        self, claims: dict[str, Any] | None = None, *, kid: str = "rsa", algorithm: str = "RS256", header: dict[str, Any] | None = None
    ) -> str:
        """Return a token of five minutes; a header member that is None is left out."""
        body = {"sub": "alice", "exp": int(time.time()) + 300, **(claims or {})}
        named = {name: value for name, value in {"kid": kid, **(header or {})}.items() if value is not None}
        return jwt.PyJWS().encode(json.dumps(body).encode(), self.keys[kid], algorithm=algorithm, headers=named)


def sign_hmac(claims: dict[str, Any], secret: bytes, algorithm: str = "HS256", **header: Any) -> str:
    """Return a token that a shared secret signs, an empty one too; no claim is added."""
    parts = [json.dumps({"alg": algorithm, "typ": "JWT", **header}), json.dumps(claims)]
    text = ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
    signature = hmac.digest(secret, text.encode(), f"sha{algorithm[2:]}")
    return text + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def _jwk(kid: str, key: Any) -> dict[str, Any]:
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    made: dict[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    made.pop("key_ops", None)
    return {**made, "kid": kid, "use": "sig"}


def b64(text: str | bytes) -> str:
    """Return base64."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()
