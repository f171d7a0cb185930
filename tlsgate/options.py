"""Command line of ``twistd tlsgate``; knows nothing of the wiring, which it imports only when a service is made.

``twistd --help`` imports this module for its summary line, so it stays light.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from twisted.python import usage

from tlsgate.errors import ConfigError

if TYPE_CHECKING:
    from types import TracebackType

    from twisted.application.service import IService

__all__ = ["Options", "makeService"]


def _port(text: str) -> int:
    """Return a port number.

    :raises ValueError: when it is none; ``usage`` shows the message.
    """
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError("a port is a number from 0 to 65535")
    return number


class Options(usage.Options):
    """Options of ``twistd tlsgate``."""

    synopsis = "[twistd options] tlsgate --config FILE [--port N]"
    longdesc = (
        "Runs the gateway that FILE describes (tyk.conf's shape; JSON, or YAML by its extension). "
        "The same as `tlsgate run`, with twistd's own options for daemons, user, umask and logs. "
        "Check a file beforehand with `tlsgate check --config FILE`."
    )
    optParameters = [
        ["config", "c", None, "Configuration file (required)."],
        ["conf", None, None, "The same as --config."],
        ["port", "p", None, "Listen here instead of at the file's listen_port; 0 takes any free port.", _port],
    ]

    def postOptions(self) -> None:
        """Check what the options mean together.

        :raises usage.UsageError: without a file, with two of them, or with stray arguments.
        """
        given = [name for name in (self["config"], self["conf"]) if name]
        if not given:
            raise usage.UsageError("--config FILE is required")
        if len(set(given)) > 1:
            raise usage.UsageError("--config and --conf name different files")
        self["config"] = given[0]

    def parseArgs(self, *arguments: str) -> None:
        """Take no positional arguments.

        :raises usage.UsageError: when there are any.
        """
        if arguments:
            raise usage.UsageError(f"unexpected argument: {arguments[0]}")


def makeService(options: Options) -> IService:
    """Make the gateway's service; the name is the one that twistd looks for.

    :param options: parsed and checked.
    :returns: the service, not yet started.
    :raises ConfigError: when the configuration cannot be used; carries every problem.
    """
    from tlsgate.service import make_service

    sys.excepthook = _report_plainly
    return make_service(options["config"], options["port"])


def _report_plainly(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show what a start failed on.

    ``twistd`` lets an error of ``startService`` through to the interpreter after it has tidied up (process id file, waiting parent):
    an operator's mistake is then named as by ``tlsgate run``, without a traceback. The exit status is 1 in any case.
    """
    if not isinstance(error, ConfigError):
        sys.__excepthook__(kind, error, trace)
        return
    text = "".join(f"{problem}\n" for problem in sorted(error.problems, key=lambda problem: problem.severity != "error"))
    # twistd has put its log in the place of standard error; whoever started it in the foreground looks at the real one.
    for output in {id(stream): stream for stream in (sys.stderr, sys.__stderr__) if stream is not None}.values():
        output.write(text)
