"""Many keys, and calls at a steady rate: what tests of the stores under load share."""

from __future__ import annotations

import json
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.gateway import Client
from tests.support.redis_server import RedisServer
from tlsgate.store.sqlite_schema import migrate

__all__ = ["SECRET", "Steady", "call", "fill_redis", "fill_sqlite", "key_id", "percentile", "session"]

SECRET = "test-secret-of-32-characters-xxxx"
_BATCH = 5000


def session(**fields: Any) -> dict[str, Any]:
    """Return a session that opens the API ``token``."""
    return {
        "org_id": "org",
        "rate": 1000000,
        "per": 1,
        "quota_max": -1,
        "access_rights": {"token": {"api_id": "token", "versions": ["Default"]}},
        **fields,
    }


def key_id(number: int) -> str:
    """Return the id of the ``number``-th key that was put into a store."""
    return f"org{number:032x}"


def fill_sqlite(path: Path, count: int) -> None:
    """Make a store file that holds so many keys."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    migrate(connection)
    value = json.dumps(session()).encode()
    connection.execute("BEGIN")
    rows = ((f"apikey-{key_id(number)}", value) for number in range(count))
    connection.executemany("INSERT INTO entries (name, kind, value) VALUES (?, 0, ?)", rows)
    connection.execute("COMMIT")
    connection.close()


def fill_redis(server: RedisServer, count: int) -> None:
    """Put so many keys into a server."""
    value = json.dumps(session()).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        reader = connection.makefile("rb")
        for start in range(0, count, _BATCH):
            names = [f"apikey-{key_id(number)}".encode() for number in range(start, min(count, start + _BATCH))]
            connection.sendall(
                b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(value), value) for name in names)
            )
            for _ in names:
                assert reader.readline() == b"+OK\r\n"


def call(client: Client, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Make a control call; returns status and decoded body."""
    data = b"" if body is None else json.dumps(body).encode()
    answer = client.request(method, path, headers=[("X-Tyk-Authorization", SECRET)], body=data)
    return answer.status, json.loads(answer.body) if answer.body else None


def percentile(times: Sequence[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


class Steady:
    """Calls something so many times a second in a thread of its own, until told to stop; keeps how long each took, and what failed.

    :param act: called with the number of the call.
    :param rate: calls a second; one that is late is made at once.
    """

    def __init__(self, act: Callable[[int], None], rate: float) -> None:
        self.times: list[float] = []
        self.failures: list[str] = []
        self._act = act
        self._interval_s = 1 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Steady:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        start = time.monotonic()
        number = 0
        while not self._stop.is_set():
            due = start + number * self._interval_s
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            began = time.monotonic()
            try:
                self._act(number)
            except Exception as error:
                self.failures.append(f"{number}: {type(error).__name__}: {error}")
                if len(self.failures) > 20:
                    return
            else:
                # A call that waited for its turn counts from when it was due: nobody is left out of the percentiles.
                self.times.append(time.monotonic() - min(began, due))
            number += 1


def main(port: int, rate: float, seconds: float) -> None:
    """Create keys at a rate for a time; prints what came of it as JSON."""
    keys: list[str] = []
    with Client(port, tls=False, timeout_s=60) as control:

        def write(number: int) -> None:
            status, body = call(control, "POST", "/tyk/keys/create", session(alias=f"k{number}"))
            assert status == 200, body
            keys.append(body["key"])

        with Steady(write, rate) as writes:
            time.sleep(seconds)
    json.dump({"keys": keys, "times": writes.times, "failures": writes.failures}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
