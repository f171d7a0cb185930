"""Tests of `tlsgate.remedies`: for each refusal somebody is told what to do."""

from __future__ import annotations

import pytest

from tlsgate.errors import CATALOGUE
from tlsgate.remedies import REMEDIES, find_remedy


@pytest.mark.parametrize("id", sorted(CATALOGUE))
def test_each_refusal_has_a_remedy(id: str) -> None:
    """Sentences of its own, with a beginning and an end."""
    remedy = REMEDIES[id]
    assert remedy[0].isupper() and remedy.endswith(".")
    assert len(remedy) > 40


def test_no_two_refusals_have_the_same_one() -> None:
    """Where the same would help, one of them says too little."""
    assert len(set(REMEDIES.values())) == len(REMEDIES)


def test_a_handshake_has_one_too() -> None:
    """Though it is no entry of the catalogue."""
    assert "alert" in find_remedy("tls.handshake")
    assert "raw service" in find_remedy("raw.refused")


def test_what_is_not_known_leads_to_the_log() -> None:
    """And what was not refused needs nothing."""
    assert "http.refused" in find_remedy("plugin.said_no")
    assert find_remedy("") == ""
