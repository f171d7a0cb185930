"""Numbers and times of a key on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import Cli, run_cli
from tests.support.fake_control import running_control
from tlsgate.cli import key_options


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("90s", 90), ("2m", 120), ("1h", 3600), ("30d", 2592000), ("1w", 604800)]
)
def test_times_have_units(tmp_path: Path, text: str, seconds: int) -> None:
    """Seconds where there is none."""
    with running_control(tmp_path) as control:
        Cli(control, tmp_path).good("keys", "create", "--api", "a", "--quota", "5", "--quota-renewal", text)
        assert control.calls[0][3]["quota_renewal_rate"] == seconds


def test_expiry_counts_from_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 is never."""
    monkeypatch.setattr(key_options.SystemClock, "now", lambda self: 1_800_000_000.5)
    with running_control(tmp_path) as control:
        cli = Cli(control, tmp_path)
        for text, expires in (("1d", 1_800_086_400), ("0", 0)):
            cli.good("keys", "create", "--api", "a", "--expires-in", text)
            assert control.calls[-1][3]["expires"] == expires


@pytest.mark.parametrize(
    ("option", "value"),
    [("--rate", value) for value in ("-1", "x", "nan", "inf", "")]
    + [("--quota", value) for value in ("-2", "1.5", "x", "")]
    + [("--expires-in", value) for value in ("-1", "1y", "d", "1.5h", "")],
)
def test_what_is_no_number_is_wrong_usage(option: str, value: str) -> None:
    """Told by the parser."""
    done = run_cli("keys", "create", "--api", "a", f"{option}={value}")
    assert done.status == 2
    assert f"argument {option}" in done.err


def test_names_of_calls_are_no_ids(tmp_path: Path) -> None:
    """``POST /tyk/keys/create`` would make another key than the one that was meant."""
    with running_control(tmp_path) as control:
        done = Cli(control, tmp_path)("keys", "create", "--api", "a", "--id-file", "-", stdin=b"create\n")
        assert (done.status, control.calls) == (2, [])
