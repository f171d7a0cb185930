"""Started by a service manager or an operator: the start-up contract, signals, notifications, inherited sockets, failures that are named.

Source: issue, section 1 (contract that black-box tools rely on); decisions 4.4, 4.5; sd_notify(3), sd_listen_fds(3),
sd_watchdog_enabled(3).
What `test_main.py` and `test_systemd.py` show with the samples of `conf/` is not repeated here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.certs import SERVER, make_authority
from tests.support.gateway import Client, ScriptedUpstream, StrictUpstream, classic, free_port, oas, read_head, wait_until
from tests.support.programs import Program, python_module, running

SECRET = "test-secret-of-32-characters-xxxx"


def twistd(*arguments: str) -> list[str]:
    """The command that starts a twistd service with the tests' own Python."""
    return [str(Path(sys.executable).parent / "twistd"), "-n", "--pidfile=", *arguments]


RUN, TWISTD = python_module("tlsgate", "run"), twistd("tlsgate")
WAYS = pytest.mark.parametrize("command", [RUN, TWISTD], ids=["tlsgate run", "twistd -n tlsgate"])


def write_config(folder: Path, name: str = "tyk.conf.json", **fields: Any) -> str:
    """Write a configuration for plain HTTP on any port; ``fields`` replace members of its root, None leaves one out."""
    config = {
        "listen_address": "127.0.0.1",
        "listen_port": 0,
        "secret": SECRET,
        "app_path": str(folder / "apps"),
        **fields,
    }
    (folder / "apps").mkdir(exist_ok=True)
    config = {key: value for key, value in config.items() if value is not None}
    text = yaml.safe_dump(config) if name.endswith((".yaml", ".yml")) else json.dumps(config)
    (folder / name).write_text(text)
    return str(folder / name)


def write_api(folder: Path, api: Mapping[str, Any]) -> None:
    """Write a definition."""
    (folder / "apps").mkdir(exist_ok=True)
    identity = api.get("api_id") or api["x-tyk-api-gateway"]["info"]["id"]
    (folder / "apps" / f"{identity}.json").write_text(json.dumps(api))


def status(port: int, target: str = "/hello", host: str = "localhost", **options: Any) -> int:
    """Ask over a new connection."""
    with Client(port, tls=options.pop("tls", False), **options) as client:
        return client.request(target=target, host=host).status


def assert_clean(program: Program) -> None:
    """No traceback in anything that was printed."""
    assert not [line for line in program.lines if "Traceback" in line or '"level":"critical"' in line], "\n".join(program.lines)


# Start, serve, reload, stop.


@WAYS
@pytest.mark.parametrize("form", ["classic", "oas"])
def test_it_serves_from_the_printed_line_on(tmp_path: Path, command: list[str], form: str) -> None:
    """Decisions 4.5: one line per listener on standard output; from then on ``/hello`` and the APIs answer; SIGTERM drains."""
    with StrictUpstream() as upstream:
        write_api(tmp_path, (classic if form == "classic" else oas)("one", upstream.port, "/one/"))
        config = write_config(tmp_path, control_api_port=free_port())
        with running([*command, "--config", config], tmp_path) as program:
            line = program.wait_for("^listening role=gateway").string
            port = int(line.rsplit("port=", 1)[1].split()[0])
            assert line == f"listening role=gateway address=127.0.0.1 port={port} tls=no"
            control = program.wait_for_port("control")
            assert status(control) == 200
            assert status(port, "/one/x") == 200
            assert sum(text.startswith("listening ") for text in program.lines) == 2
            ended = program.stop()
        # twistd ends by the signal that it got, once its services have ended in order.
        assert ended == (0 if command is RUN else -signal.SIGTERM)
        assert_clean(program)


