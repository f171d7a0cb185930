"""Tyk's notifications: its form, its signature, and what is believed of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tlsgate.store.tyk_feed import CHANNEL, ForgedNotification, encode_notification, parse_notification, sign

SECRET = "node"


def notification(command: str, payload: str = "", **members: Any) -> bytes:
    """A message as Tyk writes it."""
    signature = hashlib.sha256(f"{command}{payload}{SECRET}".encode()).hexdigest()
    return json.dumps({"command": command, "payload": payload, "signature": signature, "algorithm": 5, **members}).encode()


def test_the_channel_and_the_signature_are_tyks() -> None:
    """Source: keys reference, section 4."""
    assert CHANNEL == "tyk.cluster.notifications"
    assert sign("GroupReload", "x", "y") == hashlib.sha256(b"GroupReloadxy").hexdigest()


@pytest.mark.parametrize("command", ["GroupReload", "ApiUpdated", "ApiRemoved", "ApiAdded", "PolicyChanged"])
def test_what_reloads(command: str) -> None:
    """Whatever the payload says."""
    assert parse_notification(notification(command, '{"api_id": "a"}', someday="more"), SECRET) == ("reload", "")


@pytest.mark.parametrize(
    ("payload", "names"), [("a", "a"), ("a,b", "a,b"), ("a:hashed,b:ResetQuota", "a:hashed,a,b:ResetQuota,b"), ("", ""), ("a,,a", "a")]
)
def test_keys_to_forget(payload: str, names: str) -> None:
    """With and without what stands behind a colon."""
    assert parse_notification(notification("KeySpaceUpdateNotification", payload), SECRET) == ("key", names)


@pytest.mark.parametrize(
    "message",
    [
        notification("GroupReload", signature=""),
        notification("GroupReload", signature="é"),
        notification("GroupReload", signature=sign("GroupReload", "", "")),
        notification("GroupReload", payload="x", signature=sign("GroupReload", "", SECRET)),
        notification("GroupReload", algorithm=3),
        notification("KeySpaceUpdateNotification", signature=sign("GroupReload", "", SECRET)),
    ],
)
def test_forged_ones(message: bytes) -> None:
    """A wrong or foreign signature, or one of an empty secret."""
    with pytest.raises(ForgedNotification):
        parse_notification(message, SECRET)


@pytest.mark.parametrize("message", [b"", b"{", b"[]", b'"GroupReload"', b'{"command": 5}', b'{"payload": "x"}', b"\xff"])
def test_what_is_none(message: bytes) -> None:
    """Never an error of another kind."""
    with pytest.raises(ValueError):
        parse_notification(message, SECRET)


def test_what_does_not_concern_us() -> None:
    """Other commands, and our own messages, which our gateways have heard already."""
    assert parse_notification(notification("NoticeDashboardZeroConf", signature=""), SECRET) is None
    ours = encode_notification("key", "a", SECRET)
    assert ours is not None and parse_notification(ours, SECRET) is None


@pytest.mark.parametrize(
    ("topic", "command", "payload"),
    [("key", "KeySpaceUpdateNotification", "a"), ("policy", "PolicyChanged", ""), ("api", "ApiUpdated", ""), ("reload", "GroupReload", "")],
)
def test_what_tyk_gateways_are_told(topic: str, command: str, payload: str) -> None:
    """Signed as they expect it."""
    message = encode_notification(topic, "a", SECRET)
    assert message is not None
    told = json.loads(message)
    assert (told["command"], told["payload"], told["algorithm"]) == (command, payload, 5)
    assert told["signature"] == sign(command, payload, SECRET)


@pytest.mark.parametrize("topic", ["certificate", "node", "gap"])
def test_what_they_are_not_told(topic: str) -> None:
    """They have no command for it."""
    assert encode_notification(topic, "a", SECRET) is None
