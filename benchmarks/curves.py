"""Cost curves of tlsgate alone: over definitions, allowed client certificates, workers; knows nothing of the other proxies.

The gateways of one curve run at the same time and are measured in turn, so that the machine's moods hit all sizes alike.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks import configs
from benchmarks.certs import build_allowed_certificates
from benchmarks.load import LoadError
from benchmarks.measure import build_spread, read_rss_kib
from benchmarks.peers import PeerError, Proxy, start_tlsgate
from benchmarks.rows import Bench, measure_keepalive, measure_new
from benchmarks.upstream import Site

__all__ = ["CURVES", "Curve", "Point"]

_WORKERS = (1, 2)
_DOMAIN_EVERY = 10
"""Each tenth definition is bound to a host of its own."""


class Point(NamedTuple):
    """One size of one curve."""

    size: int
    load_s: float
    """From the start of the process until it listened."""
    load_cpu_s: float
    rss_mib: float
    """After loading."""
    cpu_us: float
    """Per kept-alive request or per new connection."""


class Curve(NamedTuple):
    """One curve."""

    name: str
    title: str
    run: Callable[[Bench, Callable[[str], None]], list[Point]]


def _run_definitions(bench: Bench, note: Callable[[str], None]) -> list[Point]:
    """CPU per kept-alive request against one definition among many."""

    def write(size: int) -> tuple[Path, str]:
        folder = bench.site.folder / f"definitions-{size}"
        configs.write_definitions(folder, (_definition(bench.site, number) for number in range(size)))
        return folder, f"/api-{size // 2 + 1:05d}/"

    return _run_curve(bench, note, "definitions", bench.scale.definitions, write, measure_keepalive)


def _run_certificates(bench: Bench, note: Callable[[str], None]) -> list[Point]:
    """CPU per new connection of one allowed client among many, each allowed by its own certificate (no CA in the list)."""
    fleet = build_allowed_certificates(max(bench.scale.certificates) - 1)
    own = bench.site.material.client.read_text(encoding="ascii").partition("-----BEGIN PRIVATE KEY")[0]

    def write(size: int) -> tuple[Path, str]:
        folder = bench.site.folder / f"certificates-{size}"
        allowed = (*fleet[: size - 1], own)
        configs.write_definitions(folder, [configs.build_definition(bench.site, "bench", "/", allowed)])
        return folder, "/"

    return _run_curve(bench, note, "certificates", bench.scale.certificates, write, measure_new)


def _run_workers(bench: Bench, note: Callable[[str], None]) -> list[Point]:
    """CPU per kept-alive request of all processes together, on the one core that each proxy has: what sharing the work costs."""

    def write(size: int) -> tuple[Path, str]:
        folder = bench.site.folder / f"workers-{size}"
        configs.write_definitions(folder, [configs.build_definition(bench.site, "bench", "/", (str(bench.site.material.ca),))])
        return folder, "/"

    def start(folder: Path, size: int) -> Proxy:
        return start_tlsgate(bench.site, folder, workers=size)

    return _run_curve(bench, note, "workers", _WORKERS, write, measure_keepalive, start)


CURVES = (
    Curve("definitions", "API definitions (CPU us / kept-alive request)", _run_definitions),
    Curve("certificates", "allowed client certificates (CPU us / new connection)", _run_certificates),
    Curve("workers", "workers on one core (CPU us / kept-alive request)", _run_workers),
)


def _run_curve(
    bench: Bench,
    note: Callable[[str], None],
    name: str,
    sizes: tuple[int, ...],
    write: Callable[[int], tuple[Path, str]],
    measure: Callable[[Bench, Proxy, str], float],
    start: Callable[[Path, int], Proxy] | None = None,
) -> list[Point]:
    """Start a gateway per size, measure them in turn, stop them.

    A size that fails is left out, with a note.

    :param start: starts the gateway on a folder for a size; None starts one process.
    """
    running: dict[int, tuple[Proxy, str, float]] = {}
    values: dict[int, list[float]] = {}
    try:
        for size in sizes:
            folder, path = write(size)
            try:
                proxy = start(folder, size) if start is not None else start_tlsgate(bench.site, folder)
            except PeerError as error:
                note(f"{name} {size}: {error}")
                continue
            running[size] = (proxy, path, read_rss_kib(proxy.pid) / 1024)
        for _ in range(bench.scale.rounds):
            for size, (proxy, path, _rss) in running.items():
                try:
                    values.setdefault(size, []).append(measure(bench, proxy, path))
                except (LoadError, ProcessLookupError) as error:
                    note(f"{name} {size}: {error}")
    finally:
        for proxy, _path, _rss in running.values():
            proxy.stop()
    return [
        Point(size, proxy.load_s, proxy.load_cpu_s, rss_mib, build_spread(values[size], lowest=True).figure)
        for size, (proxy, _path, rss_mib) in running.items()
        if values.get(size)
    ]


def _definition(site: Site, number: int) -> dict[str, object]:
    name = f"api-{number:05d}"
    domain = f"{name}.example.test" if number % _DOMAIN_EVERY == 0 else ""
    return configs.build_definition(site, name, f"/{name}/", (str(site.material.ca),), domain=domain)
