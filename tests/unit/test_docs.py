"""The documents say what is there: tests that the parity page names, settings, events, statuses, links, examples."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

from tlsgate.config.known import CONFIG
from tlsgate.config.load import build_stores, parse_config
from tlsgate.config.problems import Problems
from tlsgate.config.schema import ObjectOf, check_object
from tlsgate.definitions.classic import Context
from tlsgate.definitions.classic_fields import CLASSIC, OWN_SETTINGS
from tlsgate.definitions.loader import parse_definition
from tlsgate.definitions.oas_fields import EXTENSION
from tlsgate.errors import CATALOGUE

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *PAGES, *(ROOT / folder / "README.md" for folder in ("benchmarks", "certs", "examples"))]
MARKS = ("**kept**", "**changed**", "**added**", "**later**", "**never**")

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
SETTING = re.compile(r"\b(?<![\w-])(x-tlsgate|tlsgate)\.([a-z_]+(?:\.[a-z_]+)*)")
EVENT = re.compile(r"\bevent=\"([a-z_.]+)\"")
FENCE = re.compile(r"^```json(?: [\w.-]+)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```json [\w.-]+\n(.*?)^```", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    """Return a page of docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@cache
def functions_of(path: Path) -> frozenset[str]:
    """Return the names of the test functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def anchors_of(path: Path) -> set[str]:
    """Return the anchors that headings of a document make, as code hosts make them."""
    headings = re.findall(r"^#+ +(.+?) *$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def find_member(schema: object, path: str) -> bool:
    """Tell whether a schema has a member of this path."""
    for name in path.split("."):
        if not isinstance(schema, ObjectOf) or name not in schema.members:
            return False
        schema = schema.members[name]
    return True


def test_each_row_of_the_parity_page_is_marked_and_shown() -> None:
    """A behaviour that is kept, changed or added names at least one test; what is left out may have none."""
    rows = [line for line in read("parity.md").splitlines() if line.startswith("| ") and line.count("|") == 4]
    rows = [row for row in rows if not row.startswith(("| Tyk |", "|---"))]
    assert len(rows) > 100
    for row in rows:
        _, tyk, here, tests, _ = row.split("|")
        assert any(mark in here for mark in MARKS), row
        assert tyk.strip() or "**added**" in here, row
        assert TEST.search(tests) or any(mark in here for mark in ("**later**", "**never**")), row


def test_tests_that_documents_name_exist() -> None:
    """File and function, from tests/ on."""
    for page in PAGES:
        for file, function in TEST.findall(page.read_text(encoding="utf-8")):
            path = ROOT / "tests" / file
            assert path.is_file(), f"{page.name}: {file}"
            assert function in functions_of(path), f"{page.name}: {file}::{function}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_settings_of_ours_that_documents_name_exist(document: Path) -> None:
    """Everything spelled tlsgate.name or x-tlsgate.name, except names of modules and files."""
    own = CONFIG.members["tlsgate"]
    for prefix, path in SETTING.findall(document.read_text(encoding="utf-8")):
        first = path.partition(".")[0]
        if prefix == "tlsgate" and (path.endswith((".py", ".service", ".socket", ".json")) or first in ("service", "socket", "json", "db")):
            continue
        if prefix == "tlsgate" and ((ROOT / "tlsgate" / first).is_dir() or (ROOT / "tlsgate" / f"{first}.py").is_file()):
            continue
        assert find_member(OWN_SETTINGS if prefix == "x-tlsgate" else own, path), f"{prefix}.{path}"


def test_each_setting_of_ours_is_documented() -> None:
    """Below tlsgate in docs/configuration.md, limits in docs/limits.md, x-tlsgate in docs/definitions.md."""

    def paths(schema: ObjectOf, before: str = "") -> list[str]:
        found = []
        for name, member in schema.members.items():
            found += paths(member, f"{before}{name}.") if isinstance(member, ObjectOf) else [f"{before}{name}"]
        return found

    own = CONFIG.members["tlsgate"]
    assert isinstance(own, ObjectOf)
    for path in paths(own):
        page, name = ("limits.md", path.removeprefix("limits.")) if path.startswith("limits.") else ("configuration.md", path)
        assert f"| `{name}` |" in read(page), f"{page}: {path}"
    for path in paths(OWN_SETTINGS):
        assert f"| `{path}` |" in read("definitions.md"), path


def test_each_event_is_documented() -> None:
    """docs/observability.md lists all events of the code, and no other."""
    found = {event for path in (ROOT / "tlsgate").rglob("*.py") for event in EVENT.findall(path.read_text(encoding="utf-8"))}
    listed = set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", read("observability.md"), re.MULTILINE))
    assert listed == found | {"log.unwritable"}


def test_each_answer_of_the_gateway_is_documented() -> None:
    """docs/troubleshooting.md lists the whole catalogue, with status, message and flag."""
    page = read("troubleshooting.md")
    for id, entry in CATALOGUE.items():
        message = entry.message.strip().replace("{fingerprint}", "...")
        assert f"| `{id}` | {entry.status} | `{message}` | {entry.flag} |" in page, id


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Files and headings; addresses of other sites are not asked."""
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), target
        if anchor:
            assert anchor in anchors_of(path), target


def test_the_index_of_design_notes_is_complete() -> None:
    """Each note is reached from it."""
    index = read("design/README.md")
    for path in (ROOT / "docs" / "design").glob("0*.md"):
        assert f"({path.name})" in index, path.name


def examples_of(document: Path) -> list[dict[str, object]]:
    """Return the JSON examples of a document; members alone are put into an object."""
    texts = FENCE.findall(document.read_text(encoding="utf-8"))
    return [json.loads(text if text.lstrip().startswith("{") else f"{{{text}}}") for text in texts]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_use_names_that_exist(document: Path) -> None:
    """Each JSON example is part of a configuration, a Classic definition, or the extension of a document; files also bodies of calls."""
    bodies = [json.loads(text) for text in FILE.findall(document.read_text(encoding="utf-8"))]
    for tree in examples_of(document):
        if tree in bodies and not {"api_id", "openapi", "secret"} & set(tree):
            continue
        complaints = []
        for schema in (CONFIG, CLASSIC, EXTENSION):
            extension = tree.get("x-tyk-api-gateway") if schema is EXTENSION else None
            problems = Problems("example")
            check_object(extension if isinstance(extension, dict) else tree, schema, problems, "")
            complaints.append([str(problem) for problem in problems.all()])
        assert [] in complaints, (tree, complaints)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_whole_examples_are_served_as_they_stand(document: Path) -> None:
    """A definition that somebody pastes is not refused; nor is a configuration."""
    served = {"use_ssl": True, "ssl_certificates": ["server.pem"]}
    config = parse_config(
        {"enable_custom_domains": True, "disable_ports_whitelist": True, "http_server_options": served}, "tyk.conf", {}
    ).config
    for tree in examples_of(document):
        problems = []
        if "api_id" in tree or "openapi" in tree:
            problems = parse_definition(tree, document.name, Context(config, build_stores(config, {})))[1]
        elif "secret" in tree:
            problems = parse_config(tree, document.name, {}).problems
        assert not [str(problem) for problem in problems if problem.severity == "error"]
