"""Options that all commands share, and how a command is entered; knows no noun.

Only ``argparse`` is loaded here: the whole command line is built for each start of the gateway too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from tlsgate.cli.secret import RefuseValue

if TYPE_CHECKING:
    from tlsgate.cli.client import ControlClient

__all__ = ["Act", "Parsers", "add_action", "add_noun", "add_reload_option"]

Act: TypeAlias = "Callable[[ControlClient, argparse.Namespace], int]"
"""Does a command and returns its exit status."""
if TYPE_CHECKING:
    Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
else:
    Parsers = Any

EPILOG = """\
which gateway:
  --url https://HOST:PORT   its control API; TLSGATE_URL in the environment is the same
  --config FILE             its own configuration: address, port and secret are taken from there, and exactly
                            the certificates that stand there are trusted

the secret: --secret-file FILE (- is standard input), else TLSGATE_SECRET, else that of --config, else you are asked.
It is never taken from the command line, never shown, and sent to that gateway only, over no proxy.

exit status: 0 success; 1 the gateway refused, or there is no such thing; 2 wrong usage; 3 no answer.
"""


def add_noun(commands: Parsers, name: str, summary: str, description: str) -> Parsers:
    """Enter a noun.

    :returns: where its actions are entered.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{description} `tlsgate {name} ACTION --help` says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser.add_subparsers(title="actions", metavar="ACTION", required=True)


def add_action(actions: Parsers, name: str, summary: str, description: str, act: Act) -> argparse.ArgumentParser:
    """Enter an action with the options that all share."""
    parser = actions.add_parser(
        name,
        help=summary,
        description=description,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # `--sec x` would be taken for --secret-file, and a secret for a file name.
        allow_abbrev=False,
    )
    parser.set_defaults(command=_run, act=act)
    parser.add_argument("--json", action="store_true", help="the answer as JSON, for tools")
    where = parser.add_argument_group("the gateway")
    where.add_argument("--url", metavar="URL", help="address of its control API: https://HOST:PORT")
    where.add_argument("--config", "--conf", metavar="FILE", help="its own configuration, where it runs on this machine")
    where.add_argument("--ca", metavar="FILE", help="PEM of the CA that its certificate comes from (default: the system's CAs; TLSGATE_CA)")
    where.add_argument("--cert", metavar="FILE", help="client certificate, for a control API that demands one (TLSGATE_CERT)")
    where.add_argument("--key", metavar="FILE", help="its key, where --cert does not hold it (TLSGATE_KEY)")
    where.add_argument("--server-name", metavar="NAME", help="name that its certificate carries and its control API has")
    where.add_argument("--secret-file", metavar="FILE", help="first line of FILE is the secret; - is standard input")
    where.add_argument("--plain", action="store_true", help="let the secret go over http:// to another machine, in clear")
    where.add_argument("--timeout", type=_seconds, default=30.0, metavar="S", help="longest wait for bytes (default: 30)")
    parser.add_argument("--secret", action=RefuseValue, instead="use --secret-file FILE, TLSGATE_SECRET or standard input")
    return parser


def add_reload_option(parser: argparse.ArgumentParser) -> None:
    """Enter ``--reload``."""
    parser.add_argument("--reload", action="store_true", help="reload the gateway afterwards, so that the change is live")


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.1 <= number <= 86400:
        raise argparse.ArgumentTypeError("a number of seconds from 0.1 to 86400")
    return number


def _run(options: argparse.Namespace) -> int:
    from tlsgate.cli.run import run

    return run(options)
