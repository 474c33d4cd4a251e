"""Open files: the standard io stack over a raw file of the volume."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import io
import os
import sys
from typing import IO, Any, List, Optional, Sequence, Tuple, Union

from ._handle import Handle
from ._library import Flock, Library, Stat, Timespec, error, stat_result

Buffer = Any
"""What has the buffer protocol: bytes, bytearray, memoryview, array, …"""

__all__ = ["BufferedRandom", "BufferedReader", "BufferedWriter", "RawFile", "TextFile", "mode_flags", "wrap"]

BUFFER_SIZE = 131072
"""Bytes that a buffered file reads or writes at once."""

_CHUNK = 1 << 20  # bytes of one request of a large read or copy


def mode_flags(mode: str) -> Tuple[int, bool, bool, bool]:
    """Split a mode of open() into flags, text, reading, writing.

    >>> mode_flags("rb") == (os.O_RDONLY, False, True, False)
    True
    >>> mode_flags("rw")
    Traceback (most recent call last):
    ValueError: invalid mode: 'rw'
    """
    if not isinstance(mode, str):
        raise TypeError("open() argument 'mode' must be str, not " + type(mode).__name__)
    kinds = [c for c in mode if c in "rwax"]
    if len(kinds) != 1 or len(set(mode)) != len(mode) or set(mode) - set("rwaxbt+") or ("b" in mode and "t" in mode):
        raise ValueError("invalid mode: %r" % mode)
    kind, plus = kinds[0], "+" in mode
    flags = os.O_RDWR if plus else os.O_RDONLY if kind == "r" else os.O_WRONLY
    flags |= {"r": 0, "w": os.O_CREAT | os.O_TRUNC, "a": os.O_CREAT | os.O_APPEND, "x": os.O_CREAT | os.O_EXCL}[kind]
    return flags, "b" not in mode, kind == "r" or plus, kind != "r" or plus


def timespecs(times: Optional[Sequence[float]], ns: Optional[Sequence[int]], now_ns: int) -> Any:
    """The two timespecs that os.utime's arguments mean."""
    if times is not None and ns is not None:
        raise ValueError("utime: you may specify either 'times' or 'ns' but not both")
    if ns is not None:
        if not isinstance(ns, tuple) or len(ns) != 2:
            raise TypeError("utime: 'ns' must be a tuple of two ints")
        both = [int(n) for n in ns]
    elif times is not None:
        if not isinstance(times, tuple) or len(times) != 2:
            raise TypeError("utime: 'times' must be either a tuple of two ints or None")
        both = [int(t) * 10**9 if isinstance(t, int) else _ns(float(t)) for t in times]
    else:
        both = [now_ns, now_ns]
    pair = (Timespec * 2)()
    for i, n in enumerate(both):
        pair[i].tv_sec, pair[i].tv_nsec = divmod(n, 10**9)
    return pair


