"""Policies from files: both forms, faults named, the last good ones kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.apis import make_config
from tlsgate.auth.policy_files import LoadedPolicies, find_policy_warnings, load_policies
from tlsgate.model.policy import Partitions, Policy
from tlsgate.model.session import AccessRight, Limit


def write(path: Path, value: Any) -> None:
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def load(folder: Path, previous: LoadedPolicies | None = None) -> LoadedPolicies:
    return load_policies(make_config(policy_path=str(folder)), previous.by_file if previous else None)


def words(loaded: LoadedPolicies) -> list[str]:
    return [f"{problem.severity} {problem.path}: {problem.message}" for problem in loaded.problems]


def test_a_directory_has_one_policy_per_file(tmp_path: Path) -> None:
    """Named inside, by ``_id``, or by the file; other files are left alone."""
    write(tmp_path / "one.json", {"id": "p1", "org_id": "o", "rate": 5, "per": 1})
    write(tmp_path / "two.json", {"_id": "5ead7120575961000181867e", "org_id": "o"})
    write(tmp_path / "three.json", {"org_id": "o"})
    write(tmp_path / ".hidden.json", "{")
    write(tmp_path / "readme.txt", "{")
    loaded = load(tmp_path)
    assert loaded.problems == ()
    assert sorted(policy.id for policy in loaded.table) == ["5ead7120575961000181867e", "p1", "three"]
    found = loaded.table.find("o", "p1")
    assert found is not None and found.rate == 5


def test_a_record_file_has_them_by_id(tmp_path: Path) -> None:
    """The member's name is the id; ``{}`` is a valid file."""
    file = tmp_path / "policies.json"
    write(file, {"p": {"org_id": "o", "id": "other"}, "q": {"org_id": "o"}})
    loaded = load_policies(make_config(policy_record_name=str(file)))
    assert sorted(policy.id for policy in loaded.table) == ["p", "q"]
    write(file, {})
    loaded = load_policies(make_config(policy_record_name=str(file)), loaded.by_file)
    assert len(loaded.table) == 0 and loaded.problems == ()
    write(tmp_path / "empty.json", {})
    assert len(load(tmp_path).table) == 0


def test_neither_set_is_no_policies() -> None:
    """And another source than files is said."""
    assert len(load_policies(make_config()).table) == 0
    loaded = load_policies(make_config(policy_source="service"))
    assert "from files only" in words(loaded)[0]


def test_a_file_that_turned_bad_keeps_its_policies(tmp_path: Path) -> None:
    """Decisions 4.6; it is named, and the others are read anew."""
    write(tmp_path / "a.json", {"id": "a", "org_id": "o", "rate": 1, "per": 1})
    write(tmp_path / "b.json", {"id": "b", "org_id": "o", "rate": 1, "per": 1})
    first = load(tmp_path)
    write(tmp_path / "b.json", {"id": "b", "org_id": "o", "rate": 2, "per": 1})
    for bad in ("{", "", '{"rate": "5"}', '{"id": "a", "ID": "b"}', '{"rate": 1, "rate": 2}', "[]"):
        write(tmp_path / "a.json", bad)
        second = load(tmp_path, first)
        kept, fresh = second.table.find("o", "a"), second.table.find("o", "b")
        assert kept is not None and kept.rate == 1
        assert fresh is not None and fresh.rate == 2
        assert any(problem.file.endswith("a.json") and problem.severity == "error" for problem in second.problems)
        third = load(tmp_path, second)
        assert third.table.find("o", "a") == kept, "still there at the reload after that"
    (tmp_path / "a.json").unlink()
    assert load(tmp_path, first).table.find("o", "a") is None, "a file that is gone is gone"
    write(tmp_path / "new.json", "{")
    assert load(tmp_path, first).table.find("o", "new") is None


def test_one_bad_policy_keeps_a_record_file_as_it_was(tmp_path: Path) -> None:
    """With the place of the fault."""
    file = tmp_path / "policies.json"
    config = make_config(policy_record_name=str(file))
    write(file, {"p": {"org_id": "o", "rate": 1, "per": 1}})
    first = load_policies(config)
    write(file, {"q": {"org_id": "o"}, "p": {"quota_max": 1.5}})
    second = load_policies(config, first.by_file)
    assert [policy.id for policy in second.table] == ["p"]
    assert words(second)[0].startswith("error p.quota_max: must be a whole number")
    write(file, {"p": 7})
    assert words(load_policies(config, first.by_file))[0].startswith("error p: must be an object")


def test_a_directory_that_cannot_be_read_keeps_everything(tmp_path: Path) -> None:
    """At start there is nothing to keep."""
    folder = tmp_path / "policies"
    folder.mkdir()
    write(folder / "a.json", {"id": "a", "org_id": "o"})
    first = load(folder)
    (folder / "a.json").unlink()
    folder.rmdir()
    second = load(folder, first)
    assert second.table.find("o", "a") is not None
    assert "cannot be read" in words(second)[0]
    assert len(load(folder).table) == 0


def test_an_id_given_twice_is_named(tmp_path: Path) -> None:
    """The first by file name wins; the same id in another organisation is another policy."""
    write(tmp_path / "a.json", {"id": "p", "org_id": "o", "rate": 1, "per": 1})
    write(tmp_path / "b.json", {"id": "p", "org_id": "o", "rate": 2, "per": 1})
    write(tmp_path / "c.json", {"id": "p", "org_id": "two"})
    loaded = load(tmp_path)
    found = loaded.table.find("o", "p")
    assert found is not None and found.rate == 1
    assert len(loaded.table) == 2
    (line,) = words(loaded)
    assert "this id is taken by" in line and "a.json" in line


def test_what_is_hardly_meant() -> None:
    """Warnings of ``check``; a policy that lets nobody in is an error."""
    bad = Policy(id="p", org_id="o", partitions=Partitions(per_api=True, acl=True))
    assert [problem.severity for problem in find_policy_warnings(bad, "f")] == ["error"]
    loose = Policy(
        id="p",
        rate=5,
        partitions=Partitions(per_api=True),
        access_rights={
            "half": AccessRight(limit=Limit(quota_max=5)),
            "whole": AccessRight(limit=Limit(rate=1, per=1, quota_max=5)),
            "none": AccessRight(),
        },
    )
    assert [problem.path for problem in find_policy_warnings(loose, "f")] == ["org_id", "per", "access_rights.half.limit"]
    assert find_policy_warnings(Policy(id="p", org_id="o", rate=1, per=1), "f") == []
