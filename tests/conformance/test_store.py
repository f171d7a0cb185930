"""What every store backend promises, on each of them: memory, SQLite, and real redis-servers (plain, hanging, TLS and ACL, Sentinel).

Where a promise needs real time or real processes, the test waits for them: expiry in Redis counts on the server's clock.
Source: ``tlsgate.store.interface``; field report B64; reliability reference, section 4, promise 8.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from tests.support.loop import Loop, running_loop
from tests.support.scale import scaled
from tests.support.stores import BACKENDS, PATIENT_S, TIMEOUT_S, Backend, ManualClock
from tlsgate.errors import StoreUnavailable
from tlsgate.store.interface import Count, Entry, Store
from tlsgate.store.memory import MemoryStore

RECOVERY_S = 5.0
"""Promise 8: recovery in under five seconds."""

CALLS: dict[str, Callable[[Store], Coroutine[Any, Any, Any]]] = {
    "get": lambda store: store.get("a"),
    "get_entry": lambda store: store.get_entry("a"),
    "get_many": lambda store: store.get_many(["a", "b"]),
    "get_entries": lambda store: store.get_entries(["a", "b"]),
    "put": lambda store: store.put("a", b"1"),
    "put keeping": lambda store: store.put("a", b"1", ttl_s=9, keep_ttl=True, only_if="present"),
    "replace": lambda store: store.replace("a", None, b"1"),
    "delete": lambda store: store.delete("a", "b"),
    "names": lambda store: names_of(store, ""),
    "add_to_set": lambda store: store.add_to_set("s", "m"),
    "remove_from_set": lambda store: store.remove_from_set("s", "m"),
    "members": lambda store: store.members("s"),
    "count_window": lambda store: store.count_window("w", 60, 5),
    "count_sliding": lambda store: store.count_sliding("l", 60, 5, 1000.0),
    "read_count": lambda store: store.read_count("w"),
    "publish": lambda store: store.publish("key", "a"),
}


@pytest.fixture(params=BACKENDS, scope="module")
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A backend, made once."""
    if request.param.startswith("redis") and shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed; `make test` installs it")
    backend = BACKENDS[request.param](tmp_path_factory.mktemp("store"))
    yield backend
    backend.close()


class World:
    """An empty backend with a loop, and the stores that a test opens on it."""

    def __init__(self, backend: Backend, loop: Loop) -> None:
        self.backend = backend
        self.loop = loop
        self.run = loop.run
        self._stores: list[Store] = []

    def open(self) -> Store:
        """A started store; another one on the same data each time, where the backend can."""
        if self._stores and not self.backend.shared:
            return self._stores[0]
        store = self.backend.make(self.loop)
        self._stores.append(store)
        self.run(store.start())
        return store

    def close(self) -> None:
        """Stop all."""
        for store in self._stores:
            self.run(store.stop())

    def together(self, *work: Coroutine[Any, Any, Any]) -> list[Any]:
        """The results, or errors, of coroutines that run at the same time."""
        results = [Deferred.fromCoroutine(each).addErrback(lambda failure: failure.value) for each in work]

        async def gather() -> list[Any]:
            return [await result for result in results]

        return self.run(gather())

    def until_recovered(self, store: Store) -> None:
        """Until a call is answered again."""
        end = time.monotonic() + RECOVERY_S
        while True:
            try:
                self.run(store.get("a"))
                self.run(store.count_window("recovered", 60, 10**6))
                return
            except StoreUnavailable:
                assert time.monotonic() < end, "no recovery in time"
                self.loop.turn(0.05)


@pytest.fixture
def world(request: pytest.FixtureRequest, backend: Backend) -> Iterator[World]:
    """Everything of a test."""
    backend.timeout_s = TIMEOUT_S if {"TIMEOUT_S", "lose"} & set(request.function.__code__.co_names) else PATIENT_S
    backend.empty()
    with running_loop() as loop:
        world = World(backend, loop)
        yield world
        world.close()


@pytest.fixture
def store(world: World) -> Store:
    """A started store."""
    return world.open()


async def names_of(store: Store, prefix: str) -> list[str]:
    """All names with a prefix, sorted."""
    found: list[str] = []
    async for batch in store.names(prefix):
        assert 0 < len(batch) < 2000
        found += batch
    return sorted(set(found))


# values


def test_what_was_put_is_there(world: World, store: Store) -> None:
    """Any bytes under any Unicode name, seen by another store as well."""
    other = world.open()
    values = {
        "a": b"1",
        "b": b"",
        "ü/\x00 *[?]\\": bytes(range(256)),
        "n" * 5000: b"x" * 200_000,
        "-5": b"-5",
        "QUEUED": b"QUEUED",
        "5": b"0",
    }
    for name, value in values.items():
        assert world.run(store.put(name, value)) is True
    for name, value in values.items():
        assert world.run(other.get(name)) == value
        assert world.run(other.get_entry(name)) == Entry(value, None)
    assert world.run(other.get_many([*values, "none", "a"])) == [*values.values(), None, b"1"]
    assert world.run(other.get_entries(["none", "a"])) == [None, Entry(b"1", None)]
    assert world.run(store.get("none")) is None
    assert world.run(store.get_entry("none")) is None
    assert world.run(store.get_many([])) == []
    assert world.run(store.get_entries([])) == []


