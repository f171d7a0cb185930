"""Deliveries: bounds, attempts, cool-down, stop; on a clock that is moved by hand."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock as FakeReactor

from tests.support.apis import FixedClock
from tests.support.logged import logged_events
from tlsgate.config.model import EventSettings
from tlsgate.events.deliveries import Deliveries
from tlsgate.events.webhook import Hook, build_hook
from tlsgate.model.events import WebhookHandler
from tlsgate.store.memory import MemoryStore


class Clock(FixedClock):
    """The reactor's time."""

    def __init__(self, reactor: FakeReactor) -> None:
        super().__init__()
        self._reactor = reactor

    def now(self) -> float:
        return 1_000_000.0 + self._reactor.seconds()

    monotonic = now


class Bench:
    """Deliveries whose attempts wait for the test to decide."""

    def __init__(self, *, store: MemoryStore | None = None, reactor: FakeReactor | None = None, **settings: Any) -> None:
        self.reactor = reactor or FakeReactor()
        self.clock = Clock(self.reactor)
        self.store = store or MemoryStore(self.clock)
        self.settings = EventSettings(**settings)
        self.sent: list[tuple[Hook, bytes]] = []
        self.open: list[Deferred[int]] = []
        self.answers: list[Any] = []
        """What further attempts get at once: a status or an error."""
        self.deliveries = Deliveries(self.reactor, self.clock, self.store, lambda: self, lambda: self.settings, lambda: 1.0)

    async def send(self, hook: Hook, body: bytes, timeout_s: float) -> int:
        assert timeout_s == self.settings.timeout_s
        self.sent.append((hook, body))
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return int(answer)
        waiting: Deferred[int] = Deferred()
        self.open.append(waiting)
        return await waiting

    def offer(self, body: bytes = b"x", hook: Hook | None = None) -> None:
        self.deliveries.offer(hook or make_hook(), body)

    def pass_time(self, seconds: float = 0) -> None:
        self.reactor.advance(seconds)

    @property
    def counts(self) -> dict[str, int]:
        return dict(self.deliveries.counts)


def make_hook(host: str = "a", **fields: Any) -> Hook:
    return build_hook(WebhookHandler(url=f"http://{host}/", **fields), "f")[0]


def test_whoever_tells_does_not_wait() -> None:
    """Nothing is sent before the next turn of the reactor."""
    bench = Bench()
    bench.answers = [204]
    bench.offer()
    assert bench.sent == []
    bench.pass_time()
    assert len(bench.sent) == 1 and bench.counts == {"delivered": 1} and bench.deliveries.size == 0


@pytest.mark.parametrize("first", [500, 503, 408, 425, 429, ConnectionError("refused")])
def test_what_may_pass_is_tried_again(first: Any) -> None:
    """After a second, then two, then four; a success ends it."""
    bench = Bench()
    bench.answers = [first, 500, 200]
    bench.offer()
    bench.pass_time()
    bench.pass_time(0.99)
    assert len(bench.sent) == 1
    bench.pass_time(0.02)
    bench.pass_time()
    assert len(bench.sent) == 2
    bench.pass_time(1.9)
    assert len(bench.sent) == 2
    bench.pass_time(0.2)
    bench.pass_time()
    assert len(bench.sent) == 3 and bench.counts == {"repeated": 2, "delivered": 1} and bench.deliveries.size == 0


def test_chance_shortens_the_delay_by_half_at_most() -> None:
    bench = Bench()
    bench.deliveries._jitter = lambda: 0.0
    bench.answers = [500, 200]
    bench.offer()
    bench.pass_time()
    bench.pass_time(0.49)
    assert len(bench.sent) == 1
    bench.pass_time(0.02)
    bench.pass_time()
    assert len(bench.sent) == 2


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 410])
def test_an_answer_that_will_not_change_ends_it(status: int) -> None:
    """Redirects too: they are not followed. The address is named by host and port alone."""
    bench = Bench()
    bench.answers = [status]
    with logged_events() as events:
        bench.offer()
        bench.pass_time()
    assert len(bench.sent) == 1 and bench.counts == {"failed": 1}
    (event,) = [event for event in events if event.get("event") == "events.webhook_failed"]
    assert (event["target"], event["attempts"], event["reason"]) == ("http://a:80", 1, f"status {status}")


def test_in_the_end_it_is_given_up() -> None:
    bench = Bench(attempts=2)
    bench.answers = [500, ConnectionError("a\nb")]
    with logged_events() as events:
        bench.offer()
        bench.pass_time()
        bench.pass_time(1)
        bench.pass_time()
        bench.pass_time(1000)
    assert len(bench.sent) == 2 and bench.counts == {"repeated": 1, "failed": 1} and bench.deliveries.size == 0
    (event,) = [event for event in events if event.get("event") == "events.webhook_failed"]
    assert event["reason"] == "ConnectionError: a b"


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    """Said once in a while, not each time."""
    bench = Bench(queue=4)
    with logged_events() as events:
        for number in range(100):
            bench.offer(hook=make_hook("ab"[number % 2]))
        assert bench.deliveries.size == 4 and bench.counts == {"dropped": 96}
        assert [event["event"] for event in events] == ["events.dropped"]
        bench.pass_time(10)
        bench.offer()
    assert [event["event"] for event in events] == ["events.dropped", "events.dropped"]


