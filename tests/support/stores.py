"""Each store backend the way it is used, for the conformance suite: made, shared by two, lost, found again, moved in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.support.certs import NOW, SERVER, make_authority
from tests.support.loop import Loop
from tests.support.redis_server import RedisServer
from tlsgate.clock import Clock, SystemClock
from tlsgate.config.model import StorageSettings
from tlsgate.store.interface import Store
from tlsgate.store.registry import build_store

__all__ = ["BACKENDS", "Backend", "ManualClock"]

TIMEOUT_S = 2.0
"""Deadline of calls in these tests: the default."""


class ManualClock:
    """A clock that a test moves."""

    def __init__(self, now: float = NOW) -> None:
        self.time = now

    def now(self) -> float:
        """Return the wall time."""
        return self.time

    def monotonic(self) -> float:
        """Return the same: nothing here tells them apart."""
        return self.time


class Backend:
    """A backend with its data.

    :param folder: for its files; the backend is made once for a module and emptied for each test.
    """

    shared = True
    """Two stores can have the same data, as two processes have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def settings(self) -> StorageSettings:
        """What the store is built from."""
        raise NotImplementedError

    def empty(self) -> None:
        """Begin anew."""

    def close(self) -> None:
        """Leave nothing behind."""

    def clock(self) -> Clock:
        """The clock of the stores."""
        return SystemClock()

    def make(self, loop: Loop) -> Store:
        """Return a store, not started."""
        return build_store(self.settings(), loop.reactor, self.clock())

    def pass_time(self, loop: Loop, seconds: float) -> None:
        """Let time pass as far as expiry goes."""
        loop.turn(seconds)

    def lose(self, store: Store) -> None:
        """Take the data away from the stores."""
        raise NotImplementedError

    def mend(self, store: Store) -> None:
        """Give it back."""
        raise NotImplementedError


class _Moved(Backend):
    """Expiry by a clock of the test's."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._clock = ManualClock()

    def clock(self) -> Clock:
        return self._clock

    def pass_time(self, loop: Loop, seconds: float) -> None:
        self._clock.time += seconds


class Memory(_Moved):
    """In memory: no second process, no deadline."""

    shared = False

    def settings(self) -> StorageSettings:
        return StorageSettings(type="memory")

    def lose(self, store: Store) -> None:
        store.available = False  # type: ignore[attr-defined]

    def mend(self, store: Store) -> None:
        store.available = True  # type: ignore[attr-defined]


class Sqlite(_Moved):
    """A file in a folder that can be moved away."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._number = 0
        self.place = folder / "0"

    def settings(self) -> StorageSettings:
        return StorageSettings(type="sqlite", path=str(self.place / "store.db"), timeout_s=TIMEOUT_S)

    def empty(self) -> None:
        self._number += 1
        self.place = self.folder / str(self._number)
        self.place.mkdir()

    def lose(self, store: Store) -> None:
        self.place.rename(self._away)

    def mend(self, store: Store) -> None:
        self._away.rename(self.place)

    @property
    def _away(self) -> Path:
        """One for each test: what fails between loss and return harms no other."""
        return self.folder / f"away-{self._number}"


class Redis(Backend):
    """A single server."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = self.build()
        self.server.start()

    def build(self) -> RedisServer:
        """The server, not started."""
        return RedisServer(self.folder)

    def settings(self) -> StorageSettings:
        return StorageSettings(type="redis", host="127.0.0.1", port=self.server.port, timeout_s=TIMEOUT_S)

    def empty(self) -> None:
        self.server.cli("FLUSHALL")

    def close(self) -> None:
        self.server.stop()

    def lose(self, store: Store) -> None:
        self.server.stop()

    def mend(self, store: Store) -> None:
        self.server.start()


class PausedRedis(Redis):
    """A single server that hangs instead of being gone: connections are accepted, nothing is answered."""

    def empty(self) -> None:
        # A test that failed may have left it so.
        self.server.resume()
        super().empty()

    def lose(self, store: Store) -> None:
        self.server.pause()

    def mend(self, store: Store) -> None:
        self.server.resume()


class SecureRedis(Redis):
    """User and password, TLS with client certificate, a database and a prefix of one's own."""

    def build(self) -> RedisServer:
        servers, clients = make_authority("servers"), make_authority("clients")
        self.files = {}
        server = servers.issue("redis", names=["127.0.0.1"], usages=SERVER)
        client = clients.issue("gateway")
        for name, text in {
            "servers": servers.pem,
            "clients": clients.pem,
            "server": server.pem,
            "server-key": server.key_pem,
            "client": client.pem,
            "client-key": client.key_pem,
        }.items():
            self.files[name] = str(self.folder / f"{name}.pem")
            (self.folder / f"{name}.pem").write_text(text)
        return RedisServer(
            self.folder,
            "user default off",
            "user gateway on >secret ~* &* +@all",
            f"tls-cert-file {self.files['server']}",
            f"tls-key-file {self.files['server-key']}",
            f"tls-ca-cert-file {self.files['clients']}",
            "tls-auth-clients yes",
            tls=True,
            cli=(
                *("--user", "gateway", "--pass", "secret", "--no-auth-warning", "--tls", "--cacert", self.files["servers"]),
                *("--cert", self.files["client"], "--key", self.files["client-key"]),
            ),
        )

    def settings(self) -> StorageSettings:
        return StorageSettings(
            type="redis",
            host="127.0.0.1",
            port=self.server.port,
            username="gateway",
            password="secret",
            database=3,
            use_ssl=True,
            ca_file=self.files["servers"],
            cert_file=self.files["client"],
            key_file=self.files["client-key"],
            key_prefix="gate*[1]-",
            feed_secret="node secret",
            timeout_s=TIMEOUT_S,
        )