def test_many_are_read_in_order(world: World, store: Store) -> None:
    """More than one message or batch."""
    names = [f"k{number}" for number in range(1000)]
    world.together(*[store.put(name, name.encode(), ttl_s=100) for name in names])
    shown = [*reversed(names), "none"]
    assert world.run(store.get_many(shown)) == [*[name.encode() for name in reversed(names)], None]
    entries = world.run(store.get_entries(shown))
    assert [entry and entry.value for entry in entries] == [*[name.encode() for name in reversed(names)], None]
    assert all(90 < (entry.ttl_s or 0) <= 100 for entry in entries[:-1] if entry is not None)


def test_delete_tells_how_many_there_were(world: World, store: Store) -> None:
    """A name that holds nothing does not count, nor one that is named twice."""
    world.together(store.put("a", b"1"), store.put("b", b"1"), store.add_to_set("s", "m"), store.count_sliding("l", 60, 5, 1000.0))
    assert world.run(store.delete("a", "none", "a", "s", "l")) == 3
    assert world.run(names_of(store, "")) == ["b"]
    assert world.run(store.delete("none")) == 0
    assert world.run(store.delete()) == 0
    assert world.run(store.members("s")) == []
    assert world.run(store.count_sliding("l", 60, 5, 1000.0)) == (True, Count(1, 60.0))
    many = [f"k{number}" for number in range(600)]
    world.together(*[store.put(name, b"1") for name in many])
    assert world.run(store.delete(*many, "none")) == 600


def test_values_end(world: World, store: Store) -> None:
    """Expiry is enforced on every way of reading, and an ended value counts as absent."""
    world.together(
        store.put("a", b"1", ttl_s=1), store.put("b", b"1", ttl_s=1), store.put("long", b"1", ttl_s=100), store.put("ever", b"1")
    )
    entry = world.run(store.get_entry("a"))
    assert entry is not None and 0 < (entry.ttl_s or 0) <= 1
    world.backend.pass_time(world.loop, 1.05)
    assert world.run(store.get("a")) is None
    assert world.run(store.get_entries(["a", "long", "ever"]))[::2] == [None, Entry(b"1", None)]
    assert world.run(store.get_many(["a", "long"])) == [None, b"1"]
    assert world.run(names_of(store, "")) == ["ever", "long"]
    assert world.run(store.read_count("a")) is None
    assert world.run(store.put("a", b"2", only_if="present")) is False
    assert world.run(store.put("a", b"2", only_if="absent", keep_ttl=True)) is True
    assert world.run(store.get_entry("a")) == Entry(b"2", None)
    assert world.run(store.delete("b")) == 0
    assert world.run(store.put("long", b"2")) is True
    assert world.run(store.get_entry("long")) == Entry(b"2", None)


def test_keep_ttl(world: World, store: Store) -> None:
    """An existing value keeps its remaining life, a new one gets what is said."""
    world.run(store.put("limited", b"1", ttl_s=100))
    world.run(store.put("ever", b"1"))
    for name, ttl_s, low, high in (
        ("limited", None, 90, 100),
        ("limited", 5000, 90, 100),
        ("ever", None, None, None),
        ("ever", 5000, None, None),
        ("new", 50, 40, 50),
        ("newer", None, None, None),
    ):
        assert world.run(store.put(name, b"2", ttl_s=ttl_s, keep_ttl=True)) is True
        entry = world.run(store.get_entry(name))
        assert entry is not None and entry.value == b"2"
        assert entry.ttl_s is None if low is None else low < (entry.ttl_s or 0) <= high, name


@pytest.mark.parametrize("keep_ttl", [False, True])
@pytest.mark.parametrize("ttl_s", [None, 50])
def test_only_if(world: World, store: Store, keep_ttl: bool, ttl_s: int | None) -> None:
    """Nothing is written where the condition does not hold."""
    assert world.run(store.put("a", b"1", ttl_s=ttl_s, keep_ttl=keep_ttl, only_if="present")) is False
    assert world.run(store.get("a")) is None
    assert world.run(store.put("a", b"1", ttl_s=ttl_s, keep_ttl=keep_ttl, only_if="absent")) is True
    assert world.run(store.put("a", b"2", ttl_s=ttl_s, keep_ttl=keep_ttl, only_if="absent")) is False
    assert world.run(store.get("a")) == b"1"
    assert world.run(store.put("a", b"3", ttl_s=ttl_s, keep_ttl=keep_ttl, only_if="present")) is True
    entry = world.run(store.get_entry("a"))
    assert entry is not None and entry.value == b"3" and (entry.ttl_s is None) == (ttl_s is None)


