"""Runs one command against one gateway and turns what goes wrong into text and exit status; knows no noun."""

from __future__ import annotations

import argparse
import os
import sys

from tlsgate.cli.client import ControlClient
from tlsgate.cli.faults import CommandFault, UsageFault
from tlsgate.cli.output import clean, write_note
from tlsgate.cli.place import find_place
from tlsgate.errors import ConfigError

__all__ = ["run"]

_INPUTS = ("secret_file", "password_file", "id_file", "key_id", "source")


def run(options: argparse.Namespace) -> int:
    """Do what the options say.

    :returns: exit status.
    """
    try:
        _check_input(options)
        client = ControlClient(find_place(options, os.environ), options.timeout)
        status: int = options.act(client, options)
        sys.stdout.flush()
        return status
    except CommandFault as fault:
        _report(str(fault), fault.remedy)
        return fault.status
    except ConfigError as problem:
        _report(str(problem.problems[0]), "")
        return UsageFault.status
    except BrokenPipeError:
        # `tlsgate keys list | head`: nobody reads on. Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _check_input(options: argparse.Namespace) -> None:
    """See that standard input is read for one thing only."""
    users = [name for name in _INPUTS if getattr(options, name, None) == "-"]
    if len(users) > 1:
        raise UsageFault("standard input cannot be two things at once", "put the secret into a file or TLSGATE_SECRET")


def _report(message: str, remedy: str) -> None:
    write_note(message)
    if remedy:
        sys.stderr.write(f"  {clean(remedy)}\n")
