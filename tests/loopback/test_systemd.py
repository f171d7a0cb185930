"""The gateway under a service manager: units, readiness, reload, watchdog, inherited socket."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import ROOT, make_sample_folder, python_module, running


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed on this machine")
def test_rendered_units_are_valid(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say about them."""
    options = [f"OUT={tmp_path}", f"EXEC={sys.executable}", "ETC=/etc/tlsgate/tlsgate.json"]
    subprocess.run(["make", "-s", "systemd", *options], cwd=ROOT, capture_output=True, check=True)
    units = [str(tmp_path / name) for name in ("tlsgate.service", "tlsgate.socket")]
    assert "@" not in "".join(Path(unit).read_text() for unit in units).replace("@system-service", "").replace("@privileged @resources", "")
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_states_reach_the_service_manager(tmp_path: Path) -> None:
    """READY only once it serves; RELOADING and READY around a reload, also a failed one; WATCHDOG meanwhile; STOPPING at the end."""
    folder = make_sample_folder(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)

        def next_state(name: bytes) -> bytes:
            while True:
                message = manager.recv(4096)
                if message.startswith(name):
                    return message
                assert message.startswith(b"WATCHDOG=1"), message

        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        with running(python_module("tlsgate", "run", "--config", "conf/tlsgate.json", "--port", "0"), folder, environ) as gateway:
            next_state(b"READY=1")
            port = gateway.wait_for_port()
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            next_state(b"WATCHDOG=1")
            for text in ((folder / "conf/tlsgate.json").read_text(), "{"):
                (folder / "conf/tlsgate.json").write_text(text)
                gateway.process.send_signal(signal.SIGHUP)
                assert b"\nMONOTONIC_USEC=" in next_state(b"RELOADING=1")
                next_state(b"READY=1")
            gateway.process.send_signal(signal.SIGTERM)
            next_state(b"STOPPING=1")
            assert gateway.process.wait(30) == 0


def test_an_inherited_socket_is_used(tmp_path: Path) -> None:
    """Socket activation: the listener is the descriptor that systemd passes, found by its port."""
    folder = make_sample_folder(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        # What systemd does between fork and exec: the socket becomes descriptor 3, LISTEN_PID the id of the gateway's process.
        launcher = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[2], sys.argv[2:])"
        )
        gateway_command = python_module("tlsgate", "run", "--config", "conf/tlsgate.json", "--port", str(port))
        command = [sys.executable, "-c", launcher, str(listening.fileno()), *gateway_command]
        environ = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "gateway"}
        with running(command, folder, environ, pass_fds=[listening.fileno()]) as gateway:
            assert gateway.wait_for_port() == port
            with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert b" 400 " in client.recv(4096)
            assert gateway.stop() == 0, "\n".join(gateway.lines)
