"""The policy record."""

from __future__ import annotations

import pytest

from tlsgate.model.policy import Partitions, Policy


def test_a_policy_sets_everything_by_default() -> None:
    """No partition is every part."""
    assert Policy().partitions == Partitions()
    assert Policy().access_rights is not Policy().access_rights


def test_records_do_not_change() -> None:
    """They are shared by all keys."""
    with pytest.raises(AttributeError):
        Policy().rate = 5.0  # type: ignore[misc]
