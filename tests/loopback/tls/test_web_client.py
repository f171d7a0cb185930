"""Requests of our own over real sockets: what is read, what is too much, whom we believe. Web hooks test the rest of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import SERVER, make_authority
from tests.support.loop import Loop, running_loop
from tests.support.provider import Provider
from tlsgate.pki.pem import parse_pem
from tlsgate.tls.failures import describe_failure
from tlsgate.tls.trust import TrustSet, build_trust
from tlsgate.tls.web_client import Answer, AnswerTooLarge, NoTrust, WebClient


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    """A loop that also moves Twisted's TLS, which takes the global reactor for its small delays."""
    with running_loop() as found:
        monkeypatch.setattr("twisted.protocols.tls._get_default_clock", lambda: found.reactor)
        yield found


def ask(loop: Loop, url: str, trust: TrustSet | None = None, *, lenient: bool = False, **options: Any) -> Answer:
    """One answer, and nothing left open."""
    client = WebClient(loop.reactor, trust, **options)

    async def work() -> Answer:
        try:
            return await client.exchange("POST", url, (("X-Own", "1"),), b"body", timeout_s=10.0, lenient=lenient)
        finally:
            await client.close()

    return loop.run(work(), 30)


def test_an_answer_is_read_whole(loop: Loop) -> None:
    """Status, headers and body; what was asked arrives."""
    with Provider() as provider:
        provider.pages["/x"] = (404, b"the body")
        answer = ask(loop, f"{provider.url}/x")
        assert (answer.status, answer.body) == (404, b"the body")
        ((method, path, body, headers),) = provider.asked
        assert (method, path, body, headers["x-own"]) == ("POST", "/x", b"body", "1")


def test_a_server_learns_nothing_of_other_questions(loop: Loop) -> None:
    """What it sets as a cookie for one client or API comes back with no other's question."""
    with Provider() as provider:
        provider.pages["/x"] = (200, b"{}")
        provider.headers = {"Set-Cookie": "session=1; Path=/"}
        client = WebClient(loop.reactor, None)

        async def work() -> None:
            for _ in range(2):
                try:
                    await client.exchange("POST", f"{provider.url}/x", timeout_s=10.0)
                finally:
                    await client.close()

        loop.run(work(), 30)
        assert [headers.get("cookie") for *_, headers in provider.asked] == [None, None]


def test_too_large_an_answer_is_an_error_unless_nobody_needs_it(loop: Loop) -> None:
    """Its part is never taken for the whole."""
    with Provider() as provider:
        provider.pages["/x"] = (200, b"x" * 1001)
        with pytest.raises(AnswerTooLarge):
            ask(loop, f"{provider.url}/x", max_bytes=1000)
        assert ask(loop, f"{provider.url}/x", max_bytes=1000, lenient=True).status == 200
        assert ask(loop, f"{provider.url}/x", max_bytes=1001).body == b"x" * 1001


def test_only_our_cas_are_believed(loop: Loop, tmp_path: Path) -> None:
    """Unless everybody is to be: then whoever answers."""
    authority, other = make_authority("A"), make_authority("B")
    with Provider(authority.issue("localhost", names=["localhost"], usages=SERVER), tmp_path) as provider:
        url = f"{provider.url}/keys"
        good, bad = (build_trust([parse_pem(each.pem.encode())], "test") for each in (authority, other))
        assert ask(loop, url, good).status == 200
        with pytest.raises(Exception, match=r"Failure|verify failed") as caught:
            ask(loop, url, bad)
        assert "certificate verify failed" in describe_failure(caught.value)
        with pytest.raises(NoTrust):
            ask(loop, url)
        assert ask(loop, url, verify=False).status == 200
