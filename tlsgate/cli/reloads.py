"""``tlsgate reload``: knows the calls that make a gateway read its files again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tlsgate.cli.faults import RefusedByGateway
from tlsgate.cli.output import write, write_json
from tlsgate.cli.parsers import Parsers, add_action

if TYPE_CHECKING:
    from tlsgate.cli.client import ControlClient

__all__ = ["add_reload", "reload_now"]

_RELOAD = """\
Makes the gateway read definitions, policies, certificates and what else can change, and waits until it serves by
them. If something cannot be used, it says what, and exits with 1: what was good before goes on serving.
"""
_REMEDY = "the gateway's log names every problem; mend them and reload again"


def add_reload(commands: Parsers) -> None:
    """Enter the command."""
    parser = add_action(commands, "reload", "make a running gateway read its files again", _RELOAD, _reload)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--group", action="store_true", help="every gateway that shares the store; does not wait")
    way.add_argument("--no-wait", action="store_true", help="only ask for it")


def reload_now(client: ControlClient) -> None:
    """Reload, and wait for the end of it.

    :raises RefusedByGateway: something could not be used.
    """
    _raise_fault(client.ask("GET", "reload", query={"block": "true"}).tree)


def _reload(client: ControlClient, options: argparse.Namespace) -> int:
    if options.group:
        tree = client.ask("GET", "reload", "group").tree
    else:
        tree = client.ask("GET", "reload", query={"block": "" if options.no_wait else "true"}).tree
    if options.json:
        write_json(tree)
        return 1 if tree.get("message") else 0
    _raise_fault(tree)
    write("reload asked for\n" if options.group or options.no_wait else "reloaded\n")
    return 0


def _raise_fault(tree: dict[str, object]) -> None:
    if tree.get("message"):
        raise RefusedByGateway(f"not everything was reloaded: {tree['message']}", _REMEDY)
