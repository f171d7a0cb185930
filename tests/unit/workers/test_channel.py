"""Tests of `tlsgate.workers.channel`."""

from __future__ import annotations

import os
import socket

import pytest

from tlsgate.workers.channel import Channel, make_pair, pieces_of


def test_messages_arrive_whole_and_in_order() -> None:
    """Nothing waits; the end of one side is the end for the other."""
    one, other = make_pair()
    assert other.receive() is None
    for number in range(3):
        one.send({"do": "x", "number": number})
    assert [message.tree["number"] for _ in range(3) if (message := other.receive()) is not None] == [0, 1, 2]
    assert other.receive() is None
    one.send({"do": "last"})
    one.close()
    message = other.receive()
    assert message is not None and message.tree == {"do": "last"}
    with pytest.raises(EOFError):
        other.receive()
    other.send({"do": "into the void"})
    assert not other.waiting
    other.close()
    one.send({"do": "after the end"})
    assert one.fileno() == -1


def test_descriptors_travel_with_their_message() -> None:
    """As copies: the sender may close its own."""
    one, other = make_pair()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        name = listening.getsockname()
        one.send({"do": "given"}, (listening.fileno(),))
    message = other.receive()
    assert message is not None
    (fd,) = message.fds
    with socket.socket(fileno=fd) as copy:
        assert copy.getsockname() == name
        assert not os.get_inheritable(copy.fileno())
    one.close()
    other.close()


def test_what_is_not_taken_is_kept_and_sent_later() -> None:
    """A worker that is busy loses no message, and the parent does not wait for it."""
    one, other = make_pair()
    count = 0
    while not one.waiting:
        one.send({"do": "x", "number": count, "text": "y" * 10_000})
        count += 1
        assert count < 10_000
    one.send({"do": "x", "number": count, "text": ""})
    taken = []
    while len(taken) < count + 1:
        message = other.receive()
        if message is None:
            one.flush()
            continue
        taken.append(message.tree["number"])
    assert taken == list(range(count + 1))
    assert not one.waiting
    one.close()
    other.close()


def test_a_side_that_is_gone_keeps_nothing() -> None:
    """Nor does sending to it fail."""
    one, other = make_pair()
    while not one.waiting:
        one.send({"do": "x", "text": "y" * 10_000})
    other.close()
    one.flush()
    assert not one.waiting
    with pytest.raises(EOFError):
        while one.receive() is None:
            pass
    one.close()


@pytest.mark.parametrize("size", [0, 1, 400, 401, 1000])
def test_large_mappings_come_in_pieces(size: int) -> None:
    """Each fits into a message, also with long names; an empty one is one piece."""
    numbers = {f"{'n' * 100}-{number}": float(number) for number in range(size)}
    pieces = list(pieces_of(numbers))
    assert pieces and {name: value for piece in pieces for name, value in piece.items()} == numbers
    one, other = make_pair()
    for piece in pieces:
        one.send({"do": "counted", "counters": piece})
        message = other.receive()
        assert message is not None and message.tree["counters"] == piece
    one.close()
    other.close()


def test_a_channel_never_blocks() -> None:
    """Whatever it was made of."""
    end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(end)
    assert not end.getblocking()
    assert channel.receive() is None
    channel.close()
    other.close()
