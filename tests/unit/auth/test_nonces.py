"""Nonces of a secret and the time."""

from __future__ import annotations

import pytest

from tests.support.apis import FixedClock
from tlsgate.auth.nonces import Nonces


def test_a_nonce_is_good_for_its_time() -> None:
    """From half of it to all of it; the client is told of the next one before."""
    clock = FixedClock(1200.0)
    nonces = Nonces(b"secret", 300, clock.now)
    first = nonces.current()
    assert nonces.judge(first) == ""
    clock.time += 149
    assert nonces.judge(first) == ""
    clock.time += 1
    second = nonces.current()
    assert second != first and nonces.judge(first) == second and nonces.judge(second) == ""
    clock.time += 150
    assert nonces.judge(first) is None


def test_gateways_of_one_secret_take_each_others() -> None:
    """Also from one whose clock is ahead; never those of another secret or another age."""
    clock, ahead = FixedClock(1200.0), FixedClock(1400.0)
    here = Nonces(b"secret", 300, clock.now)
    assert here.judge(Nonces(b"secret", 300, ahead.now).current()) == ""
    assert here.judge(Nonces(b"another", 300, clock.now).current()) is None
    assert here.judge(Nonces(b"secret", 200, clock.now).current()) is None


@pytest.mark.parametrize("nonce", [None, 7, "", "x", "\u00e9", ["a"], {"a": 1}])
def test_what_is_no_nonce(nonce: object) -> None:
    """Whatever stands in a proof."""
    assert Nonces(b"secret", 300, FixedClock().now).judge(nonce) is None