def test_replace(world: World, store: Store) -> None:
    """Nothing is written where another value stands than the one that was read, and the life is always the new one."""
    assert world.run(store.replace("a", b"1", b"2")) is False
    assert world.run(store.get("a")) is None
    assert world.run(store.replace("a", None, b"1", ttl_s=50)) is True
    assert world.run(store.replace("a", None, b"2")) is False
    assert world.run(store.replace("a", b"", b"2")) is False
    assert world.run(store.replace("a", b"2", b"3")) is False
    entry = world.run(store.get_entry("a"))
    assert entry is not None and entry.value == b"1" and 40 < (entry.ttl_s or 0) <= 50
    assert world.run(store.replace("a", b"1", b"\0\xff2")) is True
    assert world.run(store.get_entry("a")) == Entry(b"\0\xff2", None)
    assert world.run(store.replace("a", b"\0\xff2", b"", ttl_s=1)) is True
    world.backend.pass_time(world.loop, 1.05)
    assert world.run(store.replace("a", b"", b"4")) is False
    assert world.run(store.replace("a", None, b"4")) is True
    world.run(store.add_to_set("s", "1"))
    assert world.run(store.replace("s", None, b"1")) is False
    assert world.run(store.replace("s", b"1", b"1")) is False
    assert world.run(store.members("s")) == ["1"]
    with pytest.raises(ValueError):
        world.run(store.replace("a", None, b"1", ttl_s=0))


def test_no_change_is_lost_by_replacing(world: World, store: Store) -> None:
    """Many who read, add one and replace, over two stores."""
    other = world.open()

    async def add_one(store: Store) -> None:
        while True:
            old = await store.get("n:v")
            if await store.replace("n:v", old, b"%d;" % (int((old or b"0;")[:-1]) + 1)):
                return

    world.together(*[add_one((store, other)[number % 2]) for number in range(20)])
    assert world.run(store.get("n:v")) == b"20;"


def test_one_of_many_writers_is_the_first(world: World, store: Store) -> None:
    """``only_if`` is one step, over two stores."""
    other = world.open()
    written = world.together(*[(store, other)[number % 2].put("a", b"%d" % number, only_if="absent") for number in range(100)])
    assert written.count(True) == 1
    assert world.run(store.get("a")) == b"%d" % written.index(True)


def test_concurrent_writers_lose_nothing(world: World, store: Store) -> None:
    """Two stores write, read and remove at the same time."""
    other = world.open()
    world.together(*[(store, other)[number % 2].put(f"k{number}", b"%d" % number) for number in range(400)])
    assert world.run(other.get_many([f"k{number}" for number in range(400)])) == [b"%d" % number for number in range(400)]
    removed = world.together(*[(store, other)[number % 2].delete(f"k{number // 2}") for number in range(400)])
    assert sum(removed) == 200
    assert len(world.run(names_of(store, "k"))) == 200


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("a", b"1"), {"ttl_s": 0}),
        (("a", b"1"), {"ttl_s": -1}),
        (("a", b"1"), {"only_if": "sometimes"}),
        (("\ud800", b"1"), {}),
    ],
)
def test_a_put_that_means_nothing_is_our_mistake(world: World, store: Store, arguments: tuple[str, bytes], options: dict[str, Any]) -> None:
    """A ``ValueError``, never a store that is away; the store goes on."""
    with pytest.raises(ValueError):
        world.run(store.put(*arguments, **options))
    assert world.run(names_of(store, "")) == []
    assert store.healthy


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get("\ud800"),
        lambda store: store.get_many(["a", "\ud800"]),
        lambda store: store.get_entries(["\ud800"]),
        lambda store: store.delete("\ud800"),
        lambda store: names_of(store, "\ud800"),
        lambda store: store.add_to_set("\ud800", "m"),
        lambda store: store.add_to_set("s", "\ud800"),
        lambda store: store.remove_from_set("s", "\ud800"),
        lambda store: store.members("\ud800"),
        lambda store: store.count_window("\ud800", 1, 1),
        lambda store: store.count_sliding("\ud800", 1, 1, 1.0),
        lambda store: store.read_count("\ud800"),
    ],
)
def test_a_name_that_is_no_text_is_our_mistake(world: World, store: Store, call: Callable[[Store], Coroutine[Any, Any, Any]]) -> None:
    """Whatever a client presented as a key."""
    with pytest.raises(ValueError):
        world.run(call(store))
    assert store.healthy


# names