def _ns(t: float) -> int:
    whole = int(t // 1)
    return whole * 10**9 + min(int((t - whole) * 1e9), 10**9 - 1)


class Attributes:
    """What any open file can do besides reading and writing.

    On a buffered or text file these methods first write out what is buffered.
    """

    def _raw(self) -> "RawFile":
        raise NotImplementedError

    def fstat(self) -> os.stat_result:
        """Its attributes, as os.fstat gives them."""
        return self._raw()._fstat()

    def fsync(self) -> None:
        """Make contents and attributes durable on the bricks."""
        r = self._raw()
        r._zero(r._lib.fsync, None, None)

    def fdatasync(self) -> None:
        """Make the contents durable."""
        r = self._raw()
        r._zero(r._lib.fdatasync, None, None)

    def fchmod(self, mode: int) -> None:
        """Set the permission bits."""
        r = self._raw()
        r._zero(r._lib.fchmod, mode)

    def fchown(self, uid: int, gid: int) -> None:
        """Set owner and group; -1 leaves one as it is."""
        r = self._raw()
        if -1 in (uid, gid):
            now = self.fstat()
            uid, gid = now.st_uid if uid == -1 else uid, now.st_gid if gid == -1 else gid
        r._zero(r._lib.fchown, uid, gid)

    def futime(self, times: Optional[Sequence[float]] = None, *, ns: Optional[Sequence[int]] = None) -> None:
        """Set access and modification time, as os.utime does."""
        import time

        r = self._raw()
        r._zero(r._lib.futimens, timespecs(times, ns, time.time_ns()))

    def fallocate(self, offset: int, length: int, *, keep_size: bool = False) -> None:
        """Reserve space for a range. The file grows to its end unless keep_size."""
        r = self._raw()
        r._zero(r._lib.fallocate, int(keep_size), offset, length)

    def punch_hole(self, offset: int, length: int) -> None:
        """Turn a range into a hole that reads as zeros. The size stays."""
        r = self._raw()
        r._zero(r._lib.discard, offset, length)

    def zero_range(self, offset: int, length: int) -> None:
        """Write zeros over a range; the file grows if the range ends behind it."""
        r = self._raw()
        r._zero(r._lib.zerofill, offset, length)

    def pread(self, size: int, offset: int) -> bytes:
        """Read up to size bytes at an offset. Moves the position of the C library's
        file, so do not mix with read() on a raw file that other threads share."""
        r = self._raw()
        if size == 0:
            return b""
        buffer = bytearray(size)
        with r._handle as fd:
            n = r._lib.pread(fd, _address(buffer), size, offset, 0, None)
        if n < 0:
            raise error(r.name)
        return bytes(memoryview(buffer)[:n])

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Write data at an offset and return how many bytes were written."""
        r = self._raw()
        with memoryview(data) as m, m.cast("B") as b:
            if len(b) == 0:
                return 0
            with r._handle as fd:
                n: int = r._lib.pwrite(fd, _readable(b), len(b), offset, 0, None, None)
        if n < 0:
            raise error(r.name)
        return n

    def getxattr(self, attribute: str) -> bytes:
        """The value of an extended attribute."""
        r = self._raw()
        return sized(lambda buf, n: r._call(r._lib.fgetxattr, os.fsencode(attribute), buf, n), r.name)

    def setxattr(self, attribute: str, value: Buffer, flags: int = 0) -> None:
        """Set an extended attribute; flags are os.XATTR_CREATE and os.XATTR_REPLACE."""
        r = self._raw()
        b = bytes(value)
        r._zero(r._lib.fsetxattr, os.fsencode(attribute), b, len(b), flags)

    def listxattr(self) -> List[str]:
        """The names of all extended attributes."""
        r = self._raw()
        return names(sized(lambda buf, n: r._call(r._lib.flistxattr, buf, n), r.name))

    def removexattr(self, attribute: str) -> None:
        """Remove an extended attribute."""
        r = self._raw()
        r._zero(r._lib.fremovexattr, os.fsencode(attribute))

    def lockf(self, cmd: int, length: int = 0, start: int = 0, whence: int = 0) -> None:
        """Lock or unlock a range as fcntl.lockf does: LOCK_SH, LOCK_EX or LOCK_UN, with
        LOCK_NB not to wait (BlockingIOError if somebody has it).

        The lock is the mount's: two files of one Volume do not exclude each other,
        just as two descriptors of one process do not. set_lock_owner() changes that.
        """
        kinds = {fcntl.LOCK_SH: fcntl.F_RDLCK, fcntl.LOCK_EX: fcntl.F_WRLCK, fcntl.LOCK_UN: fcntl.F_UNLCK}
        kind = kinds.get(cmd & ~fcntl.LOCK_NB)
        if kind is None:
            raise ValueError("unrecognized lockf argument")
        r = self._raw()
        lock = Flock(kind, whence, start, length, 0)
        wait = cmd & fcntl.LOCK_NB == 0 and kind != fcntl.F_UNLCK
        with r._handle as fd:
            if r._lib.posix_lock(fd, fcntl.F_SETLKW if wait else fcntl.F_SETLK, ctypes.byref(lock)) != 0:
                raise error(r.name)

    def set_lock_owner(self, owner: bytes) -> None:
        """Let the locks of this file be owner's (1 to 255 bytes): two files with
        different owners exclude each other, though they are of one Volume.

        >>> with vol.open("f", "wb") as f, vol.open("f", "r+b") as g:
        ...     f.set_lock_owner(b"one")
        ...     g.set_lock_owner(b"two")
        ...     f.lockf(fcntl.LOCK_EX)
        ...     g.lockf(fcntl.LOCK_EX | fcntl.LOCK_NB)
        Traceback (most recent call last):
        BlockingIOError: [Errno 11] Resource temporarily unavailable: 'f'
        """
        r = self._raw()
        r._zero(r._lib.fd_set_lkowner, owner, len(owner))

    def getlk(self, exclusive: bool, length: int = 0, start: int = 0) -> Optional[Tuple[bool, int, int]]:
        """The lock of somebody else in the way of one on this range: whether it is
        exclusive, its start and its length (0: all that follows); None if none is."""
        r = self._raw()
        lock = Flock(fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK, 0, start, length, 0)
        with r._handle as fd:
            if r._lib.posix_lock(fd, fcntl.F_GETLK, ctypes.byref(lock)) != 0:
                raise error(r.name)
        if lock.l_type == fcntl.F_UNLCK:
            return None
        return lock.l_type == fcntl.F_WRLCK, lock.l_start, lock.l_len


class RawFile(Attributes, io.RawIOBase):
    """An open file without a buffer: each read and write is one call of the library.

    Made by Volume.open(..., buffering=0), or as ``raw`` below a buffered file. It has
    no file descriptor of the system, so fileno() raises io.UnsupportedOperation.
    """

    def __init__(self, lib: Library, owner: Any, fd: int, path: Any, flags: int) -> None:
        super().__init__()
        self._lib = lib
        self._owner = owner  # the volume's mount stays while files are open
        self._handle = Handle(fd)
        self._flags = flags
        self.name = path
        accmode = flags & os.O_ACCMODE
        self._reads = accmode in (os.O_RDONLY, os.O_RDWR)
        self._writes = accmode in (os.O_WRONLY, os.O_RDWR)

    @property
    def mode(self) -> str:
        """The mode as io.FileIO gives it: rb, wb, ab, rb+, ab+."""
        if self._flags & os.O_APPEND:
            return "ab+" if self._reads else "ab"
        return "rb+" if self._reads and self._writes else "rb" if self._reads else "wb"

    def _raw(self) -> "RawFile":
        return self

    def _call(self, f: Any, *arguments: Any) -> int:
        with self._handle as fd:
            result: int = f(fd, *arguments)
        return result

    def _zero(self, f: Any, *arguments: Any) -> None:
        self._check()
        with self._handle as fd:
            if f(fd, *arguments) != 0:
                raise error(self.name)

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")

    def _fstat(self) -> os.stat_result:
        s = Stat()
        self._zero(self._lib.fstat, ctypes.byref(s))
        return stat_result(s)

    def readable(self) -> bool:
        self._check()
        return self._reads

    def writable(self) -> bool:
        self._check()
        return self._writes

    def seekable(self) -> bool:
        self._check()
        return True

    def fileno(self) -> int:
        self._check()
        raise io.UnsupportedOperation("a file of a volume has no descriptor of the system")

    def readinto(self, buffer: Any) -> int:
        """Read into any writable buffer; 0 at the end of the file."""
        if not self.readable():
            raise io.UnsupportedOperation("not readable")
        with memoryview(buffer) as m, m.cast("B") as b:
            if len(b) == 0:
                return 0
            with self._handle as fd:
                n: int = self._lib.read(fd, _address(b), len(b), 0)
        if n < 0:
            raise error(self.name)
        return n

    def readall(self) -> bytes:
        """Everything up to the end of the file."""
        left = self._fstat().st_size - self.tell() if self.readable() else 0
        whole = bytearray(max(left, 0) + 1)  # one more shows the end without another call
        have = 0
        while True:
            if have == len(whole):
                whole.extend(bytes(_CHUNK))
            with memoryview(whole) as m, m[have:] as rest:
                n = self.readinto(rest)
            if n == 0:
                return bytes(memoryview(whole)[:have])
            have += n

    def write(self, data: Any) -> int:
        """Write a buffer; fewer bytes than it has may be written."""
        if not self.writable():
            raise io.UnsupportedOperation("not writable")
        with memoryview(data) as m, m.cast("B") as b:
            if len(b) == 0:
                return 0
            with self._handle as fd:
                n: int = self._lib.write(fd, _readable(b), len(b), 0)
        if n < 0:
            raise error(self.name)
        return n

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position. os.SEEK_DATA and os.SEEK_HOLE find the next data or hole."""
        self._check()
        if whence == os.SEEK_SET and offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self.name)
        with self._handle as fd:
            before = self._lib.lseek(fd, 0, os.SEEK_CUR) if whence in (os.SEEK_CUR, os.SEEK_END) else 0
            at: int = self._lib.lseek(fd, offset, whence)
            if at < 0:
                e = ctypes.get_errno() or errno.EINVAL
                if whence in (os.SEEK_CUR, os.SEEK_END):
                    self._lib.lseek(fd, before, os.SEEK_SET)
                raise error(self.name, code=e)
        return at

    def tell(self) -> int:
        return self.seek(0, os.SEEK_CUR)

    def truncate(self, size: Optional[int] = None) -> int:
        """Set the size, by default to the position, which stays."""
        if not self.writable():
            raise io.UnsupportedOperation("File not open for writing")
        if size is None:
            size = self.tell()
        if size < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self.name)
        self._zero(self._lib.ftruncate, size, None, None)
        return size

    def close(self) -> None:
        """Close it. Errors of writes that were put off are raised here at the latest."""
        if self.closed:
            return
        try:
            super().close()
        finally:
            fd = self._handle.take()
            self._owner._files.discard(self)
            if fd is not None and self._lib.close(fd) != 0:
                raise error(self.name)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "mode=%r" % self.mode
        return "<wythe.RawFile name=%r %s>" % (self.name, state)


