"""Whether time tells which users of Basic authentication exist: wrong logins of a known and of an unknown name, in turn; one JSON line.

``python -m benchmarks.basic_timing [TRIES]``: a gateway of its own on a store in a file, plain HTTP over loopback, 200 tries each.
``noise_ms`` is twice the standard error of the difference: a difference below it says nothing. The known user's session is cached, and that
user logs in now and then, as real ones do.
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_SECRET = "a secret of the benchmark of 32 characters"
_NAMES = ("known-user", "other-user")


def main() -> int:
    """Measure and print."""
    tries = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        process, ports = _start(Path(folder))
        try:
            print(json.dumps(_measure(ports, tries)))
        finally:
            process.terminate()
            process.wait(30)
    return 0


def _start(folder: Path) -> tuple[subprocess.Popen[str], dict[str, int]]:
    apps = folder / "apps"
    apps.mkdir()
    api = {
        "api_id": "basic",
        "name": "basic",
        "org_id": "bench",
        "use_basic_auth": True,
        "proxy": {"listen_path": "/basic/", "target_url": "http://127.0.0.1:9/"},
        "version_data": {
            "not_versioned": True,
            "versions": {
                "Default": {
                    "name": "Default",
                    "use_extended_paths": True,
                    "extended_paths": {"mock_response": [{"path": "/.*", "method": "GET", "code": 200, "body": "", "headers": {}}]},
                }
            },
        },
    }
    (apps / "basic.json").write_text(json.dumps(api), encoding="utf-8")
    config = {
        "listen_address": "127.0.0.1",
        "listen_port": 0,
        "control_api_port": _free_port(),
        "secret": _SECRET,
        "app_path": str(apps),
        "storage": {"type": "sqlite", "path": str(folder / "store.db")},
        "tlsgate": {"development": True},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "tlsgate", "run", "--config", str(folder / "config.json")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    ports: dict[str, int] = {}
    while {"gateway", "control"} - ports.keys():
        line = process.stdout.readline()
        assert line, "the gateway did not start"
        fields = dict(part.split("=", 1) for part in line.split()[1:])
        ports[fields["role"]] = int(fields["port"])
    return process, ports


def _measure(ports: dict[str, int], tries: int) -> dict[str, Any]:
    control = http.client.HTTPConnection("127.0.0.1", ports["control"], timeout=30)
    body = {"org_id": "bench", "access_rights": {"basic": {"api_id": "basic"}}, "basic_auth_data": {"password": "the right one"}}
    control.request("POST", f"/tyk/keys/{_NAMES[0]}", json.dumps(body), {"X-Tyk-Authorization": _SECRET})
    assert control.getresponse().status == 200
    client = http.client.HTTPConnection("127.0.0.1", ports["gateway"], timeout=30)
    taken: dict[str, list[float]] = {name: [] for name in _NAMES}
    for number in range(tries + 5):
        if number % 20 == 0:
            assert _ask(client, _NAMES[0], "the right one")[0] == 200
        # Who comes first alternates too.
        for name in _NAMES if number % 2 else _NAMES[::-1]:
            status, elapsed = _ask(client, name, f"wrong {number}")
            assert status == 401, status
            if number >= 5:
                taken[name].append(elapsed * 1000)
    known, unknown = (taken[name] for name in _NAMES)
    difference = statistics.mean(known) - statistics.mean(unknown)
    noise = 2 * math.sqrt(statistics.variance(known) / tries + statistics.variance(unknown) / tries)
    return {
        "benchmark": "basic_timing",
        "tries": tries,
        "known_ms": round(statistics.mean(known), 3),
        "unknown_ms": round(statistics.mean(unknown), 3),
        "difference_ms": round(difference, 3),
        "noise_ms": round(noise, 3),
        "medians_ms": [round(statistics.median(known), 3), round(statistics.median(unknown), 3)],
        "below_noise": abs(difference) < noise,
        "python": platform.python_version(),
    }


def _ask(client: http.client.HTTPConnection, user: str, password: str) -> tuple[int, float]:
    value = base64.b64encode(f"{user}:{password}".encode()).decode()
    started = time.perf_counter()
    client.request("GET", "/basic/", headers={"Authorization": f"Basic {value}"})
    answer = client.getresponse()
    answer.read()
    return answer.status, time.perf_counter() - started


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    raise SystemExit(main())
