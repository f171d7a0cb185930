"""Authorization servers that others have written, as real processes over TLS: ``oidc-provider`` of npm, ``oidc-provider-mock`` of PyPI.

Their users speak the protocols themselves, on sockets, with nothing of ``tlsgate``.
"""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.support.certs import Issued
from tests.support.gateway import Client, Response
from tests.support.npm import npm_package
from tests.support.proofs import Prover

__all__ = ["REDIRECT", "OidcProvider", "Peer", "auth0_shape", "mock_provider", "oidc_provider"]

_HERE = Path(__file__).parent
_VERSION = "9.13.3"
REDIRECT = "https://client.test/back"
"""Where clients have users sent back to."""


class Peer:
    """An authorization server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._told = threading.Condition()
        self._has_ended = False
        threading.Thread(target=self._read, daemon=True).start()
        self.port = int(self.wait_for(r"^listens on (\d+)$").group(1))
        self.issuer = f"https://localhost:{self.port}"

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                with self._told:
                    self.lines.append(line.rstrip("\n"))
                    self._told.notify_all()
        with self._told:
            self._has_ended = True
            self._told.notify_all()

    def wait_for(self, pattern: str, skip: int = 0, timeout_s: float = 60.0) -> re.Match[str]:
        """Return the match of the first line with a pattern after some."""

        def find() -> re.Match[str] | None:
            return next((found for line in self.lines[skip:] if (found := re.search(pattern, line))), None)

        with self._told:
            self._told.wait_for(lambda: self._has_ended or find() is not None, timeout_s)
            found = find()
        assert found is not None, "\n".join(self.lines)
        return found

    def send(
        self,
        method: str,
        target: str,
        form: dict[str, str] | None = None,
        headers: Sequence[tuple[str, str]] = (),
        identity: Issued | None = None,
    ) -> Response:
        """Send a request on a connection of its own."""
        body = b"" if form is None else urlencode(form).encode()
        kind = [] if form is None else [("Content-Type", "application/x-www-form-urlencoded")]
        with Client(self.port, sni="localhost", identity=identity, timeout_s=30) as client:
            return client.request(method, target, host=f"localhost:{self.port}", headers=[*kind, *headers], body=body)

    def end(self) -> None:
        """End at once; its port is free then."""
        self.process.kill()
        self.process.wait()

    def document(self, target: str = "/.well-known/openid-configuration") -> Any:
        """Return a document of the server."""
        return json.loads(self.send("GET", target).body)


class OidcProvider(Peer):
    """``oidc-provider``; its clients say their id and secret in the form."""

    def swap(self, *keys: dict[str, Any]) -> None:
        """Sign with other keys, private JWKs, from now on; the first one of an algorithm signs."""
        assert self.process.stdin is not None
        seen = len(self.lines)
        self.process.stdin.write(json.dumps(keys) + "\n")
        self.process.stdin.flush()
        self.wait_for(f"^signs with {len(keys)} keys$", seen)

    def token(
        self,
        resource: str = "",
        *,
        client: str = "shop",
        scope: str = "read",
        prover: Prover | None = None,
        identity: Issued | None = None,
        **form: str,
    ) -> str:
        """Return an access token of a client's own.

        :param prover: binds the token to its key.
        """
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": f"secret of {client}", "scope": scope, **form}
        if resource:
            form["resource"] = resource
        headers = []
        if prover is not None:
            headers = [("DPoP", prover.sign({"htm": "POST", "htu": f"{self.issuer}/token", "iat": int(time.time())}))]
        answer = json.loads(self.send("POST", "/token", form, headers, identity).body)
        assert answer.get("token_type") == ("DPoP" if prover else "Bearer"), answer
        return str(answer["access_token"])

    def revoke(self, token: str, client: str = "shop") -> None:
        """Revoke a token."""
        answer = self.send("POST", "/token/revocation", {"token": token, "client_id": client, "client_secret": f"secret of {client}"})
        assert (answer.status, answer.body) == (200, b"")

    def log_in(self, user: str, *, client: str = "shop", **query: str) -> dict[str, Any]:
        """Return what a client gets of the token endpoint for a user who logs in and consents, as in a browser."""
        cookies: dict[str, str] = {}
        query = {"client_id": client, "response_type": "code", "redirect_uri": REDIRECT, "scope": "openid", **query}
        answer = self._visit(f"/auth?{urlencode(query)}", cookies)
        for page in ({"prompt": "login", "login": user, "password": "any"}, {"prompt": "consent"}):
            action = re.search(r'<form[^>]* action="([^"]+)"', answer.body.decode())
            assert action is not None, answer
            answer = self._visit(urlsplit(html.unescape(action.group(1))).path, cookies, page)
        (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        form |= {"client_id": client, "client_secret": f"secret of {client}"}
        tokens: dict[str, Any] = json.loads(self.send("POST", "/token", form).body)
        assert "id_token" in tokens, tokens
        return tokens

    def _visit(self, target: str, cookies: dict[str, str], form: dict[str, str] | None = None) -> Response:
        """Follow redirects, until they lead back to the client."""
        with Client(self.port, sni="localhost", timeout_s=30) as client:
            while True:
                host = f"localhost:{self.port}"
                headers = [("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items()))] if cookies else []
                body = b""
                if form is not None:
                    headers.append(("Content-Type", "application/x-www-form-urlencoded"))
                    body = urlencode(form).encode()
                answer = client.request("GET" if form is None else "POST", target, host=host, headers=headers, body=body)
                form = None
                cookies |= dict(re.findall(r"(?im)^set-cookie: ([^=]+)=([^;\r]*)", answer.raw_head.decode("latin-1")))
                location = answer.headers.get("location", "")
                if answer.status not in (302, 303) or location.startswith(REDIRECT):
                    return answer
                parts = urlsplit(location)
                target = parts.path + (f"?{parts.query}" if parts.query else "")


@contextmanager
def oidc_provider(
    server: Issued, keys: Sequence[dict[str, Any]], clients: Sequence[dict[str, Any]], *, ca: str = "", secret: str = "", port: int = 0
) -> Iterator[OidcProvider]:
    """Run ``oidc-provider`` of npm, pinned.

    :param keys: private JWKs.
    :param clients: their metadata.
    :param ca: PEM of the CA whose clients are believed.
    :param secret: signs the tokens of resources ``urn:jwt:HS...``.
    """
    package = npm_package("oidc-provider", _VERSION)
    settings = {"cert": server.pem, "key": server.key_pem, "ca": ca, "keys": keys, "clients": clients, "secret": secret, "port": port}
    command = ["node", "--input-type=module", "-e", (_HERE / "oidc_provider.mjs").read_text(), json.dumps(settings)]
    with _running(command, package) as process:
        yield OidcProvider(process)


@contextmanager
def auth0_shape(server: Issued, keys: Sequence[dict[str, Any]], applications: Sequence[dict[str, Any]]) -> Iterator[Peer]:
    """Run ``oidc-provider`` of npm, pinned, with the addresses and tokens of an Auth0 tenant.

    :param keys: private JWKs with certificates: the one that signs, the next one, and those that will be the next.
    :param applications: ``id``, ``secret``, ``grants`` (audience to permissions), maybe ``policy``.
    """
    package = npm_package("oidc-provider", _VERSION)
    settings = {"cert": server.pem, "key": server.key_pem, "keys": keys, "applications": applications}
    command = ["node", "--input-type=module", "-e", (_HERE / "auth0_shape.mjs").read_text(), json.dumps(settings)]
    with _running(command, package) as process:
        yield Peer(process)


@contextmanager
def mock_provider(server: Issued, folder: Path, port: int = 0) -> Iterator[Peer]:
    """Run ``oidc-provider-mock`` of PyPI; each run has a key of its own."""
    path = folder / "mock.pem"
    path.write_text(server.full_pem)
    with _running([sys.executable, str(_HERE / "oidc_mock.py"), str(path), str(port)], folder) as process:
        yield Peer(process)


@contextmanager
def _running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
