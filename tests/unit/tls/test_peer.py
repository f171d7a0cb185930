"""Facts of a finished handshake, taken once; what a leaf was sent with is remembered for its resumed sessions."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.certs import make_authority, make_self_signed
from tests.support.handshakes import TLS12, TLS13, VERSIONS, client_context, shake
from tests.support.memory_edge import choice
from tlsgate.model.tls import ClientAuth, TlsFacts, TlsPolicy
from tlsgate.tls.peer import PeerMemory, take_facts

both = pytest.mark.parametrize("version", VERSIONS, ids=["tls12", "tls13"])

ROOT = make_authority("Client CA")
INTER = ROOT.subordinate("Client intermediate")
ALICE = INTER.issue("alice")


def facts(
    version: int, policy: TlsPolicy | None = None, *, certificate: bool = True, resumed: bool = False, max_chain: int = 8
) -> TlsFacts:
    """What a handshake under REQUEST says."""
    chosen = choice(ClientAuth.REQUEST)
    dialogue = shake(chosen.context, client_context(version, ALICE if certificate else None))
    assert not dialogue.refused
    return take_facts(
        dialogue.server, server_name="a.test", policy=policy or chosen.policy, resumed=resumed, memory=PeerMemory(), max_chain=max_chain
    )


@both
def test_facts_of_a_client_with_a_certificate(version: int) -> None:
    """The leaf whose key was proved, and what came with it as untrusted material."""
    found = facts(version)
    assert found.version == version
    assert found.cipher
    assert found.server_name == "a.test"
    assert not found.resumed
    assert found.peer is not None
    assert found.peer.fingerprint == ALICE.fingerprint
    assert found.peer.chain == ALICE.chain


@both
def test_facts_of_a_client_without_one(version: int) -> None:
    """None, not an empty identity."""
    assert facts(version, certificate=False).peer is None


@both
def test_nobody_looks_at_certificates_that_were_not_asked_for(version: int) -> None:
    """Under NONE there is no peer, whatever OpenSSL would say."""
    assert facts(version, TlsPolicy()).peer is None


@both
def test_the_chain_is_bounded(version: int) -> None:
    """Further certificates are ignored, the leaf is not."""
    found = facts(version, max_chain=0)
    assert found.peer is not None
    assert found.peer.chain == ()


@both
def test_a_resumed_session_brings_no_chain_of_its_own(version: int) -> None:
    """What OpenSSL kept of it is not asked for: only the memory is."""
    found = facts(version, resumed=True)
    assert found.resumed
    assert found.peer is not None
    assert found.peer.chain == ()


@both
def test_a_resumed_leaf_gets_back_what_it_was_sent_with(version: int) -> None:
    """The ticket holds the leaf only: without the memory a leaf of an intermediate would be nobody after a resumption."""
    chosen, client, memory = choice(ClientAuth.REQUEST), client_context(version, ALICE), PeerMemory()
    first = shake(chosen.context, client)
    shown = take_facts(first.server, server_name=None, policy=chosen.policy, resumed=False, memory=memory, max_chain=8).peer
    assert shown is not None
    memory.remember(shown)
    session = first.client.get_session()
    assert session is not None
    again = shake(chosen.context, client, session=session)
    assert not again.state.called
    found = take_facts(again.server, server_name=None, policy=chosen.policy, resumed=True, memory=memory, max_chain=8)
    assert found.peer is not None
    assert found.peer.chain == ALICE.chain


def known(memory: PeerMemory, leaf: bytes) -> tuple[bytes, ...]:
    """What a resumed session of a leaf gets back."""
    return memory.identity(leaf, None).chain


def test_a_resumed_session_gets_the_chain_of_the_last_accepted_handshake() -> None:
    """A client may send another chain later; a leaf sent alone teaches nothing."""
    memory = PeerMemory()
    other = ROOT.subordinate("Other intermediate")
    assert known(memory, ALICE.der) == ()
    for chain in ((INTER.der,), (), (other.der, ROOT.der)):
        peer = memory.identity(ALICE.der, chain)
        assert peer.chain == chain
        memory.remember(peer)
        assert known(memory, ALICE.der) == (chain or (INTER.der,))


def test_strangers_leave_nothing_behind() -> None:
    """Who was not accepted is not remembered, and large inventions are not cached: neither memory nor chains are at their mercy."""
    memory = PeerMemory()
    for number in range(50):
        memory.identity(ROOT.issue(f"stranger {number}").der, (b"x" * 20000, b"%d" % number))
    assert not memory._chains and not memory._interned
    assert memory._build.cache_info().currsize == 0


def test_long_chains_are_cut_where_they_are_read() -> None:
    """Not more than 24 KiB of a chain stay on a connection, nor in the memory."""
    big = [make_authority("x" * 60, kind="rsa-4096").der] * 24
    chosen = choice(ClientAuth.REQUEST)
    dialogue = shake(chosen.context, client_context(TLS13, ALICE, chain=[INTER.der, *big]))
    memory = PeerMemory()
    found = take_facts(dialogue.server, server_name=None, policy=chosen.policy, resumed=False, memory=memory, max_chain=100).peer
    assert found is not None
    assert found.chain[0] == INTER.der
    assert sum(map(len, found.chain)) <= 24576
    memory.remember(msgspec.structs.replace(found, chain=(b"x" * 24577,)))
    assert not memory._chains


def test_the_memory_is_bounded_oldest_use_out_first() -> None:
    """n-1, n, n+1 leaves; equal chains are one object, and the table of chains is bounded, too."""
    memory = PeerMemory(limit=3)
    leaves = [ROOT.issue(name).der for name in ("a", "b", "c", "d")]
    peers = [memory.identity(leaf, (bytes(bytearray(INTER.der)),)) for leaf in leaves]
    for peer in (*peers[:3], peers[0], peers[3]):
        memory.remember(peer)
    assert [known(memory, leaf) for leaf in leaves] == [(INTER.der,), (), (INTER.der,), (INTER.der,)]
    assert len({id(chain) for chain in memory._chains.values()}) == 1
    for number in range(2000):
        memory.remember(msgspec.structs.replace(peers[0], chain=(b"%d" % number,)))
    assert len(memory._interned) <= 1024


def test_odd_certificates_are_taken_as_they_are() -> None:
    """Judging them is not done here: version 1, or expired, makes no difference to the facts."""
    odd = make_self_signed("odd", not_after=1_600_000_000.0)
    for version in (TLS12, TLS13):
        chosen = choice(ClientAuth.REQUEST)
        dialogue = shake(chosen.context, client_context(version, odd))
        found = take_facts(dialogue.server, server_name=None, policy=chosen.policy, resumed=False, memory=PeerMemory(), max_chain=8)
        assert found.peer is not None
        assert found.peer.der == odd.der
        assert found.server_name is None
