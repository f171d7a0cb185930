"""Settings of tokens: whose secrets count."""

from __future__ import annotations

from tlsgate.model.tokens import JwtSettings, KeySetAddress, ScopePolicies


def test_without_any_source_each_key_has_its_own_secret() -> None:
    """JWT reference, section 9."""
    assert JwtSettings().individual
    assert not JwtSettings(source="x").individual
    assert not JwtSettings(addresses=(KeySetAddress(url="https://idp"),)).individual
    assert JwtSettings().scopes == ScopePolicies(claims=(), policies=())
