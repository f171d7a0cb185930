"""Usage: what each command offers, what is wrong before anything is asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.cli import run_cli

COMMANDS = [
    *(("keys", action) for action in ("list", "get", "create", "update", "delete")),
    *(("policies", action) for action in ("list", "get", "create", "update", "delete")),
    *(("apis", action) for action in ("list", "get", "create", "update", "delete")),
    *(("certs", action) for action in ("list", "get", "add", "delete")),
    ("reload",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_explains_itself(command: tuple[str, ...]) -> None:
    """What it does, which gateway it asks, where the secret comes from, how it exits."""
    done = run_cli(*command, "--help")
    assert done.status == 0
    for part in ("--url", "--config", "--ca", "--cert", "--key", "--secret-file", "TLSGATE_SECRET", "--json", "exit status"):
        assert part in done.out
    assert "--secret " not in done.out
    assert max(map(len, done.out.splitlines())) <= 120


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys"],
        ["keys", "destroy"],
        ["policies", "get"],
        ["apis", "create"],
        ["certs"],
        ["certs", "add"],
        ["reload", "--group", "--no-wait"],
    ]
    + [["keys", "list", "--timeout", wrong] for wrong in ("0", "-1", "x", "nan", "1e9")],
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    """Told by the parser."""
    assert run_cli(*arguments).status == 2


def test_the_gateway_s_own_start_loads_nothing_of_this() -> None:
    """The command line is built for `tlsgate run` too: no TLS, no HTTP, no event loop on its account."""
    code = (
        "import sys; from tlsgate.__main__ import main; main(['version']); "
        "print([name for name in ('ssl', 'http.client', 'twisted') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
