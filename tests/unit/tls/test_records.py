"""TLS records by pyOpenSSL's insides and by its public functions: the same bytes, the same errors."""

from __future__ import annotations

from typing import Any

import pytest
from OpenSSL import SSL

from tests.support.handshakes import VERSIONS, client_context
from tests.support.memory_edge import choice
from tlsgate.tls.records import BUFFER_BYTES, Records, find_records, public_records, records
from tlsgate.tls.verify import HandshakeState

_FOUND = find_records()
KINDS = [pytest.param(_FOUND, id="insides"), pytest.param(public_records(), id="public")]
ways = pytest.mark.parametrize("way", KINDS)
both = pytest.mark.parametrize("version", VERSIONS, ids=["tls12", "tls13"])


def _pair(way: Records, version: int) -> tuple[Any, Any]:
    """A server and a client after their handshake."""
    server = SSL.Connection(choice().context, None)
    server.set_accept_state()
    server.set_app_data(HandshakeState())
    client = SSL.Connection(client_context(version), None)
    client.set_connect_state()
    for _ in range(4):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            data = way.fetch(one)
            if data:
                way.feed(other, data)
    for one in (server, client):
        with pytest.raises(SSL.WantReadError):
            way.decrypt(one)
    return server, client


def test_the_process_uses_the_quick_way() -> None:
    """With the pyOpenSSL that is installed here."""
    assert _FOUND is not None
    assert records.decrypt.__qualname__ == _FOUND.decrypt.__qualname__


@ways
@both
@pytest.mark.parametrize("size", [1, 16384, 16385, 65536, 300_000])
def test_what_one_side_writes_the_other_reads_record_by_record(way: Records, version: int, size: int) -> None:
    """Larger ones are several records, and more than the buffer holds is fetched piece by piece."""
    server, client = _pair(way, version)
    sent = (bytes(range(256)) * (size // 256 + 1))[:size]
    way.encrypt(server, sent)
    pieces = []
    while piece := way.fetch(server):
        pieces.append(piece)
        way.feed(client, piece)
    assert all(len(piece) == BUFFER_BYTES for piece in pieces[:-1])
    received = []
    with pytest.raises(SSL.WantReadError):
        while True:
            received.append(way.decrypt(client))
    assert b"".join(received) == sent
    assert [len(one) for one in received[:-1]] == [16384] * (len(received) - 1)


@ways
@both
def test_a_goodbye_and_a_broken_record_are_the_errors_of_pyopenssl(way: Records, version: int) -> None:
    """What a stream does next depends on them."""
    server, client = _pair(way, version)
    client.shutdown()
    way.feed(server, way.fetch(client))
    with pytest.raises(SSL.ZeroReturnError):
        way.decrypt(server)
    server, client = _pair(way, version)
    way.encrypt(client, b"data")
    wire = way.fetch(client)
    way.feed(server, wire[:-1] + bytes((wire[-1] ^ 1,)))
    with pytest.raises(SSL.Error, match=r"bad record mac|decryption failed"):
        way.decrypt(server)


@ways
def test_nothing_can_be_written_after_the_goodbye(way: Records) -> None:
    """An error, not silence."""
    server, _ = _pair(way, VERSIONS[1])
    server.shutdown()
    with pytest.raises(SSL.Error):
        way.encrypt(server, b"late")


def test_other_insides_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pyOpenSSL of tomorrow is used by its public functions."""
    monkeypatch.delattr(SSL.Connection, "_raise_ssl_error")
    assert find_records() is None
