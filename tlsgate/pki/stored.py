"""Certificates as the store holds them: ids, checks of an upload, the stored text, and its way back into a bundle. Knows no store.

An id is the organisation and the SHA-256 of the first certificate (of a bare public key: of its SubjectPublicKeyInfo), one after the other.
Source: mTLS reference, sections 1 and 2.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import NamedTuple

from tlsgate.errors import PkiError
from tlsgate.pki.certificate import read_certificate
from tlsgate.pki.der import check_structure, open_certificate
from tlsgate.pki.pem import PemBundle, PrivateKey, find_labels, key_matches, parse_pem
from tlsgate.pki.sealed import Sealer, find_key_block

__all__ = ["Upload", "UploadRefused", "is_store_id", "open_stored", "org_of", "read_upload", "stored_text"]

_ID = re.compile(r"[^\x00-\x1f\x7f]{0,256}[0-9a-f]{64}")
_FINGERPRINT = 64
_NOT_PEM = "Failed to decode certificate. It should be PEM encoded."


class UploadRefused(PkiError):
    """An upload that is not taken; the text is what Tyk's users know."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail
        """What is wrong in full, for the log."""


class Upload(NamedTuple):
    """An upload that may be stored."""

    id: str
    fingerprint: str
    """Of the leaf, or of the public key."""
    bundle: PemBundle
    warnings: tuple[str, ...]


def is_store_id(reference: str) -> bool:
    """Tell whether a reference has the form of an id: anything, then 64 lower-case hex digits."""
    return _ID.fullmatch(reference) is not None


def org_of(id: str) -> str:
    """Return the organisation of an id."""
    return id[:-_FINGERPRINT]


def read_upload(body: bytes, org: str, now: float) -> Upload:
    """Check an upload as Tyk does; it is all there is of it, no file and no store is asked.

    :param now: epoch seconds.
    :raises UploadRefused: with the message for the caller.
    """
    try:
        labels = find_labels(body)
    except PkiError as error:
        raise UploadRefused(_NOT_PEM, str(error)) from error
    keys = [label for label in labels if label.endswith("PRIVATE KEY")]
    if len(keys) > 1:
        raise UploadRefused("Found multiple private keys")
    certificates, public_keys = labels.count("CERTIFICATE"), labels.count("PUBLIC KEY")
    if not certificates and not public_keys:
        raise UploadRefused(_NOT_PEM)
    if certificates and public_keys:
        raise UploadRefused("Public keys can't be combined with certificates")
    if public_keys > 1:
        raise UploadRefused("Found multiple public keys")
    bundle = _parse(body, bool(keys))
    if bundle.leaf is None:
        fingerprint = hashlib.sha256(bundle.public_keys[0]).hexdigest()
        # A private key beside a public one would never be used.
        return Upload(org + fingerprint, fingerprint, PemBundle(public_keys=bundle.public_keys), ())
    warnings = _check_certificates(bundle, now)
    if bundle.private_key is not None:
        try:
            if not key_matches(bundle.leaf, bundle.private_key):
                raise UploadRefused("tls: private key does not match public key")
        except UploadRefused:
            raise
        except PkiError as error:
            raise UploadRefused("x509: malformed public key", str(error)) from error
    fingerprint = hashlib.sha256(bundle.leaf).hexdigest()
    return Upload(org + fingerprint, fingerprint, bundle, tuple(warnings))


def stored_text(upload: Upload, sealer: Sealer, salt: bytes) -> str:
    """Return the text to store: the chain in its order, the key sealed and last; slow the first time (see :meth:`Sealer.seal`)."""
    bundle = upload.bundle
    parts = [_block("CERTIFICATE", der) for der in bundle.certificates]
    parts += [_block("PUBLIC KEY", der) for der in bundle.public_keys]
    if bundle.private_key is not None:
        parts.append(sealer.seal(bundle.private_key, upload.fingerprint, salt))
    return "".join(parts)


def open_stored(text: bytes, sealer: Sealer) -> PemBundle:
    """Read a stored text, of ours or of Tyk's.

    :returns: the bundle; a key that cannot be decrypted leaves the certificates usable, and says so in ``key_fault``.
    :raises PkiError: nothing of it can be read.
    """
    try:
        plain, block = find_key_block(text.decode())
    except UnicodeDecodeError as error:
        raise PkiError("stored text is no PEM") from error
    bundle = parse_pem(plain)
    if block is None:
        return bundle
    if bundle.leaf is None:
        return bundle
    key: PrivateKey | None = None
    fault = ""
    try:
        key = sealer.unseal(block, hashlib.sha256(bundle.leaf).hexdigest())
        if not key_matches(bundle.leaf, key):
            key, fault = None, "stored private key belongs to another certificate"
    except PkiError as error:
        fault = str(error)
    return PemBundle(certificates=bundle.certificates, private_key=key, public_keys=bundle.public_keys, key_fault=fault)


def _parse(body: bytes, has_key: bool) -> PemBundle:
    try:
        return parse_pem(body)
    except PkiError as error:
        raise UploadRefused(_go_message(body, has_key), str(error)) from error


def _go_message(body: bytes, has_key: bool) -> str:
    """Say which part of an unreadable upload is at fault, in Go's words."""
    text = body.decode("latin-1")
    for block in re.finditer(r"-----BEGIN ([ -,.-~]{1,64})-----(?:(?!-----).)*-----END \1-----", text, re.DOTALL):
        label = block.group(1).strip()
        try:
            parse_pem(block.group(0).encode("latin-1"))
        except PkiError as error:
            if "base64" in str(error) or "END line" in str(error):
                return _NOT_PEM
            if label == "CERTIFICATE":
                return "x509: malformed certificate"
            if label == "PUBLIC KEY":
                return "x509: malformed public key"
            if label.endswith("PRIVATE KEY"):
                encrypted = "ENCRYPTED" in block.group(0)
                return "tls: failed to parse private key" + (": it is encrypted, upload it without a passphrase" if encrypted else "")
    return _NOT_PEM


def _check_certificates(bundle: PemBundle, now: float) -> list[str]:
    warnings = []
    for number, der in enumerate(bundle.certificates):
        try:
            check_structure(der)
            ends = open_certificate(der).not_valid_after_utc.timestamp()
        except (PkiError, ValueError, OverflowError) as error:
            raise UploadRefused("x509: malformed certificate", f"certificate {number + 1}: {error}") from error
        if ends < now:
            raise UploadRefused("certificate is expired", f"certificate {number + 1} of the upload")
        try:
            facts = read_certificate(der)
        except PkiError as error:
            warnings.append(f"certificate {number + 1} cannot be judged, it will let nobody in: {error}")
            continue
        weak = facts.weak_key or (facts.weak_signature if facts.subject != facts.issuer else "")
        if weak:
            warnings.append(f"certificate {number + 1} is weak, handshakes refuse it: {weak}")
        if number == 0 and facts.roles.unmarked_ca:
            warnings.append(
                "the certificate says CA:TRUE without a key usage: listed as a client's it may count as a CA, see trust_unmarked_ca"
            )
    return warnings


def _block(label: str, der: bytes) -> str:
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])