def test_names_come_in_batches(world: World, store: Store) -> None:
    """All names with the prefix, whatever they hold, taken literally; none twice where the order is ours."""
    names = [f"apikey-{number:04}" for number in range(1234)]
    others = ["apikey", "apikez", "ap*key-1", "ap[i]key-1", "ap?key-1", "ap\\key-1", "apikeY-"]
    world.together(*[store.put(name, b"1") for name in names + others])
    world.together(store.add_to_set("set-1", "m"), store.count_window("set-2", 60, 5), store.count_sliding("set-3", 60, 5, 1000.0))
    assert world.run(names_of(store, "apikey-")) == names
    assert world.run(names_of(store, "set-")) == ["set-1", "set-2", "set-3"]
    assert world.run(names_of(store, "ap*")) == ["ap*key-1"]
    assert world.run(names_of(store, "ap[i]")) == ["ap[i]key-1"]
    assert world.run(names_of(store, "ap?")) == ["ap?key-1"]
    assert world.run(names_of(store, "ap\\")) == ["ap\\key-1"]
    assert world.run(names_of(store, "none")) == []
    assert len(world.run(names_of(store, ""))) == len(names) + len(others) + 3


def test_names_of_unusual_prefixes(world: World, store: Store) -> None:
    """The bounds of a prefix are bounds of code points."""
    names = ["é", "éa", "\ud7ff", "\ud7ffa", "\U0010ffff", "\U0010ffffa", "a\U0010ffff", "b", "\ue000"]
    world.together(*[store.put(name, b"1") for name in names])
    for prefix in ("é", "\ud7ff", "\U0010ffff", "a\U0010ffff", "a"):
        assert world.run(names_of(store, prefix)) == sorted(name for name in names if name.startswith(prefix)), prefix


def test_names_while_others_write(world: World, store: Store) -> None:
    """What is there all the time is yielded."""
    kept = [f"kept{number}" for number in range(700)]
    world.together(*[store.put(name, b"1") for name in kept])

    async def write() -> None:
        for number in range(700):
            await store.put(f"new{number}", b"1")
            await store.delete(f"new{number - 1}")

    found, _ = world.together(names_of(store, ""), write())
    assert set(kept) <= set(found)


# sets


def test_sets(world: World, store: Store) -> None:
    """Members are there once; a set without members is none."""
    other = world.open()
    world.run(store.add_to_set("s", "b", "a"))
    world.run(other.add_to_set("s", "c", "b", "ü\x00"))
    world.run(store.add_to_set("s"))
    assert world.run(store.members("s")) == ["a", "b", "c", "ü\x00"]
    world.run(other.remove_from_set("s", "b", "none"))
    world.run(other.remove_from_set("s"))
    world.run(other.remove_from_set("none", "a"))
    assert world.run(store.members("s")) == ["a", "c", "ü\x00"]
    world.run(store.remove_from_set("s", "a", "c", "ü\x00"))
    assert world.run(store.members("s")) == []
    assert world.run(names_of(store, "")) == []
    world.run(store.add_to_set("s", "d"))
    assert world.run(store.members("s")) == ["d"]


def test_concurrent_members_are_all_there(world: World, store: Store) -> None:
    """Adding is one step."""
    other = world.open()
    world.together(*[(store, other)[number % 2].add_to_set("s", f"m{number}", "same") for number in range(200)])
    assert world.run(store.members("s")) == sorted([*[f"m{number}" for number in range(200)], "same"])


def test_a_name_holds_one_thing(world: World, store: Store) -> None:
    """Another kind is no value; adding to it is our mistake; a put takes its place, and nothing of the old thing comes back."""
    world.run(store.add_to_set("s", "m"))
    world.run(store.count_sliding("l", 60, 5, 1000.0))
    world.run(store.put("v", b"text"))
    assert world.run(store.get_many(["s", "l", "v"])) == [None, None, b"text"]
    assert world.run(store.get_entries(["s", "l"])) == [None, None]
    assert world.run(store.members("l")) == world.run(store.members("v")) == []
    assert [world.run(store.read_count(name)) for name in ("s", "l", "v", "none")] == [None] * 4
    for call in (
        store.add_to_set("v", "m"),
        store.remove_from_set("v", "m"),
        store.add_to_set("l", "m"),
        store.count_window("v", 60, 5),
        store.count_window("s", 60, 5),
        store.count_window("l", 60, 5),
        store.count_sliding("v", 60, 5, 1000.0),
        store.count_sliding("s", 60, 5, 1000.0),
    ):
        with pytest.raises(ValueError):
            world.run(call)
    assert store.healthy
    assert world.run(store.get("v")) == b"text"
    assert world.run(store.put("s", b"1", only_if="absent")) is False
    world.run(store.put("s", b"1"))
    world.run(store.put("l", b"1"))
    assert world.run(store.members("s")) == []
    world.run(store.delete("s", "l"))
    world.run(store.add_to_set("s", "new"))
    assert world.run(store.members("s")) == ["new"]
    assert world.run(store.count_sliding("l", 60, 5, 1000.0)) == (True, Count(1, 60.0))


