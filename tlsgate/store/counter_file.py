"""Counters in a file that all processes of a machine have mapped: exact over all of them, and counted in a few microseconds.

The file has levels; each is an array of buckets of 64 slots, eight times as large as the level before it. A counter lives in the bucket
that its digest names, in whichever level had room when it was made; nothing ever moves. Every process that touches a counter holds the lock
of its stripe (a byte of the file, an open file description lock: the kernel lets go of it when a process dies). Slots are written so that a
process may be killed between any two steps: numbers first, then the digest that makes them count.

What is counted survives the process, not the machine: pages are written to the disk when the kernel pleases.
Knows slots and locks; must not know SQL, the reactor, or what is counted. Design note 0009.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tlsgate.errors import StoreUnavailable

__all__ = ["MAX_NAME_BYTES", "CounterFile", "HotCounter", "Stored"]

_MAGIC = b"tlsgate counters"
_VERSION = 1
_HEADER = struct.Struct("<16sII")
_HEADER_BYTES = 4096
_SLOTS = 64
_STRIPES = 64
_DIGEST_BYTES = 16
_NUMBERS = struct.Struct("@qd")
"""Native, so that each number is one store: in a fixed order Python writes a float byte by byte, and a kill may come in between."""
_NAME_BYTES = 224
_NUMBERS_AT = _SLOTS * _DIGEST_BYTES
_NAMES_AT = _NUMBERS_AT + _SLOTS * _NUMBERS.size
_BUCKET_BYTES = _NAMES_AT + _SLOTS * _NAME_BYTES
_GROWTH = 8
_MAX_LEVELS = 5
_EMPTY = bytes(_DIGEST_BYTES)
_CUT_SHORT = "the file of counters was cut short; move it away while no gateway runs: then all that was counted starts anew"
MAX_NAME_BYTES = _NAME_BYTES - 2
"""Longer names have no place here."""


def _lock_bytes(kind: int, start: int) -> bytes:
    """Return ``struct flock``; the process id of an open file description lock is 0."""
    return struct.pack("hhqqi0q", kind, os.SEEK_SET, start, 1, 0)


_GROW_BYTE = _STRIPES
_PRESENT_BYTE = _STRIPES + 1
_LOCK = tuple(_lock_bytes(fcntl.F_WRLCK, byte) for byte in range(_STRIPES + 2))
_UNLOCK = tuple(_lock_bytes(fcntl.F_UNLCK, stripe) for stripe in range(_STRIPES + 1))
_PRESENT = _lock_bytes(fcntl.F_RDLCK, _PRESENT_BYTE)


class Stored(NamedTuple):
    """A counter as it is kept."""

    name: str
    value: int
    expires_at: float
    """Epoch seconds; 0 is never."""


class _Level(NamedTuple):
    buckets: int
    pages: mmap.mmap


class CounterFile:
    """The file, mapped by this process; for one thread.

    :param path: made when it is missing, readable by its owner only.
    :param at_turn_end: calls a function when the reactor's turn ends. With it a process that is alone with the file keeps a counter's lock
        until then, instead of taking it for each request; None keeps none.
    """

    def __init__(self, path: str, at_turn_end: Callable[[Callable[[], None]], None] | None = None) -> None:
        self._path = path
        self._at_turn_end = at_turn_end
        self._keeps = False
        self._kept: set[int] = set()
        """Stripes whose locks are ours up to the end of the turn."""
        self._fd = -1
        self._levels: list[_Level] = []
        self._header: mmap.mmap | None = None

    def open(self) -> None:
        """Map the file, making it first if need be.

        Opened by each process itself: what a fork inherits shares its locks.

        :raises StoreUnavailable: it is something else, or not all of it is there.
        :raises OSError: it cannot be opened, or there is no room for it.
        """
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._fd = fd
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, _LOCK[_GROW_BYTE])
            try:
                # Nothing but zeros: whoever made it was killed before it wrote the header.
                if os.pread(fd, _HEADER_BYTES, 0).count(0) == os.fstat(fd).st_size <= _HEADER_BYTES:
                    os.posix_fallocate(fd, 0, _HEADER_BYTES)
                    os.pwrite(fd, _HEADER.pack(_MAGIC, _VERSION, 0), 0)
                if os.fstat(fd).st_size < _HEADER_BYTES:
                    raise StoreUnavailable(_CUT_SHORT)
                self._header = mmap.mmap(fd, _HEADER_BYTES)
                magic, version, count = _HEADER.unpack_from(self._header)
                if magic != _MAGIC or version != _VERSION:
                    raise StoreUnavailable("not a file of counters of this version; move it away while no gateway runs")
                if count == 0:
                    self._add_level()
            finally:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _UNLOCK[_GROW_BYTE])
            self._map_new_levels()
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _PRESENT)
        except BaseException:
            self.close()
            raise
        self.look_around()

    def look_around(self) -> None:
        """See whether other processes have the file open too, which decides about speed only: to be called now and then."""
        if self._at_turn_end is None:
            return
        try:
            answer: bytes = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, _LOCK[_PRESENT_BYTE])
        except OSError:
            self._keeps = False
        else:
            self._keeps = struct.unpack_from("h", answer)[0] == fcntl.F_UNLCK

    def keep(self, stripe: int) -> bool:
        """Keep a lock that was just taken up to the end of the turn, if nobody else has the file; tells whether it is kept."""
        if not self._keeps:
            return False
        if not self._kept:
            assert self._at_turn_end is not None
            self._at_turn_end(self.let_go)
        self._kept.add(stripe)
        return True

    def let_go(self) -> None:
        """Give back the locks that were kept."""
        kept = tuple(self._kept)
        self._kept.clear()
        if self._fd >= 0:
            for stripe in kept:
                fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _UNLOCK[stripe])

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        self._kept.clear()
        for level in self._levels:
            level.pages.close()
        self._levels.clear()
        if self._header is not None:
            self._header.close()
            self._header = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def is_current(self) -> bool:
        """Tell whether the path still names the file that is mapped, and all of it is there.

        Others open what the name names; a page behind the end of a file kills whoever touches it (SIGBUS).
        """
        try:
            named = os.stat(self._path)
        except OSError:
            return False
        own = os.fstat(self._fd)
        return (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino) and own.st_size >= _level_place(len(self._levels))[0]

    def counter(self, name: str) -> HotCounter | None:
        """Return a counter by name, whether it exists yet or not; None for a name that is too long."""
        encoded = name.encode()
        return HotCounter(self, encoded) if len(encoded) <= MAX_NAME_BYTES else None

    def find(self, name: str, now: float) -> Stored | None:
        """Return a counter as it stands; takes no lock: numbers are whole, and a moment old at most."""
        counter = self.counter(name)
        place = counter.find_place() if counter is not None else None
        if counter is None or place is None:
            return None
        value, expires_at = _NUMBERS.unpack_from(*place)
        return Stored(name, value, expires_at) if not expires_at or expires_at > now else None

    def take(self, name: str, now: float) -> Stored | None:
        """Remove a counter and return what it was; None when there is none.

        :raises BlockingIOError: another process is at it.
        """
        counter = self.counter(name)
        if counter is None or counter.find_place() is None:
            return None
        with _Held(self, counter.stripe):
            place = counter.find_place()
            if place is None:
                return None
            value, expires_at = _NUMBERS.unpack_from(*place)
            counter.clear()
        return Stored(name, value, expires_at) if not expires_at or expires_at > now else None

    def put(self, stored: Stored, now: float) -> bool | None:
        """Make a counter.

        :returns: None when it was there already, and stays as it is; False when the file is full.
        :raises BlockingIOError: another process is at it.
        """
        counter = self.counter(stored.name)
        if counter is None:
            return False
        with _Held(self, counter.stripe):
            if counter.find_place() is not None:
                return None
            while True:
                self._map_new_levels()
                for level in reversed(self._levels):
                    start = counter.number % level.buckets * _BUCKET_BYTES
                    slot = _find_room(level.pages, start, now)
                    if slot is not None:
                        _fill(level.pages, start, slot, counter.digest, counter.encoded, stored.value, stored.expires_at)
                        return True
                if not self._grow():
                    return False

    def names(self, prefix: str, now: float) -> Iterator[list[str]]:
        """Yield the names with a prefix bucket by bucket, some lists empty: the caller decides when to pause."""
        self._map_new_levels()
        wanted = prefix.encode()
        for level in tuple(self._levels):
            pages = level.pages
            for start in range(0, level.buckets * _BUCKET_BYTES, _BUCKET_BYTES):
                if pages[start : start + _NUMBERS_AT].count(0) == _NUMBERS_AT:
                    continue
                yield [name.decode() for name, _, _ in _read_bucket(pages, start, now) if name.startswith(wanted)]

    def _map_new_levels(self) -> None:
        """Map levels that another process has added.

        :raises StoreUnavailable: the file does not hold what its header says.
        """
        assert self._header is not None
        count = _HEADER.unpack_from(self._header)[2]
        if count > len(self._levels) and (count > _MAX_LEVELS or os.fstat(self._fd).st_size < _level_place(count)[0]):
            raise StoreUnavailable(_CUT_SHORT)
        while len(self._levels) < count:
            number = len(self._levels)
            offset, buckets = _level_place(number)
            self._levels.append(_Level(buckets, mmap.mmap(self._fd, buckets * _BUCKET_BYTES, offset=offset)))

    def _grow(self) -> bool:
        """Add a level, unless somebody has just done so; False when there is no room."""
        with _Held(self, _GROW_BYTE):
            assert self._header is not None
            if _HEADER.unpack_from(self._header)[2] > len(self._levels):
                return True
            try:
                return self._add_level()
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    return False
                raise

    def _add_level(self) -> bool:
        assert self._header is not None
        count = _HEADER.unpack_from(self._header)[2]
        if count >= _MAX_LEVELS:
            return False
        offset, buckets = _level_place(count)
        # Room on the disk now: a page that cannot be had later would kill the process.
        os.posix_fallocate(self._fd, offset, buckets * _BUCKET_BYTES)
        _HEADER.pack_into(self._header, 0, _MAGIC, _VERSION, count + 1)
        return True


class HotCounter:
    """One counter; remembers where it was last."""

    __slots__ = ("_at", "_digest_at", "_file", "_pages", "digest", "encoded", "number", "stripe")

    def __init__(self, file: CounterFile, encoded: bytes) -> None:
        self._file = file
        self.encoded = encoded
        self.digest = hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).digest()
        self.number = int.from_bytes(self.digest[:8], "little")
        self.stripe = self.number % _STRIPES
        self._pages: mmap.mmap | None = None
        self._digest_at = 0
        self._at = 0

    def count(self, window_s: float, limit: int, now: float, cost: int = 1) -> tuple[bool, int, float] | None:
        """Count as ``CounterStore.count_window`` does, if the counter exists and nobody else is at it; else None: ask the store.

        Costs about 3 us, most of it for the lock; 1 us where the lock is kept from an earlier request of the turn.

        :param now: epoch seconds.
        """
        file = self._file
        fd = file._fd
        stripe = self.stripe
        kept = stripe in file._kept
        if not kept:
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _LOCK[stripe])
            except (OSError, ValueError):  # busy, or closed
                return None
            kept = file.keep(stripe)
        try:
            pages, digest_at = self._pages, self._digest_at
            if pages is None or pages[digest_at : digest_at + _DIGEST_BYTES] != self.digest:
                if self.find_place() is None:
                    return None
                pages = self._pages
                assert pages is not None
            at = self._at
            value, expires_at = _NUMBERS.unpack_from(pages, at)
            if (expires_at and expires_at <= now) or (not expires_at and window_s > 0):
                value, expires_at = 0, now + window_s if window_s > 0 else 0.0
            if value + cost > limit:
                return False, value, expires_at
            value += cost
            _NUMBERS.pack_into(pages, at, value, expires_at)
            return True, value, expires_at
        finally:
            if not kept:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _UNLOCK[stripe])

    def find_place(self) -> tuple[mmap.mmap, int] | None:
        """Return pages and offset of the counter's numbers, None when it is nowhere."""
        file = self._file
        if file._header is None:
            return None
        file._map_new_levels()
        digest = self.digest
        for level in file._levels:
            start = self.number % level.buckets * _BUCKET_BYTES
            slot = _find_slot(level.pages, start, digest)
            if slot is not None:
                self._pages = level.pages
                self._digest_at = start + slot * _DIGEST_BYTES
                self._at = start + _NUMBERS_AT + slot * _NUMBERS.size
                return level.pages, self._at
        return None

    def clear(self) -> None:
        """Empty the slot that :meth:`find_place` has found; the caller holds the lock."""
        assert self._pages is not None
        self._pages[self._digest_at : self._digest_at + _DIGEST_BYTES] = _EMPTY


