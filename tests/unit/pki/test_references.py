"""References of certificates: inline text, files, ids."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.certs import make_authority, make_self_signed
from tlsgate.errors import PkiError
from tlsgate.pki import references
from tlsgate.pki.pem import PemBundle
from tlsgate.pki.references import NotInStore, ReferenceResolver, describe_reference

ROOT = make_authority("Root")
LEAF = ROOT.issue("leaf")


def test_inline_text() -> None:
    """mTLS reference section 1: recognised by BEGIN, blanks around it do not matter."""
    resolver = ReferenceResolver()
    for text in (LEAF.pem, f"  \n{LEAF.pem}\n ", LEAF.pem.replace("\n", "\r\n"), LEAF.pem.replace("\n", " ")):
        assert resolver.resolve(text).leaf == LEAF.der
    assert not resolver.files
    assert not resolver.broken_files


def test_file(tmp_path: Path) -> None:
    """Key and certificate in any order; read once, however often it is named."""
    path = tmp_path / "all.pem"
    path.write_text(LEAF.key_pem + LEAF.pem)
    resolver = ReferenceResolver()
    bundle = resolver.resolve(str(path))
    assert bundle.leaf == LEAF.der
    assert bundle.private_key is not None
    path.write_text("changed")
    assert resolver.resolve(str(path)) is bundle
    assert resolver.files == {str(path)}


def test_blanks_around_a_path(tmp_path: Path) -> None:
    """As around inline text."""
    path = tmp_path / "a.pem"
    path.write_text(LEAF.pem)
    assert ReferenceResolver().resolve(f" {path}\n").leaf == LEAF.der


def test_list_keeps_its_order_and_names_what_is_missing(tmp_path: Path) -> None:
    """Decisions 1.8: one entry for each reference, the others of the list work."""
    good = tmp_path / "good.pem"
    good.write_text(LEAF.pem)
    broken = tmp_path / "broken.pem"
    broken.write_text(LEAF.pem[:200])
    listed = [str(tmp_path / "none.pem"), str(good), LEAF.pem[:100], ROOT.pem, str(broken), "", "org1" + 64 * "a"]
    resolver = ReferenceResolver()
    bundles, problems = resolver.resolve_all(listed, file="tyk.conf", path="security.certificates.apis")
    assert [bundle and bundle.leaf for bundle in bundles] == [None, LEAF.der, None, ROOT.der, None, None, None]
    assert [problem.path for problem in problems] == [f"security.certificates.apis[{number}]" for number in (0, 2, 4, 5, 6)]
    assert problems[0].message == "no such file"
    assert "no END line" in problems[1].message
    assert "no END line" in problems[2].message
    assert problems[3].message == "empty reference"
    assert "id of the certificate store" in problems[4].message
    assert problems[1].value == "inline PEM"
    assert [problem.severity for problem in problems] == ["error"] * 4 + ["warning"]
    assert {problem.file for problem in problems} == {"tyk.conf"}
    assert set(resolver.broken_files) == {str(broken)}
    assert resolver.resolve_all(["x"], severity="warning").problems[0][:3] == ("", "", "x")


def test_failures_are_remembered_as_fresh_errors() -> None:
    """The same reference in many lists is read once; each error has a traceback of its own."""
    resolver = ReferenceResolver()
    caught = []
    for _ in range(2):
        with pytest.raises(PkiError) as error:
            resolver.resolve("/nowhere/at/all.pem")
        caught.append(error.value)
    assert caught[0] is not caught[1]
    assert str(caught[0]) == str(caught[1])


def test_existing_file_wins_over_the_form_of_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be named like a fingerprint."""
    monkeypatch.chdir(tmp_path)
    name = LEAF.fingerprint
    Path(name).write_text(LEAF.pem)
    assert ReferenceResolver().resolve(name).leaf == LEAF.der


