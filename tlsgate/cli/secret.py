"""Where secrets come from: a file, the environment or standard input, never the command line; knows no gateway.

A value among the arguments stands in the shell's history and in the list of processes, for every user of the machine to read.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from tlsgate.cli.faults import UsageFault

__all__ = ["VARIABLE", "RefuseValue", "ask", "read_line", "read_secret"]

VARIABLE = "TLSGATE_SECRET"
_MAX_BYTES = 65536


class RefuseValue(argparse.Action):
    """Refuses an option that would carry a secret; the value is not shown again."""

    def __init__(self, option_strings: list[str], dest: str, *, instead: str, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs="?", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        self._instead = instead

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Refuse."""
        parser.error(
            f"{self.option_strings[0]} is refused: a secret on the command line stays in the shell's history and shows in the list of "
            f"processes; {self._instead}"
        )


def read_line(source: str, what: str) -> str:
    """Return the first line of a file.

    :param source: a path, or ``-`` for standard input.
    :param what: for messages.
    :raises UsageFault: it cannot be read, is empty or holds what no header can carry.
    """
    name = "standard input" if source == "-" else source
    try:
        if source == "-":
            data = sys.stdin.buffer.readline(_MAX_BYTES)
        else:
            with open(source, "rb") as file:
                data = file.readline(_MAX_BYTES)
        text = data.decode("utf-8-sig").rstrip("\r\n")
    except OSError as problem:
        raise UsageFault(f"{what} cannot be read from {name}: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise UsageFault(f"{what} in {name} is no UTF-8 text") from None
    return _usable(text, what, name)


def read_secret(source: str | None, environ: Mapping[str, str], configured: str) -> str:
    """Return the control API's secret: of the named file, else of the environment, else of the configuration, else as typed.

    :param source: of ``--secret-file``.
    :param configured: of ``--config``; empty for none.
    :raises UsageFault: there is none.
    """
    if source is not None:
        return read_line(source, "the secret")
    if environ.get(VARIABLE):
        return _usable(environ[VARIABLE], "the secret", VARIABLE)
    if configured:
        return configured
    typed = ask("secret of the control API: ")
    if typed:
        return typed
    raise UsageFault(
        "the control API wants a secret and there is none",
        f"give --secret-file FILE (- is standard input), set {VARIABLE}, or name the gateway's configuration with --config",
    )


def ask(prompt: str) -> str:
    """Return what a person types without echo; empty where nobody sits at a terminal."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        return ""
    try:
        return getpass.getpass(prompt, stream=sys.stderr)
    except EOFError:
        return ""


def _usable(text: str, what: str, name: str) -> str:
    if not text:
        raise UsageFault(f"{what} in {name} is empty")
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise UsageFault(f"{what} in {name} holds control characters")
    return text
