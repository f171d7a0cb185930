"""``kill -9`` of a gateway on SQLite while keys are made, changed, deleted and used over HTTP: what was acknowledged holds.

Source: issue 5, acceptance 1. 200 kills in acceptance runs.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.control import SECRET, Api, rights
from tests.support.crew import Crew
from tests.support.gateway import Gateway, Received, StrictUpstream, base_config, classic, wait_until
from tests.support.scale import scaled

BODY: dict[str, Any] = {"org_id": "org", "access_rights": rights()}
CLIENTS = 4
"""That make, change and delete keys."""
USERS = 3
"""That use a key with a quota, all at once."""
SHORT, LONG = 25, scaled(1500, 20_000)
"""Quotas: of a key of each round, and of one for all rounds."""


class Told:
    """What one client was told, and what it asked for without hearing of it."""

    def __init__(self) -> None:
        self.kept: set[str] = set()
        self.gone: set[str] = set()
        self.alias: dict[str, tuple[int, int]] = {}
        """By key: the last acknowledged change, and the last that was asked for."""
        self.others: list[tuple[int, bytes]] = []
        """Answers that should not come."""


def create_and_delete(port: int, told: Told, dice: random.Random) -> None:
    """Make, change and delete keys on one connection until it breaks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def call(method: str, target: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        connection.request(method, target, json.dumps(body or {}), {"X-Tyk-Authorization": SECRET})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            told.others.append((answer.status, data))
            return {}
        tree: dict[str, Any] = json.loads(data)
        return tree

    changed = ""
    number = 0
    try:
        while True:
            number += 1
            if number == 1 or dice.random() < 0.6:
                key = call("POST", "/tyk/keys/create", BODY).get("key", "")
                told.kept.add(key)
                changed = changed or key
            elif dice.random() < 0.5:
                done = told.alias.get(changed, (0, 0))[0]
                told.alias[changed] = (done, number)
                call("PUT", f"/tyk/keys/{changed}", {**BODY, "alias": str(number)})
                told.alias[changed] = (number, number)
            elif told.kept - {changed}:
                key = dice.choice(sorted(told.kept - {changed}))
                told.kept.discard(key)  # While nobody knows, it counts as neither.
                call("DELETE", f"/tyk/keys/{key}")
                told.gone.add(key)
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


def use(port: int, keys: list[str], seen: Counter[int]) -> None:
    """Use keys in turn until the connection breaks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        while True:
            for key in keys:
                connection.request("GET", f"/api/{key}", headers={"Authorization": key})
                answer = connection.getresponse()
                answer.read()
                seen[answer.status] += 1
            time.sleep(0.002)
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


class Place:
    """A folder with a store, and one gateway after the other on it.

    :param workers: processes besides the parent, 0 is one process in all.
    """

    def __init__(self, folder: Path, upstream: int, workers: int) -> None:
        self.folder = folder
        self.path = folder / "store.db"
        self.workers = workers
        self._upstream = upstream

    @contextmanager
    def running(self) -> Iterator[Gateway]:
        """A gateway that the test kills."""
        own = {"workers": self.workers} if self.workers else {}
        config = base_config(None, self.folder, storage={"type": "sqlite", "path": str(self.path)}, tlsgate=own)
        gateway = Gateway(self.folder, config)
        gateway.write_apis(classic("api", self._upstream, "/api/", use_keyless=False, org_id="org"))
        gateway.start()
        if self.workers:
            gateway.wait_event("workers.started", 30)
        try:
            yield gateway
        finally:
            kill(gateway, self.workers)
            assert not gateway.tracebacks(), "\n".join(gateway.tracebacks())
            assert not [event for event in gateway.events if event.get("event") == "store.away"], gateway.tail()


def kill(gateway: Gateway, workers: int) -> None:
    """``kill -9`` all its processes, workers first: a parent would replace them, and a worker without its parent would drain."""
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGSTOP)
    pids = list(Crew(gateway, workers).pids().values()) if workers else []
    for pid in (*pids, gateway.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    gateway.process.wait()
    assert wait_until(lambda: not any(Path(f"/proc/{pid}/fd").exists() and os.path.exists(f"/proc/{pid}/exe") for pid in pids))
    gateway.close()


def look(gateway: Gateway, told: list[Told], closely: list[Told]) -> None:
    """Compare what clients were told with what there is.

    :param closely: those whose keys are also asked for one by one, and used.
    """
    api = Api(gateway)
    there = set(api.call("GET", "/tyk/keys").body["keys"])
    kept = {key for one in told for key in one.kept}
    gone = {key for one in told for key in one.gone}
    assert kept - there == set(), "acknowledged and lost"
    assert gone & there == set(), "deleted and there again"
    for one in closely:
        for key, (done, asked) in one.alias.items():
            shown = api.call("GET", f"/tyk/keys/{key}").body
            assert int(shown.get("alias") or 0) in (done, asked), (key, done, asked)
        connection = api.connect()
        assert {api.ask_on(connection, key)[0] for key in sorted(one.kept)[:5]} <= {200}
        assert {api.ask_on(connection, key)[0] for key in sorted(one.gone)[:5]} <= {403}
        connection.close()


def one_round(place: Place, long: str, dice: random.Random, told: list[Told], seen: Counter[int]) -> str:
    """Look at what the kill before has left, then load the gateway and kill it; returns the key of the short quota."""
    with place.running() as gateway:
        look(gateway, told, told[-CLIENTS:])
        api = Api(gateway)
        short = api.call("POST", "/tyk/keys/create", {**BODY, "quota_max": SHORT, "quota_renewal_rate": 10**6}).key
        mine = [Told() for _ in range(CLIENTS)]
        threads = [
            threading.Thread(target=create_and_delete, args=(api.port, one, random.Random(dice.random())), daemon=True) for one in mine
        ]
        threads += [threading.Thread(target=use, args=(gateway.port, [short, long], seen), daemon=True) for _ in range(USERS)]
        for thread in threads:
            thread.start()
        assert wait_until(lambda: any(one.kept for one in mine), 20), gateway.tail()
        time.sleep(dice.uniform(0.0, 0.4))
        if place.workers and dice.random() < 0.5:
            os.kill(dice.choice(sorted(Crew(gateway, place.workers).pids().values())), signal.SIGKILL)
            time.sleep(dice.uniform(0.0, 0.3))  # The others go on, and the parent replaces it.
        kill(gateway, place.workers)
        for thread in threads:
            thread.join(35)
            assert not thread.is_alive()
        assert [other for one in mine for other in one.others] == []
        told += mine
    return short


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_acknowledged_survives_any_moment(tmp_path: Path, workers: int) -> None:
    """Keys that were made are there, deleted ones are not, changes hold, no quota admits one too many; at times one worker dies alone."""
    kills = scaled(6 if workers == 0 else 4, 200)
    dice = random.Random(11 + workers)
    told: list[Told] = []
    seen: Counter[int] = Counter()
    admitted: Counter[str] = Counter()
    lock = threading.Lock()

    def answer(request: Received) -> bytes:
        with lock:
            admitted[request.target.rpartition("/")[2]] += 1
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    with StrictUpstream(answer) as upstream:
        place = Place(tmp_path, upstream.port, workers)
        with place.running() as gateway:
            long = Api(gateway).call("POST", "/tyk/keys/create", {**BODY, "quota_max": LONG, "quota_renewal_rate": 10**6}).key
        shorts = []
        for _ in range(kills):
            shorts.append(one_round(place, long, dice, told, seen))
            upstream.requests.clear()
        with place.running() as gateway:
            look(gateway, told, told)
            api = Api(gateway)
            for key in (*shorts, long):
                connection = api.connect()
                while (last := api.ask_on(connection, key, f"/api/{key}"))[0] == 200:
                    pass
                assert last == (403, "Quota exceeded")
                connection.close()
    file = sqlite3.connect(place.path)
    assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    file.close()
    kept, gone = sum(len(one.kept) for one in told), sum(len(one.gone) for one in told)
    assert kept > 3 * kills and gone > 0 and sum(len(one.alias) for one in told) > 0
    used = {key: admitted[key] for key in (*shorts, long)}
    print(f"\n{kills} kills, workers {workers}: {kept} keys kept, {gone} deleted, none lost, none back; admitted {used[long]} of {LONG}")
    assert set(seen) <= {200, 403}
    for key in shorts:
        assert SHORT - USERS <= used[key] <= SHORT, "a request may be counted and cut off, never admitted uncounted"
    assert LONG - USERS * kills <= used[long] <= LONG
