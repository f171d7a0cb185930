"""Tests of `tlsgate.proxy.frames`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import fuzzed
from tlsgate.proxy.frames import FrameBorders


def frame(size: int, *, masked: bool = False) -> bytes:
    """A binary frame, its length in as few bytes as can be."""
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes((0x82, mask | size))
    elif size < 1 << 16:
        head = bytes((0x82, mask | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x82, mask | 127)) + size.to_bytes(8, "big")
    return head + (b"mask" if masked else b"") + b"\x88" * size


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
def test_a_frame_ends_with_its_last_byte(size: int, masked: bool) -> None:
    """And not before, whatever its bytes look like."""
    data = frame(size, masked=masked)
    for cut in {1, 2, 3, 4, 9, 10, 13, 14, len(data) - 1} & set(range(1, len(data))):
        borders = FrameBorders()
        assert borders.between_frames
        borders.feed(data[:cut])
        assert not borders.between_frames, cut
        borders.feed(data[cut:])
        assert borders.between_frames


@fuzzed(200)
@given(st.lists(st.tuples(st.sampled_from([0, 1, 5, 125, 126, 300]), st.booleans()), max_size=6), st.data())
def test_any_cut_of_any_frames(frames: list[tuple[int, bool]], data: st.DataObject) -> None:
    """Borders are where they are, however the bytes arrive."""
    pieces = [frame(size, masked=masked) for size, masked in frames]
    stream = b"".join(pieces)
    ends = {sum(map(len, pieces[:count])) for count in range(len(pieces) + 1)}
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    borders = FrameBorders()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        borders.feed(stream[start:end])
        assert borders.between_frames == (end in ends)
