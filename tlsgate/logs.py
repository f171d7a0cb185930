"""Log events as lines, one JSON object each; knows nothing of what the events mean.

Three promises: a line is a line whatever a peer sent; nothing that is named like a secret, and no private key, is written; trouble with
the log never becomes trouble for a request.
"""

from __future__ import annotations

import datetime
import functools
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from tlsgate.config.model import AccessLogSettings

__all__ = ["LineLog", "LineObserver", "build_observer", "escape", "name_process", "open_log", "standard_observer", "start_logging"]

_MAX_FIELD = 512
"""Characters of one field."""
_MAX_MESSAGE = 2048
_MAX_FAILURE = 16384
_MAX_ITEMS = 32
"""Members of a list or mapping."""
_WITHHELD = "(withheld)"
_SECRET_NAMES = frozenset(
    {"authorization", "cookie", "credential", "credentials", "key", "passphrase", "passwd", "password", "secret", "token"}
)
_SECRET_ENDINGS = ("_authorization", "_cookie", "_credentials", "_key", "_passphrase", "_password", "_secret", "_token")
_KEY_BLOCK = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*-----|\Z)", re.DOTALL)
_HARMLESS_NAMES = frozenset({"public_key"})
# Of Twisted's own log systems, old and new: bookkeeping, or written out under another name.
_BOOKKEEPING = frozenset({"failure", "format", "isError", "message", "system", "time", "why"})
_LEVELS = {"debug": LogLevel.debug, "info": LogLevel.info, "warn": LogLevel.warn, "warning": LogLevel.warn}
_LEVELS |= {"error": LogLevel.error, "critical": LogLevel.critical}


def start_logging(settings: AccessLogSettings) -> LineLog:
    """Begin to log as configured; for `tlsgate run`, once per process.

    :param settings: ``tlsgate.log``.
    :returns: where the lines go, for a later :meth:`LineLog.reopen`.
    :raises OSError: when the file cannot be opened.
    :raises ValueError: for an unknown level.
    """
    log = open_log(settings.file)
    observer = build_observer(log.write, level=settings.level, as_json=settings.json)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    return log


def build_observer(write: Callable[[bytes], object], *, level: str = "info", as_json: bool = True) -> ILogObserver:
    """Make an observer for :mod:`twisted.logger`.

    :param write: takes one line with its line end.
    :param level: lowest level that is written: ``debug``, ``info``, ``warn``, ``error`` or ``critical``.
    :param as_json: JSON objects; otherwise plain text for eyes.
    :returns: the observer.
    :raises ValueError: for an unknown level.
    """
    if level not in _LEVELS:
        raise ValueError(f"unknown log level {level!r}: use debug, info, warn, error or critical")
    predicate = LogLevelFilterPredicate(defaultLogLevel=_LEVELS[level])
    return FilteringLogObserver(LineObserver(write, as_json=as_json), [predicate])


def standard_observer() -> ILogObserver:
    """Make an observer that writes JSON to standard error: ``twistd --logger tlsgate.logs.standard_observer``.

    :returns: the observer.
    """
    return build_observer(LineLog().write)


@implementer(ILogObserver)
class LineObserver:
    """Turns an event into a line: some 12 us for an access event, Logger included: one per request at most."""

    __slots__ = ("_encode", "_write")

    def __init__(self, write: Callable[[bytes], object], *, as_json: bool = True) -> None:
        self._write = write
        self._encode: Callable[[dict[str, Any]], bytes] = msgspec.json.Encoder().encode if as_json else _as_text

    def __call__(self, event: LogEvent) -> None:
        """Write one event; an event that cannot be written out is named as such, never raised to whoever logged it."""
        try:
            line = self._encode(_record(event))
        except Exception as error:
            text = f"an event could not be written: {type(error).__name__}"
            line = self._encode({"level": "error", "event": "log.unwritable", "message": text})
        self._write(line + b"\n")


class LineLog:
    """An open log: a file that is appended to, or standard error.

    Lines that cannot be written (full disk, closed pipe) are counted in ``lost`` and dropped.
    """

    __slots__ = ("_fd", "_path", "_torn", "lost")

    def __init__(self, path: str = "") -> None:
        """
        :param path: file; empty is standard error.
        :raises OSError: when the file cannot be opened.
        """
        self.lost = 0
        self._path = path
        self._torn = False
        self._fd = _open(path) if path else 2

    def write(self, line: bytes) -> None:
        """Write one line in one go, so that lines of several processes do not mix.

        :param line: with its line end.
        """
        data = b"\n" + line if self._torn else line
        try:
            written = os.write(self._fd, data)
        except OSError:
            self.lost += 1
            return
        if written < len(data):
            self.lost += 1
        self._torn = written < len(data)

    def reopen(self) -> bool:
        """Open the file anew under its name, after somebody moved it away.

        :returns: False when that failed and lines go on into the old file; True also for standard error.
        """
        if not self._path:
            return True
        try:
            fresh = _open(self._path)
        except OSError:
            return False
        os.close(self._fd)
        self._fd = fresh
        return True

    def close(self) -> None:
        """Close the file; standard error stays open."""
        if self._path:
            os.close(self._fd)
            self._path = ""
            self._fd = 2


