"""What a process and its children cost: CPU time and resident memory, read from /proc; knows nothing of proxies or load.

CPU time is what ``/proc/PID/stat`` shows as ``utime + stime`` (all threads, those that ended too), over all processes of a proxy; it is
read from each process's CPU clock, which counts nanoseconds where the file shows ticks of 10 ms.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

__all__ = ["Spread", "build_spread", "find_processes", "machine", "measure_cpu", "read_cpu_s", "read_rss_kib"]

_Result = TypeVar("_Result")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024
_SETTLE_S = 0.05
"""Time for the last connections to be closed after the load has ended."""


class Spread(NamedTuple):
    """Several measurements of one thing."""

    figure: float
    """The one that counts."""
    median: float
    low: float
    high: float


def build_spread(values: Sequence[float], *, lowest: bool) -> Spread:
    """Sum up the rounds of one measurement.

    :param values: at least one.
    :param lowest: the lowest counts, else the median. Other work on the machine takes caches and memory bandwidth away and so only adds
        to a cost, never subtracts: the lowest is the steadier figure for costs.
    :returns: the figure, median, lowest and highest.
    """
    median = statistics.median(values)
    return Spread(min(values) if lowest else median, median, min(values), max(values))


def measure_cpu(pid: int, action: Callable[[], _Result]) -> tuple[float, _Result]:
    """Run a load and say what it cost the proxy.

    :param pid: the proxy's first process.
    :param action: blocks until the load has ended.
    :returns: CPU seconds of the proxy, and the action's result.
    """
    before = read_cpu_s(pid)
    result = action()
    time.sleep(_SETTLE_S)
    return read_cpu_s(pid) - before, result


def read_cpu_s(pid: int) -> float:
    """Return the CPU seconds used so far by a process and its living descendants.

    :param pid: the first process.
    :raises ProcessLookupError: it is gone.
    """
    processes = find_processes(pid)
    if not processes:
        raise ProcessLookupError(f"process {pid} is gone")
    return sum(_process_cpu_s(process) for process in processes)


def read_rss_kib(pid: int) -> float:
    """Return the resident memory of a process and its living descendants in KiB (pages shared between them count for each).

    :param pid: the first process.
    """
    return sum(_resident_pages(process) for process in find_processes(pid)) * _PAGE_KIB


def find_processes(pid: int) -> tuple[int, ...]:
    """Return a process and its living descendants; empty when it is gone.

    :param pid: the first process.
    """
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            children.setdefault(_parent(int(entry)), []).append(int(entry))
    if not Path(f"/proc/{pid}/stat").exists():
        return ()
    found = [pid]
    for parent in found:
        found.extend(children.get(parent, ()))
    return tuple(found)


def machine() -> dict[str, str | int]:
    """Return what kind of machine this is, for the report."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {"cpu": model, "cores": os.cpu_count() or 1, "kernel": platform.release(), "arch": platform.machine()}


def _process_cpu_s(pid: int) -> float:
    """Return the CPU seconds of one process; zero when it has just gone."""
    try:
        # The clock id that clock_getcpuclockid(3) computes for a process: user and system time, CPUCLOCK_SCHED.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def _parent(pid: int) -> int:
    """Return the parent of a process; zero when it has just gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # The name, second field, may hold blanks and brackets: count from behind its last bracket.
    return int(text.rpartition(")")[2].split()[1])


def _resident_pages(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
