"""Notifications between Tyk gateways, for installations where both share a Redis; knows their form, opens nothing.

Tyk's signature is a hash over command, payload and ``node_secret``: no MAC, and without a secret anybody's. Hence nothing is believed or
written without a secret, and what is believed makes us forget or read again, nothing else. Source: keys reference, section 4.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

__all__ = ["CHANNEL", "ForgedNotification", "encode_notification", "parse_notification", "sign"]

CHANNEL = "tyk.cluster.notifications"
_SHA256 = 5
"""Go's number of the algorithm."""
_KEYS = "KeySpaceUpdateNotification"
_RELOADS = frozenset({"GroupReload", "ApiUpdated", "ApiRemoved", "ApiAdded", "PolicyChanged"})
_COMMANDS = {"key": _KEYS, "policy": "PolicyChanged", "api": "ApiUpdated", "reload": "GroupReload"}
"""By topic; Tyk has none for certificates."""
_encode = msgspec.json.encode


class ForgedNotification(Exception):
    """A command of ours to obey, without a good signature."""


class _Notification(msgspec.Struct):
    """A message of the channel; Tyk passes over members that it does not know."""

    command: str
    payload: str = ""
    signature: str = ""
    algorithm: int = 0
    tlsgate: str = ""
    """Set in what we write: our gateways have heard it on their own channel."""


_decoder = msgspec.json.Decoder(_Notification)


def sign(command: str, payload: str, secret: str) -> str:
    """Return Tyk's signature."""
    return hashlib.sha256(f"{command}{payload}{secret}".encode()).hexdigest()


def encode_notification(topic: str, payload: str, secret: str) -> bytes | None:
    """Return what tells Tyk gateways of a change, None for one that they have no command for.

    :param secret: ``node_secret``, not empty.
    """
    command = _COMMANDS.get(topic)
    if command is None:
        return None
    # What a reload reads again is found by the gateway itself; only names of keys are needed there.
    told = payload if command == _KEYS else ""
    return _encode(_Notification(command, told, sign(command, told, secret), _SHA256, "1"))


def parse_notification(message: bytes, secret: str) -> tuple[str, str] | None:
    """Return topic and payload of a change that a Tyk gateway or Dashboard tells of; None for what does not concern us.

    :param secret: ``node_secret``, not empty.
    :raises ForgedNotification: a bad signature.
    :raises ValueError: no notification at all.
    """
    try:
        found = _decoder.decode(message)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    if found.tlsgate or (found.command != _KEYS and found.command not in _RELOADS):
        return None
    good = hmac.compare_digest(found.signature.encode(), sign(found.command, found.payload, secret).encode())
    if not good or found.algorithm != _SHA256:
        raise ForgedNotification(found.command)
    if found.command != _KEYS:
        return "reload", ""
    # An entry may carry a note behind a colon ("...:hashed"); a name may have a colon itself: both readings are forgotten.
    names = [name for entry in found.payload.split(",") for name in (entry, entry.partition(":")[0]) if name]
    return "key", ",".join(dict.fromkeys(names))
