"""Tests of `tlsgate.tls.peer`: facts of real handshakes in memory."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from tests.support.certs import make_authority
from tests.support.handshakes import TLS12, TLS13, VERSIONS, client_context, shake
from tlsgate.model.tls import ClientAuth, TlsPolicy
from tlsgate.tls.peer import PeerMemory, take_facts
from tlsgate.tls.verify import accept_any

SERVER = make_authority("servers").issue("a.test", names=["a.test"], usages=None)
ROOT = make_authority("clients")
MIDDLE = ROOT.subordinate("middle")
ALICE = MIDDLE.issue("alice")
ASKING = TlsPolicy(client_auth=ClientAuth.REQUEST)


def server_context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(SERVER.certificate)
    context.use_privatekey(SERVER.key)
    context.set_verify(SSL.VERIFY_PEER, accept_any)
    context.set_session_id(b"test")
    return context


@pytest.mark.parametrize("version", VERSIONS)
def test_facts_name_version_cipher_leaf_and_what_came_with_it(version: int) -> None:
    done = shake(server_context(), client_context(version, ALICE))
    facts = take_facts(done.server, server_name="a.test", policy=ASKING, resumed=False, memory=PeerMemory(), max_chain=8)
    assert facts.version == version
    assert facts.cipher
    assert facts.peer is not None
    assert facts.peer.fingerprint == ALICE.fingerprint
    assert facts.peer.chain == (MIDDLE.der,)
    assert (facts.server_name, facts.policy, facts.resumed) == ("a.test", ASKING, False)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_leaf_gets_back_what_it_was_sent_with(version: int) -> None:
    """The ticket holds the leaf only: without the memory a leaf of an intermediate would be nobody after a resumption."""
    server, client, memory = server_context(), client_context(version, ALICE), PeerMemory()
    first = shake(server, client)
    take_facts(first.server, server_name=None, policy=ASKING, resumed=False, memory=memory, max_chain=8)
    session = first.client.get_session()
    assert session is not None
    again = shake(server, client, session=session)
    assert not again.state.called
    facts = take_facts(again.server, server_name=None, policy=ASKING, resumed=True, memory=memory, max_chain=8)
    assert facts.peer is not None and facts.peer.chain == (MIDDLE.der,)
    forgotten = take_facts(again.server, server_name=None, policy=ASKING, resumed=True, memory=PeerMemory(), max_chain=8)
    assert forgotten.peer is not None and forgotten.peer.chain == ()


def test_no_certificate_and_no_question_are_no_peer() -> None:
    done = shake(server_context(), client_context(TLS13))
    assert take_facts(done.server, server_name=None, policy=ASKING, resumed=False, memory=PeerMemory(), max_chain=8).peer is None
    asked = shake(server_context(), client_context(TLS12, ALICE))
    assert take_facts(asked.server, server_name=None, policy=TlsPolicy(), resumed=False, memory=PeerMemory(), max_chain=8).peer is None


def test_only_so_many_certificates_are_looked_at() -> None:
    done = shake(server_context(), client_context(TLS13, ALICE, chain=[MIDDLE.der, ROOT.der, MIDDLE.der]))
    facts = take_facts(done.server, server_name=None, policy=ASKING, resumed=False, memory=PeerMemory(), max_chain=2)
    assert facts.peer is not None and facts.peer.chain == (MIDDLE.der, ROOT.der)


def test_the_memory_is_bounded_and_shares_equal_chains() -> None:
    """Oldest use out first; a thousand leaves of one intermediate hold one chain."""
    memory = PeerMemory(limit=2)
    leaves = [ROOT.issue(name).der for name in ("a", "b", "c")]
    for leaf in leaves:
        memory.identity(leaf, (bytes(MIDDLE.der),))
    assert len({id(chain) for chain in memory._chains.values()}) == 1
    assert memory.identity(leaves[0], None).chain == ()
    assert memory.identity(leaves[1], None).chain == (MIDDLE.der,)


def test_many_different_chains_do_not_pile_up() -> None:
    """Strangers can invent chains: the table of shared ones starts anew at its bound."""
    memory = PeerMemory(limit=10)
    for number in range(1100):
        memory.identity(ALICE.der, (b"%d" % number,))
    assert len(memory._interned) <= 1024
