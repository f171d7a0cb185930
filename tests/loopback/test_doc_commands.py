"""Every command that a page of the documents marks is run against the gateway of `make run`, and prints what the page says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.doc_commands import PageFault, demonstration, needs_programs, read_blocks, run_blocks

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"jwt-auth0.md": "loopback/test_auth0_page.py", "jwt-keycloak.md": "loopback/keycloak/test_page.py"}
"""Pages that need more than the gateway, and the tests that run them."""
TRIED = [
    page
    for page in sorted((ROOT / "docs").glob("*.md"))
    if "```sh run\n" in page.read_text(encoding="utf-8") and page.name not in ELSEWHERE
]
METHODS = sorted((ROOT / "docs").glob("auth-*.md"))

pytestmark = pytest.mark.skipif(bool(needs_programs()), reason=f"not installed: {needs_programs()}")


@pytest.mark.parametrize("page", TRIED, ids=lambda path: path.name)
def test_every_command_of_a_page_does_what_the_page_says(tmp_path: Path, page: Path) -> None:
    """From the first to the last, in one shell, on a gateway that nobody has used before."""
    blocks = read_blocks(page.read_text(encoding="utf-8"))
    with demonstration(tmp_path) as ports:
        run_blocks(blocks, tmp_path, ports)


@pytest.mark.parametrize(("page", "test"), ELSEWHERE.items())
def test_other_pages_are_run_elsewhere(page: str, test: str) -> None:
    """Else their commands would rot."""
    assert page in (ROOT / "tests" / test).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", METHODS, ids=lambda path: path.name)
def test_every_method_has_definition_commands_and_answers(page: Path) -> None:
    """Below a heading that people find: "Try it"."""
    _, heading, below = page.read_text(encoding="utf-8").partition("\n## Try it\n")
    assert heading, "no section 'Try it'"
    blocks = read_blocks(below)
    kinds = [block.kind for block in blocks]
    assert any(block.kind == "file" and block.name.endswith(".json") for block in blocks), "no definition to save"
    assert kinds.count("run") >= 2, "no commands"
    assert kinds.count("answer") >= 2, "no answers"


# The runner itself.


def run_page(folder: Path, text: str) -> None:
    run_blocks(read_blocks(text), folder, {"8443": 18443, "idp.example": "localhost:5"}, {"GIVEN": "a variable"})


def block(words: str, *lines: str) -> str:
    return "\n".join(("", f"```{words}", *lines, "```", ""))


def test_files_variables_and_ports_are_there(tmp_path: Path) -> None:
    """In the order of the page: a file may be saved again; what a block sets, later ones see; a number within another is no port."""
    run_page(
        tmp_path,
        block("json a.json", '{"port": 8443, "other": 184430}')
        + block("sh run", "one=$(cat a.json)", "other() { echo $1; }")
        + block("json a.json", "{}")
        + block("sh", "exit 1")
        + block("sh run", 'echo "$one"', "other $(cat a.json)", "printf 'to the other output\\r\\n' >&2")
        + block("text answer", '{"port": 8443, "other": 184430}', "{}", "to the other output"),
    )


def test_hosts_and_variables_of_a_test_are_there(tmp_path: Path) -> None:
    """A host in a page stands for one of the test, with its port; a dot in its name is a dot."""
    run_page(
        tmp_path,
        block("sh run", 'echo "$GIVEN" | tr v V', "echo https://idp.example/ idp-example | tr h H")
        + block("text answer", "a Variable", "Https://localHost:5/ idp-example"),
    )


def test_a_demonstration_takes_settings(tmp_path: Path) -> None:
    """Merged into the sample: what is there stays."""
    with demonstration(tmp_path, {"tlsgate": {"upstream_ca": ["certs/dev/ca.pem"]}, "hide_generator_header": True}):
        config = json.loads((tmp_path / "conf" / "tlsgate.json").read_text(encoding="utf-8"))
    assert config["tlsgate"]["upstream_ca"] and config["tlsgate"]["development"] is True
    assert config["hide_generator_header"] is True and config["app_path"] == "conf/apis"


@pytest.mark.parametrize(
    ("printed", "answer"),
    [("abc", "abc"), ("abc", "a..."), ("abc", "...c"), ("a\nb\nc", "a...c"), ("a\nb", "a\n..."), ("abc\n\n", "abc"), ("", "...")],
)
def test_right_answers_are_taken(tmp_path: Path, printed: str, answer: str) -> None:
    """``...`` is any text, over lines too."""
    run_page(tmp_path, block("sh run", f"printf '%s' '{printed}'") + block("text answer", answer))


@pytest.mark.parametrize(
    ("printed", "answer"), [("abc", "abd"), ("abc", "ab"), ("abc", "b..."), ("a.c", "a?c"), ("abc", "a.c"), ("a\nb", "a"), ("", "a")]
)
def test_wrong_answers_are_noticed(tmp_path: Path, printed: str, answer: str) -> None:
    """With the line of the page, what was expected and what came."""
    page = "Words.\n" + block("sh run", f"printf '%s' '{printed}'") + block("text answer", answer)
    with pytest.raises(PageFault, match=r"^line [78]: the answer to(.|\n)*should be(.|\n)*and is"):
        run_page(tmp_path, page)


def test_a_wrong_answer_of_the_gateway_is_noticed(tmp_path: Path) -> None:
    """The whole way, with a page that promises too much."""
    page = block("sh run", "curl -s --cacert certs/dev/ca.pem -o answer -w '%{http_code}' https://localhost:8443/token/")
    with demonstration(tmp_path) as ports, pytest.raises(PageFault, match="should be\n200\nand is\n401"):
        run_blocks(read_blocks(page + block("text answer", "200")), tmp_path, ports)


@pytest.mark.parametrize("command", ["false", "echo $no_such_variable", "no-such-program", "exit 3", "echo 'open"])
def test_commands_that_fail_are_noticed(tmp_path: Path, command: str) -> None:
    """So that no block after it is run."""
    with pytest.raises(PageFault, match="exit status"):
        run_page(tmp_path, block("sh run", command) + block("sh run", "touch later"))
    assert not (tmp_path / "later").exists()


@pytest.mark.parametrize(
    "page",
    [
        block("sh rnu", "true"),
        block("text answer", "x"),
        block("json a.json", "{}") + block("text answer", "x"),
        block("json ../a.json", "{}"),
        "```sh run\ntrue\n",
    ],
)
def test_misspelt_fences_are_noticed(page: str) -> None:
    """Else a block would be skipped for ever."""
    with pytest.raises(PageFault, match="line"):
        read_blocks(page)
