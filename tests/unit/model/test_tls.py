"""The records of the TLS edge."""

from __future__ import annotations

from tlsgate.model.tls import ClientAuth, PeerIdentity, TlsPolicy, VersionRange


def test_modes_are_ordered_by_strictness() -> None:
    """Rules take the stricter one with max()."""
    assert ClientAuth.NONE < ClientAuth.REQUEST < ClientAuth.REQUIRE


def test_policies_compare_by_content() -> None:
    """10,000 hosts with one rule share one context; any difference makes another."""
    assert TlsPolicy() == TlsPolicy()
    assert len({TlsPolicy(), TlsPolicy()}) == 1
    others = [
        TlsPolicy(client_auth=ClientAuth.REQUIRE),
        TlsPolicy(allow_list="a"),
        TlsPolicy(announce=False),
        TlsPolicy(versions=VersionRange(lowest=772)),
        TlsPolicy(ciphers=("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",)),
        TlsPolicy(alpn=()),
        TlsPolicy(scope="control"),
    ]
    assert len({TlsPolicy(), *others}) == len(others) + 1


def test_a_peer_is_what_its_certificate_says() -> None:
    """Nothing of the chain is part of the identity by default."""
    peer = PeerIdentity(der=b"", fingerprint="ab", subject="CN=a", not_before=0, not_after=1, is_ca=False, client_usage=True)
    assert peer.readable
    assert peer.chain == ()
