"""Log lines: their shape, what is withheld, what peers cannot do to them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from tlsgate.config.model import AccessLogSettings
from tlsgate.logs import LineLog, LineObserver, build_observer, escape, open_log, standard_observer, start_logging


def log_to(lines: list[bytes], *, level: str = "debug", as_json: bool = True) -> Logger:
    """A logger whose lines are collected."""
    return Logger("tlsgate.test", observer=LogPublisher(build_observer(lines.append, level=level, as_json=as_json)))


def logged(format: str, **fields: Any) -> dict[str, Any]:
    """The one record that an event becomes."""
    lines: list[bytes] = []
    log_to(lines).info(format, **fields)
    (line,) = lines
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    record = json.loads(line)
    assert isinstance(record, dict)
    return record


def test_an_event_is_one_json_object_with_its_fields() -> None:
    """Time and level first, then the stable event id, the message and the fields with their types."""
    record = logged("refused {peer}", event="tls.handshake_refused", peer="192.0.2.1", status=403, elapsed=0.25, cert=None, ok=True)
    assert list(record)[:4] == ["time", "level", "event", "message"]
    assert record["time"].endswith("Z")
    assert record["level"] == "info"
    assert record["event"] == "tls.handshake_refused"
    assert record["message"] == "refused 192.0.2.1"
    assert (record["peer"], record["status"], record["elapsed"], record["cert"], record["ok"]) == ("192.0.2.1", 403, 0.25, None, True)
    assert record["namespace"] == "tlsgate.test"


def test_the_time_is_utc_with_milliseconds() -> None:
    """RFC 3339."""
    lines: list[bytes] = []
    LineObserver(lines.append)({"log_time": 1_800_000_000.0625, "log_format": "x", "log_level": LogLevel.warn})
    assert json.loads(lines[0])["time"] == "2027-01-15T08:00:00.062Z"
    assert json.loads(lines[0])["level"] == "warn"


def test_an_event_without_anything_is_still_a_line() -> None:
    """Old-style events can lack time, level and format."""
    lines: list[bytes] = []
    LineObserver(lines.append)({})
    assert json.loads(lines[0]) == {"time": "1970-01-01T00:00:00.000Z", "level": "info", "message": ""}


@pytest.mark.parametrize(
    "name", ["secret", "token", "Authorization", "password", "key", "x-api-key", "node_secret", "client_secret", "proxy_authorization"]
)
def test_secrets_are_withheld_as_field_and_in_the_message(name: str) -> None:
    """A field that is named like a secret never shows its value, and neither does a format that quotes it."""
    record = logged("got {" + name + "}", **{name: "hunter2"})
    assert record[name] == "(withheld)"
    assert "hunter2" not in json.dumps(record)
    nested = logged("request", headers={name: "hunter2", "host": "a.test"})
    assert nested["headers"] == {name: "(withheld)", "host": "a.test"}


def test_names_that_only_look_like_secrets_are_shown() -> None:
    """Hashes and public keys are what logs are searched for."""
    record = logged("x", key_hash="ab12", public_key="spki", keys=3)
    assert (record["key_hash"], record["public_key"], record["keys"]) == ("ab12", "spki", 3)


def test_private_keys_are_withheld_under_any_name() -> None:
    """A bad reference quotes its value: that value can be a key."""
    pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIFoo\n-----END EC PRIVATE KEY-----"
    record = logged("bad reference {value}", value=pem, parts=[pem])
    assert record["message"] == record["value"] == record["parts"][0] == "(private key withheld)"


def test_a_failure_keeps_its_traceback_but_no_key() -> None:
    """Unexpected errors are written with lines apart, and a key inside the message of an exception is cut out."""
    lines: list[bytes] = []
    try:
        raise ValueError("odd: -----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY----- end\x1b[2J")
    except ValueError:
        log_to(lines).failure("went wrong", event="internal")
    record = json.loads(lines[0])
    assert record["level"] == "critical"
    assert record["failure"][-1] == "builtins.ValueError: odd: (private key withheld) end\\x1b[2J"
    assert b"MIGHAgEA" not in lines[0]


def test_a_failure_is_cut() -> None:
    """Deep recursion does not fill the disk with one line."""
    lines: list[bytes] = []
    LineObserver(lines.append)({"log_format": "x", "log_failure": Failure(ValueError("y\n" * 100_000))})
    assert len(lines[0]) < 100_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text, ünïcode", "plain text, ünïcode"),
        ("a\nb\r\tc", "a\\x0ab\\x0d\\x09c"),
        ("\x1b[31m\x7f\x00", "\\x1b[31m\\x7f\\x00"),
        ("ab\u202ecd", "ab\\u202ecd"),
        ("\u2028\ud800", "\\u2028\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_text_from_outside_is_made_printable(text: str, expected: str) -> None:
    """Log injection, terminal sequences, and text that reads backwards."""
    assert escape(text) == expected


@pytest.mark.parametrize(("length", "expected"), [(9, "a" * 9), (10, "a" * 10), (11, "a" * 10 + "...(+1)"), (500, "a" * 10 + "...(+490)")])
def test_text_from_outside_is_cut(length: int, expected: str) -> None:
    """The limit itself passes whole."""
    assert escape("a" * length, 10) == expected


@given(st.text())
def test_any_text_gives_one_parsable_printable_line(text: str) -> None:
    """Whatever a peer calls itself, a line stays a line."""
    record = logged("from {peer}", peer=text)
    assert all(char.isprintable() for char in record["peer"] + record["message"])


def test_formats_of_twisted_work() -> None:
    """Calls in a format, and events that do not fit their format, are Twisted's own business; neither raises nor shows a secret."""
    assert logged("called {name()}", name=lambda: "x")["message"] == "called x"
    message = logged("no such {field} of {token}", token="hunter2")["message"]
    assert "field" in message
    assert "hunter2" not in message


