"""Tyk's (Go's) cipher suite names as OpenSSL cipher strings; knows nothing of contexts or certificates.

The default is what every client of the last ten years can speak: ECDHE key exchange and AEAD only. Static RSA key exchange and CBC are
spoken only where an operator names them; RC4 and 3DES are not in the library at all, so that naming them is an error, not a silent loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DEFAULT_CIPHERS", "CipherChoice", "find_weak_ciphers", "parse_ciphers"]

_TLS13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")

_TLS12 = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}

_WEAK = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}

# Go's own aliases (Tyk takes both spellings).
_ALIASES = {
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}

_GONE = frozenset(
    {
        "TLS_RSA_WITH_RC4_128_SHA",
        "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    }
)

_ALL12 = {**_TLS12, **_WEAK}


class CipherChoice(NamedTuple):
    """Two lists for OpenSSL, which keeps the suites of TLS 1.2 and 1.3 apart."""

    tls12: tuple[str, ...]
    """OpenSSL names in order of preference; empty: no suite of TLS 1.2, hence TLS 1.3 only."""
    tls13: tuple[str, ...]


DEFAULT_CIPHERS = CipherChoice(tuple(_TLS12.values()), _TLS13)


def parse_ciphers(names: Sequence[str]) -> CipherChoice:
    """Return OpenSSL's lists for suites named as Tyk names them, in the order given.

    Naming suites of TLS 1.2 only leaves the list of TLS 1.3 at its default, as in Tyk, where the setting does not reach it. A list that
    names suites of TLS 1.3 restricts those too (where Tyk ignores them); with those alone the connection is TLS 1.3 only.

    Source: Tyk documentation, "TLS and SSL", ``ssl_ciphers``; differs: an unknown name is an error there where Tyk skips it silently.

    :param names: for instance ``TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256``, in any case; empty is the default list.
    :returns: the lists.
    :raises ValueError: names that nobody knows, or that the library does not offer any more (RC4, 3DES); names all of them.
    """
    if not names:
        return DEFAULT_CIPHERS
    tls12: list[str] = []
    tls13: list[str] = []
    bad: list[str] = []
    for name in names:
        suite = _canonical(name)
        if suite in _TLS13:
            if suite not in tls13:
                tls13.append(suite)
        elif suite in _ALL12:
            if _ALL12[suite] not in tls12:
                tls12.append(_ALL12[suite])
        elif suite in _GONE:
            bad.append(f"{name} (RC4 and 3DES are not offered)")
        else:
            bad.append(name)
    if bad:
        raise ValueError("unknown cipher suites: " + ", ".join(bad))
    return CipherChoice(tuple(tls12), tuple(tls13) if tls13 else _TLS13)


def find_weak_ciphers(names: Sequence[str]) -> tuple[str, ...]:
    """Return those of the names that work but are worth a warning: CBC, or key exchange without forward secrecy."""
    return tuple(name for name in names if _canonical(name) in _WEAK)


def _canonical(name: str) -> str:
    suite = name.strip().upper()
    return _ALIASES.get(suite, suite)
