"""Counts finished requests by API and status, and how long they took; knows no exposition.

On the path of every request: one look-up, three additions and a search among a few numbers, about 0.4 us (``benchmarks.micro_metrics``).
The number of rows is bounded, whatever definitions come and go: APIs beyond it share one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Container
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlsgate.model.exchange import Exchange

__all__ = ["BOUNDS_S", "CLASSES", "OTHERS", "Meter"]

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram; what takes longer has a place of its own."""
CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
"""Status classes; ``none`` for a request that got no answer."""
OTHERS = "(others)"
"""API of the row that all those share which have none of their own."""

_FIRST = len(CLASSES)
_SUM = _FIRST + len(BOUNDS_S) + 1
_EMPTY: tuple[float, ...] = (0,) * _SUM + (0.0,)


class Meter:
    """The rows of a process; a reload leaves them alone.

    :param read: monotonic seconds, the clock that ``entered_at`` is from.
    :param limit: rows at most; a lower one later removes none.
    """

    def __init__(self, read: Callable[[], float], limit: int) -> None:
        self.limit = limit
        self._read = read
        self._rows: dict[str, list[float]] = {}

    def record(self, request: Exchange) -> None:
        """Count a request that is over."""
        api = request.api
        id = api.api_id if api is not None else ""
        row = self._rows.get(id) or self._add(id)
        status = request.status
        row[status // 100 if 100 <= status < 600 else 0] += 1
        if status != 101:  # an upgraded stream lasts as long as it likes
            elapsed = self._read() - request.entered_at
            row[_FIRST + bisect_left(BOUNDS_S, elapsed)] += 1
            row[_SUM] += elapsed

    def keep(self, ids: Container[str]) -> None:
        """Forget APIs that are gone, once half of the rows are taken: until then their totals stay.

        :param ids: of those that are served.
        """
        if len(self._rows) * 2 > self.limit:
            for id in [id for id in self._rows if id not in ids and id not in ("", OTHERS)]:
                del self._rows[id]

    def read(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return counters (``gateway.shared_counters.Source``): ``http:<class>:<api>``, ``took:<bucket>:<api>``, ``took:sum:<api>``."""
        found: dict[str, float] = {}
        for id, row in self._rows.items():
            for number, value in enumerate(row):
                if not value:
                    continue
                if number < _FIRST:
                    found[f"http:{CLASSES[number]}:{id}"] = value
                elif number < _SUM:
                    found[f"took:{number - _FIRST}:{id}"] = value
                else:
                    found[f"took:sum:{id}"] = value
        return found, {}

    def _add(self, id: str) -> list[float]:
        if id and len(self._rows) >= self.limit:
            id = OTHERS
        return self._rows.setdefault(id, list(_EMPTY))
