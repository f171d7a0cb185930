"""A gateway with workers for loopback tests: who they are, who answered, and where each of them is asked alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.certs import Issued
from tests.support.gateway import Client, Gateway, running_gateway, wait_until

__all__ = ["Crew", "running_crew"]


class Crew:
    """A parent and its workers."""

    def __init__(self, gateway: Gateway, count: int) -> None:
        self.gateway = gateway
        self.count = count

    def pids(self) -> dict[int, int]:
        """Return the process of each worker, by its number; only those that live."""
        found: dict[int, int] = {}
        for event in list(self.gateway.events):
            if event.get("event") == "workers.worker_started":
                found[event["worker"]] = event["pid"]
        return {number: pid for number, pid in found.items() if _alive(pid)}

    def wait_whole(self, timeout_s: float = 20.0) -> dict[int, int]:
        """Wait until every place is filled by somebody who serves."""

        def serving() -> bool:
            serving: dict[int, bool] = {}
            for event in list(self.gateway.events):
                # The last process of each place counts: one that was killed may have said nothing.
                if event.get("event") in ("workers.worker_started", "service.started"):
                    serving[event.get("worker", 0)] = event["event"] == "service.started"
            return len(self.pids()) == self.count and len(serving) >= self.count and all(serving.values())

        assert wait_until(serving, timeout_s), self.gateway.tail()
        return self.pids()

    def connect_to(self, pid: int, port: int, *, host: str = "localhost", **options: Any) -> Client:
        """Return a connection that a certain worker accepted: the others are stopped while it is made and asked once."""
        others = [other for other in self.pids().values() if other != pid]
        for other in others:
            os.kill(other, signal.SIGSTOP)
        try:
            client = Client(port, **{"tls": False, **options})
            assert client.request(target="/hello", host=host).status in (200, 404)
        finally:
            for other in others:
                os.kill(other, signal.SIGCONT)
        return client


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def running_crew(
    folder: Path, *apis: dict[str, Any], count: int = 2, server: Issued | None = None, environ: dict[str, str] | None = None, **config: Any
) -> Iterator[Crew]:
    """Run a gateway with workers; on exit it must stop with status 0 and without a traceback in its log."""
    own = {"workers": count, **config.pop("tlsgate", {})}
    config.setdefault("storage", {"type": "sqlite", "path": str(folder / "store.db")})
    with running_gateway(folder, *apis, server=server, environ=environ, tlsgate=own, **config) as gateway:
        gateway.wait_event("workers.started", 30)
        yield Crew(gateway, count)
