"""Requests of our own over real sockets: what is read, what is too much, whom we believe. Web hooks test the rest of it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectError, UnknownHostError

from tests.support.certs import SERVER, Issued, make_authority
from tests.support.hosts import host_names
from tests.support.loop import Loop, running_loop
from tests.support.provider import Provider
from tlsgate.errors import PkiError
from tlsgate.pki.pem import parse_pem
from tlsgate.tls.failures import describe_failure
from tlsgate.tls.trust import TrustSet, build_trust
from tlsgate.tls.web_client import Answer, AnswerTooLarge, NoTrust, UnknownCoding, WebClient


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


def test_a_packed_answer_is_unpacked_within_the_same_bound(loop: Loop) -> None:
    """One layer of gzip, which is what we say that we take; a bomb, also one of several layers, is too large and not unfolded."""
    with Provider() as provider:
        provider.headers = {"Content-Encoding": "gzip"}
        provider.pages["/x"] = (200, gzip.compress(b"x" * 1000))
        assert ask(loop, f"{provider.url}/x", max_bytes=1000).body == b"x" * 1000
        bomb = gzip.compress(b"x" * (8 << 20))
        provider.pages["/x"] = (200, bomb)
        with pytest.raises(AnswerTooLarge):
            ask(loop, f"{provider.url}/x", max_bytes=10_000)
        assert ask(loop, f"{provider.url}/x", max_bytes=10_000, lenient=True).body == b""
        for packing, body in (
            ("gzip, gzip, gzip", gzip.compress(gzip.compress(bomb))),
            ("br", b"x"),
            ("gzip", b"not packed at all"),
            ("gzip", gzip.compress(b"x" * 1000)[:-9]),
        ):
            provider.headers, provider.pages["/x"] = {"Content-Encoding": packing}, (200, body)
            with pytest.raises(UnknownCoding):
                ask(loop, f"{provider.url}/x")
            assert ask(loop, f"{provider.url}/x", lenient=True).status == 200
        provider.headers, provider.pages["/x"] = {"Content-Encoding": "identity", "Tlsgate-Codings": "gzip"}, (200, b"as it is")
        assert ask(loop, f"{provider.url}/x").body == b"as it is"


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


@pytest.mark.parametrize("wildcard", [False, True])
@pytest.mark.parametrize(
    "host", ["my_idp.up.test", "_dmarc.up.test", "xn--bcher-kva.up.test", "bücher.up.test", "ab--cd.up.test", "A.Up.Test"]
)
def test_any_name_that_dns_has(loop: Loop, tmp_path: Path, host: str, wildcard: bool) -> None:
    """B21: with a certificate of that very name or a wildcard; over HTTP, and where nobody is verified, too."""
    authority = make_authority("A")
    name = host.lower().replace("bücher", "xn--bcher-kva")
    trust = build_trust([parse_pem(authority.pem.encode())], "test")
    with host_names(name), Provider(authority.issue("x", names=["*.up.test" if wildcard else name], usages=SERVER), tmp_path) as provider:
        for options in ({}, {"verify": False}):
            assert ask(loop, f"https://{host}:{provider.port}/keys", trust, **options).status == 200
        assert {headers["host"] for _, _, _, headers in provider.asked} == {f"{name}:{provider.port}"}
        with Provider() as plain:
            assert ask(loop, f"http://{host}:{plain.port}/keys").status == 200


def served(names: list[str]) -> Issued:
    """A certificate of the CA that the next test believes."""
    return BELIEVED.issue("localhost", names=names, usages=SERVER)


BELIEVED = make_authority("Believed")


@pytest.mark.parametrize(
    ("names", "host"),
    [
        (["other.test"], "localhost"),
        (["*.test"], "localhost"),
        (["localhost"], "127.0.0.1"),
        (["*.up.test"], "a.b.up.test"),
        (["*.up.test"], "up.test"),
        (["my-idp.up.test"], "my_idp.up.test"),
        (["xn--bcher-kva.up.test"], "bucher.up.test"),
    ],
)
def test_a_certificate_for_another_host(loop: Loop, tmp_path: Path, names: list[str], host: str) -> None:
    """Refused before anything is sent, with the reason; the common name, which is ``localhost``, says nothing."""
    trust = build_trust([parse_pem(BELIEVED.pem.encode())], "test")
    with host_names(host), Provider(served(names), tmp_path) as provider:
        with pytest.raises(Exception, match=r"Failure|certificate is for") as caught:
            ask(loop, f"https://{host}:{provider.port}/keys", trust)
        told = describe_failure(caught.value)
        assert told.startswith("NotTheHost: certificate is for") and provider.asked == []


def test_an_address_of_numbers(loop: Loop, tmp_path: Path) -> None:
    """A certificate for that address; no name is sent."""
    trust = build_trust([parse_pem(BELIEVED.pem.encode())], "test")
    with Provider(served(["127.0.0.1"]), tmp_path) as provider:
        for options in ({}, {"verify": False}):
            assert ask(loop, f"https://127.0.0.1:{provider.port}/keys", trust, **options).status == 200


@pytest.mark.parametrize("url", ["ftp://localhost/", "https://a..b/", "https://a%41/", "https:///x", "https://a b/", "x"])
def test_addresses_that_are_none(loop: Loop, url: str) -> None:
    """Errors, and nobody is asked."""
    trust = build_trust([parse_pem(BELIEVED.pem.encode())], "test")
    with pytest.raises(Exception, match=r"\S"):
        ask(loop, url, trust)


def test_paths_and_queries_are_sent_as_they_are_written(loop: Loop) -> None:
    """What is not ASCII is escaped, what is escaped stays so."""
    with Provider() as provider:
        ask(loop, f"{provider.url}/a%2Fb/ü?x=%41&y=+&z=ä")
        assert provider.asked[0][1] == "/a%2Fb/%C3%BC?x=%41&y=+&z=%C3%A4"


@pytest.mark.parametrize(
    ("problem", "told"), [(PkiError("an odd certificate"), "an odd certificate"), (KeyError("x"), "cannot be read: KeyError")]
)
def test_a_certificate_that_cannot_be_read(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception, told: str
) -> None:
    """Whatever stops the reader: then it is for nobody."""

    def stop(data: bytes) -> None:
        raise problem

    monkeypatch.setattr("tlsgate.tls.web_client.open_certificate", stop)
    trust = build_trust([parse_pem(BELIEVED.pem.encode())], "test")
    with Provider(served(["localhost"]), tmp_path) as provider:
        with pytest.raises(Exception, match=r"Failure|certificate") as caught:
            ask(loop, f"{provider.url}/keys", trust)
        assert told in describe_failure(caught.value) and provider.asked == []


def test_an_address_of_six_groups(loop: Loop) -> None:
    """Brackets around an IPv6 address are no part of it; nobody listens there."""
    with pytest.raises(ConnectError) as caught:
        ask(loop, "http://[0:0::1]:1/")
    assert not isinstance(caught.value, UnknownHostError)
