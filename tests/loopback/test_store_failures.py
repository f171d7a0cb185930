"""The store away, hanging, restarted, flushed while clients call: what they see, how long it lasts, and who notices nothing.

Source: field report B64; reliability reference, section 4, promise 8; decisions 3.5.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from twisted.internet.defer import Deferred, gatherResults

from tests.support.gateway import Client, Gateway, StrictUpstream, classic, running_gateway, wait_until
from tests.support.loop import running_loop
from tests.support.redis_server import RedisServer, needs_redis, redis_server
from tests.support.scale import scaled
from tlsgate.auth.session_codec import encode_stored
from tlsgate.clock import SystemClock
from tlsgate.config.model import StorageSettings
from tlsgate.model.session import AccessRight, Session
from tlsgate.store.interface import Store
from tlsgate.store.registry import build_store
from tlsgate.store.tyk_feed import CHANNEL, sign

SECRET = "a node secret of the tests"
RECOVERY_S = 5.0
ANSWER_S = 3.0
"""B64: each call is answered within three seconds."""
OUTAGE_S = scaled(3.0, 6.0)
"""Longer than the deadline of a call, shorter than a key is cached."""
FRESH = scaled(4000, 20_000)
KINDS = ("open", "cached", "fresh", "quota")


def redis_settings(port: int) -> StorageSettings:
    """What the tests reach the store with; its deadline is not what is tested."""
    return StorageSettings(type="redis", host="127.0.0.1", port=port, feed_secret=SECRET, timeout_s=20.0)


def with_store(settings: StorageSettings, work: Callable[[Store], Any]) -> Any:
    """What a coroutine over a store of the test's own returns."""
    with running_loop() as loop:
        store = build_store(settings, loop.reactor, SystemClock())
        loop.run(store.start())
        try:
            return loop.run(work(store), 60)
        finally:
            loop.run(store.stop())


def make_key(**fields: Any) -> bytes:
    """A key as it is stored."""
    return encode_stored(Session(org_id="org", access_rights={"keyed": AccessRight()}, **fields))


async def fill(store: Store) -> None:
    """Keys: two that are used again and again, and many that are used once each."""
    await store.put("apikey-orgcached", make_key())
    await store.put("apikey-orgquota", make_key(quota_max=10**9, quota_renewal_rate=3600))
    for start in range(0, FRESH, 500):
        names = [f"apikey-orgfresh{number}" for number in range(start, start + 500)]
        await gatherResults([Deferred.fromCoroutine(store.put(name, make_key())) for name in names])


def apis(upstream: int) -> list[dict[str, Any]]:
    """One without keys, one with keys."""
    return [classic("open", upstream, "/open/"), classic("keyed", upstream, "/keyed/", use_keyless=False, org_id="org")]


def gateway_on_redis(folder: Path, upstream: int, port: int) -> Any:
    """A gateway that uses a Redis."""
    storage = {"type": "redis", "host": "127.0.0.1", "port": port}
    return running_gateway(folder, *apis(upstream), storage=storage, node_secret=SECRET)


class Seen(NamedTuple):
    """One answer."""

    kind: str
    at: float
    took_s: float
    status: int
    body: bytes


class Load:
    """Clients of each kind that call without a pause until told to stop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._going = True
        self._number = 0
        self._lock = threading.Lock()
        self.seen: list[Seen] = []
        self.faults: list[str] = []
        self._threads = [threading.Thread(target=self._call, args=(kind,), daemon=True) for kind in KINDS for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the load; every call that was begun has been answered."""
        self._going = False
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive(), "a call was never answered"

    def _path(self, kind: str) -> tuple[str, str]:
        if kind != "fresh":
            return ("/open/", "") if kind == "open" else ("/keyed/", f"org{kind}")
        with self._lock:
            self._number += 1
            return "/keyed/", f"orgfresh{self._number % FRESH}"

    def _call(self, kind: str) -> None:
        while self._going:
            try:
                with Client(self._port, tls=False) as client:
                    while self._going:
                        path, key = self._path(kind)
                        began = time.monotonic()
                        answer = client.request("GET", path, headers=[("Authorization", key)] if key else [])
                        self.seen.append(Seen(kind, began, time.monotonic() - began, answer.status, answer.body))
                        time.sleep(0.005)
                        if answer.headers.get("connection") == "close":
                            break
            except (OSError, EOFError) as fault:
                self.faults.append(f"{kind}: {fault!r}")
                time.sleep(0.05)

    def between(self, kind: str, start: float, end: float) -> list[Seen]:
        """The answers of a kind to calls that began within a time."""
        return [seen for seen in self.seen if seen.kind == kind and start <= seen.at < end]


