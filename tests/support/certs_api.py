"""The certificate API of a running gateway, as a client of it sees it."""

from __future__ import annotations

import json
from typing import Any

from tests.support.certs import Issued
from tests.support.gateway import Client, Gateway, Response

__all__ = ["CertsApi"]


class CertsApi:
    """Asks ``/tyk/certs`` of one gateway.

    :param identity: client certificate for a control API that demands one.
    """

    def __init__(self, gateway: Gateway, *, tls: bool = True, identity: Issued | None = None) -> None:
        self.gateway = gateway
        self.tls = tls
        self.identity = identity

    def call(self, method: str, target: str, body: str | bytes = b"", *, secret: str | None = None) -> Response:
        """Make a call on a connection of its own."""
        data = body.encode() if isinstance(body, str) else body
        given = str(self.gateway.config["secret"]) if secret is None else secret
        with Client(self.gateway.port_of("control"), tls=self.tls, sni="localhost" if self.tls else None, identity=self.identity) as client:
            return client.request(method, target, headers=[("X-Tyk-Authorization", given)], body=data)

    def add(self, pem: str | bytes, org: str = "org") -> str:
        """Upload; returns the id."""
        answer = self.call("POST", f"/tyk/certs?org_id={org}", pem)
        assert answer.status == 200, answer.body
        told = json.loads(answer.body)
        assert (told["status"], told["message"]) == ("ok", "Certificate added")
        return str(told["id"])

    def get(self, target: str) -> Any:
        """Return the JSON of a 200."""
        answer = self.call("GET", target)
        assert answer.status == 200, (answer.status, answer.body)
        return json.loads(answer.body)

    def remove(self, id: str) -> Response:
        """Delete."""
        return self.call("DELETE", f"/tyk/certs/{id}")
