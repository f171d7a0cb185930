"""Tests of `tlsgate.hosting`."""

from __future__ import annotations

import os
import socket
import sys
from io import StringIO
from pathlib import Path

import pytest

from tests.support.logged import logged_events
from tlsgate import hosting
from tlsgate.hosting import Alone
from tlsgate.systemd import InheritedSocket


def test_a_process_alone_binds_its_own_ports() -> None:
    """Without a service manager there is nothing to take, to tell or to feed."""
    host = Alone({})
    assert host.workers == 1
    assert host.reload_everywhere is None
    assert host.line_log is None
    assert host.take_socket("127.0.0.1", 80, 10) is None
    assert host.watchdog_interval() is None
    assert not host.notifier.ready("x")
    with logged_events() as events:
        host.settled()
        host.released("127.0.0.1", 80)
        host.attach(None)
    assert events == []


def test_inherited_sockets_are_given_once_and_the_rest_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read when the first listener asks, not before: a daemon has another process id by then."""
    asked: list[int] = []
    given = (
        InheritedSocket(3, "http", socket.AF_INET, "127.0.0.1", 80),
        InheritedSocket(4, "odd", socket.AF_INET, "127.0.0.1", 81),
    )

    def load(environ: object, pid: int) -> tuple[InheritedSocket, ...]:
        asked.append(pid)
        return given

    monkeypatch.setattr(hosting, "load_inherited_sockets", load)
    host = Alone({"LISTEN_FDS": "2"})
    assert asked == []
    assert [host.take_socket("127.0.0.1", 80, 10) for _ in range(2)] == [3, None]
    with logged_events() as events:
        host.settled()
        host.settled()
    assert [(event["event"], event["name"]) for event in events] == [("service.unused_socket", "odd")]
    assert host.take_socket("127.0.0.1", 81, 10) is None
    assert asked == [os.getpid()]


def test_lines_go_to_the_real_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """``twistd`` has put its log in the place of the usual one."""
    output = StringIO()
    monkeypatch.setattr(sys, "__stdout__", output)
    Alone({}).announce("listening role=gateway")
    assert output.getvalue() == "listening role=gateway\n"


def test_the_service_manager_is_told_and_fed(tmp_path: Path) -> None:
    """By its own variables."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        host = Alone({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"})
        assert host.watchdog_interval() == 2.0
        host.notifier.ready("one API")
        assert manager.recv(100) == b"READY=1\nSTATUS=one API"