class Relay:
    """Stands between gateway and Redis; when silent, what is sent vanishes and nobody is told: a firewall that drops."""

    def __init__(self, target: int) -> None:
        self.silent = False
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._going = True
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._going = False
        self._listening.close()

    def _accept(self) -> None:
        while self._going:
            try:
                client = self._listening.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client:
            while self.silent and self._going:
                time.sleep(0.02)
            try:
                server = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                return
            with server:
                while self._going:
                    for ready in select.select([client, server], [], [], 0.05)[0]:
                        try:
                            data = ready.recv(65536)
                            if not data:
                                return
                            if not self.silent:
                                (server if ready is client else client).sendall(data)
                        except OSError:
                            return


def count(seen: list[Seen]) -> str:
    """How often each status came, and the longest wait."""
    if not seen:
        return "-"
    statuses = Counter(answer.status for answer in seen)
    return " ".join(f"{status}:{number}" for status, number in sorted(statuses.items())) + f" {max(answer.took_s for answer in seen):.2f}s"


def suffer(name: str, gateway: Gateway, lose: Callable[[], None], mend: Callable[[], None]) -> Load:
    """Lose and mend the store under load, judge what all cases have in common, and print the table."""
    load = Load(gateway.port)
    assert wait_until(lambda: all(len(load.between(kind, 0, time.monotonic())) > 20 for kind in KINDS), 10), load.faults
    lost = time.monotonic()
    lose()
    time.sleep(OUTAGE_S)
    away = time.monotonic()
    mend()
    mended = time.monotonic()

    def back() -> bool:
        return all(any(seen.status == 200 for seen in load.between(kind, mended, time.monotonic())) for kind in ("cached", "quota"))

    recovered = wait_until(back, RECOVERY_S)
    back_at = time.monotonic()
    time.sleep(0.5)
    load.stop()
    end = time.monotonic()
    print(f"\n{name}: away for {mended - lost:.1f} s, answered again after {max(0.0, back_at - mended):.2f} s")
    for kind in KINDS:
        phases = [count(load.between(kind, *span)) for span in ((0, lost), (lost, away), (mended, back_at), (back_at, end))]
        print(f"  {kind:7} before {phases[0]:18} away {phases[1]:22} recovering {phases[2]:22} after {phases[3]}")
    assert recovered, "no recovery in time"
    assert not load.faults
    assert {seen.status for seen in load.seen if seen.kind == "open"} == {200}
    assert max(seen.took_s for seen in load.seen) < ANSWER_S
    assert {seen.status for seen in load.seen if seen.at + seen.took_s < lost} == {200}
    for seen in load.seen:
        if seen.status == 503:
            assert b"Service temporarily unavailable" in seen.body
    return load


