"""Messages to the service manager and inherited sockets."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlsgate import systemd
from tlsgate.errors import ConfigError
from tlsgate.systemd import InheritedSocket, Notifier, build_notifier, find_watchdog_interval, load_inherited_sockets


@contextlib.contextmanager
def service_manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's end of the notify socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


def notifier_of(manager: socket.socket) -> Notifier:
    """A notifier that talks to the fixture."""
    return build_notifier({"NOTIFY_SOCKET": manager.getsockname()})


def test_each_state_is_one_datagram(tmp_path: Path) -> None:
    """sd_notify(3): assignments separated by line breaks, one message each."""
    with service_manager(tmp_path) as manager:
        notifier = notifier_of(manager)
        assert notifier.enabled
        for sent, expected in (
            (notifier.ready(), b"READY=1"),
            (notifier.ready("2 APIs"), b"READY=1\nSTATUS=2 APIs"),
            (notifier.stopping(), b"STOPPING=1"),
            (notifier.watchdog(), b"WATCHDOG=1"),
            (notifier.status("draining"), b"STATUS=draining"),
        ):
            assert sent
            assert manager.recv(1024) == expected


def test_reloading_carries_the_monotonic_time(tmp_path: Path) -> None:
    """sd_notify(3): RELOADING=1 needs MONOTONIC_USEC beside it."""
    with service_manager(tmp_path) as manager:
        assert notifier_of(manager).reloading(12.345678)
        assert manager.recv(1024) == b"RELOADING=1\nMONOTONIC_USEC=12345678"


def test_a_line_break_in_the_status_starts_no_further_assignment(tmp_path: Path) -> None:
    """Status text can quote a file name; it must not speak for the gateway."""
    with service_manager(tmp_path) as manager:
        assert notifier_of(manager).status("bad file\nREADY=1")
        assert manager.recv(1024) == b"STATUS=bad file READY=1"


def test_abstract_sockets_are_reached() -> None:
    """``@name`` is the abstract name space: a leading NUL on the wire."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        name = f"tlsgate-test-{os.getpid()}"
        receiver.bind("\0" + name)
        receiver.settimeout(5)
        assert build_notifier({"NOTIFY_SOCKET": "@" + name}).ready()
        assert receiver.recv(1024) == b"READY=1"


@pytest.mark.parametrize(
    "environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "@"}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "rel"}]
)
def test_without_a_usable_socket_nothing_is_sent(environ: dict[str, str]) -> None:
    """No service manager is the normal case outside of one."""
    notifier = build_notifier(environ)
    assert not notifier.enabled
    assert not notifier.ready()
    assert not notifier.watchdog()


def test_a_dead_manager_does_not_disturb(tmp_path: Path) -> None:
    """The gateway goes on when nobody reads."""
    assert not build_notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_a_full_queue_does_not_block(tmp_path: Path) -> None:
    """The socket is non-blocking: a manager that stopped reading costs a message, not the event loop."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        notifier = build_notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert not all(notifier.watchdog() for _ in range(10_000))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
    ],
)
def test_watchdog_interval_is_half_of_the_limit(environ: dict[str, str], expected: float | None) -> None:
    """sd_watchdog_enabled(3): ping at half the time, and only when the variables mean this process."""
    assert find_watchdog_interval(environ, 7) == expected


def listening_socket() -> socket.socket:
    """A listening socket such as systemd hands over."""
    return socket.create_server(("127.0.0.1", 0))


def inherit(monkeypatch: pytest.MonkeyPatch, first: int, count: int = 1, names: str = "gateway") -> tuple[InheritedSocket, ...]:
    """Read ``count`` descriptors that begin at ``first`` instead of at 3, where the test runner has its own files."""
    monkeypatch.setattr(systemd, "_FIRST_FD", first)
    return load_inherited_sockets({"LISTEN_PID": "7", "LISTEN_FDS": str(count), "LISTEN_FDNAMES": names}, 7)


def test_inherited_sockets_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, family, address and port are what a listener is matched by."""
    with listening_socket() as listening:
        port = listening.getsockname()[1]
        listening.set_inheritable(True)
        (found,) = inherit(monkeypatch, listening.fileno())
        assert found == InheritedSocket(listening.fileno(), "gateway", socket.AF_INET, "127.0.0.1", port)
        assert not listening.get_inheritable()
        assert not os.get_blocking(listening.fileno())
        assert listening.getsockname()[1] == port  # still open
    assert found.serves("127.0.0.1", port)
    assert not found.serves("127.0.0.1", port + 1)
    assert not found.serves("", port)


def test_all_addresses_count_as_one() -> None:
    """A socket unit's ``ListenStream=443`` is ``[::]:443``; the file says an empty address."""
    found = InheritedSocket(3, "gateway", socket.AF_INET6, "::", 443)
    assert found.serves("", 443)
    assert found.serves("0.0.0.0", 443)
    assert not found.serves("127.0.0.1", 443)


def test_paths_have_no_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stream socket with a file system path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        (found,) = inherit(monkeypatch, server.fileno(), names="")
        assert found == InheritedSocket(server.fileno(), "unknown", socket.AF_UNIX, str(tmp_path / "s"), 0)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_several_names_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """``LISTEN_FDNAMES`` has one name per descriptor."""
    with listening_socket() as listening:
        number = next(low for low in range(200, 60_000, 2) if not (_is_open(low) or _is_open(low + 1)))  # two in a row
        os.dup2(listening.fileno(), number)
        os.dup2(listening.fileno(), number + 1)
        try:
            found = inherit(monkeypatch, number, 2, "gateway:control")
            assert [entry.name for entry in found] == ["gateway", "control"]
        finally:
            os.close(number)
            os.close(number + 1)


@pytest.mark.parametrize(
    "environ", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "8"}, {"LISTEN_FDS": "0", "LISTEN_PID": "7"}]
)
def test_sockets_of_nobody_or_of_another_process_are_left_alone(environ: dict[str, str]) -> None:
    """sd_listen_fds(3): the process id guards against a child that inherits the variables."""
    assert load_inherited_sockets(environ, 7) == ()


def test_a_connected_socket_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """``Accept=yes`` hands over connections; the gateway wants listeners."""
    left, right = socket.socketpair()
    with left, right, pytest.raises(ConfigError, match="not a listening stream socket"):
        inherit(monkeypatch, left.fileno())


def test_a_closed_descriptor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong count is told, not ignored."""
    with listening_socket() as listening:
        number = listening.fileno()
    with pytest.raises(ConfigError, match="cannot be used"):
        inherit(monkeypatch, number)
