"""Calls on real sockets: what is sent, who is trusted, how each failure is told."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import SERVER, make_authority
from tests.support.cli import Cli, Done, run_cli
from tests.support.fake_control import SECRET, running_control

ROOT = make_authority("Gateway CA")
CLIENTS = make_authority("Client CA")


def save(folder: Path, name: str, text: str) -> str:
    """Write a file and return its path."""
    (folder / name).write_text(text)
    return str(folder / name)


def framed(status: int, body: bytes) -> bytes:
    """An answer with its length."""
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def ask(*arguments: str, **more: Any) -> Done:
    """List keys with the secret in the environment."""
    return run_cli("keys", "list", *arguments, environ={"TLSGATE_SECRET": SECRET}, **more)


def test_a_control_api_with_client_certificates_is_asked(tmp_path: Path) -> None:
    """TLS, the CA of --ca, the certificate of --cert and --key; without it the reason is guessed at."""
    server = ROOT.issue("localhost", usages=SERVER, names=("localhost",))
    alice = CLIENTS.issue("alice")
    with running_control(tmp_path, server, CLIENTS) as control:
        where = ("--url", f"https://localhost:{control.port}", "--ca", save(tmp_path, "ca.pem", ROOT.pem))
        files = ("--cert", save(tmp_path, "alice.pem", alice.pem), "--key", save(tmp_path, "alice.key", alice.key_pem))
        done = ask(*where, *files)
        assert done.status == 0, done
        assert control.heads[0]["host"] == f"localhost:{control.port}"
        assert control.heads[0]["user-agent"].startswith("tlsgate/")
        refused = ask(*where)
        assert refused.status == 3
        assert "--cert" in refused.err
        assert len(control.heads) == 1


@pytest.mark.parametrize(("url", "extra"), [("https://127.0.0.1", ()), ("https://localhost", ("--server-name", "other.test"))])
def test_a_certificate_for_another_name_is_refused(tmp_path: Path, url: str, extra: tuple[str, ...]) -> None:
    """Before the secret is sent; --server-name says the right one."""
    server = ROOT.issue("gate", usages=SERVER, names=("gate.test",))
    with running_control(tmp_path, server) as control:
        where = ("--url", f"{url}:{control.port}", "--ca", save(tmp_path, "ca.pem", ROOT.pem))
        done = ask(*where, *extra)
        assert done.status == 3
        assert "is not trusted" in done.err and "--server-name" in done.err
        assert control.heads == []
        assert ask(*where, "--server-name", "gate.test").status == 0
        assert control.heads[0]["host"] == f"gate.test:{control.port}"


def test_a_certificate_of_a_foreign_ca_is_refused(tmp_path: Path) -> None:
    """The system's CAs are the default."""
    server = ROOT.issue("localhost", usages=SERVER, names=("localhost",))
    with running_control(tmp_path, server) as control:
        for extra in ((), ("--ca", save(tmp_path, "other.pem", CLIENTS.pem))):
            done = ask("--url", f"https://localhost:{control.port}", *extra)
            assert done.status == 3
            assert "--ca" in done.err
        assert control.heads == []


def test_with_the_configuration_its_own_certificate_is_enough(tmp_path: Path) -> None:
    """Whatever name it carries; another one of the same CA is not taken, although the configuration's file holds that CA."""
    own = ROOT.issue("gate", usages=SERVER, names=("gate.test",))
    other = ROOT.issue("other", usages=SERVER, names=("gate.test",))
    with running_control(tmp_path, own) as control:
        http = f'{{"use_ssl": true, "ssl_certificates": ["{save(tmp_path, "own.pem", own.full_pem + ROOT.pem)}"]}}'
        text = f'{{"listen_port": {control.port}, "secret": "{SECRET}", "http_server_options": {http}}}'
        done = run_cli("keys", "list", "--config", save(tmp_path, "tyk.conf.json", text))
        assert done.status == 0, done
    with running_control(tmp_path, other) as control:
        text = text.replace(text.split(",")[0], f'{{"listen_port": {control.port}')
        done = run_cli("keys", "list", "--config", save(tmp_path, "tyk.conf.json", text))
        assert done.status == 3
        assert "not trusted" in done.err
        assert control.heads == []