@needs_redis
@pytest.mark.parametrize("case", ["stopped", "paused", "silent", "restarted"])
def test_a_redis_that_is_away_costs_503_where_it_is_needed_and_nothing_elsewhere(tmp_path: Path, case: str) -> None:
    """Keyless and cached traffic goes on; everything else is 503, never a word on the key; it is over within 5 s."""
    with redis_server(tmp_path / "redis") as redis, StrictUpstream() as upstream:
        with_store(redis_settings(redis.port), fill)
        relay = Relay(redis.port)

        def restart() -> None:
            redis.stop()
            redis.start()

        def be_silent(silent: bool) -> None:
            relay.silent = silent

        lose, mend = {
            "stopped": (redis.stop, redis.start),
            "paused": (redis.pause, redis.resume),
            "silent": (lambda: be_silent(True), lambda: be_silent(False)),
            "restarted": (restart, lambda: None),
        }[case]
        with gateway_on_redis(tmp_path, upstream.port, relay.port if case == "silent" else redis.port) as gateway:
            load = suffer(case, gateway, lose, mend)
            by_kind = {kind: {seen.status for seen in load.seen if seen.kind == kind} for kind in KINDS}
            assert by_kind["cached"] == {200}
            assert by_kind["fresh"] == by_kind["quota"] == {200, 503}
            gateway.wait_event("store.away")
            gateway.wait_event("store.back")
        relay.close()


@needs_redis
def test_a_redis_that_is_flushed_makes_keys_unknown_and_nothing_fails(tmp_path: Path) -> None:
    """No 503 and no 500; cached keys go on for as long as they are cached, counters start anew."""
    with redis_server(tmp_path / "redis") as redis, StrictUpstream() as upstream:
        with_store(redis_settings(redis.port), fill)
        with gateway_on_redis(tmp_path, upstream.port, redis.port) as gateway:
            load = suffer("flushed", gateway, lambda: bool(redis.cli("FLUSHALL")) and None, lambda: None)
            by_kind = {kind: {seen.status for seen in load.seen if seen.kind == kind} for kind in KINDS}
            assert by_kind == {"open": {200}, "cached": {200}, "quota": {200}, "fresh": {200, 403}}


def ask(gateway: Gateway, path: str, key: str = "") -> tuple[int, float]:
    """Status and seconds of one call."""
    began = time.monotonic()
    with Client(gateway.port, tls=False) as client:
        answer = client.request("GET", path, headers=[("Authorization", key)] if key else [])
    return answer.status, time.monotonic() - began


