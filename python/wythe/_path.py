"""Paths as objects, in the manner of pathlib."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Iterator, List, Optional

if TYPE_CHECKING:
    from ._volume import Volume

__all__ = ["Path"]


class Path:
    """A path on a volume, with the methods of pathlib.Path.

    >>> p = Path(vol, "books") / "one.txt"
    >>> p.parent.mkdir()
    >>> _ = p.write_text("once upon a time")
    >>> p.name, p.suffix, p.read_text(), [str(q) for q in p.parent.iterdir()]
    ('one.txt', '.txt', 'once upon a time', ['books/one.txt'])
    """

    __slots__ = ("volume", "_pure")

    def __init__(self, volume: "Volume", *parts: Any) -> None:
        self.volume = volume
        self._pure = PurePosixPath(*[os.fspath(p) for p in parts])

    def _with(self, *parts: Any) -> "Path":
        return Path(self.volume, *parts)

    def __fspath__(self) -> str:
        return str(self._pure)

    __str__ = __fspath__

    def __repr__(self) -> str:
        return "<wythe.Path %s on %s>" % (self._pure, self.volume.name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Path):
            return NotImplemented
        return self.volume is other.volume and self._pure == other._pure

    def __lt__(self, other: "Path") -> bool:
        return self._pure < other._pure

    def __hash__(self) -> int:
        return hash((id(self.volume), self._pure))

    def __truediv__(self, other: Any) -> "Path":
        return self._with(self._pure, other)

    def joinpath(self, *others: Any) -> "Path":
        """This path, and others below it."""
        return self._with(self._pure, *others)

    @property
    def name(self) -> str:
        """The last component."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The last component without its suffix."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """The ending of the last component, with its dot."""
        return self._pure.suffix

    @property
    def parts(self) -> Any:
        """All components."""
        return self._pure.parts

    @property
    def parent(self) -> "Path":
        """The path without its last component."""
        return self._with(self._pure.parent)

    @property
    def parents(self) -> List["Path"]:
        """The parent, its parent, and so on."""
        return [self._with(p) for p in self._pure.parents]

    def with_name(self, name: str) -> "Path":
        """The path with another last component."""
        return self._with(self._pure.with_name(name))

    def with_suffix(self, suffix: str) -> "Path":
        """The path with another ending."""
        return self._with(self._pure.with_suffix(suffix))

    def relative_to(self, other: Any) -> "Path":
        """The path as seen from a directory above."""
        return self._with(self._pure.relative_to(os.fspath(other)))

    def match(self, pattern: str) -> bool:
        """Whether it matches a pattern, from the right."""
        return self._pure.match(pattern)

    def is_absolute(self) -> bool:
        """Whether it begins at the root of the volume."""
        return self._pure.is_absolute()

    def open(self, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
        """Volume.open."""
        return self.volume.open(self, mode, *arguments, **keywords)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Volume.stat."""
        return self.volume.stat(self, follow_symlinks=follow_symlinks)

    def lstat(self) -> os.stat_result:
        """Volume.lstat."""
        return self.volume.lstat(self)

    def exists(self) -> bool:
        """Volume.exists."""
        return self.volume.exists(self)

    def is_dir(self) -> bool:
        """Volume.isdir."""
        return self.volume.isdir(self)

    def is_file(self) -> bool:
        """Volume.isfile."""
        return self.volume.isfile(self)

    def is_symlink(self) -> bool:
        """Volume.islink."""
        return self.volume.islink(self)

    def samefile(self, other: Any) -> bool:
        """Volume.samefile."""
        return self.volume.samefile(self, other)

    def iterdir(self) -> Iterator["Path"]:
        """What is in the directory."""
        for name in self.volume.listdir(self):
            yield self / name

    def glob(self, pattern: str) -> Iterator["Path"]:
        """What below matches a pattern."""
        for p in self.volume.glob(str(self._pure / pattern)):
            yield self._with(p)

    def rglob(self, pattern: str) -> Iterator["Path"]:
        """What matches a pattern at any depth below."""
        return self.glob("**/" + pattern)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make the directory."""
        if parents:
            return self.volume.makedirs(self, mode, exist_ok)
        try:
            self.volume.mkdir(self, mode)
        except FileExistsError:
            if not exist_ok or not self.is_dir():
                raise

    def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        """Make the file if it is missing; else its times are now."""
        try:
            self.volume.open(self, "xb", 0, permissions=mode).close()
        except FileExistsError:
            if not exist_ok:
                raise
            self.volume.utime(self)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        try:
            self.volume.unlink(self)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        """Remove the empty directory."""
        self.volume.rmdir(self)

    def rename(self, target: Any) -> "Path":
        """Volume.rename; returns the new path."""
        self.volume.rename(self, target)
        return self._with(os.fspath(target))

    replace = rename

    def chmod(self, mode: int) -> None:
        """Volume.chmod."""
        self.volume.chmod(self, mode)

    def symlink_to(self, target: Any) -> None:
        """Make this path a symbolic link to target."""
        self.volume.symlink(target, self)

    def hardlink_to(self, target: Any) -> None:
        """Make this path one more name of target."""
        self.volume.link(target, self)

    def readlink(self) -> "Path":
        """What the symbolic link says."""
        return self._with(self.volume.readlink(str(self)))

    def resolve(self, strict: bool = False) -> "Path":
        """The path without symbolic links."""
        if strict:
            self.stat()
        return self._with(self.volume.realpath(str(self)))

    def read_bytes(self) -> bytes:
        """Volume.read_bytes."""
        return self.volume.read_bytes(self)

    def write_bytes(self, data: Any) -> int:
        """Volume.write_bytes."""
        return self.volume.write_bytes(self, data)

    def read_text(self, encoding: Optional[str] = None, errors: Optional[str] = None) -> str:
        """Volume.read_text."""
        return self.volume.read_text(self, encoding, errors)

    def write_text(self, data: str, encoding: Optional[str] = None, errors: Optional[str] = None) -> int:
        """Volume.write_text."""
        return self.volume.write_text(self, data, encoding, errors)