@WAYS
def test_sighup_reloads(tmp_path: Path, command: list[str]) -> None:
    """A definition that comes is served, one that goes is not, whatever started the service; a broken file changes nothing."""
    with StrictUpstream() as upstream:
        config = write_config(tmp_path)
        with running([*command, "--config", config], tmp_path) as program:
            port = program.wait_for_port()
            assert status(port, "/two/x") == 404
            write_api(tmp_path, classic("two", upstream.port, "/two/"))
            program.process.send_signal(signal.SIGHUP)
            assert wait_until(lambda: status(port, "/two/x") == 200, 10)
            Path(config).write_text("{")
            program.process.send_signal(signal.SIGHUP)
            program.wait_for("reload refused")
            assert status(port, "/two/x") == 200
            program.stop()
        assert_clean(program)


def test_a_drain_is_not_undone_by_a_reload(tmp_path: Path) -> None:
    """ghostunnel's test: SIGHUP during the drain opens no port again; the request in flight ends well, the exit status is 0.

    Sleeps: a reload that began would have opened the port by then.
    """
    release = threading.Event()

    def script(connection: socket.socket, number: int) -> None:
        read_head(connection)
        release.wait(20)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    with ScriptedUpstream(script) as upstream:
        write_api(tmp_path, classic("slow", upstream.port))
        with running([*RUN, "--config", write_config(tmp_path)], tmp_path) as program, _waiting(program, release) as client:
            port = client.socket.getpeername()[1]
            program.process.send_signal(signal.SIGTERM)
            assert wait_until(lambda: not _accepts(port), 5)
            for _ in range(3):
                program.process.send_signal(signal.SIGHUP)
                time.sleep(0.1)
                assert not _accepts(port)
            release.set()
            assert client.read_response().body == b"late"
            assert program.process.wait(10) == 0
        assert_clean(program)


@WAYS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_drain_at_once(tmp_path: Path, command: list[str], number: int) -> None:
    """Somebody in a hurry: what is in flight is cut, the end is as orderly as before, also when the signals come in a bunch."""
    release = threading.Event()

    def script(connection: socket.socket, number: int) -> None:
        read_head(connection)
        release.wait(20)

    with ScriptedUpstream(script) as upstream:
        write_api(tmp_path, classic("slow", upstream.port))
        with running([*command, "--config", write_config(tmp_path)], tmp_path) as program, _waiting(program, release) as client:
            port = client.socket.getpeername()[1]
            for _ in range(3):
                program.process.send_signal(number)  # the kernel may make one of them
            assert wait_until(lambda: not _accepts(port), 5)
            started = time.monotonic()
            program.process.send_signal(number)
            ended = program.process.wait(10)
            assert time.monotonic() - started < 3
            assert ended == (0 if command is RUN else -number)
            with pytest.raises((EOFError, OSError)):
                client.read_response()
        assert_clean(program)


@contextmanager
def _waiting(program: Program, release: threading.Event) -> Iterator[Client]:
    """A client with a request that the upstream holds back until ``release``."""
    with Client(program.wait_for_port(), tls=False) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2)  # it has reached the upstream
        try:
            yield client
        finally:
            release.set()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


# Notifications.


