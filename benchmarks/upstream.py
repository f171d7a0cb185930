"""The run's folder, keys and cores, and the upstream behind every proxy; knows nothing of the proxies in front of it.

The upstream is one nginx worker with a 41-byte answer, a 10 MiB file and a place to PUT. It is the identity provider as well.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.certs import Material, write_material
from benchmarks.client import BODY_BYTES

__all__ = ["PROVIDER", "Site", "Upstream", "find_free_port", "make_site", "stop_process", "wait_for_port"]

BODY = "forty-one bytes that every proxy answers.\n"[:41]
PROVIDER = "provider"
"""Below the run's folder: what an identity provider answers, each file an address."""
_PRIORITY = -10
_ROOM_BYTES = 1 << 30


class Site(NamedTuple):
    """Where a run lives."""

    folder: Path
    material: Material
    proxy_core: int
    load_core: int
    upstream_port: int


class Upstream:
    """A running nginx upstream."""

    def __init__(self, folder: Path, core: int) -> None:
        """Start it.

        :param folder: the run's folder.
        :param core: the core it is pinned to.
        :raises RuntimeError: nginx is missing or does not start.
        """
        self.port = find_free_port()
        root = folder / "upstream"
        (root / "body").mkdir(parents=True)
        with (root / "10m").open("wb") as file:
            file.truncate(BODY_BYTES)
        (root / "nginx.conf").write_text(
            _CONFIG.format(folder=root, run=folder, provider=PROVIDER, port=self.port, body=BODY), encoding="utf-8"
        )
        program = find_nginx()
        if program is None:
            raise RuntimeError("nginx, which every row needs as upstream, is not installed")
        command = ["taskset", "-c", str(core), program, "-p", str(root), "-e", "stderr", "-c", str(root / "nginx.conf")]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        wait_for_port(self.port, self._process, 10.0)

    def accepted(self) -> int:
        """Return how many connections it has accepted so far: shows whether a proxy keeps its upstream connections alive."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request("GET", "/bench-status")
        text = connection.getresponse().read().decode("ascii")
        connection.close()
        return int(text.splitlines()[2].split()[0])

    def stop(self) -> None:
        """End it."""
        stop_process(self._process)


def make_site() -> tuple[Site, Upstream]:
    """Make the run's folder (in memory where there is room), its keys and the upstream; pin this process beside the upstream.

    :returns: the site and the running upstream.
    :raises RuntimeError: the upstream does not start.
    """
    cores = sorted(os.sched_getaffinity(0))
    proxy_core, load_core = cores[0], cores[-1]
    os.sched_setaffinity(0, {load_core})
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)  # inherited by all: latencies should not show other work of the machine
    except PermissionError:
        pass
    shared = Path("/dev/shm")
    base = shared if shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > _ROOM_BYTES else None
    folder = Path(tempfile.mkdtemp(prefix="tlsgate-bench-", dir=base))
    try:
        upstream = Upstream(folder, load_core)
    except RuntimeError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Site(folder, write_material(folder), proxy_core, load_core, upstream.port), upstream


def find_nginx() -> str | None:
    """Return nginx's path."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def find_free_port() -> int:
    """Return a TCP port of 127.0.0.1 that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], limit_s: float) -> None:
    """Wait until something listens.

    :param port: on 127.0.0.1.
    :param process: whose port it is.
    :param limit_s: seconds.
    :raises RuntimeError: the process has ended, or the time is over.
    """
    end = time.perf_counter() + limit_s
    while time.perf_counter() < end:
        if process.poll() is not None:
            raise RuntimeError(f"ended with status {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    stop_process(process)
    raise RuntimeError(f"does not listen after {limit_s:.0f} s")


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here: SIGTERM, after five seconds SIGKILL."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_CONFIG = """\
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  default_type text/plain;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 600s;
  keepalive_requests 100000000;
  client_max_body_size 0;
  client_body_buffer_size 1m;
  client_body_temp_path {folder}/temporary;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 "{body}"; }}
    location = /10m {{ root {folder}; }}
    location = /bench-status {{ stub_status; }}
    location /{provider}/ {{ root {run}; default_type application/json; error_page 405 =200 $uri; }}
    location /body/ {{ root {folder}; dav_methods PUT; }}
  }}
}}
"""