def test_one_address_that_hangs_leaves_room_for_others() -> None:
    """Half of the places, half of the queue."""
    bench = Bench(queue=10, deliveries=4)
    for _ in range(20):
        bench.offer(hook=make_hook("hangs"))
    assert bench.deliveries.size == 5
    bench.pass_time()
    assert [hook.target for hook, _ in bench.sent] == ["http://hangs:80"] * 2
    bench.answers = [200] * 3
    for _ in range(3):
        bench.offer(hook=make_hook("other"))
    bench.pass_time()
    assert [hook.target for hook, _ in bench.sent[2:]] == ["http://other:80"] * 3
    assert bench.counts == {"dropped": 15, "delivered": 3}


def test_addresses_take_turns() -> None:
    bench = Bench(deliveries=2)
    for number in range(4):
        bench.offer(hook=make_hook("a"), body=b"%d" % number)
    bench.offer(hook=make_hook("b"))
    bench.pass_time()
    assert [hook.target for hook, _ in bench.sent] == ["http://a:80", "http://b:80"]


def test_equal_deliveries_are_left_out_for_a_while() -> None:
    """Another body, method or address is another delivery."""
    bench = Bench()
    bench.answers = [200] * 9
    for body in (b"1", b"1", b"2"):
        bench.offer(body, make_hook(cooldown_s=5))
    bench.offer(b"1", make_hook("b", cooldown_s=5))
    bench.pass_time()
    assert bench.counts == {"suppressed": 1, "delivered": 3}
    bench.pass_time(4.9)
    bench.offer(b"1", make_hook(cooldown_s=5))
    bench.pass_time()
    assert len(bench.sent) == 3
    bench.pass_time(0.2)
    bench.offer(b"1", make_hook(cooldown_s=5))
    bench.pass_time()
    assert len(bench.sent) == 4


def test_without_a_cooldown_nothing_is_left_out() -> None:
    """In Tyk 0 suppresses an equal delivery for ever."""
    bench = Bench()
    bench.answers = [200] * 3
    for _ in range(3):
        bench.offer(b"1")
    bench.pass_time()
    assert bench.counts == {"delivered": 3}


def test_processes_share_a_cooldown() -> None:
    """Through the store, under Tyk's name."""
    one = Bench()
    other = Bench(store=one.store, reactor=one.reactor)
    hook = make_hook(cooldown_s=5)
    for bench in (one, other):
        bench.answers = [200]
        bench.offer(b"1", hook)
        bench.pass_time()
    assert (one.counts, other.counts) == ({"delivered": 1}, {"suppressed": 1})
    assert hook.name_delivery(b"1") in one.store._items


def test_without_the_store_each_process_has_its_own_cooldown() -> None:
    """An event is told rather twice than never."""
    bench = Bench()
    bench.store.available = False
    bench.answers = [200, 200]
    for _ in range(2):
        bench.offer(b"1", make_hook(cooldown_s=5))
        bench.pass_time()
    assert bench.counts == {"delivered": 1, "suppressed": 1}


@pytest.mark.parametrize("available", [True, False])
def test_a_delivery_that_failed_leaves_no_cooldown(available: bool) -> None:
    """In Tyk an event that nobody got is suppressed like one that was told."""
    bench = Bench()
    bench.store.available = available
    bench.answers = [400, 200]
    for _ in range(2):
        bench.offer(b"1", make_hook(cooldown_s=500))
        bench.pass_time()
        bench.pass_time()
    assert bench.counts == {"failed": 1, "delivered": 1}


def test_a_repeated_attempt_is_not_its_own_equal() -> None:
    bench = Bench()
    bench.answers = [500, 200]
    bench.offer(b"1", make_hook(cooldown_s=500))
    bench.pass_time()
    bench.pass_time(1)
    bench.pass_time()
    assert bench.counts == {"repeated": 1, "delivered": 1}


def stop(bench: Bench) -> list[Any]:
    done: list[Any] = []
    Deferred.fromCoroutine(bench.deliveries.stop(5.0)).addBoth(done.append)
    return done


def test_a_stop_waits_for_what_is_under_way() -> None:
    """And takes nothing more."""
    bench = Bench()
    bench.offer()
    bench.pass_time()
    done = stop(bench)
    bench.offer()
    assert not done and bench.counts == {"dropped": 1}
    bench.open[0].callback(200)
    assert done == [None] and bench.counts == {"dropped": 1, "delivered": 1}
    assert bench.reactor.getDelayedCalls() == []


def test_a_stop_tries_what_rests_at_once_and_for_the_last_time() -> None:
    bench = Bench()
    bench.answers = [500, 500]
    bench.offer()
    bench.pass_time()
    done = stop(bench)
    bench.pass_time()
    assert done == [None] and len(bench.sent) == 2 and bench.counts == {"repeated": 1, "failed": 1}


def test_a_stop_ends_in_time() -> None:
    """What is not delivered by then is counted as lost, and nothing is left behind."""
    bench = Bench(deliveries=2)
    for number in range(5):
        bench.offer(b"%d" % number)
    bench.pass_time()
    done = stop(bench)
    bench.pass_time(4.9)
    assert not done
    with logged_events() as events:
        bench.pass_time(0.2)
    assert done == [None] and bench.counts == {"lost": 5} and len(bench.sent) == 1
    assert [event["count"] for event in events if event.get("event") == "events.lost"] == [5]
    bench.pass_time(100)
    assert bench.reactor.getDelayedCalls() == []


def test_a_stop_without_work_is_over_at_once() -> None:
    bench = Bench()
    assert stop(bench) == [None] and stop(bench) == [None]
    assert bench.reactor.getDelayedCalls() == []
