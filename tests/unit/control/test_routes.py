"""Tests of `tlsgate.control.routes` (decisions 1.4; keys reference, section 11)."""

from __future__ import annotations

import json

import pytest

from tests.support.gateway import classic
from tests.support.memory_gateway import MemoryGateway

SECRET = "a-secret-of-32-characters-0123456"


def ask(
    gateway: MemoryGateway, path: str, *, host: str = "any.test", secret: str | None = None, port: int | None = None
) -> tuple[int, bytes]:
    line = f"X-Tyk-Authorization: {secret}\r\n" if secret is not None else ""
    answer = gateway.ask(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{line}\r\n".encode(), port=port)
    return answer.status, answer.body


@pytest.mark.parametrize("given", [None, "", "wrong", SECRET[:-1], SECRET + "x"])
def test_without_the_secret_nothing_is_told(given: str | None) -> None:
    """403 with Tyk's message, whatever the path below /tyk/."""
    gateway = MemoryGateway(classic("one", 9, "/"), secret=SECRET)
    status, body = ask(gateway, "/tyk/keys", secret=given)
    assert status == 403
    assert json.loads(body) == {"status": "error", "message": "Attempted administrative access with invalid or missing key!"}


def test_with_the_secret_what_is_not_built_is_not_found() -> None:
    """Never an API's answer."""
    gateway = MemoryGateway(classic("one", 9, "/"), secret=SECRET)
    assert ask(gateway, "/tyk/keys", secret=SECRET) == (404, b"Not Found")


def test_own_port_takes_control_and_nothing_else() -> None:
    """Control paths are 404 on the main port, API paths 404 on the control port."""
    gateway = MemoryGateway(classic("one", 9, "/one/"), secret=SECRET, control_api_port=7000)
    assert ask(gateway, "/hello", port=7000)[0] == 200
    assert ask(gateway, "/one/", port=7000) == (404, b"Not Found")
    assert ask(gateway, "/hello") == (404, b"Not Found")
    assert ask(gateway, "/tyk/keys", secret=SECRET) == (404, b"Not Found")


def test_host_name_binds_the_control_api() -> None:
    """`control_api_hostname` answers there and nowhere else (in Tyk it does not)."""
    gateway = MemoryGateway(classic("one", 9, "/one/"), secret=SECRET, control_api_hostname="admin.test")
    assert ask(gateway, "/tyk/keys", host="admin.test")[0] == 403
    assert ask(gateway, "/tyk/keys", host="other.test", secret=SECRET)[0] == 404
    assert ask(gateway, "/hello", host="ADMIN.test.")[0] == 200


@pytest.mark.parametrize("path", ["/tyk", "/tyk/", "/tyk/../tyk/keys", "/%74yk/keys"])
def test_spellings_of_control_paths_never_reach_an_api(path: str) -> None:
    """An API on / does not see them: they are control paths, or redirected to their clean form."""
    gateway = MemoryGateway(classic("one", 9, "/"), secret=SECRET)
    assert ask(gateway, path)[0] in (301, 403)
