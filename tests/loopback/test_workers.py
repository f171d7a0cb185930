"""A parent with workers as real processes: one gateway to clients, to operators and to the service manager (issue, section 7)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.loopback.test_service_manager import Manager, activated
from tests.support.certs import SERVER, make_authority
from tests.support.clientside import ClientSide
from tests.support.control import Api, rights, token_api
from tests.support.crew import running_crew
from tests.support.gateway import Client, ScriptedUpstream, StrictUpstream, classic, free_port, read_head, wait_until
from tests.support.programs import python_module, running
from tests.support.redis_server import needs_redis, redis_server
from tests.support.scale import scaled

SECRET = "test-secret-of-32-characters-xxxx"


def ask(port: int, target: str = "/hello") -> int:
    """Ask over a new connection."""
    with Client(port, tls=False) as client:
        return client.request(target=target).status


def show(client: Client, key: str) -> int:
    """Ask with a key on an open connection."""
    return client.request(target="/api/", headers=[("Authorization", key)]).status


def accepts(port: int) -> bool:
    """Tell whether a port is open."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except (ConnectionRefusedError, ConnectionResetError):  # closed, or being closed
        return False
    return True


def gone(pid: int) -> bool:
    """Tell whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def upstream() -> Iterator[StrictUpstream]:
    """Answers everything."""
    with StrictUpstream() as made:
        yield made


@contextmanager
def slow_upstream() -> Iterator[tuple[int, threading.Event, threading.Event]]:
    """One that has the request (first event) and answers when it is told to (second event)."""
    reached, release = threading.Event(), threading.Event()

    def script(connection: socket.socket, number: int) -> None:
        read_head(connection)
        reached.set()
        release.wait(20)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    with ScriptedUpstream(script) as upstream:
        try:
            yield upstream.port, reached, release
        finally:
            release.set()


class Load:
    """Clients that ask all the time, each over one connection for a while."""

    def __init__(self, port: int, target: str, count: int = 4, each: int = 20) -> None:
        self.failures: list[str] = []
        self.done = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port, target, each), daemon=True) for _ in range(count)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _run(self, port: int, target: str, each: int) -> None:
        while not self._stop.is_set():
            try:
                with Client(port, tls=False) as client:
                    for _ in range(each):
                        status = client.request(target=target).status
                        if status != 200:
                            self.failures.append(str(status))
                        self.done += 1
                        if self._stop.is_set():
                            break
            except Exception as error:
                self.failures.append(f"{type(error).__name__}: {error}")


# Serving.


def test_every_worker_serves_and_the_ports_are_printed_once(tmp_path: Path, upstream: StrictUpstream) -> None:
    """One line per listener; the parent has no store open and accepts nothing."""
    with running_crew(tmp_path, classic("one", upstream.port, "/one/")) as crew:
        assert sorted(entry["role"] for entry in crew.gateway.listeners) == ["control", "gateway"]
        assert sorted(crew.pids()) == [1, 2]
        for pid in crew.pids().values():
            with crew.connect_to(pid, crew.gateway.port) as client:
                assert client.request(target="/one/x").status == 200
        held = [os.readlink(f"/proc/{crew.gateway.pid}/fd/{name}") for name in os.listdir(f"/proc/{crew.gateway.pid}/fd")]
        assert not [name for name in held if "store.db" in name]
        # Both ports, two channels, the pair that wakes it: what workers have open is not held open by the parent.
        assert len([name for name in held if name.startswith("socket:")]) == 2 + 2 + 2


def test_no_worker_holds_the_channel_of_another(tmp_path: Path) -> None:
    """Else the end of the parent would not be seen."""
    with running_crew(tmp_path, count=3) as crew:
        sockets = [
            {name for fd in os.listdir(f"/proc/{pid}/fd") if (name := os.readlink(f"/proc/{pid}/fd/{fd}")).startswith("socket:")}
            for pid in crew.pids().values()
        ]
        shared = set.intersection(*sockets)
        assert len(shared) == 2, "the two listening sockets and nothing else"
        for one in range(3):
            for other in range(one):
                assert sockets[one] & sockets[other] == shared


def test_connections_are_spread(tmp_path: Path, upstream: StrictUpstream) -> None:
    """Under load nobody gets all of them."""
    with running_crew(tmp_path, classic("one", upstream.port, "/one/"), tlsgate={"log": {"access": True}}) as crew:
        with Load(crew.gateway.port, "/one/x", count=8, each=3) as load:
            time.sleep(2)
        assert not load.failures
        taken = Counter(event["worker"] for event in list(crew.gateway.events) if event.get("event") == "http.access")
        assert sum(taken.values()) > 100
        assert min(taken[1], taken[2]) > 0.1 * sum(taken.values()), taken


def test_a_ticket_works_only_in_the_worker_that_made_it(tmp_path: Path, upstream: StrictUpstream) -> None:
    """In another one it costs a full handshake and nothing else (decisions 1.7)."""
    server = make_authority("servers").issue("gateway", usages=SERVER, names=["localhost"])
    with running_crew(tmp_path, classic("one", upstream.port, "/one/"), server=server) as crew:
        own, other = crew.pids().values()
        for version in (771, 772):
            side = ClientSide(version=version)
            options: dict[str, Any] = {"tls": True, "sni": "localhost", "context": side.context}
            with crew.connect_to(own, crew.gateway.port, **options) as client:
                assert client.ssl is not None
                session = client.ssl.get_session()
            resumed = []
            for pid in (own, other, own):
                before = side.full_handshakes
                with crew.connect_to(pid, crew.gateway.port, session=session, **options) as client:
                    assert client.request(target="/one/x").status == 200
                resumed.append(side.full_handshakes == before)
            assert resumed == [True, False, True]


# What all know together.


def test_health_is_of_all_workers(tmp_path: Path, upstream: StrictUpstream) -> None:
    """``/tyk/health`` sums what each has served, whoever is asked."""
    checks = {"enable_health_checks": True}
    with running_crew(tmp_path, classic("one", upstream.port, "/one/"), health_check=checks) as crew:
        for number, pid in enumerate(crew.pids().values()):
            with crew.connect_to(pid, crew.gateway.port) as client:
                for _ in range(10 * (number + 1)):
                    assert client.request(target="/one/x").status == 200
        for pid in crew.pids().values():
            with crew.connect_to(pid, crew.gateway.port_of("control")) as client:
                answer = client.request(target="/tyk/health?api_id=one", headers=[("X-Tyk-Authorization", SECRET)])
            assert round(json.loads(answer.body)["average_requests_per_second"] * 60) == 30


# Reloading.


def test_sighup_reaches_all_and_ports_come_and_go(tmp_path: Path, upstream: StrictUpstream) -> None:
    """A new port is bound once and served by all; one that is not wanted any more is closed everywhere, the parent's copy too."""
    extra = free_port()
    more = classic("more", upstream.port, "/more/", listen_port=extra, protocol="http")
    with running_crew(tmp_path, classic("one", upstream.port, "/one/"), disable_ports_whitelist=True) as crew:
        gateway = crew.gateway
        gateway.write_apis(classic("two", upstream.port, "/two/"), more)
        gateway.reload()
        gateway.wait_event("workers.reloaded", match=lambda event: event["fault"] == "" and event["count"] == 2)
        assert gateway.port_of("api") == extra
        for pid in crew.pids().values():
            with crew.connect_to(pid, gateway.port) as client:
                assert (client.request(target="/one/x").status, client.request(target="/two/x").status) == (404, 200)
            with crew.connect_to(pid, extra) as client:
                assert client.request(target="/more/x").status == 200
        mark = len(gateway.events)
        gateway.write_apis(classic("two", upstream.port, "/two/"))
        gateway.reload()
        gateway.wait_event("workers.reloaded", after=mark)
        assert wait_until(lambda: not accepts(extra), 5)
        assert len([entry for entry in gateway.listeners if entry["role"] == "api"]) == 1
        # And again: the port is bound anew.
        gateway.write_apis(more)
        gateway.reload()
        assert wait_until(lambda: accepts(extra) and ask(extra, "/more/x") == 200, 10)