class _Held:
    """Holds a lock of the file; never waits."""

    __slots__ = ("_fd", "_file", "_stripe")

    def __init__(self, file: CounterFile, stripe: int) -> None:
        self._file = file
        self._fd = file._fd
        self._stripe = stripe

    def __enter__(self) -> None:
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _LOCK[self._stripe])
        except OSError as error:
            raise BlockingIOError(error.errno, "the counter is busy") from error

    def __exit__(self, *exception: object) -> None:
        if self._stripe not in self._file._kept:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _UNLOCK[self._stripe])


def _level_place(number: int) -> tuple[int, int]:
    """Return where a level begins in the file, and its number of buckets."""
    offset, buckets = _HEADER_BYTES, _STRIPES
    for _ in range(number):
        offset += buckets * _BUCKET_BYTES
        buckets *= _GROWTH
    return offset, buckets


def _find_slot(pages: mmap.mmap, start: int, digest: bytes) -> int | None:
    at = pages.find(digest, start, start + _NUMBERS_AT)
    while at >= 0:
        slot, odd = divmod(at - start, _DIGEST_BYTES)
        if not odd:
            return slot
        at = pages.find(digest, at + 1, start + _NUMBERS_AT)
    return None


def _find_room(pages: mmap.mmap, start: int, now: float) -> int | None:
    """Return an empty slot, else one whose counter has ended."""
    slot = _find_slot(pages, start, _EMPTY)
    if slot is not None:
        return slot
    for slot in range(_SLOTS):
        expires_at = _NUMBERS.unpack_from(pages, start + _NUMBERS_AT + slot * _NUMBERS.size)[1]
        if expires_at and expires_at <= now:
            return slot
    return None


