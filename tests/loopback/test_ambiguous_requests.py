"""Ambiguous requests never reach the upstream in a different reading (issue: acceptance 5).

Each case of ``tests.support.ambiguous`` is sent whole, byte by byte, and with a good request behind it, over plain HTTP and over TLS.
The upstream reads by the letter; a second client shares its pooled connections, so that a poisoned one would show.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from random import Random

import pytest

from tests.support.ambiguous import CASES, Case, Reading, mutate
from tests.support.certs import make_authority
from tests.support.gateway import Client, Gateway, Received, Response, StrictUpstream, classic, free_port, oas, running_gateway
from tests.support.scale import scaled

AFTER = b"GET /after HTTP/1.1\r\nHost: a.test\r\n\r\n"
WHOLE, BYTEWISE, FOLLOWED = "whole", "byte by byte", "followed"


class _Side:
    """A gateway with one setting for underscores, and its upstream."""

    def __init__(self, gateway: Gateway, upstream: StrictUpstream) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.ports = {True: gateway.port, False: gateway.port_of("api")}


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, _Side]]:
    """One gateway per setting: a Classic API on the TLS listener, an OAS API on a plain one."""
    server = make_authority("servers").issue("localhost", names=["localhost"])
    with ExitStack() as stack:
        found = {}
        for setting in ("drop", "refuse", "allow"):
            upstream = stack.enter_context(StrictUpstream())
            plain = oas("plain", upstream.port, "/", server={"protocol": "http", "port": free_port()})
            gateway = stack.enter_context(
                running_gateway(
                    tmp_path_factory.mktemp(setting),
                    classic("secure", upstream.port, "/"),
                    plain,
                    server=server,
                    http_server_options={"enable_websockets": True},
                    disable_ports_whitelist=True,
                    tlsgate={"underscore_headers": setting},
                )
            )
            found[setting] = _Side(gateway, upstream)
        yield found
        for side in found.values():
            assert not side.upstream.violations
            assert not [received for received in side.upstream.requests if "smuggled" in received.target]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_ambiguous_request_has_one_reading(sides: dict[str, _Side], case: Case, tls: bool) -> None:
    """Refused and closed, or read by the upstream in the one reading that the case states."""
    side = sides[case.underscores]
    with Client(side.ports[tls], tls=tls, sni="b.test" if tls else None) as witness:
        _check_case(side, case, tls, witness)


def test_mutations_have_one_reading_however_they_are_cut(sides: dict[str, _Side]) -> None:
    """The upstream sees the same requests whether the bytes come at once or in pieces, and none that breaks the rules; nothing hangs."""
    side = sides["drop"]
    chance = Random(9112)
    shortest = [case.raw for case in CASES if len(case.raw) < 800]
    for number in range(scaled(2_000, 20_000)):
        raw = mutate(chance.choice(shortest), chance)
        if len(raw) > 3000:
            continue
        cuts = range(1, len(raw)) if chance.random() < 0.5 else sorted(chance.sample(range(len(raw)), min(3, len(raw))))
        at_once, in_pieces = (_seen(side, raw, found) for found in ((), cuts))
        assert at_once == in_pieces, (number, raw)
        assert not side.upstream.violations, (number, raw)
    assert not side.gateway.tracebacks()
    side.upstream.requests.clear()


def test_corpus_is_large_enough() -> None:
    """At least 120 cases, each with a name of its own."""
    assert len(CASES) >= 120
    assert len({case.name for case in CASES}) == len(CASES)


def _check_case(side: _Side, case: Case, tls: bool, witness: Client) -> None:
    for way in (WHOLE, BYTEWISE, FOLLOWED):
        side.upstream.violations.clear()
        before = len(side.upstream.requests)
        answers, ended = _ask(side, case, way, tls)
        seen = side.upstream.requests[before:]
        del side.upstream.requests[before:]
        _check_answers(case, way, answers, ended)
        expected = list(case.reads)
        if way == FOLLOWED and not case.refused and not case.closes:
            expected.append(Reading(target="/after"))
        assert len(seen) == len(expected), (way, [received.raw_head for received in seen])
        for received, reading in zip(seen, expected, strict=True):
            _check_reading(received, reading)
        assert not side.upstream.violations, way
        own = witness.request(target="/witness", host="b.test")
        assert own.status == 200 and b'"/witness"' in own.body, way
        assert side.upstream.requests.pop().target == "/witness"


def _seen(side: _Side, raw: bytes, cuts: Iterable[int]) -> list[tuple[object, ...]]:
    """Send bytes and the end behind them; return what the upstream saw by the time the gateway had closed."""
    before = len(side.upstream.requests)
    with Client(side.ports[False], tls=False, timeout_s=6) as client:
        start = 0
        try:
            for end in (*cuts, len(raw)):
                client.send(raw[start:end])
                start = end
            client.socket.shutdown(socket.SHUT_WR)
            while client.recv():
                pass
        except (ConnectionError, BrokenPipeError):
            pass
        except OSError as problem:
            # The other side has closed already.
            assert problem.errno == errno.ENOTCONN
    return [(found.method, found.target, found.body, found.trailers) for found in side.upstream.requests[before:]]


def _ask(side: _Side, case: Case, way: str, tls: bool) -> tuple[list[Response], bool]:
    """Send a case; return the answers and whether the connection ended after them."""
    answers: list[Response] = []
    with Client(side.ports[tls], tls=tls, sni="a.test" if tls else None, timeout_s=2) as client:
        raw = case.raw + AFTER if way == FOLLOWED else case.raw
        step = 1 if way == BYTEWISE and len(raw) < 2000 else 1021 if way == BYTEWISE else len(raw)
        try:
            for start in range(0, len(raw), step):
                client.send(raw[start : start + step])
        except OSError:
            assert case.refused or case.closes
        methods = list(case.methods)
        if way == FOLLOWED and not case.refused and not case.closes:
            methods.append("GET")
        try:
            answers.extend(client.read_response(method) for method in methods)
        except ConnectionResetError:
            # Whoever goes on sending behind a closed end may lose the answer (RFC 9112 9.6).
            assert case.closes and way == BYTEWISE
            return [], True
        if case.refused or case.closes:
            assert client.recv() == b""
            return answers, True
        # Still in step: the connection takes another request.
        again = client.request(target="/again", host="a.test")
        assert again.status == 200 and b'"/again"' in again.body
        assert side.upstream.requests.pop().target == "/again"
        return answers, False


def _check_answers(case: Case, way: str, answers: list[Response], ended: bool) -> None:
    if case.refused:
        assert answers[0].status in case.refused, (way, answers)
        assert answers[0].headers["connection"] == "close"
    elif case.answered:
        assert answers[0].status == case.answered, (way, answers)
    else:
        assert [answer.status for answer in answers] == [200] * len(answers), (way, answers)
    if case.closes and answers:
        assert answers[-1].headers["connection"] == "close"


def _check_reading(received: Received, reading: Reading) -> None:
    assert (received.method, received.target, received.body) == (reading.method, reading.target, reading.body)
    assert received.trailers == reading.trailers
    names = {name.lower() for name, _ in received.headers}
    assert not names & set(reading.absent), received.headers
    for name, value in reading.present:
        assert received.header(name) == value
    assert received.header("X-Forwarded-For") == "127.0.0.1"
    assert "_" not in "".join(names) or reading.present, received.headers
