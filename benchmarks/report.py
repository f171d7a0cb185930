"""Shows the figures: a table, the ratios with their aims, the curves, and one JSON line; knows nothing of how they were measured."""

from __future__ import annotations

import json
import platform
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.curves import Point
from benchmarks.measure import Spread, machine

__all__ = ["Figures", "build_document", "build_ratios", "render_json", "render_table"]


class Figures(NamedTuple):
    """The outcome of a run."""

    titles: Mapping[str, str]
    """Row or curve name -> what it says, in the order shown."""
    rows: Mapping[str, Mapping[str, Spread]]
    """Row -> proxy -> figure."""
    curves: Mapping[str, Sequence[Point]]
    versions: Mapping[str, str]
    """Proxy -> version, in the order shown."""
    suites: Mapping[str, str]
    problems: Sequence[str]
    settings: Mapping[str, Any]
    seconds: float
    """How long the run took."""


class _Aim(NamedTuple):
    """A ratio that tlsgate should not exceed."""

    row: str
    to_row: str
    to: str
    """Another proxy, or tlsgate itself."""
    limit: float


_AIMS = (
    _Aim("keepalive", "keepalive", "caddy", 1.0),
    _Aim("keepalive", "keepalive", "envoy", 1.4),
    _Aim("token", "keepalive", "tlsgate", 1.15),
    _Aim("token", "keepalive", "caddy", 1.25),
    _Aim("token", "keepalive", "envoy", 1.6),
    _Aim("certificate", "token", "tlsgate", 1.1),
    _Aim("basic", "token", "tlsgate", 1.1),
    _Aim("hmac", "token", "tlsgate", 1.5),
    _Aim("jwt", "token", "tlsgate", 1.1),
    _Aim("introspection", "token", "tlsgate", 1.1),
    _Aim("new", "new", "nginx", 1.35),
    _Aim("resumed13", "fresh", "tlsgate", 0.6),
    _Aim("resumed12", "fresh", "tlsgate", 0.6),
    _Aim("down", "down", "caddy", 2.0),
    _Aim("up", "up", "caddy", 2.0),
    _Aim("idle", "idle", "nginx", 1.6),
)
_CURVE_AIMS = {"definitions": 1.1, "certificates": 1.1, "workers": 1.15}
"""Curve -> how much more the largest size may cost than the smallest."""


def build_ratios(figures: Figures) -> dict[str, dict[str, float | bool]]:
    """Compare tlsgate's figures with what they aim at.

    :param figures: of the run.
    :returns: name -> ratio, limit and whether it is kept; only those whose figures are there.
    """
    ratios: dict[str, dict[str, float | bool]] = {}
    for aim in _AIMS:
        own = figures.rows.get(aim.row, {}).get("tlsgate")
        other = figures.rows.get(aim.to_row, {}).get(aim.to)
        if own and other and other.figure > 0:
            name = f"{aim.row} / {aim.to if aim.to != 'tlsgate' else f'own {aim.to_row}'}"
            ratios[name] = _ratio(own.figure / other.figure, aim.limit)
    for curve, limit in _CURVE_AIMS.items():
        points = figures.curves.get(curve, ())
        if len(points) > 1:
            ratios[f"{curve} {points[-1].size} / {points[0].size}"] = _ratio(points[-1].cpu_us / points[0].cpu_us, limit)
    return ratios


def build_document(figures: Figures) -> dict[str, Any]:
    """Return everything as one object for machines.

    :param figures: of the run.
    """
    return {
        "benchmark": "tlsgate end to end",
        "settings": dict(figures.settings),
        "machine": machine(),
        "versions": {**figures.versions, "python": platform.python_version(), "load_openssl": ssl.OPENSSL_VERSION},
        "suites": dict(figures.suites),
        "rows": {
            row: {name: {key: round(value, 3) for key, value in spread._asdict().items()} for name, spread in values.items()}
            for row, values in figures.rows.items()
        },
        "curves": {
            curve: [{key: round(value, 3) for key, value in point._asdict().items()} for point in points]
            for curve, points in figures.curves.items()
        },
        "ratios": build_ratios(figures),
        "problems": list(figures.problems),
        "seconds": round(figures.seconds, 1),
    }


def render_json(figures: Figures) -> str:
    """Return the one JSON line.

    :param figures: of the run.
    """
    return json.dumps(build_document(figures), separators=(",", ":"))


def render_table(figures: Figures) -> str:
    """Return the text for people.

    :param figures: of the run.
    """
    lines = []
    if figures.rows:
        names = list(figures.versions)
        lines += _grid(
            [["", *(f"{name} {figures.versions[name]}" for name in names)]]
            + [[figures.titles[row], *(_cell(values.get(name)) for name in names)] for row, values in figures.rows.items()]
        )
    for curve, points in figures.curves.items():
        lines += ["", figures.titles[curve]]
        lines += _grid(
            [["number", "load s", "load CPU s", "MiB loaded", "CPU us"]]
            + [
                [f"{point.size:,}", f"{point.load_s:.2f}", f"{point.load_cpu_s:.2f}", f"{point.rss_mib:.0f}", _number(point.cpu_us)]
                for point in points
            ]
        )
    ratios = build_ratios(figures)
    if ratios:
        lines += ["", "tlsgate's ratios"]
        lines += _grid(
            [["ratio", "is", "aim", ""]]
            + [
                [name, f"{value['ratio']:.2f}", f"<= {value['limit']:.2f}", "kept" if value["kept"] else "MISSED"]
                for name, value in ratios.items()
            ]
        )
    lines += ["", *(f"problem: {problem}" for problem in figures.problems)]
    lines.append(f"{figures.seconds:.0f} s; lowest of {figures.settings.get('rounds')} rounds, p99: median (lowest..highest in brackets)")
    return "\n".join(lines)


def _ratio(value: float, limit: float) -> dict[str, float | bool]:
    return {"ratio": round(value, 3), "limit": limit, "kept": value <= limit}


def _cell(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    if spread.low == spread.high:
        return _number(spread.figure)
    low = "" if spread.low == spread.figure else _number(spread.low)
    return f"{_number(spread.figure)} ({low}..{_number(spread.high)})"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _grid(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]) for row in rows
    ]