def test_odd_values_are_written_out() -> None:
    """Bytes, numbers outside of JSON, containers, objects; depth and length have ends."""

    class Thing:
        def __str__(self) -> str:
            return "thing\n"

    record = logged(
        "x",
        raw=b"GET \xff\n",
        long=b"a" * 1000,
        huge=2**64,
        small=-(2**63),
        nan=float("nan"),
        thing=Thing(),
        pair=("a", b"b"),
        many=range(3),
        list=list(range(100)),
        deep=[[[[["bottom"]]]]],
    )
    assert record["raw"] == "GET \\xff\\x0a"
    assert record["long"] == "a" * 512 + "...(+1)"
    assert (record["huge"], record["small"], record["nan"], record["thing"]) == (str(2**64), -(2**63), "nan", "thing\\x0a")
    assert (record["pair"], record["many"]) == (["a", "b"], "range(0, 3)")
    assert record["list"] == list(range(32))
    assert record["deep"] == [[["[['bottom']]"]]]


def test_an_object_that_cannot_be_written_names_itself() -> None:
    """An observer must not raise into the code that logged."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    record = logged("x", thing=Broken())
    assert record["event"] == "log.unwritable"
    assert "RuntimeError" in record["message"]


@pytest.mark.parametrize(("level", "expected"), [("debug", 4), ("info", 3), ("warn", 2), ("warning", 2), ("error", 1), ("critical", 0)])
def test_events_below_the_level_are_dropped(level: str, expected: int) -> None:
    """The level itself is written."""
    lines: list[bytes] = []
    log = log_to(lines, level=level)
    log.debug("d")
    log.info("i")
    log.warn("w")
    log.error("e")
    assert len(lines) == expected


def test_an_unknown_level_is_refused() -> None:
    """With the words that can be used."""
    with pytest.raises(ValueError, match="use debug, info"):
        build_observer(lambda line: None, level="loud")


def test_plain_text_for_eyes() -> None:
    """The same promises without JSON."""
    lines: list[bytes] = []
    log_to(lines, as_json=False).warn("refused {peer}", event="tls.refused", peer="a\nb", token="t")
    assert lines[0].split(b" ", 1)[1] == b"warn  tls.refused: refused a\\x0ab peer=a\\x0ab token=(withheld) namespace=tlsgate.test\n"
    try:
        raise ValueError("broken")
    except ValueError:
        log_to(lines, as_json=False).failure("went wrong")
    assert lines[1].endswith(b"\n    builtins.ValueError: broken\n")


def test_a_file_is_appended_to_and_reopened(tmp_path: Path) -> None:
    """After a rotation the lines go to the new file; others cannot read it."""
    path = tmp_path / "gate.log"
    path.write_bytes(b"old\n")
    log = open_log(str(path))
    log.write(b"one\n")
    path.rename(tmp_path / "gate.log.1")
    log.write(b"two\n")
    assert log.reopen()
    log.write(b"three\n")
    log.close()
    assert (tmp_path / "gate.log.1").read_bytes() == b"old\none\ntwo\n"
    assert path.read_bytes() == b"three\n"
    assert path.stat().st_mode & 0o007 == 0


def test_a_failed_reopen_keeps_the_old_file(tmp_path: Path) -> None:
    """A directory that is away for a moment costs no line."""
    folder = tmp_path / "logs"
    folder.mkdir()
    log = LineLog(str(folder / "gate.log"))
    folder.rename(tmp_path / "moved")
    assert not log.reopen()
    log.write(b"still here\n")
    log.close()
    assert (tmp_path / "moved" / "gate.log").read_bytes() == b"still here\n"


def test_standard_error_needs_no_reopening(capfd: pytest.CaptureFixture[str]) -> None:
    """And is not closed."""
    log = LineLog()
    assert log.reopen()
    log.close()
    log.write(b"line\n")
    assert capfd.readouterr().err == "line\n"


def test_lines_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    """Full disk: the gateway goes on. A torn line is ended before the next one begins."""
    log = LineLog("/dev/full")
    log.write(b"x\n")
    assert log.lost == 1
    log.close()

    reader, writer = os.pipe2(os.O_NONBLOCK)
    try:
        torn = LineLog()
        torn._fd = writer
        torn.write(b"a" * 1_000_000 + b"\n")
        assert torn.lost == 1
        while True:
            try:
                os.read(reader, 1_000_000)
            except BlockingIOError:
                break
        torn.write(b"next\n")
        assert os.read(reader, 100) == b"\nnext\n"
    finally:
        os.close(reader)
        os.close(writer)


def test_standard_observer_writes_json_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    """What `twistd --logger` takes."""
    Logger("x", observer=LogPublisher(standard_observer())).info("hello")
    assert json.loads(capfd.readouterr().err)["message"] == "hello"


def test_start_logging_begins_with_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard streams stay as they are: the lines about listeners go to standard output."""
    begun: list[Any] = []

    class Beginner:
        def beginLoggingTo(self, observers: list[Any], redirectStandardIO: bool) -> None:
            begun.append((observers, redirectStandardIO))

    monkeypatch.setattr("tlsgate.logs.globalLogBeginner", Beginner())
    log = start_logging(AccessLogSettings(file=str(tmp_path / "log"), level="warn", json=True))
    ((observers, redirect),) = begun
    assert not redirect
    Logger("x", observer=LogPublisher(*observers)).error("hello")
    log.close()
    assert json.loads((tmp_path / "log").read_bytes())["message"] == "hello"
