"""Runs the load against one proxy and says what happened: ``ab`` and the own client (``client``) as processes on the load's core.

Both offer one suite and a key share of one group (by an OpenSSL configuration file), so that no proxy is measured with another cipher
than the others. Knows nothing of which proxy it talks to.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.upstream import Site

__all__ = ["SUITE", "AbResult", "LoadError", "check", "hold_idle", "run_ab", "run_client"]

SUITE = "TLS_AES_128_GCM_SHA256"
_CLIENT = Path(__file__).with_name("client.py")
_CLIENT_LOG = "client.log"
_LIMIT_S = 60.0
_OPENSSL_CONFIG = f"""\
openssl_conf = start
[start]
ssl_conf = modules
[modules]
system_default = defaults
[defaults]
Ciphersuites = {SUITE}
CipherString = ECDHE-ECDSA-AES128-GCM-SHA256
Groups = X25519:P-256
"""


class LoadError(Exception):
    """The load did not get the answers it expected: no figure for this row."""


class AbResult(NamedTuple):
    """What ``ab`` reports."""

    complete: int
    kept_alive: int
    """Requests answered with ``Connection: keep-alive``."""
    per_s: float


def run_ab(site: Site, port: int, *, path: str, seconds: int, connections: int, keep_alive: bool, headers: Sequence[str] = ()) -> AbResult:
    """Send requests with ``ab`` for some seconds over TLS 1.3 with the client certificate.

    :param site: the run.
    :param port: of the proxy.
    :param path: what to ask for.
    :param seconds: whole seconds, as ab wants them.
    :param connections: at once.
    :param keep_alive: False opens a new connection with a full handshake for each request.
    :param headers: sent with each request.
    :returns: the counts.
    :raises LoadError: failed or unexpected answers.
    """
    # -n behind -t, which sets its own -n of 50,000.
    limits = ["-t", str(seconds), "-n", "100000000", "-c", str(connections)]
    command = ["ab", "-q", "-d", "-S", "-s", "20", *limits, "-f", "TLS1.3", "-E", str(site.material.client)]
    if keep_alive:
        command.append("-k")
    for header in headers:
        command += ["-H", header]
    command.append(f"https://localhost:{port}{path}")
    answer = subprocess.run(command, env=_environment(site), capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    complete = _ab_number(answer.stdout, "Complete requests")
    if answer.returncode or not complete:
        raise LoadError(f"ab failed: {(answer.stderr or answer.stdout).strip()[-200:]}")
    if _ab_number(answer.stdout, "Failed requests") or _ab_number(answer.stdout, "Non-2xx responses"):
        raise LoadError("ab counted failed or unexpected answers")
    if f"TLSv1.3,{SUITE}" not in answer.stdout:
        raise LoadError("ab did not get TLS 1.3 with the common suite")
    return AbResult(int(complete), int(_ab_number(answer.stdout, "Keep-Alive requests")), _ab_number(answer.stdout, "Requests per second"))


def run_client(
    site: Site,
    port: int,
    mode: str,
    around: Callable[[Callable[[], dict[str, Any]]], tuple[float, dict[str, Any]]],
    **options: str | float,
) -> tuple[float, dict[str, Any]]:
    """Run one mode of the own client.

    :param site: the run.
    :param port: of the proxy.
    :param mode: of ``client``.
    :param around: runs the measured part and adds what it cost (preparation is done before).
    :param options: further options of the client.
    :returns: what ``around`` returns.
    :raises LoadError: the client failed.
    """
    with _start_client(site, port, mode, **options) as client:
        try:
            _read(site, client)
            return around(lambda: _answer(site, client))
        finally:
            _finish(client)


def hold_idle(site: Site, port: int, count: int, read: Callable[[], float], settle: Callable[[], None]) -> float:
    """Open idle connections and say by how much a reading grew.

    :param site: the run.
    :param port: of the proxy.
    :param count: of connections.
    :param read: the reading, such as resident memory.
    :param settle: waits before each reading.
    :returns: growth of the reading.
    :raises LoadError: a connection failed.
    """
    with _start_client(site, port, "idle", connections=count) as client:
        try:
            _read(site, client)
            settle()
            before = read()
            _answer(site, client)
            settle()
            return read() - before
        finally:
            _finish(client)


def check(site: Site, port: int) -> str:
    """Verify that a proxy demands certificates and answers as expected, before anything is measured.

    :param site: the run.
    :param port: of the proxy.
    :returns: protocol and suite.
    :raises LoadError: it lets somebody in whom it must not, or answers something else.
    """
    good = _check_once(site, port, str(site.material.client), "1.3")
    older = _check_once(site, port, str(site.material.client), "1.2")
    for result in (good, older):
        if result["status"] != 200 or result["bytes"] != 41:
            raise LoadError(f"unexpected answer: {result}")
    for tls in ("1.2", "1.3"):
        for certificate in ("", str(site.material.foreign)):
            if _check_once(site, port, certificate, tls)["status"]:
                raise LoadError(
                    f"TLS {tls}: a client with {'a foreign' if certificate else 'no'} certificate got in or was refused after the handshake"
                )
    return f"{good['protocol']} {good['cipher']}"


def _check_once(site: Site, port: int, certificate: str, tls: str) -> dict[str, Any]:
    with _start_client(site, port, "check", certificate=certificate, tls=tls) as client:
        try:
            return _read(site, client)
        finally:
            _finish(client)


def _start_client(site: Site, port: int, mode: str, **options: str | float) -> subprocess.Popen[str]:
    command = [sys.executable, str(_CLIENT), mode, "--port", str(port)]
    for name, value in {"certificate": str(site.material.client), **options}.items():
        command += [f"--{name}", str(value)]
    with (site.folder / _CLIENT_LOG).open("w", encoding="utf-8") as log:
        return subprocess.Popen(command, env=_environment(site), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)


def _answer(site: Site, client: subprocess.Popen[str]) -> dict[str, Any]:
    """Let the measured part begin and read its result."""
    assert client.stdin is not None
    try:
        client.stdin.write("\n")
        client.stdin.flush()
    except BrokenPipeError:
        pass
    return _read(site, client)


def _read(site: Site, client: subprocess.Popen[str]) -> dict[str, Any]:
    assert client.stdout is not None
    line = client.stdout.readline()
    if not line:
        client.wait(5)
        words = (site.folder / _CLIENT_LOG).read_text(encoding="utf-8").strip().splitlines()
        raise LoadError(f"the client failed: {words[-1] if words else 'no output'}")
    value: dict[str, Any] = json.loads(line)
    return value


def _finish(client: subprocess.Popen[str]) -> None:
    """Close the client's input, which ends it."""
    assert client.stdin is not None
    try:
        client.stdin.close()
    except BrokenPipeError:
        pass
    try:
        client.wait(30)
    except subprocess.TimeoutExpired:
        client.kill()


def _environment(site: Site) -> dict[str, str]:
    config = site.folder / "load-openssl.cnf"
    if not config.exists():
        config.write_text(_OPENSSL_CONFIG, encoding="utf-8")
    return {**os.environ, "OPENSSL_CONF": str(config)}


def _ab_number(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)}:\s+([\d.]+)", text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0
