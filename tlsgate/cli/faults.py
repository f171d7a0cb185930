"""What ends a command, each with its exit status; knows no command.

0 is success, 1 the gateway refused or knows no such thing, 2 wrong usage, 3 no answer.
"""

from __future__ import annotations

__all__ = ["CommandFault", "RefusedByGateway", "Unreachable", "UsageFault"]


class CommandFault(Exception):
    """A command cannot go on.

    :param message: what happened and where; never a secret.
    :param remedy: what to do about it.
    """

    status = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class RefusedByGateway(CommandFault):
    """The gateway answered no."""


class UsageFault(CommandFault):
    """What was asked for makes no sense, or something is missing."""

    status = 2


class Unreachable(CommandFault):
    """There was no usable answer."""

    status = 3
