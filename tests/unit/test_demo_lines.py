"""The demonstration's lines: ready to paste, every outcome among them; tests/loopback runs them."""

from __future__ import annotations

import json
import shlex
import subprocess

from tlsgate.demo_lines import build_examples


def test_lines_can_be_pasted() -> None:
    """A shell reads back what was meant, and each line trusts the development CA only."""
    for example in build_examples(8443):
        if not example.keeps:
            assert shlex.split(example.line) == ["curl", *example.arguments]
        assert "--cacert certs/dev/ca.pem" in example.line
        assert "--insecure" not in example.line
        assert ":8443/" in example.line


def test_a_key_is_kept_for_the_lines_after_it() -> None:
    """By a real shell: what the control API answers goes in, the key alone comes out, and later lines use it."""
    examples = build_examples(8443)
    (maker,) = [example for example in examples if example.keeps]
    assert "/tyk/keys/create" in maker.line
    answer = '{"key":"demo0123","status":"ok","action":"added"}'
    script = f"curl() {{ printf '%s\\n' '{answer}'; }}\n{maker.line}"
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout == "demo0123\n"
    users = [example for example in examples if "$KEY" in example.line and not example.keeps]
    assert [example.status for example in users] == [200, 429, 200, 200, 403]
    for example in users:
        script = f"curl() {{ printf '%s ' \"$@\"; }}\nKEY=demo0123\n{example.line}"
        shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
        assert "demo0123" in shown and "$" not in shown


def test_the_key_of_somebody_who_stops_half_way_goes_by_itself() -> None:
    """Removed keys do not pile up, nor do forgotten ones: the store drops them after an hour."""
    (maker,) = [example for example in build_examples(8443) if example.keeps]
    session = json.loads(maker.arguments[maker.arguments.index("-d") + 1])
    assert session["session_lifetime"] == 3600


def test_lines_show_every_outcome() -> None:
    """Served, refused by the handshake, refused with a reason, misdirected, not found."""
    examples = build_examples(1)
    assert {example.status for example in examples} == {0, 200, 401, 403, 404, 421, 429}
    assert {example.expectation for example in examples if not example.status} == {"the TLS handshake fails"}
    assert all(example.expectation == f"HTTP {example.status}" for example in examples if example.status)