def _fill(pages: mmap.mmap, start: int, slot: int, digest: bytes, name: bytes, value: int, expires_at: float) -> None:
    """Write a slot; the digest goes last, and an old one first."""
    digest_at = start + slot * _DIGEST_BYTES
    pages[digest_at : digest_at + _DIGEST_BYTES] = _EMPTY
    name_at = start + _NAMES_AT + slot * _NAME_BYTES
    pages[name_at : name_at + 2 + len(name)] = len(name).to_bytes(2, "little") + name
    _NUMBERS.pack_into(pages, start + _NUMBERS_AT + slot * _NUMBERS.size, value, expires_at)
    pages[digest_at : digest_at + _DIGEST_BYTES] = digest


def _read_bucket(pages: mmap.mmap, start: int, now: float) -> Iterator[tuple[bytes, int, float]]:
    for slot in range(_SLOTS):
        digest_at = start + slot * _DIGEST_BYTES
        digest = pages[digest_at : digest_at + _DIGEST_BYTES]
        if digest == _EMPTY:
            continue
        name_at = start + _NAMES_AT + slot * _NAME_BYTES
        length = int.from_bytes(pages[name_at : name_at + 2], "little")
        name = pages[name_at + 2 : name_at + 2 + min(length, MAX_NAME_BYTES)]
        value, expires_at = _NUMBERS.unpack_from(pages, start + _NUMBERS_AT + slot * _NUMBERS.size)
        # What was torn by the machine's end has another digest and is nobody's.
        if (not expires_at or expires_at > now) and hashlib.blake2b(name, digest_size=_DIGEST_BYTES).digest() == digest:
            yield name, value, expires_at