def test_a_reload_by_the_control_api_of_one_worker_reaches_all(tmp_path: Path, upstream: StrictUpstream) -> None:
    """With ``block=true`` all have taken it when the answer comes, whoever took the call."""
    with running_crew(tmp_path) as crew:
        control = crew.gateway.port_of("control")
        for number, pid in enumerate(crew.pids().values()):
            crew.gateway.write_apis(classic(f"api{number}", upstream.port, f"/n{number}/"))
            with crew.connect_to(pid, control) as client:
                answer = client.request(target="/tyk/reload?block=true", headers=[("X-Tyk-Authorization", SECRET)])
                assert json.loads(answer.body) == {"status": "ok", "message": ""}
            for other in crew.pids().values():
                with crew.connect_to(other, crew.gateway.port) as client:
                    assert client.request(target=f"/n{number}/x").status == 200


def test_what_a_reload_found_wrong_is_told_once(tmp_path: Path, upstream: StrictUpstream) -> None:
    """All workers find the same: one text, and the old generation serves everywhere."""
    with running_crew(tmp_path, classic("one", upstream.port, "/one/")) as crew:
        good = crew.gateway.config_path.read_text()
        crew.gateway.config_path.write_text("{")
        with Client(crew.gateway.port_of("control"), tls=False) as client:
            message = json.loads(client.request(target="/tyk/reload?block=true", headers=[("X-Tyk-Authorization", SECRET)]).body)["message"]
        assert "tyk.conf.json" in message
        assert "worker" not in message
        for pid in crew.pids().values():
            with crew.connect_to(pid, crew.gateway.port) as client:
                assert client.request(target="/one/x").status == 200
        crew.gateway.config_path.write_text(good)


