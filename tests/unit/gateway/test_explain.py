"""Tests of `tlsgate.gateway.explain`: which answers are marked, which requests are kept, and that nothing else happens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tests.support.control import MemoryControl, token_api
from tests.support.gateway import classic
from tests.support.logged import logged_events
from tests.support.memory_gateway import MemoryGateway
from tlsgate.errors import Refusal
from tlsgate.gateway.explain import TOPIC
from tlsgate.ids import process_id
from tlsgate.proxy.waiter import Waiter

HEADER = b"x-tlsgate-request-id"
GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"


def gateway_of(*apis: dict[str, Any], **explain: Any) -> MemoryGateway:
    """A gateway that explains."""
    return MemoryGateway(*(apis or (token_api(),)), tlsgate={"explain": {"enabled": True, **explain}})


def listed(gateway: MemoryGateway, **question: Any) -> list[dict[str, Any]]:
    """The latest records."""
    process, *records = gateway.site.questions.answer(TOPIC, {"api_id": "", "status": 0, "limit": 100, **question})
    assert process == {"process": process_id()}
    return records


def find(gateway: MemoryGateway, id: str) -> list[dict[str, Any]]:
    """The record of an id, or none."""
    return gateway.site.questions.answer(TOPIC, {"id": id})[1:]


def test_off_is_off() -> None:
    """No header, no record, nothing to ask."""
    gateway = MemoryGateway(token_api())
    assert gateway.site.explain is None
    assert gateway.ask(GET % b"/api/").header(HEADER) is None
    assert listed(gateway) == []


def test_each_answer_is_marked_and_refusals_are_kept() -> None:
    """Numbers within a connection differ; what was served is not kept."""
    gateway = gateway_of(token_api(), token_api("open", use_keyless=True))
    assert gateway.ask(GET % b"/api/").header(HEADER) == b"c-1.1"
    assert gateway.ask(GET % b"/open/").header(HEADER) == b"c-1.1"
    (record,) = listed(gateway)
    assert (record["id"], record["refusal"], record["route"]["api_id"]) == ("c-1.1", "auth.auth_field_missing", "api")
    assert find(gateway, "c-1.1") == [record]
    assert find(gateway, "c-1.2") == []


def test_all_requests_are_kept_where_that_is_wanted() -> None:
    """Served ones, and those that the gateway answers itself."""
    gateway = gateway_of(token_api("open", use_keyless=True), refused_only=False)
    gateway.ask(GET % b"/open/")
    (record,) = listed(gateway)
    assert (record["outcome"], record["status"]) == ("answered by the gateway", 200)
    assert {step["name"]: step["outcome"] for step in record["steps"]}["mock"] == "answered"


def test_the_step_that_ended_it_is_named() -> None:
    """The order of the pipeline: what stands before has passed, what stands behind was not reached."""
    gateway = gateway_of(token_api(enable_ip_whitelisting=True, allowed_ips=["203.0.113.0/24"]))
    gateway.ask(GET % b"/api/")
    steps = {step["name"]: step["outcome"] for step in listed(gateway)[0]["steps"]}
    assert steps["addresses"] == "refused"
    assert (steps["route"], steps["token"], steps["upstream"]) == ("passed", "not reached", "not reached")


def test_an_ignored_path_asks_for_no_key() -> None:
    """And the record says so."""
    ignored = {"ignored": [{"path": "/free", "method_actions": {}}]}
    version = {"use_extended_paths": True, "extended_paths": ignored}
    gateway = gateway_of(classic("api", 9, "/api/", use_keyless=False, version=version), refused_only=False)
    channel, _ = gateway.connect()

    async def wait(request: Any) -> None:
        await Waiter(lambda: None)

    gateway.generation.apis["api"].leaf = wait
    channel.dataReceived(GET % b"/api/free")
    channel.connectionLost(None)  # type: ignore[arg-type]
    (record,) = listed(gateway)
    steps = {step["name"]: step["outcome"] for step in record["steps"]}
    assert (steps["token"], record["steps"][-1]["outcome"], record["outcome"]) == ("not asked", "client gone", "client gone")
    assert record["route"]["ignored"]


def test_heads_that_cannot_be_read_have_an_id_of_their_own() -> None:
    """Also on a connection whose earlier requests had theirs, and where the head was read and its framing refused."""
    gateway = gateway_of(token_api())
    channel, transport = gateway.connect()
    channel.dataReceived(GET % b"/api/")
    transport.clear()
    channel.dataReceived(b"GET /y HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    head = transport.value().split(b"\r\n\r\n")[0].lower()
    id = next(line for line in head.split(b"\r\n") if line.startswith(HEADER)).partition(b": ")[2].decode()
    assert id not in ("c-1.1", "c-1.0")
    (record,) = find(gateway, id)
    assert (record["refusal"], record["request"]["path"]) == ("wire.bad_request", "/y")
    assert len(listed(gateway)) == 2


def test_a_field_of_the_same_name_goes() -> None:
    """An answer has one id, in whatever letters another one was written; a 101 too."""
    gateway = gateway_of(header="X-Ray-Id")
    explain = gateway.site.explain
    assert explain is not None
    request: Any = SimpleNamespace(api=None, connection=SimpleNamespace(id="c"), number=10)
    before = [(b"A", b"1"), (b"x-ray-ID", b"theirs")]
    assert explain.mark(request, before) == [(b"A", b"1"), (b"X-Ray-Id", b"c.a")]
    assert before[-1] == (b"x-ray-ID", b"theirs")
    head = b"HTTP/1.1 101 Switching Protocols\r\nx-ray-id: theirs\r\nUpgrade: websocket\r\n\r\n"
    assert explain.mark_head(request, head) == b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nX-Ray-Id: c.a\r\n\r\n"


def test_an_api_may_say_otherwise() -> None:
    """Its requests are neither marked nor kept, in all ways of answering."""
    never = token_api(**{"x-tlsgate": {"explain": {"enabled": False}}})
    gateway = gateway_of(never, token_api("other"))
    assert gateway.ask(GET % b"/api/").header(HEADER) is None
    assert gateway.ask(GET % b"/other/").header(HEADER) is not None
    assert [record["route"]["api_id"] for record in listed(gateway)] == ["other"]
    explain = gateway.site.explain
    assert explain is not None
    request: Any = SimpleNamespace(api=SimpleNamespace(api_id="api"))
    assert explain.mark_head(request, b"HTTP/1.1 101 X\r\n\r\n") == b"HTTP/1.1 101 X\r\n\r\n"


def test_switched_on_for_one_api_alone() -> None:
    """What belongs to no API is not marked then."""
    gateway = MemoryGateway(token_api(**{"x-tlsgate": {"explain": {"enabled": True}}}), token_api("other"))
    assert gateway.ask(GET % b"/api/").header(HEADER) is not None
    assert gateway.ask(GET % b"/other/").header(HEADER) is None
    assert gateway.ask(GET % b"/nowhere").header(HEADER) is None
    assert gateway.ask(b"nonsense\r\n\r\n").header(HEADER) is None
    assert len(listed(gateway)) == 1


def test_answers_of_the_control_api_are_kept_only_when_refused() -> None:
    """A wrong secret is; what is not found by one who has it is that one's business."""
    control = MemoryControl(tlsgate={"explain": {"enabled": True}})
    assert control.gateway.ask(GET % b"/tyk/keys").status == 403
    assert control.call("GET", "/tyk/keys/no-such-key").status == 404
    assert [record["refusal"] for record in listed(control.gateway)] == ["control.forbidden"]


