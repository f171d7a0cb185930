"""The request object's own part: who is told of its ends."""

from __future__ import annotations

import weakref
from types import SimpleNamespace

from tests.support.memory_channel import make_request
from tlsgate.gateway.request import GateRequest


def test_a_client_that_goes_cancels_the_work_once() -> None:
    """The pipeline's coroutine is told."""
    request = make_request()
    request.client_gone()
    calls: list[str] = []
    request.work = SimpleNamespace(cancel=lambda: calls.append("cancel"))
    request.client_gone()
    request.client_gone()
    assert calls == ["cancel"]
    assert request.work is None


def test_the_end_of_an_upgraded_stream_is_told_once() -> None:
    """To whoever asked for it."""
    request = make_request()
    request.ended()
    told: list[GateRequest] = []
    request.on_end = told.append
    request.ended()
    request.ended()
    assert told == [request]


def test_requests_can_be_keys_and_weakly_known() -> None:
    """Resources keep tables of requests."""
    first, second = make_request(), make_request()
    assert len({first, second}) == 2
    assert weakref.ref(first)() is first
