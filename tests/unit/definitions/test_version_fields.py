"""The list of known fields of one version."""

from __future__ import annotations

from tlsgate.config.schema import TEXTS, ListOf, ObjectOf
from tlsgate.definitions.version_fields import VERSION


def test_each_list_of_paths_has_path_method_and_switch() -> None:
    """All but ``cache``, which is a list of paths."""
    extended = VERSION.members["extended_paths"]
    assert isinstance(extended, ObjectOf)
    for name, schema in extended.members.items():
        if name == "cache":
            assert schema == TEXTS
            continue
        assert isinstance(schema, ListOf) and isinstance(schema.item, ObjectOf)
        assert {"path", "method", "disabled"} <= set(schema.item.members), name
