"""Reading directories: os.scandir on a volume."""

from __future__ import annotations

import ctypes
import os
import stat as _stat
from types import TracebackType
from typing import TYPE_CHECKING, Any, Iterator, List, Optional, Type

from ._handle import Handle
from ._library import STAT_SIZE, Dirent, Stat, error, stat_result

if TYPE_CHECKING:
    from ._volume import Volume

__all__ = ["DirEntry", "ScandirIterator"]

_BATCH = 256  # entries that are taken from the library at once
_DOTS = (b".", b"..")


def _same(name: bytes) -> bytes:
    return name


class DirEntry:
    """An entry of a directory, with the interface of os.DirEntry.

    Type, inode number and attributes came with the listing and are those of that
    moment; what the listing lacked is looked up once.
    """

    __slots__ = ("name", "_directory", "_volume", "_ino", "_type", "_raw", "_lstat", "_followed")

    def __init__(self, volume: "Volume", directory: Any, name: Any, ino: int, kind: int, raw: Optional[bytes]):
        self.name = name
        self._directory = directory
        self._volume = volume
        self._ino = ino
        self._type = kind
        self._raw = raw  # a struct stat
        self._lstat: Optional[os.stat_result] = None
        self._followed: Optional[os.stat_result] = None

    @property
    def path(self) -> Any:
        """The directory's path, as scandir got it, and the name."""
        return os.path.join(self._directory, self.name)

    def inode(self) -> int:
        """The inode number."""
        return self._ino

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """The attributes, of what a symbolic link points to unless follow_symlinks=False."""
        if self._lstat is None:
            self._lstat = stat_result(self._raw) if self._raw else self._volume.lstat(self.path)
        if not follow_symlinks or not _stat.S_ISLNK(self._lstat.st_mode):
            return self._lstat
        if self._followed is None:
            self._followed = self._volume.stat(self.path)
        return self._followed

    def _format(self, follow: bool) -> int:
        if self._type and not (follow and self._type == _stat.S_IFLNK >> 12):
            return self._type << 12
        try:
            return _stat.S_IFMT(self.stat(follow_symlinks=follow).st_mode)
        except FileNotFoundError:
            return 0

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a directory, or a symbolic link to one."""
        return self._format(follow_symlinks) == _stat.S_IFDIR

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a regular file, or a symbolic link to one."""
        return self._format(follow_symlinks) == _stat.S_IFREG

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self._format(False) == _stat.S_IFLNK

    def is_junction(self) -> bool:
        """False: volumes have none."""
        return False

    def __fspath__(self) -> Any:
        return self.path

    def __repr__(self) -> str:
        return "<DirEntry %r>" % (self.name,)


class ScandirIterator(Iterator[DirEntry]):
    """What Volume.scandir returns."""

    def __init__(self, volume: "Volume", owner: Any, fd: int, path: Any, attributes: bool) -> None:
        self._volume = volume
        self._owner = owner
        self._lib = owner.lib
        self._handle = Handle(fd)
        self._directory = path
        self._attributes = attributes
        self._ready: List[DirEntry] = []
        self._end = False

    def __next__(self) -> DirEntry:
        if not self._ready and not self._end:
            self._fill()
        if self._ready:
            return self._ready.pop()
        self.close()
        raise StopIteration

    def _fill(self) -> None:
        """Take the next entries from the library."""
        s, d, there = Stat(), Dirent(), ctypes.POINTER(Dirent)()
        statp, direntp, therep = ctypes.byref(s), ctypes.byref(d), ctypes.byref(there)
        address = ctypes.addressof(s)
        directory, volume, attributes = os.fspath(self._directory), self._volume, self._attributes
        decode = _same if isinstance(directory, bytes) else os.fsdecode
        batch: List[DirEntry] = []
        with self._handle as fd:
            while len(batch) < _BATCH:
                if attributes:
                    failed = self._lib.readdirplus_r(fd, statp, direntp, therep)
                else:
                    failed = self._lib.readdir_r(fd, direntp, therep)
                if failed:
                    raise error(self._directory)
                if not there:
                    self._end = True
                    break
                name = d.d_name
                if name in _DOTS:
                    continue
                raw, kind = None, d.d_type
                if attributes and s.st_mode:
                    raw, kind = ctypes.string_at(address, STAT_SIZE), s.st_mode >> 12
                batch.append(DirEntry(volume, directory, decode(name), d.d_ino, kind, raw))
        batch.reverse()
        self._ready = batch

    def names(self) -> List[Any]:
        """The names of all entries that follow."""
        d, there = Dirent(), ctypes.POINTER(Dirent)()
        direntp, therep = ctypes.byref(d), ctypes.byref(there)
        readdir = self._lib.readdir_r
        names: List[bytes] = []
        with self._handle as fd:
            while True:
                if readdir(fd, direntp, therep):
                    raise error(self._directory)
                if not there:
                    break
                names.append(d.d_name)
        self._end = True
        kept = [n for n in names if n not in _DOTS]
        if isinstance(os.fspath(self._directory), bytes):
            return kept
        return list(map(os.fsdecode, kept))

    def close(self) -> None:
        """Close the directory; what follows in it is not read."""
        self._end = True
        self._ready = []
        fd = self._handle.take()
        self._owner._files.discard(self)
        if fd is not None:
            self._lib.closedir(fd)

    def __enter__(self) -> "ScandirIterator":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self.close()
