"""Packages of npm as independent peers: installed once at a pinned version below ``var/``, run by ``node``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

__all__ = ["needs_node", "needs_node_20", "npm_package", "run_node"]

ROOT = Path(__file__).parents[2]
needs_node = pytest.mark.skipif(shutil.which("node") is None or shutil.which("npm") is None, reason="node and npm are not installed")


def _version() -> tuple[int, ...]:
    if shutil.which("node") is None or shutil.which("npm") is None:
        return (0,)
    told = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True, timeout=60).stdout
    return tuple(int(part) for part in told.strip().lstrip("v").split("-")[0].split("."))


needs_node_20 = pytest.mark.skipif(_version() < (20, 12), reason="node 20.12 or newer, and npm, are not installed")


def npm_package(name: str, version: str) -> Path:
    """Return a folder whose ``node_modules`` hold a package and what it needs; the first call of a clone downloads it."""
    place = ROOT / "var" / "npm" / f"{name}-{version}"
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        # Complete or not there at all: several processes may do this at once.
        with tempfile.TemporaryDirectory(dir=place.parent) as draft:
            command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", draft, f"{name}@{version}"]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
            try:
                os.rename(draft, place)
            except OSError:
                assert place.is_dir()
            else:
                os.mkdir(draft)
    return place


def run_node(package: Path, script: str, argument: Any) -> Any:
    """Return what a script prints as JSON; it finds its argument as ``argument``."""
    source = f"const argument = JSON.parse(process.argv[1]);\n{script}"
    environ = {**os.environ, "NODE_PATH": str(package / "node_modules")}
    done = subprocess.run(
        ["node", "-e", source, json.dumps(argument)], cwd=package, env=environ, check=True, capture_output=True, text=True, timeout=60
    )
    return json.loads(done.stdout)