class SentinelRedis(Backend):
    """A master with a replica and three Sentinels; it is lost by the master's end, and the replica takes over."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._servers: list[RedisServer] = []
        self._sentinels: list[RedisServer] = []
        self._fresh = False

    def settings(self) -> StorageSettings:
        addresses = tuple([("127.0.0.1", sentinel.port) for sentinel in self._sentinels])
        return StorageSettings(
            type="redis", addresses=addresses, master_name="gate", sentinel_password="s", password="p", timeout_s=TIMEOUT_S
        )

    def empty(self) -> None:
        if self._fresh:
            self._servers[0].cli("FLUSHALL")
            self._servers[0].cli("WAIT", "1", "1000")
            return
        self.close()
        common = ("requirepass p", "masterauth p", "repl-diskless-sync-delay 0")
        master = RedisServer(self.folder, *common, cli=("-a", "p", "--no-auth-warning"))
        master.start()
        replica = RedisServer(self.folder, *common, f"replicaof 127.0.0.1 {master.port}", cli=("-a", "p", "--no-auth-warning"))
        replica.start()
        self._servers = [master, replica]
        _wait(lambda: "master_link_status:up" in replica.cli("INFO", "replication"))
        self._sentinels = [
            RedisServer(
                self.folder,
                "requirepass s",
                f"sentinel monitor gate 127.0.0.1 {master.port} 2",
                "sentinel auth-pass gate p",
                "sentinel down-after-milliseconds gate 500",
                "sentinel failover-timeout gate 3000",
                "sentinel sentinel-pass s",
                sentinel=True,
                cli=("-a", "s", "--no-auth-warning"),
            )
            for _ in range(3)
        ]
        for sentinel in self._sentinels:
            sentinel.start()
        for sentinel in self._sentinels:
            _wait(lambda sentinel=sentinel: _knows(sentinel))
        self._fresh = True

    def close(self) -> None:
        for server in (*self._sentinels, *self._servers):
            server.stop()

    def lose(self, store: Store) -> None:
        self._fresh = False
        self._servers[0].cli("WAIT", "1", "1000")
        self._servers[0].stop()

    def mend(self, store: Store) -> None:
        """The Sentinels do that, as fast as they agree: recovery is counted from there."""
        replica = self._servers[1]
        _wait(lambda: replica.cli("ROLE").startswith("master"))
        _wait(lambda: all(str(replica.port) in sentinel.cli("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "gate") for sentinel in self._sentinels))


def _knows(sentinel: RedisServer) -> bool:
    """Whether a Sentinel has found the replica and the others: before, it cannot fail over."""
    lines = sentinel.cli("SENTINEL", "MASTER", "gate").splitlines()
    facts = dict(zip(lines[::2], lines[1::2], strict=False))
    return facts.get("num-slaves") == "1" and facts.get("num-other-sentinels") == "2" and facts.get("flags") == "master"


def _wait(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


BACKENDS: dict[str, type[Backend]] = {
    "memory": Memory,
    "sqlite": Sqlite,
    "redis": Redis,
    "redis-paused": PausedRedis,
    "redis-secure": SecureRedis,
    "redis-sentinel": SentinelRedis,
}