def test_nobody_there() -> None:
    """Refused connections and unknown names are told apart."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = ask("--url", f"http://127.0.0.1:{port}")
    assert done.status == 3
    assert f"http://127.0.0.1:{port} refuses connections" in done.err
    assert "running" in done.err
    assert "does not resolve" in ask("--url", "https://no-such-host.invalid").err


def test_plain_where_tls_was_expected(tmp_path: Path) -> None:
    """It says what to write instead."""
    with running_control(tmp_path) as control:
        done = ask("--url", f"https://127.0.0.1:{control.port}")
        assert (done.status, "does not speak TLS" in done.err) == (3, True)


def test_a_gateway_that_stays_silent() -> None:
    """--timeout bounds the wait; of a change nothing is known."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        where = ("--url", f"http://127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.2")
        done = ask(*where)
        assert done.status == 3
        assert "0.2 s" in done.err and "nothing is known" not in done.err
        done = run_cli("keys", "delete", "k", *where, environ={"TLSGATE_SECRET": SECRET})
        assert done.status == 3
        assert "nothing is known of the change" in done.err


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (b"", 3, "without a whole answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", 3, "without a whole answer"),
        (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"ke', 3, "without a whole answer"),
        (b"garbage\r\n\r\n", 3, "without a whole answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 1, "no JSON"),
        (b"HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.test/\r\nContent-Length: 0\r\n\r\n", 1, "301"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nNot Found", 1, "control_api_port"),
        (framed(503, b'{"status":"error","message":"unavailable"}'), 1, "store is away"),
        (framed(405, b'{"message":"unsupported"}'), 1, "no such call"),
        (framed(403, b'{"message":"Certificate not allowed"}'), 1, "security.certificates.control_api"),
        (framed(400, b'{"message":"\\u001b[31mred \\u202e"}'), 1, "\\x1b[31mred \\u202e"),
        (framed(400, b"Client sent an HTTP request to an HTTPS server."), 1, "https://"),
    ],
)
def test_answers_out_of_the_ordinary(tmp_path: Path, answer: bytes, status: int, text: str) -> None:
    """No traceback, one line that says what came, one that says what to do; nothing that steers the terminal."""
    with running_control(tmp_path) as control:
        control.scripted = answer
        done = Cli(control, tmp_path)("keys", "list")
    assert done.status == status
    assert text in done.err
    assert done.out == ""
    assert "Traceback" not in done.err


def test_a_wrong_secret_is_refused_and_not_shown(tmp_path: Path) -> None:
    """1, with the place to look at."""
    with running_control(tmp_path) as control:
        done = run_cli("keys", "list", "--url", f"http://127.0.0.1:{control.port}", environ={"TLSGATE_SECRET": "not-the-secret"})
    assert done.status == 1
    assert "403" in done.err and "`secret`" in done.err
    assert "not-the-secret" not in done.err


def test_a_proxy_of_the_environment_never_gets_the_secret(tmp_path: Path) -> None:
    """The gateway is asked itself."""
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        proxy.listen()
        proxy.setblocking(False)
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        with running_control(tmp_path) as control:
            environ = {"TLSGATE_SECRET": SECRET, "http_proxy": address, "HTTP_PROXY": address, "ALL_PROXY": address}
            assert run_cli("keys", "list", "--url", f"http://127.0.0.1:{control.port}", environ=environ).status == 0
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_names_are_escaped_whole(tmp_path: Path) -> None:
    """A slash or a question mark in an id is data."""
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        control.keys["a/b?c#d %"] = {}
        cli.good("keys", "get", "a/b?c#d %")
        assert control.calls[0][1] == "keys/a/b?c#d %"


def test_many_at_once_do_not_mix(tmp_path: Path) -> None:
    """A connection for each call: nothing is shared."""
    with running_control(tmp_path) as control:
        control.keys = {f"k{number}": {"alias": f"alias-{number}"} for number in range(8)}
        from tlsgate.cli.client import ControlClient
        from tlsgate.cli.place import Place

        place = Place("127.0.0.1", control.port, None, "127.0.0.1", frozenset(), SECRET)
        found: dict[int, str] = {}

        def look(number: int) -> None:
            found[number] = ControlClient(place, 10).ask("GET", "keys", f"k{number}").tree["alias"]

        threads = [threading.Thread(target=look, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {number: f"alias-{number}" for number in range(8)}
