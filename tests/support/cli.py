"""The operator's command line inside the test's process: arguments and standard input in, status and both outputs back."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from tests.support.fake_control import SECRET, FakeControl
from tlsgate.__main__ import main

__all__ = ["Cli", "Done", "run_cli"]


class Done(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


def run_cli(*arguments: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> Done:
    """Run a command; the environment holds no setting of ours but those given."""
    out, err = io.StringIO(), io.StringIO()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TLSGATE_", "TYK_GW_"))}
    with (
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        mock.patch.dict(os.environ, {**kept, **(environ or {})}, clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            status = main(list(arguments))
        except SystemExit as ended:
            assert isinstance(ended.code, int)
            status = ended.code
    return Done(status, out.getvalue(), err.getvalue())


class Cli:
    """Commands against one stand-in, which has the secret from a file; no output may ever hold it."""

    def __init__(self, control: FakeControl, folder: Path) -> None:
        self.control = control
        self.secret_file = folder / "secret"
        self.secret_file.write_text(SECRET + "\n")

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Done:
        """Run; ``--url`` and ``--secret-file`` are added."""
        where = ("--url", f"http://127.0.0.1:{self.control.port}", "--secret-file", str(self.secret_file))
        done = run_cli(*arguments, *where, stdin=stdin)
        assert SECRET not in done.out + done.err
        return done

    def good(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run what must go well, and return standard output."""
        done = self(*arguments, stdin=stdin)
        assert done.status == 0, done
        return done.out
