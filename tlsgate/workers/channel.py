"""The line between the parent and one worker: small JSON messages, now and then with a descriptor; knows no message.

A pair of ``SOCK_SEQPACKET`` sockets: a message is whole or not there, and its end is the end of the other process.
"""

from __future__ import annotations

import socket
from array import array
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

__all__ = ["Channel", "Message", "make_pair", "pieces_of"]

_MAX_BYTES = 1 << 16
_MAX_ENTRIES = 400
"""Of one piece: with names of a hundred bytes it stays below the limit."""
_FDS_SPACE = socket.CMSG_SPACE(4 * array("i").itemsize)


class Message(NamedTuple):
    """What came."""

    tree: dict[str, Any]
    fds: tuple[int, ...] = ()
    """The receiver's to close."""


class Channel:
    """One end; never waits. What the other side does not take yet is kept and sent by :meth:`flush`."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._out: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self.closed = False

    def fileno(self) -> int:
        """Return the descriptor; -1 once it is closed."""
        return self._socket.fileno()

    @property
    def waiting(self) -> bool:
        """Whether something is kept for :meth:`flush`."""
        return bool(self._out)

    def send(self, tree: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        """Send a message, now or by a later :meth:`flush`; to nobody when the other side is gone.

        :param fds: copied on their way; stay the caller's, and open until they are sent.
        """
        if not self.closed:
            self._out.append((msgspec.json.encode(tree), tuple(fds)))
            self.flush()

    def flush(self) -> None:
        """Send what is kept, as far as it is taken."""
        while self._out and not self.closed:
            data, fds = self._out[0]
            try:
                if fds:
                    socket.send_fds(self._socket, [data], list(fds))
                else:
                    self._socket.send(data)
            except BlockingIOError:
                return
            except OSError:
                # The other side is gone: its end is read soon.
                self._out.clear()
                return
            self._out.popleft()

    def receive(self) -> Message | None:
        """Return the next message, None when there is none yet.

        :raises EOFError: the other process is gone.
        """
        try:
            # Not socket.recv_fds: it drops the flag (Python 3.11), and programs that a worker starts would inherit the sockets.
            data, ancillary, _, _ = self._socket.recvmsg(_MAX_BYTES, _FDS_SPACE, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError as problem:
            raise EOFError(str(problem)) from problem
        if not data:
            raise EOFError("the other process is gone")
        fds = array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        return Message(msgspec.json.decode(data), tuple(fds))

    def close(self) -> None:
        """Close this end."""
        self.closed = True
        self._out.clear()
        self._socket.close()


def make_pair() -> tuple[Channel, Channel]:
    """Return both ends."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(one), Channel(other)


def pieces_of(numbers: Mapping[str, float]) -> Iterator[dict[str, float]]:
    """Yield a large mapping in parts that fit into messages; at least one."""
    items = list(numbers.items())
    for start in range(0, max(1, len(items)), _MAX_ENTRIES):
        yield dict(items[start : start + _MAX_ENTRIES])
