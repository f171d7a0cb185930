"""YAML is read to the same values as JSON, without tags, within bounds."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tlsgate.config.json_text import UnusableText
from tlsgate.config.yaml_text import MAX_ALIAS_NODES, copy_value, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: -0x1F", {"a": "-0x1F"}),
        ("a: 0x1F", {"a": 31}),
        ("a: 0o17", {"a": 15}),
        ("a: 017", {"a": 17}),
        ("a: 1.5e3", {"a": 1500.0}),
        ("a: .5", {"a": 0.5}),
        ("a: true", {"a": True}),
        ("a: FALSE", {"a": False}),
        ("a: yes", {"a": "yes"}),
        ("a: off", {"a": "off"}),
        ("a: 2024-01-01 10:00", {"a": "2024-01-01 10:00"}),
        ("a: 1:30", {"a": "1:30"}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: null", {"a": None}),
        ("a: '1'", {"a": "1"}),
        ('a: "true"', {"a": "true"}),
        ("a: !!str 1", {"a": "1"}),
        ("a: ! 1", {"a": "1"}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("- 1\n- [2, {b: 3}]", [1, [2, {"b": 3}]]),
        ("1: x", {"1": "x"}),
        ("true: x", {"true": "x"}),
        ("--- {}\n...", {}),
        ("plain", "plain"),
        ("# only a comment", None),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    """``yes``, ``on``, dates and sexagesimal numbers stay text; keys are always text."""
    assert parse_yaml(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\na: 2", "given twice"),
        ("x:\n  a: 1\n  b: 1\n  a: 1", "given twice"),
        ("a: 1\n---\nb: 2", "several YAML documents"),
        ("a: !!python/object/apply:os.system [id]", "tags are not taken"),
        ("a: !!binary aGk=", "tags are not taken"),
        ("!thing {a: 1}", "tags are not taken"),
        ("a: !!int x", "tags are not taken"),
        ("? [a, b]\n: 1", "not plain text"),
        ("a: &x 1\n? *x\n: 1", "not plain text"),
        ("a: *nobody", "alias without its anchor"),
        ("a: &x [*x]", "inside of it"),
        ("a: .inf", "no number"),
        ("a: .NaN", "no number"),
        ("a: " + "1" * 401, "too many digits"),
        ("a: 1e999", "too large"),
        ("a: " + "[" * 128 + "]" * 128, "nested deeper"),
        ("<<: 1\na: 1", "merge key without a mapping"),
        ("<<: [{a: 1}, 2]", "merge key without a mapping"),
    ],
)
def test_what_a_configuration_may_not_hold_is_refused(text: str, reason: str) -> None:
    """Each by name."""
    with pytest.raises(UnusableText, match=reason):
        parse_yaml(text)


def test_aliases_are_copies() -> None:
    """Two places never share an object: a change of one would change the other."""
    value = parse_yaml("a: &x {b: [1]}\nc: *x\nd: &y 5\ne: *y")
    assert value == {"a": {"b": [1]}, "c": {"b": [1]}, "d": 5, "e": 5}
    assert isinstance(value, dict)
    assert value["a"] is not value["c"] and value["a"]["b"] is not value["c"]["b"]


def test_merge_keys_give_defaults() -> None:
    """Members of the mapping itself win, wherever the merge key stands; of several sources the first wins."""
    assert parse_yaml("base: &b {a: 1, b: 2}\nx: {a: 9, <<: *b}\ny: {<<: [{a: 3}, *b]}") == {
        "base": {"a": 1, "b": 2},
        "x": {"a": 9, "b": 2},
        "y": {"a": 3, "b": 2},
    }


def test_aliases_that_multiply_are_refused_at_once() -> None:
    """Nine lines that stand for a thousand million values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(UnusableText, match="repeat too much"):
        parse_yaml("\n".join(lines))


def test_the_bound_on_aliases_is_exact() -> None:
    """A list of 999 is 1,000 values: a hundred aliases of it fit, one more does not."""
    base = "a: &a [" + ", ".join(["1"] * 999) + "]\nb: ["
    fits = MAX_ALIAS_NODES // 1000
    parse_yaml(base + ", ".join(["*a"] * fits) + "]")
    with pytest.raises(UnusableText, match="repeat too much"):
        parse_yaml(base + ", ".join(["*a"] * (fits + 1)) + "]")


def test_half_a_surrogate_pair_is_refused() -> None:
    """As in JSON."""
    with pytest.raises((UnusableText, yaml.YAMLError)):
        parse_yaml('a: "\\ud800"')


def test_copies_share_nothing() -> None:
    """Objects and lists are new, the rest is the same."""
    value = {"a": [1, {"b": "x"}]}
    made = copy_value(value)
    assert made == value and made is not value and made["a"] is not value["a"] and made["a"][1] is not value["a"][1]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_is_read_the_same_way(value: object) -> None:
    """YAML 1.2 is meant to hold JSON."""
    assert parse_yaml(json.dumps(value, ensure_ascii=False)) == value


@given(st.text(max_size=120))
def test_garbage_gives_a_value_or_one_of_two_errors(text: str) -> None:
    """Nothing else, ever."""
    try:
        parse_yaml(text)
    except (UnusableText, yaml.YAMLError):
        pass