def test_our_mistake_does_not_touch_others(world: World, store: Store) -> None:
    """Calls that are committed together with a bad one are done all the same."""
    world.run(store.put("v", b"text"))
    results = world.together(*[store.count_window("v", 60, 5) if number % 2 else store.put(f"k{number}", b"1") for number in range(10)])
    assert [type(result) for result in results] == [bool, ValueError] * 5
    assert len(world.run(names_of(store, "k"))) == 5


# counters


@pytest.mark.parametrize("value", [b"", b"x", b"1.5", b"0x10", b" 1", b"1_0", b"-"])
def test_only_numbers_are_counted(world: World, store: Store, value: bytes) -> None:
    """A value that is none is not made one."""
    world.run(store.put("v", value))
    with pytest.raises(ValueError):
        world.run(store.count_window("v", 60, 5))
    assert world.run(store.read_count("v")) is None
    assert world.run(store.get("v")) == value


def test_window(world: World, store: Store) -> None:
    """n-1, n, n+1; refused ones are not counted; the life is the window's, from the first on."""
    other = world.open()
    assert world.run(store.read_count("w")) is None
    for number in (1, 2, 3):
        admitted, count = world.run(store.count_window("w", 60, 3))
        assert (admitted, count.value) == (True, number)
        assert 55 < (count.expires_in_s or 0) <= 60
    for _ in range(2):
        admitted, count = world.run(other.count_window("w", 60, 3))
        assert (admitted, count.value) == (False, 3)
    count = world.run(other.read_count("w"))
    assert count.value == 3 and 55 < count.expires_in_s <= 60
    assert world.run(other.get("w")) == b"3"
    # a larger limit goes on from there, with the life that is left
    admitted, count = world.run(store.count_window("w", 6000, 4))
    assert (admitted, count.value) == (True, 4) and count.expires_in_s <= 60


def test_window_renews(world: World, store: Store) -> None:
    """After its end it starts with the next call."""
    assert world.run(store.count_window("w", 0.5, 1))[0] is True
    assert world.run(store.count_window("w", 0.5, 1))[0] is False
    world.backend.pass_time(world.loop, 0.6)
    assert world.run(store.read_count("w")) is None
    admitted, count = world.run(store.count_window("w", 0.5, 1))
    assert (admitted, count.value) == (True, 1) and 0 < count.expires_in_s <= 0.5


def test_window_that_never_renews(world: World, store: Store) -> None:
    """Window 0; a later window starts the counter anew (Tyk: "no counter or no TTL")."""
    assert world.run(store.count_window("w", 0, 2)) == (True, Count(1, None))
    assert world.run(store.count_window("w", 0, 2)) == (True, Count(2, None))
    assert world.run(store.count_window("w", 0, 2)) == (False, Count(2, None))
    assert world.run(store.read_count("w")) == Count(2, None)
    admitted, count = world.run(store.count_window("w", 60, 2))
    assert (admitted, count.value) == (True, 1) and 55 < count.expires_in_s <= 60
    # and the other way round: a life that is there stays
    admitted, count = world.run(store.count_window("w", 0, 2))
    assert (admitted, count.value) == (True, 2) and 55 < count.expires_in_s <= 60


def test_window_limits_and_costs(world: World, store: Store) -> None:
    """A limit of nothing admits nothing; a cost that would pass the limit is refused whole."""
    admitted, count = world.run(store.count_window("w", 60, 0))
    assert (admitted, count) == (False, Count(0, 60))
    assert world.run(store.count_window("w", 0, 0)) == (False, Count(0, None))
    assert world.run(store.read_count("w")) is None
    for cost, admitted, number in ((4, True, 4), (7, False, 4), (6, True, 10), (1, False, 10)):
        found, count = world.run(store.count_window("w", 60, 10, cost))
        assert (found, count.value) == (admitted, number)


def test_an_operator_sets_a_counter(world: World, store: Store) -> None:
    """A counter is a value: tools write and remove it."""
    world.run(store.put("w", b"9", ttl_s=50))
    admitted, count = world.run(store.count_window("w", 60, 10))
    assert (admitted, count.value) == (True, 10) and count.expires_in_s <= 50
    world.run(store.put("w", b"-3", keep_ttl=True))
    assert world.run(store.count_window("w", 60, 10))[1].value == -2
    world.run(store.delete("w"))
    assert world.run(store.count_window("w", 60, 10))[1].value == 1


def test_a_counter_that_was_written_is_counted_on_by_all(world: World, store: Store) -> None:
    """What an operator, or an import, wrote is never lost, whoever counts it first: the rest of the quota is admitted, no more."""
    other = world.open()
    for number in range(scaled(40, 200)):
        name = f"w-{number}"
        world.run(store.put(name, b"7", ttl_s=60))
        results = world.together(*[each.count_window(name, 60, 10) for _ in range(8) for each in (store, other)])
        assert sorted(count.value for admitted, count in results if admitted) == [8, 9, 10]
        assert world.run(other.get(name)) == b"10"


