"""Settings of credentials: defaults are Tyk's, and records cannot be changed."""

from __future__ import annotations

import pytest

from tlsgate.model.credentials import BasicSettings, CredentialSource, HmacSettings, KeySignature, RequestSigning


def test_defaults() -> None:
    """What an absent section means (token reference)."""
    assert CredentialSource() == CredentialSource(header_name="", disable_header=False, use_param=False, use_cookie=False)
    assert BasicSettings().cache_s == 60 and not BasicSettings().extract_from_body
    assert HmacSettings() == HmacSettings(algorithms=(), skew_ms=0.0)
    assert KeySignature().skew_s == 0
    assert RequestSigning().signature_header == ""


def test_they_are_frozen() -> None:
    """One record serves all requests."""
    with pytest.raises(AttributeError):
        BasicSettings().cache_s = 1  # type: ignore[misc]
