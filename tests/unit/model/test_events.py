"""Names of events."""

from __future__ import annotations

from tlsgate.model.events import API_EVENTS, EVENTS_NOT_YET, GATEWAY_EVENTS, WebhookHandler


def test_names_of_events() -> None:
    """Reference, section 12; the second word of RatelimitExceeded is lower case there. Certificates may concern an API, or the gateway."""
    assert sorted(API_EVENTS & GATEWAY_EVENTS) == ["CertificateExpired", "CertificateExpiringSoon"]
    assert not EVENTS_NOT_YET & (API_EVENTS | GATEWAY_EVENTS)
    assert "RatelimitExceeded" in API_EVENTS and "RateLimitExceeded" not in API_EVENTS


def test_equal_handlers_are_equal_keys() -> None:
    """One hook is built for all APIs that name the same."""
    one, other = (WebhookHandler(url="http://a/", headers=(("X", "1"),)) for _ in range(2))
    assert {one: 1}[other] == 1