def test_a_counter_that_is_written_again_counts_from_there(world: World, store: Store) -> None:
    """Also one that another process has been counting; a write in the very moment of a count may lose to it."""
    other = world.open()
    for number in range(scaled(20, 200)):
        name = f"w-{number}"
        world.run(store.put(name, b"1", ttl_s=60))
        world.together(*[other.count_window(name, 60, 1000) for _ in range(4)])
        world.run(store.put(name, b"500", ttl_s=60))
        world.together(*[other.count_window(name, 60, 1000) for _ in range(4)])
        count = world.run(other.read_count(name))
        assert count is not None and count.value == 504
        assert world.run(store.count_window(name, 60, 1000))[1].value == 505


@pytest.mark.parametrize("limit", [1, 150])
def test_concurrent_callers_get_no_more_than_the_limit(world: World, store: Store, limit: int) -> None:
    """Parallel first requests never reset each other (decisions 3.10), over two stores."""
    other = world.open()
    results = world.together(*[(store, other)[number % 2].count_window("w", 60, limit) for number in range(200)])
    assert sum(admitted for admitted, _ in results) == limit
    assert sorted(count.value for admitted, count in results if admitted) == list(range(1, limit + 1))
    sliding = world.together(*[(store, other)[number % 2].count_sliding("l", 60, limit, 1000.0 + number / 200) for number in range(200)])
    assert sum(admitted for admitted, _ in sliding) == limit


def test_sliding(world: World, store: Store) -> None:
    """The boundary: an entry that is the window old is out; refused ones count when they are logged."""
    trace = [
        (1000.0, True, 1),
        (1000.5, True, 2),
        (1000.9, False, 3),  # logged all the same
        (1010.0, True, 3),  # the first is out, two are left
        (1010.5, True, 3),
        (1010.6, False, 4),
        (1021.0, True, 1),
        (1021.0, True, 2),  # the same moment
        (1021.0, False, 3),
        (1020.0, False, 4),  # a clock that lags behind
    ]
    limit = [2, 2, 2, 3, 3, 3, 2, 2, 2, 2]
    for (now, admitted, number), most in zip(trace, limit, strict=True):
        found, count = world.run(store.count_sliding("l", 10, most, now))
        assert (found, count.value) == (admitted, number), now
    assert world.run(store.count_sliding("none", 10, 0, 1000.0, log_refused=False)) == (False, Count(0, 10))


def test_sliding_without_refused_ones(world: World, store: Store) -> None:
    """Then a client comes in again as soon as an admitted request is old enough."""
    found = [world.run(store.count_sliding("l", 10, 2, 1000.0 + second, log_refused=False)) for second in range(12)]
    assert [admitted for admitted, _ in found] == [True, True, *[False] * 8, True, True]
    assert [count.value for _, count in found] == [1, 2, *[2] * 8, 2, 2]
    assert [round(count.expires_in_s or 0, 3) for _, count in found] == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 9]