class BufferedReader(Attributes, io.BufferedReader):  # type: ignore[misc]
    """A file opened with "rb"."""

    def _raw(self) -> RawFile:
        return self.raw  # type: ignore[return-value]


class _Flushed(Attributes):
    def _raw(self) -> RawFile:
        self.flush()  # type: ignore[attr-defined]
        return self.raw  # type: ignore[attr-defined, no-any-return]


class BufferedWriter(_Flushed, io.BufferedWriter):  # type: ignore[misc]
    """A file opened with "wb", "ab" or "xb"."""


class BufferedRandom(_Flushed, io.BufferedRandom):  # type: ignore[misc]
    """A file opened for reading and writing, "rb+" and the like."""


class TextFile(Attributes, io.TextIOWrapper):  # type: ignore[misc]
    """A file opened in text mode."""

    def _raw(self) -> RawFile:
        self.flush()
        return self.buffer._raw()  # type: ignore[attr-defined, no-any-return]


File = Union[RawFile, BufferedReader, BufferedWriter, BufferedRandom, TextFile]


def wrap(
    raw: RawFile,
    mode: str,
    buffering: int = -1,
    encoding: Optional[str] = None,
    errors: Optional[str] = None,
    newline: Optional[str] = None,
) -> Any:
    """Put the io stack that io.open would build on a raw file."""
    _, text, reading, writing = mode_flags(mode)
    line = buffering == 1 and text
    try:
        if buffering == 0:
            if text:
                raise ValueError("can't have unbuffered text I/O")
            return raw
        size = BUFFER_SIZE if buffering < 0 or line or buffering == 1 else buffering
        buffered: IO[bytes]
        if reading and writing:
            buffered = BufferedRandom(raw, size)
        elif writing:
            buffered = BufferedWriter(raw, size)
        else:
            buffered = BufferedReader(raw, size)
        if not text:
            return buffered
        if encoding is None and sys.version_info >= (3, 10):
            encoding = getattr(io, "text_encoding")(encoding, 3)
        wrapped = TextFile(buffered, encoding, errors, newline, line)
        setattr(wrapped, "mode", mode)  # as open() leaves it
        return wrapped
    except BaseException:
        raw.close()
        raise


def sized(call: Any, path: Any) -> bytes:
    """The answer of a function that fills a buffer and says how long it must be."""
    size = 256
    while True:
        buffer = ctypes.create_string_buffer(size)
        n = call(buffer, size)
        if n < 0 and ctypes.get_errno() == errno.ERANGE:
            n = call(None, 0)
            if n < 0:
                raise error(path)
            size = n + 256  # it may grow meanwhile
            continue
        if n < 0:
            raise error(path)
        return ctypes.string_at(buffer, n)


def names(listing: bytes) -> List[str]:
    """Split a listing of extended attributes."""
    return [os.fsdecode(n) for n in listing.split(b"\0") if n]


def _address(buffer: Any) -> Any:
    """The address of a writable buffer."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def _readable(b: memoryview) -> Any:
    """What ctypes passes as the address of a buffer that is only read."""
    if b.readonly:
        return b.tobytes() if not isinstance(b.obj, bytes) or len(b.obj) != len(b) else b.obj
    return _address(b)