def ask_many(gateway: Gateway, number: int) -> list[tuple[int, float]]:
    """So many calls with a key at once."""
    found: list[tuple[int, float]] = []
    threads = [threading.Thread(target=lambda: found.append(ask(gateway, "/keyed/", "orgcached"))) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == number
    return found


@needs_redis
def test_a_gateway_starts_without_its_redis(tmp_path: Path) -> None:
    """B64: keyless calls are served, those with a key get 503 at once, fifty at a time too; a Redis that comes later is found in time."""
    redis = RedisServer(tmp_path / "redis")
    with StrictUpstream() as upstream, gateway_on_redis(tmp_path, upstream.port, redis.port) as gateway:
        try:
            assert ask(gateway, "/open/")[0] == 200
            answers = ask_many(gateway, 50)
            assert {status for status, _ in answers} == {503}
            assert max(took for _, took in answers) < ANSWER_S
            fault = gateway.wait_event("store.away")["fault"]
            assert f"localhost:{redis.port}" in fault or f"127.0.0.1:{redis.port}" in fault
            redis.start()
            with_store(redis_settings(redis.port), fill)
            assert wait_until(lambda: ask(gateway, "/keyed/", "orgcached")[0] == 200, RECOVERY_S)
            redis.cli("DEL", "apikey-orgquota")
            redis.pause()
            answers = [*ask_many(gateway, 50), ask(gateway, "/keyed/", "orgquota")]
            assert {status for status, _ in answers} == {200, 503}
            assert max(took for _, took in answers) < ANSWER_S
            redis.resume()
            assert wait_until(lambda: ask(gateway, "/keyed/", "orgquota")[0] == 403, RECOVERY_S)
        finally:
            redis.stop()


def test_a_file_that_cannot_be_opened_is_named_with_what_to_do(tmp_path: Path) -> None:
    """The gateway serves what needs no store, and everything as soon as the folder is there."""
    path = tmp_path / "missing" / "tlsgate.db"
    with (
        StrictUpstream() as upstream,
        running_gateway(tmp_path, *apis(upstream.port), storage={"type": "sqlite", "path": str(path)}) as gateway,
    ):
        event = gateway.wait_event("store.away")
        assert str(path) in event["fault"] and "make the folder" in event["fault"]
        assert sum(event.get("event") == "store.away" for event in gateway.events) == 1
        assert ask(gateway, "/open/")[0] == 200
        status, took = ask(gateway, "/keyed/", "orgcached")
        assert status == 503 and took < ANSWER_S
        path.parent.mkdir()
        assert wait_until(lambda: ask(gateway, "/keyed/", "orgcached")[0] == 403, RECOVERY_S)
        gateway.wait_event("store.back")


def until_refused(gateway: Gateway, key: str) -> float:
    """Seconds until a key opens nothing any more."""
    began = time.monotonic()
    assert wait_until(lambda: ask(gateway, "/keyed/", key)[0] == 403, 5)
    return time.monotonic() - began


@needs_redis
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_deleted_key_is_refused_by_every_process_within_a_second(tmp_path: Path, kind: str) -> None:
    """It was cached by both, which hear of it by the change feed."""
    with redis_server(tmp_path / "redis") as redis, StrictUpstream() as upstream:
        path = str(tmp_path / "store.db")
        settings = redis_settings(redis.port) if kind == "redis" else StorageSettings(type="sqlite", path=path)
        storage = {"type": "redis", "host": "127.0.0.1", "port": redis.port} if kind == "redis" else {"type": "sqlite", "path": path}
        with_store(settings, lambda store: store.put("apikey-orgcached", make_key()))
        for name in "ab":
            (tmp_path / name).mkdir()
        with (
            running_gateway(tmp_path / "a", *apis(upstream.port), storage=storage, node_secret=SECRET) as one,
            running_gateway(tmp_path / "b", *apis(upstream.port), storage=storage, node_secret=SECRET) as other,
        ):
            assert [ask(gateway, "/keyed/", "orgcached")[0] for gateway in (one, other, one, other)] == [200] * 4

            async def delete(store: Store) -> None:
                await store.delete("apikey-orgcached")
                await store.publish("key", "orgcached")

            with_store(settings, delete)
            assert max(until_refused(one, "orgcached"), until_refused(other, "orgcached")) < 1.0


@needs_redis
def test_a_tyk_gateway_on_the_same_redis_is_heard_and_told(tmp_path: Path) -> None:
    """A signed notification makes a cached key forgotten, one without a good signature does not."""
    with redis_server(tmp_path / "redis") as redis, StrictUpstream() as upstream:
        with_store(redis_settings(redis.port), fill)
        with gateway_on_redis(tmp_path, upstream.port, redis.port) as gateway:
            assert wait_until(lambda: redis.cli("PUBSUB", "NUMSUB", CHANNEL).endswith("1"))
            assert ask(gateway, "/keyed/", "orgcached")[0] == 200
            redis.cli("DEL", "apikey-orgcached")
            notification = {"command": "KeySpaceUpdateNotification", "payload": "orgcached", "algorithm": 5}
            redis.cli("PUBLISH", CHANNEL, json.dumps({**notification, "signature": sign("KeySpaceUpdateNotification", "orgcached", "")}))
            gateway.wait_event("store.feed_forged")
            assert ask(gateway, "/keyed/", "orgcached")[0] == 200
            signature = sign("KeySpaceUpdateNotification", "orgcached", SECRET)
            redis.cli("PUBLISH", CHANNEL, json.dumps({**notification, "signature": signature}))
            assert until_refused(gateway, "orgcached") < 1.0
        command = ["redis-cli", "-p", str(redis.port), "SUBSCRIBE", CHANNEL]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            while "1" not in listener.stdout.readline():
                pass
            with_store(redis_settings(redis.port), lambda store: store.publish("key", "orgother"))
            lines = [listener.stdout.readline() for _ in range(3)]
            listener.kill()
        told = json.loads(lines[2])
        assert (told["command"], told["payload"], told["algorithm"]) == ("KeySpaceUpdateNotification", "orgother", 5)
        assert told["signature"] == sign(told["command"], told["payload"], SECRET)
