"""Tests of `tlsgate.control.explain`: the answers of the control API about refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.control import MemoryControl, token_api
from tlsgate.ids import process_id
from tlsgate.remedies import REMEDIES

ON = {"explain": {"enabled": True, "keep": 3}}


def refused(control: MemoryControl, count: int = 1, path: str = "/api/") -> list[str]:
    """Ask without a key; the ids of the requests."""
    found = []
    for number in range(count):
        channel, _ = control.gateway.connect()
        channel.connection.id = f"{process_id()}-{path.strip('/')}{number}"
        channel.dataReceived(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        found.append(f"{channel.connection.id}.1")
        control.clock.time += 1
    return found


def test_a_record_has_its_remedy() -> None:
    """And says which worker it comes from."""
    control = MemoryControl(tlsgate=ON)
    (id,) = refused(control)
    reply = control.call("GET", f"/tyk/explain/{id}")
    assert reply.status == 200
    assert (reply.body["id"], reply.body["worker"], reply.body["refusal"]) == (id, 1, "auth.auth_field_missing")
    assert reply.body["remedy"] == REMEDIES["auth.auth_field_missing"]
    assert reply.body["message"] == "Authorization field missing"


def test_the_latest_can_be_chosen() -> None:
    """By API, status and number; the last one first."""
    control = MemoryControl(token_api(), token_api("two"), tlsgate=ON)
    first, second = refused(control), refused(control, path="/two/")
    third = refused(control, path="/nowhere")

    def ids(query: str) -> list[str]:
        reply = control.call("GET", f"/tyk/explain{query}")
        assert reply.status == 200, reply
        return [record["id"] for record in reply.body["records"]]

    assert ids("") == third + second + first
    assert ids("?api_id=two") == second
    assert ids("?status=404") == third
    assert ids("?limit=2") == third + second
    assert ids("?api_id=nobody") == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=-1", "status=600", "status=4x4"])
def test_numbers_that_make_no_sense(query: str) -> None:
    """400, with what would."""
    reply = MemoryControl(tlsgate=ON).call("GET", f"/tyk/explain?{query}")
    assert (reply.status, "must be a number from 1 to" in reply.message) == (400, True)


def test_an_id_without_a_record_is_told_from_one_of_another_node() -> None:
    """The message says what to do in each case."""
    control = MemoryControl(tlsgate=ON)
    oldest = refused(control, 4)[0]
    reply = control.call("GET", f"/tyk/explain/{oldest}")
    assert reply.status == 404
    assert "is an id of this node" in reply.message and "tlsgate.explain.keep" in reply.message
    reply = control.call("GET", "/tyk/explain/01234567-abc.1")
    assert reply.status == 404
    assert "process 01234567" in reply.message and process_id() in reply.message
    assert control.call("GET", "/tyk/explain/" + "x" * 101).status == 400


def test_switched_off_it_says_so() -> None:
    """Both calls."""
    control = MemoryControl()
    for target in ("/tyk/explain", "/tyk/explain/1-2.3"):
        reply = control.call("GET", target)
        assert (reply.status, "tlsgate.explain.enabled" in reply.message) == (404, True)


def test_all_workers_are_asked() -> None:
    """What any of them has is found, and the latest of all come first."""
    control = MemoryControl(tlsgate=ON)
    (id,) = refused(control)
    record = control.gateway.site.questions.answer("explain", {"id": id})[1]

    async def ask(topic: str, question: Mapping[str, Any]) -> list[tuple[int, list[Any]]]:
        later = {**record, "id": "other", "at": record["at"] + 5}
        return [(1, [{"process": "aaaaaaaa"}, record]), (2, [{"process": "bbbbbbbb"}, later])]

    control.gateway.site.questions.ask = ask
    reply = control.call("GET", "/tyk/explain?limit=2")
    assert [(entry["id"], entry["worker"]) for entry in reply.body["records"]] == [("other", 2), (id, 1)]
    assert len(control.call("GET", "/tyk/explain?limit=1").body["records"]) == 1

    async def nobody(topic: str, question: Mapping[str, Any]) -> list[tuple[int, list[Any]]]:
        return [(1, [{"process": "aaaaaaaa"}]), (2, [{"process": "bbbbbbbb"}])]

    control.gateway.site.questions.ask = nobody
    assert "is an id of this node" in control.call("GET", "/tyk/explain/bbbbbbbb-1.1").message
    assert "aaaaaaaa, bbbbbbbb" in control.call("GET", "/tyk/explain/cccccccc-1.1").message
