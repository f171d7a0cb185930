"""The commands of the documents' pages: found, run in order by bash, and their answers compared; knows no page's subject.

A page marks what is run by the words after the fence:

- ``json NAME`` (or any other language and a file name): the block is saved as that file;
- ``sh run``: run by bash with ``-eu``, in order, with the same variables throughout the page;
- ``text answer``: exactly what the ``sh run`` block before it prints, on both outputs, with ``...`` for any text, line ends included.

A fence with one word, or none, is only read by people. Ports of `make run` (8443, 9080) stand for those of the gateway that is there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.programs import make_sample_folder, python_module, running

__all__ = ["Block", "PageFault", "demonstration", "read_blocks", "run_blocks"]

_FENCE = re.compile(r"^```(.*)$")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.[A-Za-z0-9]+")
_TIMEOUT_S = 120.0


class PageFault(Exception):
    """A page's block is not what it should be, or did not do what it says."""


class Block(NamedTuple):
    """One marked block."""

    kind: str
    """``file``, ``run`` or ``answer``."""
    name: str
    """Of the file; else empty."""
    text: str
    line: int
    """Of the fence, from 1."""


def read_blocks(text: str) -> list[Block]:
    """Return the marked blocks of a page, in order.

    :raises PageFault: a fence says what nobody understands, an answer has no command, a fence stays open.
    """
    found: list[Block] = []
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if opening is None:
            number += 1
            continue
        end = next((index for index in range(number + 1, len(lines)) if lines[index] == "```"), None)
        if end is None:
            raise PageFault(f"line {number + 1}: the block has no end")
        words = opening.group(1).split()
        body = "".join(f"{line}\n" for line in lines[number + 1 : end])
        if len(words) > 1:
            found.append(_make_block(words, body, number + 1, found[-1].kind if found else ""))
        number = end + 1
    return found


def _make_block(words: list[str], body: str, line: int, before: str) -> Block:
    if words == ["sh", "run"]:
        return Block("run", "", body, line)
    if words == ["text", "answer"]:
        if before != "run":
            raise PageFault(f"line {line}: an answer without a command before it")
        return Block("answer", "", body, line)
    if len(words) == 2 and _NAME.fullmatch(words[1]):
        return Block("file", words[1], body, line)
    raise PageFault(f"line {line}: {' '.join(words)!r} is none of 'sh run', 'text answer' and a language with a file name")


def run_blocks(
    blocks: list[Block],
    folder: Path,
    places: Mapping[str, int | str],
    environ: Mapping[str, str] | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> None:
    """Run a page in a folder and compare its answers.

    :param places: ports and hosts that are written in the page, and what they are here.
    :param environ: variables that its commands find.
    :raises PageFault: a command failed, or printed something else.
    """
    work = folder / ".page"
    work.mkdir()
    script = ["set -eu"]
    for number, block in enumerate(blocks):
        text = _fill_in(block.text, places)
        if block.kind == "file":
            (work / f"{number}.file").write_text(text, encoding="utf-8")
            script.append(f"cp .page/{number}.file {block.name}")
        elif block.kind == "run":
            # Braces, not parentheses: what a block sets is there for those after it.
            script.append(f"echo {number} > .page/reached\n{{\n{text}}} > .page/{number}.out 2>&1")
    script.append("echo end > .page/reached\n")
    (work / "script").write_text("\n".join(script), encoding="utf-8")
    done = subprocess.run(
        ["bash", ".page/script"],
        cwd=folder,
        env={**_environ(folder), **(environ or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    reached = (work / "reached").read_text(encoding="ascii").strip() if (work / "reached").exists() else ""
    for number, block in enumerate(blocks):
        if block.kind == "answer":
            printed = work / f"{number - 1}.out"
            if printed.exists():
                _compare(blocks[number - 1], block, printed.read_text(encoding="utf-8", errors="replace"), places)
        if str(number) == reached:
            output = (work / f"{number}.out").read_text(encoding="utf-8", errors="replace") if (work / f"{number}.out").exists() else ""
            raise PageFault(f"line {block.line}: exit status {done.returncode}:\n{block.text}{output}{done.stderr}")
    if reached != "end" or done.returncode:
        raise PageFault(f"exit status {done.returncode}: {done.stderr}")


@contextmanager
def demonstration(folder: Path, settings: Mapping[str, Any] | None = None) -> Iterator[dict[str, int | str]]:
    """Run what `make run` runs, on free ports, with certificates of its own.

    :param folder: gets ``conf``, ``certs/dev`` and what the pages save.
    :param settings: merged into the configuration, and the members of its objects.
    :returns: the ports, as :func:`run_blocks` takes them.
    """
    make_sample_folder(folder)
    if settings:
        path = folder / "conf" / "tlsgate.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        for name, value in settings.items():
            config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
        path.write_text(json.dumps(config), encoding="utf-8")
    with running(python_module("tlsgate.demo", "--port", "0", "--upstream-port", "0"), folder) as demo:
        ports: dict[str, int | str] = {"9080": demo.wait_for_port("upstream"), "8443": demo.wait_for_port("gateway")}
        demo.wait_for("^The gateway serves on ")
        yield ports
        assert demo.stop() == 0, "\n".join(demo.lines)
        broken = [line for line in demo.lines if "Traceback" in line]
        assert not broken, "\n".join(demo.lines)


def _environ(folder: Path) -> dict[str, str]:
    """Return an environment with ``tlsgate`` and ``python``, without proxies, where curl shows errors and no progress."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    for name, arguments in (("tlsgate", "-m tlsgate "), ("python", "")):
        path = programs / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n', encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (folder / ".curlrc").write_text("silent\nshow-error\nmax-time = 20\n", encoding="ascii")
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "PATH": f"{programs}{os.pathsep}{kept.get('PATH', os.defpath)}", "CURL_HOME": str(folder), "LC_ALL": "C.UTF-8"}


def _fill_in(text: str, places: Mapping[str, int | str]) -> str:
    for written, real in places.items():
        text = re.sub(rf"(?<!\d){re.escape(written)}(?!\d)", str(real), text)
    return text


def _compare(command: Block, answer: Block, printed: str, places: Mapping[str, int | str]) -> None:
    expected = _trim(_fill_in(answer.text, places))
    pattern = ".*".join(re.escape(part) for part in expected.split("..."))
    if re.fullmatch(pattern, _trim(printed), re.DOTALL) is None:
        raise PageFault(f"line {answer.line}: the answer to\n{command.text}should be\n{expected}\nand is\n{_trim(printed)}")


def _trim(text: str) -> str:
    """Return text without blanks and carriage returns at the ends of lines, and without empty lines at its end."""
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip("\n")


def needs_programs() -> str:
    """Return which program of the pages is missing here; empty when there are all."""
    return ", ".join(name for name in ("bash", "curl", "openssl") if shutil.which(name) is None)
