"""Private keys at rest: sealed with AES-256-GCM under a key made from a passphrase; reads Tyk's older form too. Knows no store.

A sealed key is a PEM block that says how to open it::

    -----BEGIN SEALED PRIVATE KEY-----
    Seal: 1,scrypt,32768,8,1,<salt of the passphrase>,<salt of this entry>

    <base64 of nonce, ciphertext and tag>
    -----END SEALED PRIVATE KEY-----

The slow step (scrypt) depends on the first salt only, which all entries of an installation share; each entry's own key is made from its
result and a salt of its own (HKDF). The certificate's fingerprint is authenticated: a sealed key cannot be put beside another certificate.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import threading
from typing import NamedTuple

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tlsgate.errors import PkiError
from tlsgate.pki.pem import PrivateKey

__all__ = ["LABEL", "LEGACY_LABEL", "SALT_BYTES", "CannotDecrypt", "KeyBlock", "Sealer", "find_key_block"]

LABEL = "SEALED PRIVATE KEY"
LEGACY_LABEL = "ENCRYPTED PRIVATE KEY"
SALT_BYTES = 16
_N, _R, _P = 2**15, 8, 1
"""About 80 ms and 32 MiB, once per process and passphrase."""
_MAX_N, _MAX_R, _MAX_P = 2**17, 16, 4
"""What an entry may ask for: whoever can write to the store must not be able to stop the process."""
_NONCE_BYTES = 12
_KEPT = 16
_BLOCK = re.compile(r"-----BEGIN (SEALED|ENCRYPTED) PRIVATE KEY-----\s*((?:(?!-----).)*)-----END \1 PRIVATE KEY-----\s*", re.DOTALL)
_HEADER = re.compile(r"^([A-Za-z][A-Za-z0-9-]*):[ \t]*(.*?)[ \t]*$")


class CannotDecrypt(PkiError):
    """A key that was sealed under another passphrase, or changed since."""


class KeyBlock(NamedTuple):
    """An encrypted key as it stands in a text."""

    label: str
    headers: dict[str, str]
    body: bytes


def find_key_block(text: str) -> tuple[str, KeyBlock | None]:
    """Take the encrypted private key out of a stored text.

    :returns: the text without it, and the block, None when there is none.
    :raises PkiError: the block cannot be read, or there are several.
    """
    found = list(_BLOCK.finditer(text))
    if not found:
        return text, None
    if len(found) > 1:
        raise PkiError("holds several encrypted private keys")
    headers: dict[str, str] = {}
    body: list[str] = []
    for line in found[0].group(2).splitlines():
        header = _HEADER.match(line)
        if header is not None and not body:
            headers[header.group(1)] = header.group(2)
        elif line.strip():
            body.append(line.strip())
    try:
        data = binascii.a2b_base64("".join(body), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise PkiError(f"encrypted private key is not base64: {error}") from error
    return _BLOCK.sub("", text), KeyBlock(f"{found[0].group(1)} PRIVATE KEY", headers, data)


class Sealer:
    """Seals and opens private keys with one passphrase; safe to use from several threads.

    :param passphrase: ``security.private_certificate_encoding_secret``, else ``secret``.
    """

    __slots__ = ("_lock", "_masters", "_passphrase")

    def __init__(self, passphrase: str) -> None:
        self._passphrase = passphrase.encode()
        self._masters: dict[tuple[bytes, int, int, int], bytes] = {}
        self._lock = threading.Lock()

    def seal(self, key: PrivateKey, fingerprint: str, salt: bytes) -> str:
        """Return a private key as a sealed PEM block; the first time it takes some 80 ms.

        :param fingerprint: of the certificate that the key belongs to.
        :param salt: the installation's, ``SALT_BYTES`` long.
        """
        own = os.urandom(SALT_BYTES)
        master = self._master(salt, _N, _R, _P)
        header = f"1,scrypt,{_N},{_R},{_P},{salt.hex()},{own.hex()}"
        nonce = os.urandom(_NONCE_BYTES)
        der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        sealed = AESGCM(_entry_key(master, own)).encrypt(nonce, der, _bound(header, fingerprint))
        text = base64.b64encode(nonce + sealed).decode()
        lines = [text[at : at + 64] for at in range(0, len(text), 64)]
        return "\n".join([f"-----BEGIN {LABEL}-----", f"Seal: {header}", "", *lines, f"-----END {LABEL}-----", ""])

    def unseal(self, block: KeyBlock, fingerprint: str) -> PrivateKey:
        """Open an encrypted key of either form.

        :param fingerprint: of the certificate beside it.
        :raises CannotDecrypt: it was made with another passphrase, or does not belong to this certificate.
        :raises PkiError: it is of a form that is not known.
        """
        sealed = block.label == LABEL
        der = self._open(block, fingerprint) if sealed else self._open_legacy(block)
        try:
            # Checking the primes of an RSA key takes 30 ms. A sealed one was checked before it was sealed, and nobody changed it since.
            key = serialization.load_der_private_key(der, None, unsafe_skip_rsa_key_validation=sealed)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # With the old form one wrong passphrase in 256 passes the check of the padding.
            raise CannotDecrypt(_CANNOT) from None
        if not isinstance(key, PrivateKey):
            raise PkiError("private key is of a kind that TLS cannot use")
        return key

    def _open(self, block: KeyBlock, fingerprint: str) -> bytes:
        header = block.headers.get("Seal", "")
        try:
            version, kdf, n, r, p, salt, own = header.split(",")
            cost = int(n), int(r), int(p)
            salts = bytes.fromhex(salt), bytes.fromhex(own)
        except ValueError:
            raise PkiError("sealed private key without a readable Seal line") from None
        if (version, kdf) != ("1", "scrypt") or not (2 <= cost[0] <= _MAX_N and 1 <= cost[1] <= _MAX_R and 1 <= cost[2] <= _MAX_P):
            raise PkiError("private key is sealed in a way that this version does not know")
        try:
            master = self._master(salts[0], *cost)
            return AESGCM(_entry_key(master, salts[1])).decrypt(
                block.body[:_NONCE_BYTES], block.body[_NONCE_BYTES:], _bound(header, fingerprint)
            )
        except (InvalidTag, ValueError):
            raise CannotDecrypt(_CANNOT) from None

    def _open_legacy(self, block: KeyBlock) -> bytes:
        """Open what Tyk writes: RFC 1421 headers, AES-256-CBC, key by one round of MD5 (OpenSSL's old PEM form). Never written."""
        cipher, _, iv_text = block.headers.get("DEK-Info", "").partition(",")
        try:
            iv = bytes.fromhex(iv_text)
        except ValueError:
            iv = b""
        if block.headers.get("Proc-Type", "").replace(" ", "") != "4,ENCRYPTED" or cipher.upper() != "AES-256-CBC" or len(iv) != 16:
            raise PkiError("encrypted private key is of a form that is not known; upload it without a passphrase")
        key = step = b""
        while len(key) < 32:
            step = hashlib.md5(step + self._passphrase + iv[:8], usedforsecurity=False).digest()
            key += step
        data = block.body
        if not data or len(data) % 16:
            raise CannotDecrypt(_CANNOT)
        decryptor = Cipher(algorithms.AES(key[:32]), modes.CBC(iv)).decryptor()
        plain = decryptor.update(data) + decryptor.finalize()
        padding = plain[-1]
        if not 1 <= padding <= 16 or plain[-padding:] != bytes([padding]) * padding:
            raise CannotDecrypt(_CANNOT)
        return plain[:-padding]

    def _master(self, salt: bytes, n: int, r: int, p: int) -> bytes:
        wanted = (salt, n, r, p)
        with self._lock:
            master = self._masters.get(wanted)
            if master is None:
                memory = 128 * r * (n + p + 2)
                master = hashlib.scrypt(self._passphrase, salt=salt, n=n, r=r, p=p, maxmem=memory + (1 << 20), dklen=32)
                if len(self._masters) >= _KEPT:
                    self._masters.clear()
                self._masters[wanted] = master
            return master


_CANNOT = "private key cannot be decrypted: it was stored under another secret, or does not belong to this certificate"


def _entry_key(master: bytes, salt: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, b"tlsgate sealed private key 1").derive(master)


def _bound(header: str, fingerprint: str) -> bytes:
    return f"{LABEL}\n{header}\n{fingerprint}".encode()
