"""Who works, who died of what, and when the next one is due; knows times and exit statuses, not sockets or messages."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from typing import IO, Any

from tlsgate.workers.channel import Channel
from tlsgate.workers.shelf import Place

__all__ = ["Restarts", "Worker", "describe_end"]

EARLY_S = 5.0
"""Whoever dies sooner after its start has not lived."""
GIVE_UP_AFTER = 5
"""Early deaths in a row, with nobody left who serves."""
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 10.0
_WORDS_BYTES = 16384
_WORDS_LINES = 120


@dataclass
class Worker:
    """One process.

    :param number: of its place, from 1; a replacement has its predecessor's.
    :param words: file for its last words.
    """

    number: int
    pid: int
    channel: Channel
    words: IO[bytes]
    started_at: float
    ready: bool = False
    heard_at: float = 0.0
    hung: bool = False
    status: str = ""
    lines: dict[int, str] = field(default_factory=dict)
    """Port -> its line of the start-up contract."""
    drain_s: float = 30.0
    places: set[Place] = field(default_factory=set)
    counters: dict[str, float] = field(default_factory=dict)
    """As last heard."""

    def read_words(self) -> str:
        """Return what it left behind, the end of it: after a crash the main thread stands last."""
        self.words.seek(0, os.SEEK_END)
        self.words.seek(max(0, self.words.tell() - _WORDS_BYTES))
        return "\n".join(self.words.read().decode("utf-8", "replace").strip().splitlines()[-_WORDS_LINES:])


class Restarts:
    """When the place of a dead worker is filled again: at once after a life, later and later after early deaths in a row."""

    def __init__(self) -> None:
        self._early = 0

    @property
    def early(self) -> int:
        """Early deaths in a row."""
        return self._early

    def note_end(self, lived_s: float, *, ready: bool) -> float:
        """Take note of a death.

        :returns: seconds until the next start.
        """
        if ready and lived_s >= EARLY_S:
            self._early = 0
            return 0.0
        self._early += 1
        return min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** (self._early - 1))

    def hopeless(self, serving: int) -> bool:
        """Tell whether to give up.

        :param serving: workers that serve.
        """
        return self._early >= GIVE_UP_AFTER and not serving


def describe_end(status: int) -> str:
    """Return a wait status in words."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = "unknown"
        core = ", core dumped" if os.WCOREDUMP(status) else ""
        hint = "; by somebody, or by the kernel because memory ran out" if number == signal.SIGKILL else ""
        return f"killed by signal {number} ({name}{core}){hint}"
    return f"exited with status {os.WEXITSTATUS(status)}"


def sum_counters(parts: list[dict[str, Any]]) -> dict[str, float]:
    """Return the sum of mappings, name by name."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total