class Manager:
    """The service manager's end of ``NOTIFY_SOCKET``: a real datagram socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(30)

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def next(self, *, skip_watchdog: bool = True) -> dict[str, str]:
        """Return the next message as assignments."""
        while True:
            message = dict(line.split("=", 1) for line in self._socket.recv(65536).decode().split("\n"))
            if not skip_watchdog or message != {"WATCHDOG": "1"}:
                return message

    def count(self, seconds: float) -> int:
        """Return how many messages come within a time."""
        deadline = time.monotonic() + seconds
        count = 0
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                self._socket.recv(65536)
            except TimeoutError:
                break
            count += 1
        self._socket.settimeout(30)
        return count


@WAYS
def test_a_whole_life_in_notifications(tmp_path: Path, command: list[str]) -> None:
    """Type=notify-reload: READY once the port is open, RELOADING with the time of now, READY with what became of it, STOPPING."""
    with Manager(str(tmp_path / "notify")) as manager:
        config = write_config(tmp_path)
        with running([*command, "--config", config], tmp_path, {"NOTIFY_SOCKET": manager.address}) as program:
            assert manager.next() == {"READY": "1", "STATUS": "0 APIs"}
            port = program.wait_for_port()
            assert status(port) == 200
            write_api(tmp_path, classic("one", 9))
            for text, expected in ((None, "1 APIs"), ("{", "1 APIs; the last reload was refused"), (Path(config).read_text(), "1 APIs")):
                if text is not None:
                    Path(config).write_text(text)
                before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                program.process.send_signal(signal.SIGHUP)
                message = manager.next()
                assert set(message) == {"RELOADING", "MONOTONIC_USEC"}
                assert before <= int(message["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
                message = manager.next()
                assert message["READY"] == "1"
                assert message["STATUS"].startswith(expected)
                assert ("refused" in message["STATUS"]) == ("refused" in expected)
            program.process.send_signal(signal.SIGTERM)
            assert manager.next() == {"STOPPING": "1"}
            program.process.wait(10)
            assert manager.count(0.2) == 0, "nothing after STOPPING"
        assert_clean(program)


def test_a_start_that_fails_is_never_ready(tmp_path: Path) -> None:
    """No READY for a gateway that opens no port."""
    with Manager(str(tmp_path / "notify")) as manager:
        config = write_config(tmp_path, secret="")
        with running([*RUN, "--config", config], tmp_path, {"NOTIFY_SOCKET": manager.address}) as program:
            assert program.process.wait(20) == 1
        assert manager.count(0.2) == 0


def test_the_watchdog_is_fed_at_half_its_time(tmp_path: Path) -> None:
    """WATCHDOG_USEC of one second: a beat each half second; fed by the process it is for only. An abstract address this time."""
    with Manager(f"@tlsgate-{os.getpid()}") as manager:
        environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000"}
        with running([*RUN, "--config", write_config(tmp_path)], tmp_path, environ) as program:
            # The first beat may come before the port is ready to be seen.
            while manager.next(skip_watchdog=False) != {"READY": "1", "STATUS": "0 APIs"}:
                pass
            assert 2 <= manager.count(1.5) <= 5
            program.stop()
        environ["WATCHDOG_PID"] = "1"
        with running([*RUN, "--config", write_config(tmp_path)], tmp_path, environ) as program:
            while "READY" not in manager.next(skip_watchdog=False):
                pass  # what was left of the first one
            assert manager.count(0.8) == 0
            program.stop()


def test_a_manager_that_is_gone_does_not_stop_the_gateway(tmp_path: Path) -> None:
    """The service manager's trouble is not the clients'."""
    environ = {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "200000"}
    with running([*RUN, "--config", write_config(tmp_path)], tmp_path, environ) as program:
        assert status(program.wait_for_port()) == 200
        assert program.stop() == 0
    assert_clean(program)


# Inherited sockets.

_LAUNCHER = """
import os, sys
pid, names, count, *rest = sys.argv[1:]
numbers, command = [int(text) for text in rest[: int(count)]], rest[int(count) :]
for offset, number in enumerate(numbers):
    os.dup2(number, 100 + offset)
for offset in range(len(numbers)):
    os.dup2(100 + offset, 3 + offset)