def test_handshakes_have_room_of_their_own() -> None:
    """A flood of one kind leaves the other alone; both stand in one list, the latest first."""
    gateway = gateway_of(keep=8)
    site = gateway.site
    gateway.ask(GET % b"/api/")
    assert site.explain is not None
    for number in range(50):
        connection = SimpleNamespace(
            id=f"h-{number}", peer_address="192.0.2.1", peer_port=1, listener_port=2, is_tls=True, tls=None, verdicts={}
        )
        site.explain.note_handshake(SimpleNamespace(peer_connection=connection, server_name="a", refused_peer=None), "no")  # type: ignore[arg-type]
    records = listed(gateway)
    assert [record["id"] for record in records] == ["h-49", "h-48", "c-1.1"]
    assert [record["id"] for record in listed(gateway, limit=1)] == ["h-49"]
    assert [record["id"] for record in listed(gateway, api_id="api")] == ["c-1.1"]
    assert [record["id"] for record in listed(gateway, status=401)] == ["c-1.1"]


def test_a_record_that_cannot_be_made_harms_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is sent, the failure is logged."""
    gateway = gateway_of()

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr("tlsgate.gateway.explain.describe_request", fail)
    with logged_events() as events:
        assert gateway.ask(GET % b"/api/").status == 401
    assert "explain.failed" in [event.get("event") for event in events]


def test_records_outlive_reloads_and_end_with_the_setting() -> None:
    """Fewer are kept when fewer are to be kept; none when it is switched off."""
    gateway = gateway_of()
    for number in range(5):
        channel, _ = gateway.connect()
        channel.connection.id = f"c-{number}"
        channel.dataReceived(GET % b"/api/")

    def reconfigure(**explain: Any) -> None:
        own = gateway.config.own
        settings = msgspec.structs.replace(own.explain, **explain)
        gateway.site.configure(msgspec.structs.replace(gateway.config, own=msgspec.structs.replace(own, explain=settings)))

    reconfigure(keep=100)
    assert len(listed(gateway)) == 5
    reconfigure(keep=2)
    assert [record["id"] for record in listed(gateway)] == ["c-4.1", "c-3.1"]
    reconfigure(enabled=False)
    assert listed(gateway) == []


def test_the_place_of_a_refused_definition_is_explained() -> None:
    """It has no steps: the route is where it ended."""
    gateway = gateway_of(token_api(), {**token_api("broken", domain=""), "protocol": "nonsense"})
    answer = gateway.ask(GET % b"/broken/")
    if answer.status == 503:
        (record,) = find(gateway, answer.header(HEADER).decode())  # type: ignore[union-attr]
        assert (record["refusal"], record["steps"]) == ("route.reserved", [{"name": "route", "outcome": "refused"}])
    else:
        assert answer.status == 404


def test_an_unexpected_failure_is_explained() -> None:
    """As our failure, at its step."""
    gateway = gateway_of(token_api())
    compiled = gateway.generation.apis["api"]

    async def leaf(request: Any) -> None:
        raise RuntimeError("no")

    def gate(request: Any) -> None:
        raise Refusal("size.limit", "by the test")

    compiled.steps, compiled.mock, compiled.leaf = (), None, leaf
    with logged_events():
        assert gateway.ask(GET % b"/api/").status == 500
    assert (listed(gateway)[0]["outcome"], listed(gateway)[0]["steps"][-1]["outcome"]) == ("failed", "failed")
    compiled.gates = (gate,)
    compiled.stages = None
    gateway.ask(GET % b"/api/")
    assert (listed(gateway)[0]["refusal"], listed(gateway)[0]["rule"]) == ("size.limit", "by the test")