def test_many_reloads_under_load_lose_no_request(tmp_path: Path, upstream: StrictUpstream) -> None:
    """100 of them in a full run, each with an API that comes or goes, on old and new connections."""
    api = classic("one", upstream.port, "/one/")
    with running_crew(tmp_path, api) as crew, Load(crew.gateway.port, "/one/x") as load:
        for number in range(scaled(10, 100)):
            mark = len(crew.gateway.events)
            crew.gateway.write_apis(api, *(classic(f"extra{n}", upstream.port, f"/extra{n}/") for n in range(number % 3)))
            assert crew.gateway.process is not None
            crew.gateway.process.send_signal(signal.SIGHUP)
            assert crew.gateway.wait_event("workers.reloaded", 30, after=mark)["fault"] == ""
            upstream.requests.clear()
        assert load.done > 20
        assert not load.failures, load.failures[:5]


def test_the_number_of_workers_needs_a_restart(tmp_path: Path) -> None:
    """It is named, and nothing else is refused for it."""
    with running_crew(tmp_path) as crew:
        crew.gateway.config["tlsgate"]["workers"] = 3
        crew.gateway.write_config()
        assert crew.gateway.reload()["event"] == "reload.done"
        assert crew.gateway.wait_event("reload.fixed_field")["field"] == "tlsgate.workers"
        assert len(crew.pids()) == 2


# Deaths.


def test_a_killed_worker_is_replaced_and_nobody_else_notices(tmp_path: Path, upstream: StrictUpstream) -> None:
    """kill -9 under load: connections of the other worker lose nothing, new ones are served, the cause stands in the log."""
    with running_crew(tmp_path, classic("one", upstream.port, "/one/")) as crew:
        before = crew.pids()
        stop = threading.Event()
        failures: list[str] = []
        with crew.connect_to(before[2], crew.gateway.port) as kept:

            def use() -> None:
                while not stop.is_set():
                    try:
                        if kept.request(target="/one/kept").status != 200:
                            failures.append("refused")
                    except Exception as error:
                        failures.append(str(error))
                        return

            thread = threading.Thread(target=use)
            thread.start()
            try:
                time.sleep(0.3)
                os.kill(before[1], signal.SIGKILL)
                # Whoever comes now is served, by whoever is there.
                assert [ask(crew.gateway.port, "/one/new") for _ in range(50)] == [200] * 50
                after = crew.wait_whole()
            finally:
                stop.set()
                thread.join(10)
            assert not failures
        assert after[1] != before[1] and after[2] == before[2]
        event = crew.gateway.wait_event("workers.worker_ended")
        assert (event["worker"], event["pid"]) == (1, before[1])
        assert "signal 9 (SIGKILL)" in event["cause"]
        with crew.connect_to(after[1], crew.gateway.port) as client:
            assert client.request(target="/one/x").status == 200


