"""Private keys as Tyk stores them, made with the openssl program and not with our own code."""

from __future__ import annotations

import subprocess
from typing import Any

from cryptography.hazmat.primitives import serialization

__all__ = ["legacy_pem"]


def legacy_pem(key: Any, passphrase: str) -> str:
    """Encrypt a key in OpenSSL's old PEM form (AES-256-CBC, key by one round of MD5), under the label that Tyk gives it."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    kind = "rsa" if b"RSA PRIVATE KEY" in pem else "ec"
    command = ["openssl", kind, "-aes256", "-passout", f"pass:{passphrase}", *(["-traditional"] if kind == "rsa" else [])]
    made = subprocess.run(command, input=pem, capture_output=True, check=True).stdout.decode()
    assert "Proc-Type: 4,ENCRYPTED" in made and "DEK-Info: AES-256-CBC," in made, made
    return made.replace("RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY").replace("EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