@pytest.mark.parametrize("reference", ["/dev/zero", "/dev/null", "/", "{}/fifo", "{}", "{}/secret.pem/x", "a\x00b"])
def test_what_is_no_regular_file_is_refused(reference: str, tmp_path: Path) -> None:
    """A FIFO does not block the load, a device does not fill the memory."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "secret.pem").write_text(LEAF.pem)
    started = time.perf_counter()
    with pytest.raises(PkiError, match="file cannot be read"):
        ReferenceResolver().resolve(reference.format(tmp_path))
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_size_is_bounded(extra: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """n-1, n, n+1 bytes."""
    path = tmp_path / "a.pem"
    path.write_text(LEAF.pem)
    monkeypatch.setattr(references, "MAX_FILE_BYTES", path.stat().st_size - extra)
    resolver = ReferenceResolver()
    if extra > 0:
        with pytest.raises(PkiError, match="larger than"):
            resolver.resolve(str(path))
    else:
        assert resolver.resolve(str(path)).leaf == LEAF.der


def test_unreadable_file_is_broken_and_a_missing_one_is_not(tmp_path: Path) -> None:
    """A reload keeps the old generation for the first (decisions 1.8)."""
    path = tmp_path / "dir.pem"
    path.mkdir()
    resolver = ReferenceResolver()
    for reference in (str(path), str(tmp_path / "none.pem")):
        with pytest.raises(PkiError):
            resolver.resolve(reference)
    assert resolver.broken_files == {str(path): "not a regular file"}


def test_folders_confine_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mTLS reference section 1, BETTER: definitions cannot name any file of the host, by dots or by links."""
    inside = tmp_path / "certs"
    deep = inside / "deep"
    deep.mkdir(parents=True)
    outside = tmp_path / "outside.pem"
    beside = tmp_path / "certs-other"
    beside.mkdir()
    for path in (inside / "a.pem", deep / "b.pem", outside, beside / "c.pem"):
        path.write_text(LEAF.pem)
    (inside / "link-in.pem").symlink_to(deep / "b.pem")
    (inside / "link-out.pem").symlink_to(outside)
    (inside / "folder-out").symlink_to(beside)
    (tmp_path / "alias").symlink_to(inside)
    resolver = ReferenceResolver(folders=[str(tmp_path / "alias")])
    monkeypatch.chdir(inside)
    for good in (
        inside / "a.pem",
        deep / "b.pem",
        inside / "link-in.pem",
        tmp_path / "alias" / "a.pem",
        Path("a.pem"),
        deep / ".." / "a.pem",
    ):
        assert resolver.resolve(str(good)).leaf == LEAF.der
    for bad in (
        outside,
        beside / "c.pem",
        inside / "link-out.pem",
        inside / "folder-out" / "c.pem",
        inside / ".." / "outside.pem",
        inside / "..",
    ):
        with pytest.raises(PkiError, match="outside of the folders"):
            resolver.resolve(str(bad))
    with pytest.raises(PkiError, match="not a regular file"):
        resolver.resolve(f"{inside}/")
    assert resolver.resolve(LEAF.pem).leaf == LEAF.der
    assert not set(resolver.broken_files) & {str(outside)}


def test_descriptions_never_hold_content() -> None:
    """They go to logs and to ``check``."""
    assert describe_reference(LEAF.key_pem) == "inline PEM"
    assert describe_reference("/etc/x.pem") == "/etc/x.pem"
    assert describe_reference("a\nb") == "'a\\nb'"
    for length in (59, 60, 61):
        assert len(describe_reference("x" * length)) == min(length, 60)
    assert describe_reference(f"/etc/{'x' * 80}/client.pem").endswith("/client.pem")


def test_many_files_are_read_in_time(tmp_path: Path) -> None:
    """A tenth of 100,000 files; some 15 us each."""
    text = make_self_signed().pem
    names = [str(tmp_path / f"{number}.pem") for number in range(2000)]
    for name in names:
        Path(name).write_text(text)
    started = time.perf_counter()
    bundles, problems = ReferenceResolver(folders=[str(tmp_path)]).resolve_all(names)
    assert time.perf_counter() - started < 2
    assert not problems
    assert len(bundles) == 2000


class FakeShelf:
    """What a store holds, or that it is away."""

    def __init__(self, **known: object) -> None:
        self.known = known

    def find(self, id: str) -> PemBundle | None:
        found = self.known.get(id)
        if isinstance(found, Exception):
            raise type(found)(str(found))
        assert found is None or isinstance(found, PemBundle)
        return found


ID = "org" + LEAF.fingerprint


