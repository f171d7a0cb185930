"""Facts of a finished handshake, taken once; what a leaf was sent with is remembered for its resumed sessions."""

from __future__ import annotations

import pytest

from tests.support.certs import make_authority, make_self_signed
from tests.support.handshakes import TLS12, TLS13, VERSIONS, client_context, shake
from tests.support.memory_edge import choice
from tlsgate.model.tls import ClientAuth, PeerIdentity, TlsFacts, TlsPolicy
from tlsgate.pki.identity import build_identity
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
    take_facts(first.server, server_name=None, policy=chosen.policy, resumed=False, memory=memory, max_chain=8)
    session = first.client.get_session()
    assert session is not None
    again = shake(chosen.context, client, session=session)
    assert not again.state.called
    found = take_facts(again.server, server_name=None, policy=chosen.policy, resumed=True, memory=memory, max_chain=8)
    assert found.peer is not None
    assert found.peer.chain == ALICE.chain


def chain_of(memory: PeerMemory, leaf: bytes, chain: tuple[bytes, ...] | None) -> tuple[bytes, ...]:
    return memory.identity(leaf, chain).chain


def test_a_resumed_session_gets_the_chain_of_the_last_full_handshake() -> None:
    """A client may send another chain later."""
    memory = PeerMemory()
    other = ROOT.subordinate("Other intermediate")
    assert chain_of(memory, ALICE.der, None) == ()
    assert chain_of(memory, ALICE.der, (INTER.der,)) == (INTER.der,)
    assert chain_of(memory, ALICE.der, None) == (INTER.der,)
    assert chain_of(memory, ALICE.der, (other.der, ROOT.der)) == (other.der, ROOT.der)
    assert chain_of(memory, ALICE.der, None) == (other.der, ROOT.der)


def test_a_leaf_sent_alone_keeps_what_was_known() -> None:
    """An empty chain teaches nothing."""
    memory = PeerMemory()
    chain_of(memory, ALICE.der, (INTER.der,))
    assert chain_of(memory, ALICE.der, ()) == ()
    assert chain_of(memory, ALICE.der, None) == (INTER.der,)


def identify(leaf: bytes, chain: tuple[bytes, ...]) -> PeerIdentity:
    return build_identity(ALICE.der, chain)


def test_the_memory_is_bounded_oldest_use_out_first() -> None:
    """n-1, n, n+1 leaves."""
    memory = PeerMemory(identify, limit=3)
    for leaf in (b"1", b"2", b"3"):
        memory.identity(leaf, (leaf,))
    memory.identity(b"1", (b"1",))
    memory.identity(b"4", (b"4",))
    assert [memory.identity(leaf, None).chain for leaf in (b"1", b"2", b"3", b"4")] == [(b"1",), (), (b"3",), (b"4",)]


def test_equal_chains_are_one_object() -> None:
    """100,000 clients of one CA share it; the table of chains is bounded, too."""
    memory = PeerMemory(identify)
    for leaf in (b"1", b"2"):
        memory.identity(leaf, (b"ca" + leaf[:0],))
    assert memory._chains[b"1"] is memory._chains[b"2"]
    for number in range(2000):
        memory.identity(b"x%d" % number, (b"%d" % number,))
    assert len(memory._interned) <= 1024
    assert memory.identity(b"1", None).chain == (b"ca",)


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
