"""Tests of :mod:`tlsgate.tls.ciphers`."""

from __future__ import annotations

import pytest
from OpenSSL import SSL

from tlsgate.tls.ciphers import DEFAULT_CIPHERS, find_weak_ciphers, parse_ciphers

GO_SUITES = (
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
)


def offered(cipher_string: str) -> list[str]:
    """What OpenSSL makes of a string, TLS 1.3 left out."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(f"{cipher_string}:@SECLEVEL=2".encode())
    return [name for name in SSL.Connection(context, None).get_cipher_list() if not name.startswith("TLS_")]


@pytest.mark.parametrize("suite", GO_SUITES)
def test_each_go_suite_is_one_suite_of_openssl(suite: str) -> None:
    """Tyk, ``ssl_ciphers``: every name that Go and this OpenSSL both speak."""
    (name,) = parse_ciphers([suite]).tls12
    assert offered(name) == [name]


@pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
def test_suites_of_tls13_restrict_tls13(suite: str) -> None:
    """Named alone they leave nothing for TLS 1.2; named beside others both lists are as given."""
    alone = parse_ciphers([suite])
    assert alone == ((), (suite,))
    both = parse_ciphers([suite, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"])
    assert both == (("ECDHE-RSA-AES128-GCM-SHA256",), (suite,))


def test_names_are_compared_without_case_and_doubles_count_once() -> None:
    """mTLS reference, section 3: Go suite names, case-insensitive."""
    choice = parse_ciphers(
        [" tls_ecdhe_rsa_with_aes_128_gcm_sha256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 ", "Tls_Aes_128_Gcm_Sha256"] * 2
    )
    assert choice == (("ECDHE-RSA-AES128-GCM-SHA256",), ("TLS_AES_128_GCM_SHA256",))


@pytest.mark.parametrize("kind", ["RSA", "ECDSA"])
def test_chacha_has_an_alias(kind: str) -> None:
    """mTLS reference, section 3: ``..._CHACHA20_POLY1305`` is ``..._CHACHA20_POLY1305_SHA256``."""
    assert parse_ciphers([f"TLS_ECDHE_{kind}_WITH_CHACHA20_POLY1305"]) == parse_ciphers([f"TLS_ECDHE_{kind}_WITH_CHACHA20_POLY1305_SHA256"])


def test_order_is_kept() -> None:
    """The operator's preference is the server's."""
    assert parse_ciphers([GO_SUITES[13], GO_SUITES[11]]).tls12 == ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256")


def test_all_unknown_names_are_told_at_once() -> None:
    """BETTER than Tyk, which skips them with a debug line."""
    with pytest.raises(ValueError, match="unknown cipher suites: TLS_FOO, ECDHE-RSA-AES128-GCM-SHA256") as caught:
        parse_ciphers(["TLS_FOO", "TLS_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"])
    assert "TLS_AES" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "TLS_RSA_WITH_RC4_128_SHA",
        "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    ],
)
def test_rc4_and_3des_are_refused_by_name(name: str) -> None:
    """Go and Tyk know them; the library has not got them any more."""
    with pytest.raises(ValueError, match=r"\(RC4 and 3DES are not offered\)"):
        parse_ciphers([name])


def test_the_default_is_forward_secret_and_authenticated() -> None:
    """mTLS reference, section 14: no 3DES, no RSA key exchange."""
    assert parse_ciphers([]) is DEFAULT_CIPHERS
    assert all(name.startswith("ECDHE-") and ("GCM" in name or "CHACHA20" in name) for name in DEFAULT_CIPHERS.tls12)
    assert offered(":".join(DEFAULT_CIPHERS.tls12)) == list(DEFAULT_CIPHERS.tls12)


def test_weak_ones_are_named_as_written() -> None:
    """For a warning at load: CBC and static RSA key exchange."""
    assert find_weak_ciphers(["tls_rsa_with_aes_128_gcm_sha256", GO_SUITES[11], GO_SUITES[7], "nonsense"]) == (
        "tls_rsa_with_aes_128_gcm_sha256",
        GO_SUITES[7],
    )
