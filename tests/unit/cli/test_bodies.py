"""What is sent: read from a file or standard input, refused before anybody is asked when it is no such thing."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tlsgate.cli import bodies
from tlsgate.cli.bodies import read_bytes, read_object
from tlsgate.cli.faults import UsageFault


def test_a_file_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``-`` is standard input; a byte order mark is no content."""
    file = tmp_path / "body"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_object(str(file), "it") == {"a": 1}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"b": 2}')))
    assert read_object("-", "it") == {"b": 2}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"{", "no JSON"),
        (b'{"a": 1, "a": 2}', "no JSON"),
        (b"\xff", "no UTF-8"),
        (b'{"password": hunter2}', "no JSON"),
        (None, "No such file"),
    ],
)
def test_what_is_no_object_is_named_by_its_file(tmp_path: Path, data: bytes | None, reason: str) -> None:
    """And never quoted: it may hold secrets."""
    file = tmp_path / "body"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(UsageFault) as fault:
        read_object(str(file), "the policy")
    assert reason in str(fault.value)
    assert str(file) in str(fault.value)
    assert "hunter2" not in str(fault.value)


def test_a_file_beyond_all_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistaken /dev/zero does not fill the memory."""
    monkeypatch.setattr(bodies, "_MAX_BYTES", 10)
    file = tmp_path / "body"
    file.write_bytes(b"x" * 10)
    assert len(read_bytes(str(file), "it")) == 10
    file.write_bytes(b"x" * 11)
    with pytest.raises(UsageFault, match="larger than 10 bytes"):
        read_bytes(str(file), "it")
