"""Habits that are checked by a tool: tests beside sources, no keys in the repository, well-named change fragments, reachable documents."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from tlsgate.config.model import ConnectionLimits

ROOT = Path(__file__).parents[2]
LEVELS = ("unit", "memory", "loopback")
FRAGMENT = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\.(?:feature|fix|security|removal|misc)\.md")
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----\s+(?:[A-Za-z0-9+/=]{16,}\s+){2}")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def project_files() -> list[Path]:
    """The files that are, or would be, in the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive: no repository to ask
        hidden = {".git", ".venv", "build", "dist", "dev", "__pycache__"}
        return [path for path in ROOT.rglob("*") if path.is_file() and not hidden & set(path.relative_to(ROOT).parts)]
    return [path for name in listing.decode().split("\0") if name and (path := ROOT / name).is_file()]


def places_of(source: Path) -> list[Path]:
    """Where the test file of a source file may be."""
    relative = source.relative_to(ROOT / "tlsgate")
    return [ROOT / "tests" / level / relative.parent / f"test_{relative.stem.strip('_')}.py" for level in LEVELS]


SOURCES = [path for path in sorted((ROOT / "tlsgate").rglob("*.py")) if path.name != "__init__.py"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_source_file_has_its_test_file(source: Path) -> None:
    """tlsgate/wire/names.py -> tests/unit/wire/test_names.py (or memory, or loopback)."""
    places = places_of(source)
    assert any(place.is_file() for place in places), f"add {places[0].relative_to(ROOT)}"


def test_test_folders_are_packages() -> None:
    """Two test files may share a name (wire/test_names.py, pki/test_names.py) only in folders that are packages."""
    for folder in {path.parent for path in (ROOT / "tests").rglob("test_*.py")}:
        assert (folder / "__init__.py").is_file(), f"add {(folder / '__init__.py').relative_to(ROOT)}"


def test_packages_hold_no_code() -> None:
    """An ``__init__.py`` has a docstring and exports; logic has a name of its own."""
    for path in (ROOT / "tlsgate").rglob("__init__.py"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith('"""'), path
        assert not re.search(r"^(?:def|class|async def) ", text, re.MULTILINE), path


def test_no_private_key_is_in_the_repository() -> None:
    """Vectors for tests are the exception: they say so with the words "test vector" in the same file."""
    for path in project_files():
        data = path.read_bytes()
        if PRIVATE_KEY.search(data):
            assert path.is_relative_to(ROOT / "tests"), path
            assert b"test vector" in data.lower(), path


def test_a_key_would_be_found() -> None:
    """The pattern knows the usual forms, and leaves a mere marker alone."""
    body = b"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg\n" * 3
    for kind in (b"", b"EC ", b"RSA ", b"ENCRYPTED "):
        assert PRIVATE_KEY.search(b"-----BEGIN " + kind + b"PRIVATE KEY-----\n" + body)
        assert PRIVATE_KEY.search(b"-----BEGIN " + kind + b"PRIVATE KEY-----\r\n" + body.replace(b"\n", b"\r\n"))
    assert not PRIVATE_KEY.search(b'"-----BEGIN PRIVATE KEY-----" in text')


def test_change_fragments_are_named_well() -> None:
    """changes/<slug>.<feature|fix|security|removal|misc>.md, each a sentence for operators."""
    for path in sorted((ROOT / "changes").iterdir()):
        assert FRAGMENT.fullmatch(path.name), f"{path.name}: call it slug.kind.md"
        text = path.read_text(encoding="utf-8").strip()
        assert text.endswith("."), f"{path.name}: a sentence ends with a full stop"
        assert "\n\n" not in text, f"{path.name}: one paragraph"
        assert len(text) <= 500, f"{path.name}: shorter, please; the rest belongs into docs/"


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("client-hello.feature.md", True),
        ("b2.fix.md", True),
        ("Client.feature.md", False),
        ("a_b.fix.md", False),
        ("x.feat.md", False),
        ("x.feature.txt", False),
        (".feature.md", False),
    ],
)
def test_fragment_names(name: str, good: bool) -> None:
    """The rule itself."""
    assert (FRAGMENT.fullmatch(name) is not None) == good


def test_links_between_documents_lead_somewhere() -> None:
    """A moved page is noticed here, not by a reader."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "certs").glob("*.md")]:
        for target in LINK.findall(path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)}: {target}"


def test_every_task_page_is_reached_from_the_readme() -> None:
    """docs/ goes by task, and the README is its table of contents."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{path.name})" in readme, path.name


def test_limits_are_documented_with_their_defaults() -> None:
    """A changed default changes docs/limits.md."""
    page = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    for field in msgspec.structs.fields(ConnectionLimits):
        assert f"| `{field.name}` | {str(field.default).removesuffix('.0')} |" in page, field.name


def test_scripts_are_executable() -> None:
    """What a person starts by its name."""
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100