def test_ids_are_looked_up_before_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mTLS reference section 1: the store first, the disk when the store has nothing of the name."""
    monkeypatch.chdir(tmp_path)
    bundle = PemBundle(certificates=(LEAF.der,))
    resolver = ReferenceResolver(shelf=FakeShelf(**{ID: bundle}))
    assert resolver.resolve(ID) is bundle
    assert resolver.resolve(f" {ID}\n").leaf == LEAF.der
    with pytest.raises(NotInStore, match="no such certificate in the store"):
        ReferenceResolver(shelf=FakeShelf()).resolve(ID)
    (tmp_path / ID).write_text(ROOT.pem)
    assert ReferenceResolver(shelf=FakeShelf(**{ID: bundle})).resolve(ID).leaf == LEAF.der
    assert ReferenceResolver(shelf=FakeShelf()).resolve(ID).leaf == ROOT.der


def test_a_store_that_is_away_and_an_entry_that_is_broken() -> None:
    """The one is waited for, the other is an error of its own."""
    away = ReferenceResolver(shelf=FakeShelf(**{ID: NotInStore("waited for")}))
    with pytest.raises(NotInStore, match="waited for"):
        away.resolve(ID)
    broken = ReferenceResolver(shelf=FakeShelf(**{ID: PkiError("broken")}))
    with pytest.raises(PkiError, match="broken") as caught:
        broken.resolve(ID)
    assert not isinstance(caught.value, NotInStore)


def test_what_came_by_the_rest_api_learns_nothing_of_files(tmp_path: Path) -> None:
    """One text for a file outside, one that is missing, unreadable, broken, a folder, a link outwards: nobody learns what is there."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for folder in ("in", "out"):
        (tmp_path / folder / "good.pem").write_text(LEAF.pem)
        (tmp_path / folder / "bad.pem").write_text("no PEM")
    (tmp_path / "in" / "link.pem").symlink_to(tmp_path / "out" / "good.pem")
    resolver = ReferenceResolver(guest_folders=[str(tmp_path / "in")])
    assert resolver.resolve(str(tmp_path / "out" / "good.pem")).leaf == LEAF.der, "what is on disk may name any file"
    guests = resolver.for_guests()
    assert guests.resolve(str(tmp_path / "in" / "good.pem")).leaf == LEAF.der
    texts = set()
    for name in (
        "out/good.pem",
        "out/bad.pem",
        "out/none.pem",
        "in/none.pem",
        "in/bad.pem",
        "in/link.pem",
        "in",
        "out",
        "in/../out/good.pem",
        "",
    ):
        with pytest.raises(PkiError) as caught:
            guests.resolve(str(tmp_path / name) if name else "")
        texts.add(str(caught.value))
    for system in ("/etc/shadow", "/proc/self/environ", "/dev/zero", "a\0b", "/nowhere"):
        with pytest.raises(PkiError) as caught:
            guests.resolve(system)
        texts.add(str(caught.value))
    assert texts == {"neither an id of the certificate store nor a file that may be used"}


def test_without_folders_the_rest_api_may_name_files_and_learns_as_little(tmp_path: Path) -> None:
    """`tlsgate.certificates.folders` is not set: Tyk's way; `tlsgate.certificate_folders` holds for it as for all."""
    (tmp_path / "a.pem").write_text(LEAF.pem)
    assert ReferenceResolver().for_guests().resolve(str(tmp_path / "a.pem")).leaf == LEAF.der
    with pytest.raises(PkiError, match="neither an id"):
        ReferenceResolver().for_guests().resolve("/nowhere")
    (tmp_path / "all").mkdir()
    for guest_folders in ([], [str(tmp_path)]):
        limited = ReferenceResolver(folders=[str(tmp_path / "all")], guest_folders=guest_folders).for_guests()
        with pytest.raises(PkiError, match="neither an id"):
            limited.resolve(str(tmp_path / "a.pem"))


def test_files_are_taken_as_they_were_read(tmp_path: Path) -> None:
    """A change in the store reads no file again; what the store says is never taken from before."""
    path = tmp_path / "a.pem"
    path.write_text(LEAF.pem)
    first = ReferenceResolver(shelf=FakeShelf(**{ID: PemBundle(certificates=(LEAF.der,))}))
    for reference in (str(path), ID):
        first.resolve(reference)
        first.for_guests().resolve(reference)
    path.write_text("half")
    second = ReferenceResolver(shelf=FakeShelf(), reuse=first)
    for resolver in (second, second.for_guests()):
        assert resolver.resolve(str(path)).leaf == LEAF.der
        with pytest.raises(NotInStore):
            resolver.resolve(ID)
    assert second.files == {str(path)}
    second.close()
    third = ReferenceResolver(reuse=second)
    assert third.resolve(str(path)).leaf == LEAF.der
    with pytest.raises(PkiError):
        ReferenceResolver().resolve(str(path))
