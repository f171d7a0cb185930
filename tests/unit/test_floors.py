"""The floors of the house: a module imports its own floor and lower ones, never a higher one; the lowest know no event loop."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

FLOORS: dict[str, int] = {
    name: floor
    for floor, names in enumerate(
        (
            "errors clock ids remedies bounded",
            "model config definitions wire pki routing jose",
            "tls store turns",
            "gates auth limits events hooks transform proxy analytics certs idp",
            "gateway",
            "control",
            "cli service hosting ports process workers options logs systemd devcerts demo demo_lines sample_upstream lean_reactor preflight"
            " __main__",
        )
    )
    for name in names.split()
}
LOOPLESS = {"twisted", "OpenSSL", "service_identity", "treq", "txredisapi", "asyncio", "socket", "ssl", "selectors"}
"""What floors 0 and 1 never import: this keeps parsers and rules cheap to fuzz and to measure."""


class Import(NamedTuple):
    """One imported module."""

    line: int
    module: str


def find_imports(source: str) -> Iterator[Import]:
    """All imports of a source text, those inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield Import(node.lineno, "." * node.level)
            elif node.module == "tlsgate":
                for alias in node.names:
                    yield Import(node.lineno, f"tlsgate.{alias.name}")
            else:
                yield Import(node.lineno, node.module or "")


def find_violations(owner: str, source: str) -> list[str]:
    """What a module of the part ``owner`` imports although it must not."""
    floor = FLOORS[owner]
    found = []
    for line, module in find_imports(source):
        top, _, rest = module.partition(".")
        if not top:
            found.append(f"line {line}: relative import; write the full name")
        elif top == "tlsgate" and (part := rest.split(".")[0]) in FLOORS and FLOORS[part] > floor:
            found.append(f"line {line}: {owner} (floor {floor}) imports {module} (floor {FLOORS[part]})")
        elif floor <= 1 and top in LOOPLESS:
            found.append(f"line {line}: {owner} (floor {floor}) imports {module}: no event loop and no sockets down here")
    return found


def part_of(path: Path) -> str:
    """The part of the house that a source file belongs to."""
    return path.relative_to(ROOT / "tlsgate").parts[0].removesuffix(".py")


SOURCES = [path for path in sorted((ROOT / "tlsgate").rglob("*.py")) if path.parent != ROOT / "tlsgate" or path.name != "__init__.py"]


def test_every_part_has_a_floor() -> None:
    """A new folder or top-level module is entered into the table before anything imports it."""
    assert {part_of(path) for path in SOURCES} <= set(FLOORS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_imports_a_higher_floor(path: Path) -> None:
    """Lazy imports count: a floor is about knowledge, not about loading time."""
    assert find_violations(part_of(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("owner", "source", "count"),
    [
        ("wire", "from tlsgate.errors import WireError", 0),
        ("wire", "from tlsgate.pki import acl", 0),
        ("wire", "from tlsgate import __version__", 0),
        ("wire", "from tlsgate.tls.peer import x", 1),
        ("wire", "from tlsgate import tls", 1),
        ("wire", "import tlsgate.gateway.channel", 1),
        ("wire", "def f():\n    from tlsgate.service import run", 1),
        ("errors", "import tlsgate.model.api", 1),
        ("pki", "from twisted.internet import defer", 1),
        ("pki", "import OpenSSL.SSL, socket", 2),
        ("tls", "import OpenSSL.SSL, socket", 0),
        ("tls", "from . import peer", 1),
        ("service", "import tlsgate.gateway", 0),
    ],
)
def test_violations_are_found(owner: str, source: str, count: int) -> None:
    """The rule itself, on small texts."""
    assert len(find_violations(owner, source)) == count