os.environ.update(LISTEN_PID=pid or str(os.getpid()), LISTEN_FDS=count, LISTEN_FDNAMES=names)
os.execv(command[0], command)
"""


def activated(command: Sequence[str], sockets: Sequence[socket.socket], *, pid: str = "", names: str = "") -> list[str]:
    """The command that does what systemd does between fork and exec: sockets from descriptor 3 on, and the three variables.

    :param pid: other than the process's own.
    """
    numbers = [str(entry.fileno()) for entry in sockets]
    return [sys.executable, "-c", _LAUNCHER, pid, names, str(len(sockets)), *numbers, *command]


@WAYS
def test_several_inherited_sockets_find_their_listeners(tmp_path: Path, command: list[str]) -> None:
    """By address and port, in any order; a listener without one opens its own; connections from before the start are served."""
    with socket.create_server(("127.0.0.1", 0)) as control, socket.create_server(("127.0.0.1", 0)) as main, StrictUpstream() as upstream:
        ports = [entry.getsockname()[1] for entry in (main, control)]
        own = free_port()
        write_api(tmp_path, classic("main", upstream.port, "/main/"))
        write_api(tmp_path, classic("own", upstream.port, "/own/", listen_port=own, protocol="http"))
        config = write_config(tmp_path, listen_port=ports[0], control_api_port=ports[1], disable_ports_whitelist=True)
        early = socket.create_connection(("127.0.0.1", ports[0]), timeout=20)
        early.sendall(b"GET /main/early HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sockets = [control, main]
        whole = activated([*command, "--config", config], sockets, names="control:main")
        with running(whole, tmp_path, pass_fds=[entry.fileno() for entry in sockets]) as program:
            assert program.wait_for_port() == ports[0]
            assert early.recv(65536).startswith(b"HTTP/1.1 200")
            early.close()
            assert status(ports[1]) == 200
            assert status(own, "/own/x") == 200
            # Open for new connections while it drains, since the manager holds them: they wait for the next process.
            program.stop()
            assert _accepts(ports[0])
        assert_clean(program)


def test_sockets_of_another_process_are_left_alone(tmp_path: Path) -> None:
    """LISTEN_PID names somebody else: the gateway opens its own port, here one that it must choose differently."""
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        command = activated([*RUN, "--config", write_config(tmp_path)], [foreign], pid="1")
        with running(command, tmp_path, pass_fds=[foreign.fileno()]) as program:
            port = program.wait_for_port()
            assert port != foreign.getsockname()[1]
            assert status(port) == 200
            assert program.stop() == 0


def test_an_inherited_socket_that_fits_no_listener_is_named(tmp_path: Path) -> None:
    """Its connections would wait for ever: unit and configuration do not fit together, which an operator must see."""
    with socket.create_server(("127.0.0.1", 0)) as odd:
        command = activated([*RUN, "--config", write_config(tmp_path)], [odd], names="odd")
        with running(command, tmp_path, pass_fds=[odd.fileno()]) as program:
            assert status(program.wait_for_port()) == 200
            assert program.stop() == 0
        assert [line for line in program.lines if "odd" in line and str(odd.getsockname()[1]) in line and '"warn' in line]


def test_an_inherited_descriptor_that_is_no_listener_stops_the_start(tmp_path: Path) -> None:
    """A datagram socket, or a connection: better no start than a port that answers nobody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        command = activated([*RUN, "--config", write_config(tmp_path)], [datagrams], names="wrong")
        with running(command, tmp_path, pass_fds=[datagrams.fileno()]) as program:
            assert program.process.wait(20) == 1
            assert wait_until(lambda: any("wrong" in line and "listening stream socket" in line for line in program.lines), 2)
        assert_clean(program)


# Configuration: environment, YAML, nothing at all.