def test_hammering_does_not_fill_the_store(world: World, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest entries are kept, and the decision stays the same."""
    for module in ("memory", "redis", "sqlite_ops"):
        monkeypatch.setattr(f"tlsgate.store.{module}.MARKS_KEPT", 20)
    for number in range(60):
        admitted, count = world.run(store.count_sliding("l", 1000, 5, 1000.0 + number))
        assert admitted == (number < 5)
        assert count.value == min(number + 1, 20)
    assert world.run(store.count_sliding("l", 1000, 30, 1060.0))[0] is True
    assert world.run(store.count_sliding("l", 1000, 30, 1060.0 + 1000 - 0.5))[1].value == 2


def test_sliding_log_ends(world: World, store: Store) -> None:
    """Without requests it is gone after its window."""
    world.run(store.count_sliding("l", 0.5, 5, world.backend.clock().now()))
    assert world.run(names_of(store, "")) == ["l"]
    world.backend.pass_time(world.loop, 0.6)
    assert world.run(names_of(store, "")) == []
    assert world.run(store.count_sliding("l", 0.5, 5, world.backend.clock().now()))[1].value == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_same_trace_gives_the_same_answers(world: World, store: Store, seed: int) -> None:
    """The memory store is the oracle."""
    oracle = MemoryStore(ManualClock())
    dice = random.Random(seed)
    now = 1_700_000_000.0
    steps: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
    for _ in range(300):
        now += dice.choice([0, 0, 0.001, 0.1, 0.25, 1, 3])
        name = dice.choice("ab")
        if dice.random() < 0.5:
            steps.append(
                ("count_sliding", (name, 2.5, dice.choice([3, 4, 8]), now - dice.choice([0, 0, 0.2])), {"log_refused": dice.random() < 0.5})
            )
        else:
            steps.append(("count_window", (f"w{name}", dice.choice([0, 6000, 6000]), dice.choice([5, 40]), dice.choice([1, 1, 3])), {}))
        if dice.random() < 0.05:
            steps.append(("delete", (dice.choice(["a", "wa"]),), {}))

    async def play(store: Store) -> list[Any]:
        return [await getattr(store, call)(*arguments, **options) for call, arguments, options in steps]

    expected, found = world.run(play(oracle)), world.run(play(store))
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        if isinstance(one, tuple):
            assert one[0] == other[0] and one[1].value == other[1].value, (number, steps[number])
            assert one[1].expires_in_s == (None if one[1].expires_in_s is None else pytest.approx(other[1].expires_in_s, abs=5)), number
            if steps[number][0] == "count_sliding":
                assert one[1].expires_in_s == pytest.approx(other[1].expires_in_s)
        else:
            assert one == other


# the change feed


class Heard:
    """What a listener was told."""

    def __init__(self, store: Store) -> None:
        self.told: list[tuple[str, str]] = []
        store.subscribe(lambda topic, payload: self.told.append((topic, payload)))

    def without_gaps(self) -> list[tuple[str, str]]:
        """Without the gaps of a start."""
        return [entry for entry in self.told if entry[0] != "gap"]


def settle(world: World) -> None:
    """Until subscriptions stand."""
    world.loop.turn(0.3)


def test_changes_reach_everybody_once(world: World) -> None:
    """Ourselves before the call returns, others within a second, in order, each once, whatever the payload is."""
    store, other = world.open(), world.open()
    heard, there = Heard(store), Heard(other)
    settle(world)
    changes = [("key", "a"), ("policy", "ü\x00\n\"'"), ("certificate", ""), ("api", "x" * 10_000), ("reload", "5")]
    for number, change in enumerate(changes):
        world.run(store.publish(*change))
        assert heard.without_gaps() == changes[: number + 1]
    if other is not store:
        began = time.monotonic()
        world.loop.until(lambda: len(there.without_gaps()) == len(changes), 1.0)
        assert time.monotonic() - began < 1.0
    world.loop.turn(0.5)
    assert heard.without_gaps() == there.without_gaps() == changes


def test_a_listener_that_fails_keeps_nobody_from_knowing(world: World, store: Store) -> None:
    """It is logged."""

    def fail(topic: str, payload: str) -> None:
        raise RuntimeError("test")

    store.subscribe(fail)
    heard = Heard(store)
    settle(world)
    world.run(store.publish("key", "a"))
    assert heard.without_gaps() == [("key", "a")]


def test_a_change_during_a_loss_is_heard_or_a_gap_is(world: World) -> None:
    """Whoever was cut off knows afterwards that something may have been missed."""
    store, other = world.open(), world.open()
    settle(world)
    heard, there = Heard(store), Heard(other)
    world.backend.lose(store)
    world.loop.turn(0.3)
    # Our own listeners are told even when nobody else can be: a revoked key is refused here at once.
    result = world.together(store.publish("key", "lost"))
    assert heard.told[:1] == [("key", "lost")] or isinstance(result[0], StoreUnavailable)
    assert ("key", "lost") in heard.told
    world.backend.mend(store)
    world.until_recovered(store)
    world.until_recovered(other)
    world.loop.until(lambda: store.healthy and other.healthy)
    settle(world)
    world.run(store.publish("key", "found"))
    world.loop.until(lambda: ("key", "found") in there.told, 3.0)
    if not isinstance(result[0], StoreUnavailable):
        assert ("key", "lost") in there.told or ("gap", "") in there.told


# loss and reconnect


@pytest.mark.parametrize("call", CALLS)
def test_every_call_ends_while_the_store_is_away(world: World, store: Store, call: str) -> None:
    """``StoreUnavailable`` within the deadline, for fifty at once; afterwards at once; and everything works again within 5 s (B64)."""
    if call not in scaled(("get", "put", "count_window", "names"), tuple(CALLS)) and type(world.backend).__name__ == "SentinelRedis":
        pytest.skip("a failover of seconds for each call: in acceptance runs")
    world.run(store.put("a", b"1", ttl_s=1000))
    # All connections stand: one that was greeted in the last moment would be believed for a deadline of its own.
    world.loop.turn(0.1)
    world.backend.lose(store)
    began = time.monotonic()
    results = world.together(*[CALLS[call](store) for _ in range(50)])
    assert time.monotonic() - began < TIMEOUT_S + 1
    assert [type(result) for result in results] == [StoreUnavailable] * 50
    began = time.monotonic()
    results = world.together(*[CALLS[call](store) for _ in range(50)])
    if type(world.backend).__name__ != "SentinelRedis":
        assert [type(result) for result in results] == [StoreUnavailable] * 50
        assert not store.healthy
        assert time.monotonic() - began < TIMEOUT_S, "refused at once, not waited for again"
    world.backend.mend(store)
    world.until_recovered(store)
    world.loop.until(lambda: store.healthy)
    assert world.run(store.get_entry("a")) is not None or call in ("delete",)


def test_what_was_acknowledged_before_a_loss_is_there_afterwards(world: World, store: Store) -> None:
    """And what was refused is done once or not at all: a counter never counts a call twice."""
    written = world.together(*[store.put(f"k{number}", b"1") for number in range(100)])
    assert written == [True] * 100
    world.backend.lose(store)
    results = world.together(*[store.count_window("w", 1000, 10**6) for _ in range(20)])
    refused = sum(isinstance(result, StoreUnavailable) for result in results)
    world.backend.mend(store)
    world.until_recovered(store)
    assert len(world.run(names_of(store, "k"))) == 100
    count = world.run(store.read_count("w"))
    assert 20 - refused <= (0 if count is None else count.value) <= 20
    world.run(store.count_window("w", 1000, 10**6))
    after = world.run(store.read_count("w"))
    assert after is not None and after.value == (0 if count is None else count.value) + 1


def test_a_loss_under_load(world: World, store: Store) -> None:
    """Acknowledged writes survive, the others fail with ``StoreUnavailable``; the load goes on by itself afterwards."""
    acknowledged: list[str] = []
    refused = 0
    running = True

    async def write(writer: int) -> None:
        nonlocal refused
        number = 0
        while running:
            name = f"k{writer}-{number}"
            number += 1
            try:
                await store.put(name, b"1")
                acknowledged.append(name)
            except StoreUnavailable:
                refused += 1
            await world.loop.sleep(0.002)

    writers = [world.loop.begin(write(number)) for number in range(10)]
    world.loop.turn(0.3)
    before = len(acknowledged)
    assert before > 10
    world.backend.lose(store)
    # Longer than the deadline: a server that merely hangs refuses nobody before.
    world.loop.turn(TIMEOUT_S + 0.5)
    world.backend.mend(store)
    world.until_recovered(store)
    count = len(acknowledged)
    world.loop.until(lambda: len(acknowledged) > count + 50, 5.0)
    running = False
    world.loop.until(lambda: all(writer.called for writer in writers))
    assert refused > 0
    there = set(world.run(names_of(store, "k")))
    lost = set(acknowledged) - there
    if type(world.backend).__name__ == "SentinelRedis":
        # Replication is asynchronous: what the master acknowledged in its last moments may be lost with it.
        assert len(lost) <= 20
    else:
        assert not lost


def test_a_store_that_is_away_does_not_fail_the_start(world: World) -> None:
    """Calls raise until it is there."""
    if not world.backend.shared:
        pytest.skip("the memory store is never away at the start")
    probe = world.open()
    world.backend.lose(probe)
    store = world.backend.make(world.loop)
    began = time.monotonic()
    world.run(store.start())
    assert time.monotonic() - began < TIMEOUT_S + 1
    if type(world.backend).__name__ != "SentinelRedis":
        assert not store.healthy
        with pytest.raises(StoreUnavailable):
            world.run(store.get("a"))
    world.backend.mend(probe)
    world.until_recovered(store)
    world.loop.until(lambda: store.healthy)
    world.run(store.stop())


def test_stopped_while_away(world: World) -> None:
    """Nothing is left behind, and stopping does not hang."""
    if not world.backend.shared:
        pytest.skip("nothing to close")
    store, probe = world.backend.make(world.loop), world.open()
    world.run(store.start())
    world.backend.lose(probe)
    world.loop.turn(0.3)
    began = time.monotonic()
    world.run(store.stop())
    assert time.monotonic() - began < 2 * TIMEOUT_S + 1
    with pytest.raises(StoreUnavailable):
        world.run(store.get("a"))
    world.backend.mend(probe)
    world.until_recovered(probe)


def test_a_call_that_is_cancelled_disturbs_nobody(world: World, store: Store) -> None:
    """A client that is gone cancels; the others' answers are their own."""
    world.together(*[store.put(f"k{number}", b"%d" % number) for number in range(20)])
    results: dict[int, Any] = {}
    calls = [Deferred.fromCoroutine(store.get(f"k{number}")) for number in range(20)]
    for number, call in enumerate(calls):
        call.addErrback(lambda failure: type(failure.value)).addCallback(partial(results.setdefault, number))
        if number % 3 == 0:
            call.cancel()
    world.loop.until(lambda: len(results) == 20)
    for number, result in results.items():
        assert result in ((b"%d" % number, CancelledError) if number % 3 == 0 else (b"%d" % number,))
    assert world.run(store.get("k5")) == b"5"