def test_a_crash_leaves_its_last_words(tmp_path: Path) -> None:
    """A signal of the process's own making: the log says where it stood."""
    with running_crew(tmp_path) as crew:
        os.kill(crew.pids()[2], signal.SIGSEGV)
        event = crew.gateway.wait_event("workers.worker_ended")
        assert "SIGSEGV" in event["cause"]
        assert any("Segmentation fault" in line for line in event["words"])
        assert any("/tlsgate/" in line for line in event["words"]), "the stacks of its threads, as many as there is room for"
        crew.wait_whole()


def test_clients_wait_while_all_workers_are_dead(tmp_path: Path, upstream: StrictUpstream) -> None:
    """The parent keeps the ports: nobody is refused, the first replacement answers."""
    with running_crew(tmp_path, classic("one", upstream.port, "/one/")) as crew:
        for pid in crew.pids().values():
            os.kill(pid, signal.SIGKILL)
        assert ask(crew.gateway.port, "/one/x") == 200
        crew.wait_whole()


def test_a_worker_that_is_asked_to_end_drains_and_is_replaced(tmp_path: Path) -> None:
    """SIGTERM to one process: an operator's way to renew workers one by one."""
    with slow_upstream() as (port, reached, release), running_crew(tmp_path, classic("slow", port, "/slow/")) as crew:
        first = crew.pids()[1]
        with crew.connect_to(first, crew.gateway.port) as client:
            client.send(b"GET /slow/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert reached.wait(10)
            os.kill(first, signal.SIGTERM)
            time.sleep(0.3)
            release.set()
            assert client.read_response().body == b"late"
        assert wait_until(lambda: crew.pids().get(1, first) != first, 20)
        crew.wait_whole()


def test_workers_that_die_at_once_end_the_start(tmp_path: Path) -> None:
    """Again and again, later and later, then with a message and status 1."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import os\nos.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), 9))\n")
    config = write(tmp_path)
    environ = {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    with running(python_module("tlsgate", "run", "--config", config, "--workers", "2"), tmp_path, environ) as program:
        assert program.process.wait(30) == 1
        assert wait_until(lambda: any("giving up: 5 workers in a row died at their start" in line for line in program.lines), 5)
        assert sum('"workers.worker_ended"' in line for line in program.lines) == 5
        assert not any(line.startswith("listening ") for line in program.lines)


# The end.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_drains_all_workers(tmp_path: Path, number: int) -> None:
    """Requests in flight finish, new clients are refused, the exit status is 0 and no process is left."""
    with slow_upstream() as (port, reached, release), running_crew(tmp_path, classic("slow", port, "/slow/")) as crew:
        pids = list(crew.pids().values())
        with crew.connect_to(pids[0], crew.gateway.port) as client:
            client.send(b"GET /slow/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert reached.wait(10)
            assert crew.gateway.process is not None
            crew.gateway.process.send_signal(number)
            assert wait_until(lambda: not accepts(crew.gateway.port), 5)
            crew.gateway.process.send_signal(signal.SIGHUP)
            assert wait_until(lambda: gone(pids[1]), 5)
            assert not accepts(crew.gateway.port)
            release.set()
            assert client.read_response().body == b"late"
        assert crew.gateway.process.wait(10) == 0
        assert all(gone(pid) for pid in pids)


def test_a_second_signal_ends_the_drain(tmp_path: Path) -> None:
    """What is in flight is cut; the end is as orderly as before."""
    with (
        slow_upstream() as (port, reached, _),
        running_crew(tmp_path, classic("slow", port, "/slow/")) as crew,
        Client(crew.gateway.port, tls=False) as client,
    ):
        client.send(b"GET /slow/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert reached.wait(10)
        assert crew.gateway.process is not None
        crew.gateway.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: not accepts(crew.gateway.port), 5)
        crew.gateway.process.send_signal(signal.SIGTERM)
        assert crew.gateway.process.wait(10) == 0
        with pytest.raises((EOFError, OSError)):
            client.read_response()


def test_workers_without_a_parent_drain_and_end(tmp_path: Path) -> None:
    """The parent is killed: the ports close, what is in flight finishes, nobody is left behind."""
    config = write(tmp_path)
    with slow_upstream() as (upstream, reached, release):
        (tmp_path / "apps" / "slow.json").write_text(json.dumps(classic("slow", upstream, "/slow/")))
        with running(python_module("tlsgate", "run", "--config", config, "--workers", "2"), tmp_path) as program:
            port = program.wait_for_port()
            pids = [json.loads(line)["pid"] for line in program.lines if '"workers.worker_started"' in line]
            assert len(pids) == 2
            with Client(port, tls=False) as client:
                client.send(b"GET /slow/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert reached.wait(10)
                program.process.kill()
                program.process.wait(10)
                assert wait_until(lambda: not accepts(port), 5)
                release.set()
                assert client.read_response().body == b"late"
            assert wait_until(lambda: all(gone(pid) for pid in pids), 10)
            assert any('"workers.orphaned"' in line for line in program.lines)


# Starts that fail.


def write(folder: Path, **fields: Any) -> str:
    """Write a configuration."""
    (folder / "apps").mkdir(exist_ok=True)
    storage = {"type": "sqlite", "path": str(folder / "store.db")}
    config = {
        "listen_address": "127.0.0.1",
        "listen_port": 0,
        "secret": SECRET,
        "node_secret": SECRET,
        "app_path": str(folder / "apps"),
        "storage": storage,
        **fields,
    }
    (folder / "tyk.conf.json").write_text(json.dumps(config))
    return str(folder / "tyk.conf.json")


def finish(config: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run until it ends."""
    return subprocess.run(
        python_module("tlsgate", "run", "--config", config, "--workers", "2", *more),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_broken_configuration_ends_the_start(tmp_path: Path) -> None:
    """What only a worker can find too: named once, status 1, nothing was opened."""
    for fields, text in (
        ({"listen_port": "x"}, "listen_port"),
        ({"http_server_options": {"use_ssl": True, "ssl_certificates": ["/no/such.pem"]}}, "/no/such.pem"),
        ({"storage": {"type": "memory"}}, "each of several workers"),
    ):
        done = finish(write(tmp_path, **fields), tmp_path)
        assert done.returncode == 1
        problems = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert problems and len(problems) == len(set(problems))
        assert text in problems[0]
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_a_port_in_use_ends_the_start(tmp_path: Path) -> None:
    """As with one process: the message names the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = finish(write(tmp_path), tmp_path, "--port", str(port))
        assert done.returncode == 1
        assert f"listen_port: cannot listen: [Errno 98] Address already in use (value: {port})" in done.stderr
        assert "Traceback" not in done.stderr


def test_check_refuses_a_memory_of_each_worker(tmp_path: Path) -> None:
    """``tlsgate check`` knows the setting."""
    config = write(tmp_path, storage={"type": "memory"}, tlsgate={"workers": 2})
    done = subprocess.run(python_module("tlsgate", "check", "--config", config), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "storage.type" in done.stderr and "each of several workers" in done.stderr


# The service manager.


def test_the_service_manager_sees_one_service(tmp_path: Path) -> None:
    """READY when all serve, RELOADING and READY around a reload of all, WATCHDOG from the parent, STOPPING once."""
    with Manager(str(tmp_path / "notify")) as manager:
        environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "4000000"}
        config = write(tmp_path, tlsgate={"workers": 2})
        with running(python_module("tlsgate", "run", "--config", config), tmp_path, environ) as program:
            assert manager.next() == {"READY": "1", "STATUS": "2 workers, 0 APIs"}
            assert ask(program.wait_for_port()) == 200
            assert manager.next(skip_watchdog=False) == {"WATCHDOG": "1"}
            (tmp_path / "apps" / "one.json").write_text(json.dumps(classic("one", 9)))
            program.process.send_signal(signal.SIGHUP)
            assert set(manager.next()) == {"RELOADING", "MONOTONIC_USEC"}
            assert manager.next() == {"READY": "1", "STATUS": "2 workers, 1 APIs"}
            program.process.send_signal(signal.SIGTERM)
            assert manager.next() == {"STOPPING": "1"}
            assert program.process.wait(20) == 0


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    """Its event loop stands still for longer than the watchdog allows; the service as a whole lives on."""
    with Manager(str(tmp_path / "notify")) as manager:
        environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "2000000"}
        with running_crew(tmp_path, environ=environ) as crew:
            hung = crew.pids()[1]
            os.kill(hung, signal.SIGSTOP)
            crew.gateway.wait_event("workers.worker_hung", 20)
            assert "it hung" in crew.gateway.wait_event("workers.worker_ended", 20)["cause"]
            assert crew.wait_whole()[1] != hung
            assert crew.gateway.process is not None and crew.gateway.process.poll() is None


def test_inherited_sockets_are_served_by_all(tmp_path: Path) -> None:
    """Socket activation: the parent takes them, workers ask the parent; connections from before the start are served."""
    with socket.create_server(("127.0.0.1", 0)) as main, socket.create_server(("127.0.0.1", 0)) as odd:
        port = main.getsockname()[1]
        config = write(tmp_path, listen_port=port)
        early = socket.create_connection(("127.0.0.1", port), timeout=20)
        early.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sockets = [odd, main]
        command = activated(python_module("tlsgate", "run", "--config", config, "--workers", "2"), sockets, names="odd:main")
        with running(command, tmp_path, pass_fds=[entry.fileno() for entry in sockets]) as program:
            assert program.wait_for_port() == port
            assert early.recv(65536).startswith(b"HTTP/1.1 200")
            early.close()
            assert [ask(port) for _ in range(20)] == [200] * 20
            assert program.stop() == 0
            assert accepts(port), "the manager holds it: clients wait for the next process"
        assert sum("odd" in line and '"service.unused_socket"' in line for line in program.lines) == 1


# One store.


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=needs_redis)])
def test_keys_of_one_worker_are_those_of_all(tmp_path: Path, kind: str) -> None:
    """Written through one, usable in the other at once; deleted through one, refused in the other at once, on an open connection."""
    with stored(tmp_path, kind) as storage, running_crew(tmp_path, token_api(), storage=storage) as crew:
        first, second = crew.pids().values()
        body = json.dumps({"org_id": "org", "access_rights": rights()}).encode()
        secret = [("X-Tyk-Authorization", SECRET)]
        with (
            crew.connect_to(first, crew.gateway.port_of("control")) as control,
            crew.connect_to(first, crew.gateway.port) as here,
            crew.connect_to(second, crew.gateway.port) as there,
        ):
            for _ in range(5):
                key = json.loads(control.request("POST", "/tyk/keys/create", headers=secret, body=body).body)["key"]
                assert show(here, key) == show(there, key) == 200
                assert control.request("DELETE", f"/tyk/keys/{key}", headers=secret).status == 200
                assert show(there, key) == show(here, key) == 403


@contextmanager
def stored(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Settings of a store."""
    if kind == "sqlite":
        yield {"type": "sqlite", "path": str(folder / "store.db")}
        return
    with redis_server(folder / "redis") as server:
        yield {"type": "redis", "host": "127.0.0.1", "port": server.port}


@pytest.mark.parametrize(
    ("limits", "settings"),
    [
        ({"quota_max": 60, "quota_renewal_rate": 3600}, {}),
        ({"rate": 60, "per": 3600}, {"enable_fixed_window_rate_limiter": True}),
        ({"rate": 60, "per": 3600}, {}),
    ],
    ids=["quota", "fixed window", "default"],
)
def test_limits_are_exact_over_workers(tmp_path: Path, limits: dict[str, Any], settings: dict[str, Any]) -> None:
    """100 requests, each worker takes half: 60 are let in, whoever counts (acceptance 9 in small)."""
    with running_crew(tmp_path, token_api(), **settings) as crew:
        key = Api(crew.gateway).call("POST", "/tyk/keys/create", {"org_id": "org", "access_rights": rights(), **limits}).key
        answers: list[int] = []
        clients = [crew.connect_to(pid, crew.gateway.port) for pid in crew.pids().values()]
        threads = [threading.Thread(target=lambda c=client: answers.extend(show(c, key) for _ in range(50))) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        for client in clients:
            client.close()
        assert len(answers) == 100
        assert answers.count(200) == 60