@WAYS
def test_variables_override_the_file(tmp_path: Path, command: list[str]) -> None:
    """TYK_GW_LISTENPORT, nested ones and lists, over a file that says something else."""
    server = make_authority("servers").issue("gateway", usages=SERVER, names=["localhost"])
    (tmp_path / "server.pem").write_text(server.full_pem)
    port = free_port()
    environ = {
        "TYK_GW_LISTENPORT": str(port),
        "TYK_GW_SECRET": SECRET,
        "TYK_GW_HTTPSERVEROPTIONS_USESSL": "true",
        "TYK_GW_HTTPSERVEROPTIONS_SSLCERTIFICATES": str(tmp_path / "server.pem"),
        "TYK_GW_HEALTHCHECKENDPOINTNAME": "alive",
    }
    config = write_config(tmp_path, listen_port=9, secret="")
    with running([*command, "--config", config], tmp_path, environ) as program:
        assert program.wait_for("^listening role=gateway").string.endswith(f" port={port} tls=yes")
        assert status(port, "/alive", tls=True, sni="localhost") == 200
        assert status(port, "/hello", tls=True, sni="localhost") == 404
        program.stop()
    assert_clean(program)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"TYK_GW_LISTENPORT": "often"}, "TYK_GW_LISTENPORT"),
        ({"TYK_GW_LISTENPORT": "70000"}, "listen"),
        ({"TYK_GW_HTTPSERVEROPTIONS_USESSL": "maybe"}, "TYK_GW_HTTPSERVEROPTIONS_USESSL"),
        ({"TYK_GW_SECRET": ""}, "secret"),
        ({"TYK_GW_SECRET": "352d20ee67be67f6340b4c0605b044b7"}, "secret"),
        ({"TYK_GW_STORAGE_TYPE": "mongo"}, "storage"),
    ],
)
def test_a_variable_that_cannot_be_used_stops_the_start(tmp_path: Path, environ: dict[str, str], named: str) -> None:
    """Named, with exit status 1 and without a traceback, by `run` as by `check`."""
    config = write_config(tmp_path)
    done = finish(python_module("tlsgate", "check" if "SECRET" in str(environ) else "run", "--config", config), tmp_path, environ)
    assert done.returncode == 1
    assert named.lower() in done.stderr.lower(), done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_variable_is_a_warning(tmp_path: Path) -> None:
    """With what was probably meant."""
    done = finish(python_module("tlsgate", "check", "--config", write_config(tmp_path)), tmp_path, {"TYK_GW_LISTENPROT": "1"})
    assert done.returncode == 0
    assert "TYK_GW_LISTENPROT" in done.stderr
    assert "TYK_GW_LISTENPORT" in done.stderr


@WAYS
@pytest.mark.parametrize("name", ["tyk.yaml", "tyk.yml"])
def test_yaml_is_told_by_its_extension(tmp_path: Path, command: list[str], name: str) -> None:
    """The same members; definitions beside it stay JSON."""
    with StrictUpstream() as upstream:
        write_api(tmp_path, oas("one", upstream.port, "/one/"))
        inline = classic("inline", upstream.port, "/inline/")
        config = write_config(tmp_path, name, tlsgate={"api_definitions": [inline]})
        with running([*command, "--config", config], tmp_path) as program:
            port = program.wait_for_port()
            assert status(port, "/one/x") == 200
            assert status(port, "/inline/x") == 200
            program.stop()
        assert_clean(program)


def test_without_a_file_the_environment_is_the_configuration(tmp_path: Path) -> None:
    """TYK_GW_OMITCONFIGFILE, as containers use it."""
    environ = {
        "TYK_GW_OMITCONFIGFILE": "true",
        "TYK_GW_LISTENADDRESS": "127.0.0.1",
        "TYK_GW_LISTENPORT": "0",
        "TYK_GW_SECRET": SECRET,
        "TYK_GW_APPPATH": str(tmp_path),
    }
    with running(RUN, tmp_path, environ) as program:
        assert status(program.wait_for_port()) == 200
        assert program.stop() == 0
    assert_clean(program)


@WAYS
def test_port_0_takes_a_free_port_each_time(tmp_path: Path, command: list[str]) -> None:
    """Two at once from one file."""
    config = write_config(tmp_path)
    with running([*command, "--config", config], tmp_path) as one, running([*command, "--config", config], tmp_path) as two:
        ports = {program.wait_for_port() for program in (one, two)}
        assert len(ports) == 2
        assert {status(port) for port in ports} == {200}
        for program in (one, two):
            program.stop()


# Failures.


def finish(command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **(environ or {})}, capture_output=True, text=True, timeout=30, check=False
    )


def _key_of_another(folder: Path) -> dict[str, Any]:
    authority = make_authority("servers")
    mine, other = (authority.issue("gateway", usages=SERVER, names=["localhost"]) for _ in range(2))
    (folder / "mixed.pem").write_text(mine.pem + other.key_pem)
    return {"http_server_options": {"use_ssl": True, "ssl_certificates": [str(folder / "mixed.pem")]}}


