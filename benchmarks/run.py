"""Entry point of ``make bench``: installs and runs the proxies side by side and prints the figures.

    python benchmarks/run.py [--quick] [--only ROW ...] [--peers a,b] [--json FILE]

Knows the order of a run and nothing of single measurements (``rows``, ``curves``).
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as a file: the package's folder must be importable
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import peers, rows
from benchmarks.curves import CURVES, Curve, Point
from benchmarks.load import LoadError, check
from benchmarks.measure import Spread, build_spread
from benchmarks.report import Figures, render_json, render_table
from benchmarks.upstream import make_site

__all__ = ["main"]

_ROW_NAMES = (*(row.name for row in rows.ROWS), rows.IDLE.name, *(curve.name for curve in CURVES))


class _Run:
    """One run: what is measured and what has come out so far."""

    def __init__(self, bench: rows.Bench, names: Sequence[str]) -> None:
        self.bench = bench
        self.names = names
        self.suites: dict[str, str] = {}
        self.rows: dict[str, dict[str, Spread]] = {}
        self.curves: dict[str, list[Point]] = {}
        self.problems: list[str] = []
        self._begin = time.perf_counter()

    def measure_rows(self, chosen: Sequence[rows.Row]) -> None:
        """Start all proxies and measure them in turn, row by row and round by round."""
        running = {name: proxy for name in self.names if (proxy := self._start(name)) is not None}
        try:
            for row in chosen:
                self._measure_row(row, running)
        finally:
            for proxy in running.values():
                proxy.stop()

    def measure_idle(self) -> None:
        """Measure memory on freshly started proxies, one at a time."""
        for name in self.names:
            proxy = self._start(name)
            if proxy is None:
                continue
            try:
                self._measure_row(rows.IDLE, {name: proxy}, rounds=1)
            finally:
                proxy.stop()

    def measure_curve(self, curve: Curve) -> None:
        """Measure one cost curve."""
        self._progress(curve.name)
        self.curves[curve.name] = curve.run(self.bench, self._note)

    def figures(self, versions: dict[str, str]) -> Figures:
        """Return the outcome."""
        return Figures(
            titles={row.name: row.title for row in (*rows.ROWS, rows.IDLE)} | {curve.name: curve.title for curve in CURVES},
            rows=self.rows,
            curves={name: points for name, points in self.curves.items() if points},
            versions=versions,
            suites=self.suites,
            problems=self.problems,
            settings=self.bench.scale._asdict(),
            seconds=time.perf_counter() - self._begin,
        )

    def _start(self, name: str) -> peers.Proxy | None:
        """Start one proxy and check it; None with a note when it is not fit."""
        try:
            proxy = peers.start_peer(name, self.bench.site)
        except peers.PeerError as error:
            self._note(f"{name}: {error}")
            return None
        try:
            self.suites[name] = check(self.bench.site, proxy.port)
        except LoadError as error:
            self._note(f"{name}: {error}")
            proxy.stop()
            return None
        return proxy

    def _measure_row(self, row: rows.Row, running: dict[str, peers.Proxy], rounds: int | None = None) -> None:
        self._progress(f"{row.name} {' '.join(running)}")
        values: dict[str, list[float]] = {}
        for _ in range(self.bench.scale.rounds if rounds is None else rounds):
            for name, proxy in running.items():
                if name in row.without:
                    continue
                try:
                    values.setdefault(name, []).append(row.measure(self.bench, proxy))
                except (LoadError, ProcessLookupError) as error:
                    self._note(f"{name}, {row.name}: {error}")
        found = {name: build_spread(list_, lowest=row.lowest) for name, list_ in values.items() if list_}
        self.rows.setdefault(row.name, {}).update(found)

    def _note(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _progress(self, text: str) -> None:
        sys.stderr.write(f"[{time.perf_counter() - self._begin:5.0f} s] {text}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks.

    :param arguments: of the command line; None takes the process's own.
    :returns: exit status: 1 when a figure is missing.
    """
    options = _parse(arguments)
    chosen = set(options.only or _ROW_NAMES)
    names = tuple(options.peers.split(","))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the proxies are stopped and the folder removed
    problems = [] if options.no_install else peers.install_peers(names)
    versions = {name: version for name in names if (version := peers.find_version(name)) is not None}
    try:
        site, upstream = make_site()
    except RuntimeError as error:
        sys.stderr.write(f"{'; '.join([*problems, str(error)])}\n")
        return 1
    try:
        run = _Run(rows.Bench(site, upstream, rows.QUICK if options.quick else rows.FULL), tuple(versions))
        run.problems.extend(problems + [f"{name}: is not installed" for name in names if name not in versions])
        if rows.IDLE.name in chosen:
            run.measure_idle()
        ordinary = [row for row in rows.ROWS if row.name in chosen]
        if ordinary:
            run.measure_rows(ordinary)
        for curve in CURVES:
            if curve.name in chosen and "tlsgate" in versions:
                run.measure_curve(curve)
    finally:
        upstream.stop()
        shutil.rmtree(site.folder, ignore_errors=True)
    figures = run.figures(versions)
    print(render_table(figures))
    line = render_json(figures)
    print(line)
    if options.json:
        Path(options.json).write_text(line + "\n", encoding="utf-8")
    return 1 if figures.problems else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure tlsgate and other proxies side by side (see benchmarks/README.md).")
    parser.add_argument("--quick", action="store_true", help="one short round and smaller curves: below 90 seconds instead of 6 minutes")
    parser.add_argument(
        "--only", action="append", metavar="ROW", choices=_ROW_NAMES, help=f"only this row, repeatable: {', '.join(_ROW_NAMES)}"
    )
    parser.add_argument("--peers", default=",".join(peers.NAMES), help=f"proxies, separated by commas (default: {','.join(peers.NAMES)})")
    parser.add_argument("--json", metavar="FILE", help="write the JSON line to this file as well")
    parser.add_argument("--no-install", action="store_true", help="install nothing, run with what is there")
    options = parser.parse_args(arguments)
    unknown = set(options.peers.split(",")) - set(peers.NAMES)
    if unknown:
        parser.error(f"unknown peers: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
