"""What the rows of credentials need: an API for each method, a policy with rate and quota, and a store with the keys; knows no process.

Every method has the same policy, on an API that is as strict in the handshake as the others.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import bcrypt
import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.configs import build_definition
from benchmarks.upstream import Site
from tlsgate.store.sqlite_schema import migrate

__all__ = ["METHODS", "Method", "build_definitions", "make_token", "write_policies", "write_provider", "write_store"]

_ORG = "bench"
_KEY = _ORG + "0123456789abcdef" * 2
_SIGNER = _ORG + "fedcba9876543210" * 2
_USER, _PASSWORD = "somebody", "correct horse battery staple"
_SECRET = "0123456789abcdef" * 2
_DATE = "Thu, 26 Nov 2026 12:00:00 GMT"
_BCRYPT_COST = 10
_POLICY = {
    "id": "gold",
    "org_id": _ORG,
    # Neither is ever reached.
    "rate": 1e9,
    "per": 60,
    "quota_max": 10**15,
    "quota_renewal_rate": 3600,
}


_KEYS = "keys.json"
_ANSWER = "introspection.json"
_NUMBERS = itertools.count()


class Method(NamedTuple):
    """One way to show who one is."""

    path: str
    fields: Callable[[str], dict[str, Any]]
    """Returns those of its definition, for the address of the identity provider."""
    headers: Callable[[], tuple[str, ...]]
    """Returns what is sent with each request."""


@cache
def _signer(algorithm: str) -> Any:
    return rsa.generate_private_key(65537, 2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())


def make_token(algorithm: str) -> str:
    """Return a token like no other.

    :param algorithm: ``RS256`` or ``ES256``.
    """
    claims = {"iss": "bench", "sub": _USER, "exp": 4102444800, "jti": str(next(_NUMBERS)), "scope": "read write"}
    return jwt.encode(claims, _signer(algorithm), algorithm, headers={"kid": algorithm})


def _trust(family: str) -> Callable[[str], dict[str, Any]]:
    """Return the fields of an API that takes signed tokens."""
    return lambda provider: {
        "enable_jwt": True,
        "jwt_signing_method": family,
        "jwt_source": f"{provider}/{_KEYS}",
        "jwt_identity_base_field": "sub",
        "jwt_default_policies": ["gold"],
    }


def _ask(provider: str) -> dict[str, Any]:
    """Return the fields of an API that asks about tokens."""
    way = {"enabled": True, "url": f"{provider}/{_ANSWER}", "client_id": "gateway", "client_secret": "secret", "cache": {"enabled": True}}
    return {"external_oauth": {"enabled": True, "providers": [{"introspection": way}]}}


def _sign() -> str:
    text = f"(request-target): get /hmac/\ndate: {_DATE}"
    signature = base64.b64encode(hmac.digest(_SECRET.encode(), text.encode(), hashlib.sha256)).decode()
    signature = signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    return f'Signature keyId="{_SIGNER}",algorithm="hmac-sha256",headers="(request-target) date",signature="{signature}"'


METHODS = {
    "token": Method("/token/", lambda _: {"use_standard_auth": True}, lambda: (f"Authorization: Bearer {_KEY}",)),
    "certificate": Method(
        "/certificate/", lambda _: {"use_standard_auth": True, "auth_configs": {"authToken": {"use_certificate": True}}}, lambda: ()
    ),
    "basic": Method(
        "/basic/",
        lambda _: {"use_basic_auth": True, "basic_auth": {"cache_ttl": 86400}},
        lambda: ("Authorization: Basic " + base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode(),),
    ),
    "hmac": Method("/hmac/", lambda _: {"enable_signature_checking": True}, lambda: (f"Authorization: {_sign()}", f"Date: {_DATE}")),
    "jwt": Method("/jwt/", _trust("rsa"), lambda: (f"Authorization: Bearer {make_token('RS256')}",)),
    "es256": Method("/es256/", _trust("ecdsa"), lambda: (f"Authorization: Bearer {make_token('ES256')}",)),
    "introspection": Method("/introspection/", _ask, lambda: ("Authorization: Bearer opaque",)),
}
"""By row."""


def build_definitions(site: Site) -> list[dict[str, Any]]:
    """Return an API for each method: a static-mTLS definition that wants a credential as well.

    :param site: the run.
    """
    provider = f"http://127.0.0.1:{site.upstream_port}/provider"
    return [
        {**build_definition(site, name, method.path, (str(site.material.ca),)), "use_keyless": False, **method.fields(provider)}
        for name, method in METHODS.items()
    ]


def write_policies(path: Path) -> None:
    """Write the file of policies.

    :param path: for ``policies.policy_record_name``.
    """
    rights = {name: {"api_id": name, "versions": ["Default"]} for name in METHODS}
    path.write_text(json.dumps({"gold": {**_POLICY, "access_rights": rights}}), encoding="utf-8")


def write_provider(folder: Path) -> None:
    """Write what the identity provider answers: its keys, and that a token is active.

    :param folder: made here.
    """
    folder.mkdir(exist_ok=True)
    keys = []
    for name, kind in (("RS256", jwt.algorithms.RSAAlgorithm), ("ES256", jwt.algorithms.ECAlgorithm)):
        keys.append({**kind.to_jwk(_signer(name).public_key(), as_dict=True), "kid": name, "alg": name, "use": "sig"})
    (folder / _KEYS).write_text(json.dumps({"keys": keys}), encoding="utf-8")
    (folder / _ANSWER).write_text(json.dumps({"active": True, "sub": _USER, "exp": 4102444800}), encoding="utf-8")


def write_store(path: Path, certificate: Path) -> None:
    """Make an embedded store with the keys and the client's certificate, unless they are there.

    :param path: for ``storage.path``.
    :param certificate: of the client, PEM.
    """
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    fingerprint = parsed.fingerprint(SHA256()).hex()
    entries: dict[str, Any] = {
        f"apikey-{_KEY}": {},
        f"apikey-{_ORG}{fingerprint}": {"certificate": f"{_ORG}{fingerprint}"},
        f"apikey-{_ORG}{_USER}": {"basic_auth_data": {"password": _hash(), "hash_type": "bcrypt"}},
        # Whom the answers about tokens name.
        f"apikey-{_ORG}{hashlib.md5(_USER.encode(), usedforsecurity=False).hexdigest()}": {"tlsgate_origin": "external_oauth"},
        f"apikey-{_SIGNER}": {"hmac_enabled": True, "hmac_string": _SECRET},
    }
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection)
        for name, members in entries.items():
            session = json.dumps({"org_id": _ORG, "apply_policies": ["gold"], **members}).encode()
            connection.execute("INSERT OR IGNORE INTO entries (name, kind, value) VALUES (?, 0, ?)", (name, session))
        text = parsed.public_bytes(Encoding.PEM)
        connection.execute("INSERT OR IGNORE INTO entries (name, kind, value) VALUES (?, 0, ?)", (f"cert-raw-{_ORG}{fingerprint}", text))
    finally:
        connection.close()


def _hash() -> str:
    return bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt(_BCRYPT_COST)).decode("ascii")