def _half_a_file(folder: Path) -> dict[str, Any]:
    whole = make_authority("servers").issue("gateway", usages=SERVER, names=["localhost"]).full_pem
    (folder / "half.pem").write_text(whole[: len(whole) // 3])
    return {"http_server_options": {"use_ssl": True, "ssl_certificates": [str(folder / "half.pem")]}}


def _missing_file(folder: Path) -> dict[str, Any]:
    return {"http_server_options": {"use_ssl": True, "ssl_certificates": [str(folder / "absent.pem")]}}


def _a_folder(folder: Path) -> dict[str, Any]:
    return {"http_server_options": {"use_ssl": True, "ssl_certificates": [str(folder)]}}


def _no_certificate(folder: Path) -> dict[str, Any]:
    return {"http_server_options": {"use_ssl": True}}


FAILURES: dict[str, tuple[Callable[[Path], dict[str, Any]] | dict[str, Any], str]] = {
    "empty secret": ({"secret": ""}, "secret"),
    "Tyk's sample secret": ({"secret": "352d20ee67be67f6340b4c0605b044b7"}, "secret"),
    "server certificate is missing": (_missing_file, "absent.pem"),
    "server certificate is a folder": (_a_folder, "ssl_certificates"),
    "server certificate is cut short": (_half_a_file, "half.pem"),
    "key of another certificate": (_key_of_another, "mixed.pem"),
    "no server certificate": (_no_certificate, "certificate"),
    "unknown setting of ours": ({"tlsgate": {"limts": {}}}, "limits"),
    "no such address": ({"listen_address": "192.0.2.77"}, "listen"),
    "unknown store": ({"storage": {"type": "paper"}}, "storage"),
    "unknown suite": ({"http_server_options": {"use_ssl": True, "ssl_ciphers": ["TLS_FANCY"]}}, "TLS_FANCY"),
}


@pytest.mark.parametrize(
    ("command", "fields", "named"),
    [pytest.param(RUN, *failure, id=name) for name, failure in FAILURES.items()]
    + [
        pytest.param(TWISTD, *FAILURES[name], id=f"{name}, twistd")
        for name in ("empty secret", "key of another certificate", "no such address")
    ],
)
def test_a_start_that_cannot_be_is_named(
    tmp_path: Path, command: list[str], fields: Callable[[Path], dict[str, Any]] | dict[str, Any], named: str
) -> None:
    """Decisions 1.8, 4.4: exit status not 0, the problem with its place on standard error, no traceback, nothing printed as listening."""
    config = write_config(tmp_path, **(fields(tmp_path) if callable(fields) else fields))
    done = finish([*command, "--config", config], tmp_path)
    assert done.returncode == 1
    assert named in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "listening " not in done.stdout
    assert not (tmp_path / "twistd.pid").exists()


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"listen_port": 1, "listen_port": 2}', "\x00\x01", "{} {}"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    """Missing, empty, cut short, of another shape, with duplicate members, binary, with something behind."""
    config = tmp_path / "tyk.conf"
    if text is not None:
        config.write_text(text)
    done = finish([*RUN, "--config", str(config)], tmp_path)
    assert done.returncode == 1
    assert "tyk.conf" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@WAYS
@pytest.mark.parametrize("role", ["gateway", "control", "api"])
def test_a_port_that_is_taken_is_named_and_nothing_stays_open(tmp_path: Path, command: list[str], role: str) -> None:
    """Each listener: the others that were open already are closed again with the process."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        ports = {"gateway": free_port(), "control": free_port(), "api": free_port(), role: number}
        write_api(tmp_path, classic("own", 9, listen_port=ports["api"], protocol="http"))
        config = write_config(tmp_path, listen_port=ports["gateway"], control_api_port=ports["control"], disable_ports_whitelist=True)
        done = finish([*command, "--config", config], tmp_path)
    assert done.returncode == 1
    assert str(number) in done.stderr
    assert "in use" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_server_certificate_is_named(tmp_path: Path) -> None:
    """Permissions, the commonest mistake."""
    server = make_authority("servers").issue("gateway", usages=SERVER, names=["localhost"])
    path = tmp_path / "server.pem"
    path.write_text(server.full_pem)
    path.chmod(stat.S_IWUSR)
    config = write_config(tmp_path, http_server_options={"use_ssl": True, "ssl_certificates": [str(path)]})
    done = finish([*RUN, "--config", config], tmp_path)
    assert done.returncode == 1
    assert "server.pem" in done.stderr and "ermission" in done.stderr


def test_a_default_secret_is_for_development(tmp_path: Path) -> None:
    """Decisions 4.4: with ``tlsgate.development`` it starts, and warns."""
    config = write_config(tmp_path, secret="352d20ee67be67f6340b4c0605b044b7", tlsgate={"development": True})
    with running([*RUN, "--config", config], tmp_path) as program:
        assert status(program.wait_for_port()) == 200
        assert program.stop() == 0
    assert [line for line in program.lines if "secret" in line]


def test_without_a_secret_the_control_api_is_closed(tmp_path: Path) -> None:
    """An absent secret opens nothing to anybody; health needs none. The start warns."""
    with running([*RUN, "--config", write_config(tmp_path, secret=None)], tmp_path) as program:
        port = program.wait_for_port()
        assert status(port) == 200
        for value in ("", "352d20ee67be67f6340b4c0605b044b7"):
            with Client(port, tls=False) as client:
                assert client.request(target="/tyk/apis", headers=[("x-tyk-authorization", value)]).status in (403, 404)
        assert program.stop() == 0
    assert [line for line in program.lines if "secret" in line and '"warn' in line]


# The check.


def test_check_names_everything_that_run_would_trip_over_and_what_it_would_leave_out(tmp_path: Path) -> None:
    """Configuration, environment, definitions in both forms, certificates of servers and clients, in one run; exit status 1."""
    write_api(tmp_path, classic("needs-key", 9, "/a/", use_keyless=False, use_oauth2=True))
    write_api(tmp_path, classic("broken-list", 9, "/b/", use_mutual_tls_auth=True, client_certificates=[str(tmp_path / "gone.pem")]))
    write_api(tmp_path, oas("no-target", "", "/c/"))
    write_api(tmp_path, classic("bad-pattern", 9, "/d/", domain="{x:(}"))
    write_api(tmp_path, classic("same-path", 9, "/a/"))
    (tmp_path / "apps" / "half.json").write_text('{"api_id": "half"')
    config = write_config(
        tmp_path, http_server_options={"use_ssl": True, "ssl_certificates": [str(tmp_path / "absent.pem")]}, unknown_thing=1
    )
    done = finish(python_module("tlsgate", "check", "--config", config), tmp_path, {"TYK_GW_NONSENSE": "1"})
    assert done.returncode == 1
    for part in ("needs-key", "gone.pem", "no-target", "bad-pattern", "half.json", "absent.pem", "unknown_thing", "TYK_GW_NONSENSE"):
        assert part in done.stderr, part
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f"{len(errors)} errors" in done.stdout
    for line in errors:
        assert str(tmp_path) in line, "each with its file"


def test_check_opens_nothing(tmp_path: Path) -> None:
    """It can run beside the gateway that serves, on the same ports."""
    with socket.create_server(("127.0.0.1", 0)) as serving:
        config = write_config(tmp_path, listen_port=serving.getsockname()[1])
        done = finish(python_module("tlsgate", "check", "--config", config), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "0 errors" in done.stdout


def test_strict_check_fails_on_warnings(tmp_path: Path) -> None:
    """For pipelines that want a clean configuration."""
    config = write_config(tmp_path, unknown_thing=1)
    for arguments, expected in (((), 0), (("--strict",), 1)):
        done = finish(python_module("tlsgate", "check", "--config", config, *arguments), tmp_path)
        assert done.returncode == expected
        assert "unknown_thing" in done.stderr
        assert "1 warning" in done.stdout
