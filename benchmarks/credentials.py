"""What the rows of credentials need: an API for each method, a policy with rate and quota, and a store with the keys; knows no process.

Every method has the same policy, on an API that is as strict in the handshake as the others.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.configs import build_definition
from benchmarks.upstream import Site
from tlsgate.store.sqlite_schema import migrate

__all__ = ["METHODS", "Method", "build_definitions", "write_policies", "write_store"]

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


class Method(NamedTuple):
    """One way to show who one is."""

    path: str
    fields: dict[str, Any]
    """Of its definition."""
    headers: tuple[str, ...]
    """Sent with each request."""


def _sign() -> str:
    text = f"(request-target): get /hmac/\ndate: {_DATE}"
    signature = base64.b64encode(hmac.digest(_SECRET.encode(), text.encode(), hashlib.sha256)).decode()
    signature = signature.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    return f'Signature keyId="{_SIGNER}",algorithm="hmac-sha256",headers="(request-target) date",signature="{signature}"'


METHODS = {
    "token": Method("/token/", {"use_standard_auth": True}, (f"Authorization: Bearer {_KEY}",)),
    "certificate": Method("/certificate/", {"use_standard_auth": True, "auth_configs": {"authToken": {"use_certificate": True}}}, ()),
    "basic": Method(
        "/basic/",
        {"use_basic_auth": True, "basic_auth": {"cache_ttl": 86400}},
        ("Authorization: Basic " + base64.b64encode(f"{_USER}:{_PASSWORD}".encode()).decode(),),
    ),
    "hmac": Method("/hmac/", {"enable_signature_checking": True}, (f"Authorization: {_sign()}", f"Date: {_DATE}")),
}
"""By row."""


def build_definitions(site: Site) -> list[dict[str, Any]]:
    """Return an API for each method: a static-mTLS definition that wants a credential as well.

    :param site: the run.
    """
    return [
        {**build_definition(site, name, method.path, (str(site.material.ca),)), "use_keyless": False, **method.fields}
        for name, method in METHODS.items()
    ]


def write_policies(path: Path) -> None:
    """Write the file of policies.

    :param path: for ``policies.policy_record_name``.
    """
    rights = {name: {"api_id": name, "versions": ["Default"]} for name in METHODS}
    path.write_text(json.dumps({"gold": {**_POLICY, "access_rights": rights}}), encoding="utf-8")


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
