"""What a process is like now, as plain numbers for metrics: connections, definitions, certificates, store, web hooks, the process itself.

Fulfils ``gateway.shared_counters.Source``; looks when it is asked and costs nothing else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlsgate.gateway.site import Site
    from tlsgate.gateway.state import State

__all__ = ["Vitals"]

_MAX_CERTIFICATES = 500
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


class Vitals:
    """The numbers of one process.

    :param pool: ``proxy.pool.Pool``.
    """

    def __init__(self, site: Site, state: State, pool: Any) -> None:
        self._site = site
        self._state = state
        self._pool = pool

    def read(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return counters and gauges."""
        site, state, generation = self._site, self._state, self._site.generation
        deliveries = state.events.deliveries
        counters: dict[str, float] = {f"webhook:{name}": count for name, count in deliveries.counts.items()}
        gauges: dict[str, float] = {
            "handshaking": site.handshaking_count,
            "upstream_connections": self._pool.open_count,
            "upstream_idle": self._pool.idle_count,
            "apis:served": len(generation.apis) + len(generation.raws),
            "apis:refused": len(generation.places),
            "load_problems:error": sum(note.severity == "error" for note in generation.notes),
            "load_problems:warning": sum(note.severity != "error" for note in generation.notes),
            "store_up": float(state.store.healthy),
            "webhook_queue": deliveries.size,
        }
        for certificate in generation.server_certificates[:_MAX_CERTIFICATES]:
            name = certificate.names[0] if certificate.names else ""
            gauges[f"certificate:{certificate.fingerprint}:{name}"] = certificate.not_after
        more, now = _read_process(self._site.clock.now())
        return {**counters, **more}, {**gauges, **now}


def _read_process(now: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return what Linux tells of this process; nothing where it does not."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        with open("/proc/uptime", encoding="ascii") as file:
            up_s = float(file.read().split()[0])
        files = len(os.listdir("/proc/self/fd"))
    except OSError:
        return {}, {}
    started = now - up_s + int(fields[19]) / _TICK
    counters = {"process_cpu_s": (int(fields[11]) + int(fields[12])) / _TICK}
    gauges = {
        "process_resident_bytes": int(fields[21]) * _PAGE,
        "process_virtual_bytes": int(fields[20]),
        "process_open_files": files,
        "process_started": started,
        "processes": 1,
    }
    return {name: float(value) for name, value in counters.items()}, {name: float(value) for name, value in gauges.items()}