_PROCESS: dict[str, Any] = {}


def name_process(**fields: int | str) -> None:
    """Put fields into each line that this process writes from now on, where an event has no such field."""
    _PROCESS.update(fields)


def open_log(path: str) -> LineLog:
    """Open a log.

    :param path: file; empty is standard error.
    :returns: the log.
    :raises OSError: when the file cannot be opened.
    """
    return LineLog(path)


def escape(text: str, limit: int = _MAX_FIELD) -> str:
    r"""Make text from outside fit for a line, a terminal and a screen.

    Control characters, line and paragraph separators, bidirectional marks and lone surrogates become ``\x0a`` or ``\u202e``; what exceeds
    the limit is cut, with the number of characters that are missing.

    :param text: anything.
    :param limit: characters that stay, before escaping.
    :returns: printable text.
    """
    if len(text) > limit:
        text = f"{text[:limit]}...(+{len(text) - limit})"
    if not text.isprintable():
        text = "".join([char if char.isprintable() else _escaped(char) for char in text])
    if "PRIVATE KEY" in text:
        return "(private key withheld)"
    return text


def _escaped(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _record(event: LogEvent) -> dict[str, Any]:
    level = event.get("log_level")
    record: dict[str, Any] = {"time": _time_text(event.get("log_time")), "level": level.name if level is not None else "info"}
    if "event" in event:
        record["event"] = _plain(event["event"], 0)
    fields: dict[str, Any] = {}
    hidden = False
    for name, value in event.items():
        if name.startswith("log_") or name in _BOOKKEEPING or name in record:
            continue
        if _is_secret(name):
            hidden = True
            value = _WITHHELD
        fields[name] = _plain(value, 0)
    # The message is formatted from the event itself (formats may look into objects), but never with a secret in it.
    source: LogEvent = {name: _WITHHELD if _is_secret(name) else value for name, value in event.items()} if hidden else event
    record["message"] = escape(_message(source), _MAX_MESSAGE)
    for name, value in (*fields.items(), *_PROCESS.items()):
        record.setdefault(name, value)
    namespace = event.get("log_namespace")
    if namespace:
        record["namespace"] = str(namespace)
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        trace = _KEY_BLOCK.sub("(private key withheld)", failure.getTraceback())
        record["failure"] = [escape(line) for line in trace[:_MAX_FAILURE].splitlines()]
    return record


def _plain(value: object, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else escape(str(value))
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return escape(value[: _MAX_FIELD + 1].decode("ascii", "backslashreplace"))
    if depth < 3 and isinstance(value, Mapping):
        items = list(value.items())[:_MAX_ITEMS]
        return {escape(str(name)): _WITHHELD if _is_secret(str(name)) else _plain(item, depth + 1) for name, item in items}
    if depth < 3 and isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in list(value)[:_MAX_ITEMS]]
    return escape(str(value))


def _message(event: LogEvent) -> str:
    # str.format is four times as fast as Twisted's formatter, which also knows calls ("{name()}") and events that do not fit their format.
    text = event.get("log_format")
    if isinstance(text, str) and "(" not in text:
        try:
            return text.format_map(event)
        except Exception:
            return formatEvent(event)
    return formatEvent(event)


@functools.lru_cache(maxsize=2048)
def _is_secret(name: str) -> bool:
    folded = name.lower().replace("-", "_")
    return folded not in _HARMLESS_NAMES and (folded in _SECRET_NAMES or folded.endswith(_SECRET_ENDINGS))


def _time_text(seconds: float | None) -> str:
    moment = datetime.datetime.fromtimestamp(seconds or 0.0, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _as_text(record: dict[str, Any]) -> bytes:
    head = f"{record.get('time', '')} {record['level']:<5} {record.get('event', '-')}: {record['message']}"
    rest = [f"{name}={value}" for name, value in record.items() if name not in ("time", "level", "event", "message", "failure")]
    lines = [" ".join([head, *rest]), *(f"    {line}" for line in record.get("failure", ()))]
    return "\n".join(lines).encode("utf-8", "backslashreplace")


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
