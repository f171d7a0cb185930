"""APIs with auth tokens in both forms on one gateway per store, over TLS, and who asks them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import SERVER, make_authority
from tests.support.control import rights
from tests.support.credentials import protected, running_world
from tests.support.gateway import Client, Gateway, Response, StrictUpstream
from tests.support.key_load import call
from tests.support.redis_server import needs_redis

__all__ = ["EACH_BACKEND", "FORMS", "SERVER_CERTIFICATE", "KeyWorld", "as_seen", "key_world"]

FORMS = ("classic", "oas")
EACH_BACKEND = ["sqlite", pytest.param("redis", marks=needs_redis)]

SERVER_CERTIFICATE = make_authority("Server CA").issue("gateway", usages=SERVER, names=["localhost"])


class KeyWorld:
    """A running gateway whose APIs are there in each form: ``classic-NAME`` and ``oas-NAME``, below paths of the same name."""

    def __init__(self, gateway: Gateway, upstream: StrictUpstream, names: list[str]) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.names = names

    def control(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Make a control call."""
        with Client(self.gateway.port_of("control")) as client:
            return call(client, method, path, body)

    def put(self, id: str, *, org: str = "org", **fields: Any) -> str:
        """Write a key that opens every API, and return its whole id."""
        body = {"org_id": org, "access_rights": rights(*self.names), **fields}
        status, answer = self.control("POST", f"/tyk/keys/{id}", body)
        assert status == 200, answer
        return str(answer["key"])

    def ask(self, target: str, *headers: tuple[str, str], method: str = "GET", body: bytes = b"") -> Response:
        """Ask an API on a connection of its own."""
        with Client(self.gateway.port) as client:
            return client.request(method, target, headers=headers, body=body)


def as_seen(response: Response) -> dict[str, str]:
    """Return the headers that the upstream got, lower case."""
    assert response.status == 200, response
    return {name.lower(): value for name, value in json.loads(response.body)["headers"]}


@contextmanager
def key_world(folder: Path, backend: str, apis: dict[str, dict[str, Any]], **config: Any) -> Iterator[KeyWorld]:
    """Run a gateway.

    :param apis: Classic fields (see ``protected``) by name; the form's name comes before it.
    """
    with StrictUpstream() as upstream:
        trees = [protected(form, f"{form}-{name}", upstream.port, **dict(fields)) for form in FORMS for name, fields in apis.items()]
        with running_world(folder, backend, *trees, server=SERVER_CERTIFICATE, **config) as gateway:
            yield KeyWorld(gateway, upstream, [f"{form}-{name}" for form in FORMS for name in apis])
        assert upstream.violations == []
