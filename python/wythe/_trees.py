"""What os.path and shutil build from the functions of os, on a volume."""

from __future__ import annotations

import errno
import fnmatch
import os
import posixpath
import shutil
import stat as _stat
import sys
from typing import Any, Callable, Iterator, List, Optional, Tuple

from ._file import _CHUNK, RawFile

__all__ = ["Trees"]

Error = shutil.Error
SameFileError = shutil.SameFileError
SpecialFileError = shutil.SpecialFileError


class Trees:
    """Methods that need no more of the C library than others have: see Volume."""

    # These are Volume's.
    open: Any
    stat: Any
    lstat: Any
    scandir: Any
    listdir: Any
    mkdir: Any
    rmdir: Any
    unlink: Any
    rename: Any
    readlink: Any
    symlink: Any
    chmod: Any
    utime: Any
    listxattr: Any
    getxattr: Any
    setxattr: Any
    getcwd: Any
    statvfs: Any
    _open: Any

    # os.path

    def exists(self, path: Any) -> bool:
        """Whether path leads to something; False for a dangling symbolic link."""
        return self._attributes(path, True) is not None

    def lexists(self, path: Any) -> bool:
        """Whether there is something of that name, dangling links included."""
        return self._attributes(path, False) is not None

    def isdir(self, path: Any) -> bool:
        """Whether path leads to a directory."""
        s = self._attributes(path, True)
        return s is not None and _stat.S_ISDIR(s.st_mode)

    def isfile(self, path: Any) -> bool:
        """Whether path leads to a regular file."""
        s = self._attributes(path, True)
        return s is not None and _stat.S_ISREG(s.st_mode)

    def islink(self, path: Any) -> bool:
        """Whether path is a symbolic link."""
        s = self._attributes(path, False)
        return s is not None and _stat.S_ISLNK(s.st_mode)

    def _attributes(self, path: Any, follow: bool) -> Optional[os.stat_result]:
        try:
            s: os.stat_result = self.stat(path, follow_symlinks=follow)
        except ValueError:
            return None
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG):
                return None
            raise  # a server that is away is no missing file
        return s

    def getsize(self, path: Any) -> int:
        """The size of a file in bytes."""
        n: int = self.stat(path).st_size
        return n

    def getmtime(self, path: Any) -> float:
        """The time of the last modification, in seconds."""
        t: float = self.stat(path).st_mtime
        return t

    def getatime(self, path: Any) -> float:
        """The time of the last access, in seconds."""
        t: float = self.stat(path).st_atime
        return t

    def getctime(self, path: Any) -> float:
        """The time of the last change of attributes, in seconds."""
        t: float = self.stat(path).st_ctime
        return t

    def samefile(self, a: Any, b: Any) -> bool:
        """Whether both lead to the same object."""
        return _same(self.stat(a), self.stat(b))

    def realpath(self, path: Any) -> Any:
        """The absolute path without symbolic links, "." and ".."; what is missing at
        its end stays as it is.

        >>> vol.makedirs("a/b"); vol.symlink("a/b", "l")
        >>> vol.realpath("l/../c") == vol.getcwd() + "/a/c"
        True
        """
        p = os.fspath(path)
        as_bytes = isinstance(p, bytes)
        todo = list(reversed(os.fsdecode(p).split("/")))
        done: List[str] = [] if os.fsdecode(p).startswith("/") else [c for c in self.getcwd().split("/") if c]
        links = 0
        while todo:
            c = todo.pop()
            if c in ("", "."):
                continue
            if c == "..":
                del done[-1:]
                continue
            here = "/" + "/".join([*done, c])
            if self.islink(here):
                links += 1
                if links > 40:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = self.readlink(here)
                if target.startswith("/"):
                    done = []
                todo += list(reversed(target.split("/")))
                continue
            done.append(c)
        real = "/" + "/".join(done)
        return os.fsencode(real) if as_bytes else real

    # os

    def makedirs(self, name: Any, mode: int = 0o777, exist_ok: bool = False) -> None:
        """mkdir() with the parents that are missing.

        >>> vol.makedirs("x/y/z")
        >>> vol.makedirs("x/y/z", exist_ok=True)
        """
        name = os.fspath(name)
        try:
            self.mkdir(name, mode)
        except FileNotFoundError:
            head, tail = posixpath.split(name)
            if not tail:
                head, tail = posixpath.split(head)
            if not head or not tail:
                raise
            self.makedirs(head, exist_ok=True)
            try:
                self.mkdir(name, mode)
            except OSError:
                if not exist_ok or not self.isdir(name):
                    raise
        except OSError:
            if not exist_ok or not self.isdir(name):
                raise

    def removedirs(self, name: Any) -> None:
        """rmdir() a directory, then its parents as long as they are empty."""
        self.rmdir(name)
        head, tail = posixpath.split(os.fspath(name))
        if not tail:
            head, tail = posixpath.split(head)
        while head and tail:
            try:
                self.rmdir(head)
            except OSError:
                break
            head, tail = posixpath.split(head)

    def renames(self, old: Any, new: Any) -> None:
        """rename(), making the parents of new before and pruning those of old after."""
        head = posixpath.dirname(os.fspath(new))
        if head and not self.exists(head):
            self.makedirs(head)
        self.rename(old, new)
        head = posixpath.dirname(os.fspath(old))
        if head:
            try:
                self.removedirs(head)
            except OSError:
                pass

    def walk(
        self,
        top: Any = ".",
        topdown: bool = True,
        onerror: Optional[Callable[[OSError], Any]] = None,
        followlinks: bool = False,
    ) -> Iterator[Tuple[Any, List[Any], List[Any]]]:
        """The directories of a tree with their subdirectories and files, as os.walk.

        >>> vol.makedirs("w/d"); _ = vol.write_bytes("w/f", b"")
        >>> list(vol.walk("w"))
        [('w', ['d'], ['f']), ('w/d', [], [])]
        """
        top = os.fspath(top)
        dirs: List[Any] = []
        files: List[Any] = []
        below: List[Any] = []
        try:
            with self.scandir(top) as entries:
                for entry in entries:
                    try:
                        is_dir = entry.is_dir()
                    except OSError:
                        is_dir = False
                    (dirs if is_dir else files).append(entry.name)
                    if not topdown and is_dir and (followlinks or not entry.is_symlink()):
                        below.append(entry.path)
        except OSError as e:
            if onerror is not None:
                onerror(e)
            return
        if topdown:
            yield top, dirs, files
            for name in dirs:
                path = posixpath.join(top, name)
                if followlinks or not self.islink(path):
                    yield from self.walk(path, topdown, onerror, followlinks)
        else:
            for path in below:
                yield from self.walk(path, topdown, onerror, followlinks)
            yield top, dirs, files

    def glob(self, pattern: str) -> List[str]:
        """The paths that match, sorted; ``**`` stands for any number of directories.

        >>> vol.makedirs("g/h")
        >>> for n in ("g/1.txt", "g/h/2.txt"): _ = vol.write_bytes(n, b"")
        >>> vol.glob("g/**/*.txt")
        ['g/1.txt', 'g/h/2.txt']
        """
        parts = [p for p in pattern.split("/") if p]
        start = "/" if pattern.startswith("/") else ""
        return sorted(set(self._glob(start, parts)))

    def _glob(self, base: str, parts: List[str]) -> Iterator[str]:
        if not parts:
            if base:
                yield base
            return
        first, rest = parts[0], parts[1:]
        if first == "**":
            yield from self._glob(base, rest)
            for e in self._entries(base):
                if e.is_dir(follow_symlinks=False):
                    yield from self._glob(posixpath.join(base, e.name), parts)
                elif not rest:
                    yield posixpath.join(base, e.name)
        elif not any(c in first for c in "*?["):
            path = posixpath.join(base, first)
            if self.lexists(path):
                yield from self._glob(path, rest)
        else:
            for e in self._entries(base):
                hidden = e.name.startswith(".") and not first.startswith(".")
                if not hidden and fnmatch.fnmatchcase(e.name, first) and (not rest or e.is_dir()):
                    yield from self._glob(posixpath.join(base, e.name), rest)

    def _entries(self, path: str) -> List[Any]:
        try:
            with self.scandir(path or ".") as entries:
                return list(entries)
        except OSError:
            return []

    # Whole files.

    def read_bytes(self, path: Any) -> bytes:
        """The contents of a file."""
        with self.open(path, "rb", 0) as f:
            b: bytes = f.readall()
            return b

    def write_bytes(self, path: Any, data: Any) -> int:
        """Make the contents of a file data, and return how many bytes that are."""
        with self.open(path, "wb") as f:
            n: int = f.write(data)
            return n

    def read_text(self, path: Any, encoding: Optional[str] = None, errors: Optional[str] = None) -> str:
        """The contents of a text file."""
        with self.open(path, "r", -1, encoding, errors) as f:
            s: str = f.read()
            return s

    def write_text(self, path: Any, data: str, encoding: Optional[str] = None, errors: Optional[str] = None) -> int:
        """Make the contents of a text file data."""
        with self.open(path, "w", -1, encoding, errors) as f:
            n: int = f.write(data)
            return n

    # shutil

    def copyfile(self, src: Any, dst: Any, *, follow_symlinks: bool = True) -> Any:
        """Copy the contents of a file and return dst."""
        if not follow_symlinks and self.islink(src):
            self.symlink(self.readlink(src), dst)
            return dst
        with self.open(src, "rb", 0) as fsrc:
            s = fsrc.fstat()
            if _stat.S_ISFIFO(s.st_mode):
                raise SpecialFileError("`%s` is a named pipe" % (src,))
            d = self._attributes(dst, True)
            if d is not None and _same(s, d):
                raise SameFileError("%r and %r are the same file" % (src, dst))
            with self.open(dst, "wb", 0) as fdst:
                _copy(fsrc, fdst)
        return dst

    def copymode(self, src: Any, dst: Any, *, follow_symlinks: bool = True) -> None:
        """Copy the permission bits."""
        if not follow_symlinks and self.islink(src) and self.islink(dst):
            return  # links have none of their own
        self.chmod(dst, _stat.S_IMODE(self.stat(src).st_mode))

    def copystat(self, src: Any, dst: Any, *, follow_symlinks: bool = True) -> None:
        """Copy permission bits, times and extended attributes of users."""
        follow = follow_symlinks or not (self.islink(src) and self.islink(dst))
        s = self.stat(src, follow_symlinks=follow)
        self.utime(dst, ns=(s.st_atime_ns, s.st_mtime_ns), follow_symlinks=follow)
        for key in self.listxattr(src, follow_symlinks=follow):
            if key.startswith("user."):
                value = self.getxattr(src, key, follow_symlinks=follow)
                self.setxattr(dst, key, value, follow_symlinks=follow)
        if follow:
            self.chmod(dst, _stat.S_IMODE(s.st_mode))

    def copy(self, src: Any, dst: Any, *, follow_symlinks: bool = True) -> Any:
        """copyfile() and copymode(), into dst if it is a directory."""
        dst = self._into(src, dst)
        self.copyfile(src, dst, follow_symlinks=follow_symlinks)
        self.copymode(src, dst, follow_symlinks=follow_symlinks)
        return dst

    def copy2(self, src: Any, dst: Any, *, follow_symlinks: bool = True) -> Any:
        """copyfile() and copystat(), into dst if it is a directory."""
        dst = self._into(src, dst)
        self.copyfile(src, dst, follow_symlinks=follow_symlinks)
        self.copystat(src, dst, follow_symlinks=follow_symlinks)
        return dst

    def _into(self, src: Any, dst: Any) -> Any:
        if self.isdir(dst):
            return posixpath.join(os.fspath(dst), posixpath.basename(os.fspath(src)))
        return dst

    def copytree(
        self,
        src: Any,
        dst: Any,
        symlinks: bool = False,
        ignore: Optional[Callable[[Any, List[Any]], Any]] = None,
        copy_function: Optional[Callable[[Any, Any], Any]] = None,
        ignore_dangling_symlinks: bool = False,
        dirs_exist_ok: bool = False,
    ) -> Any:
        """Copy a tree, as shutil.copytree does, and return dst."""
        src, dst = os.fspath(src), os.fspath(dst)
        copy: Any = self.copy2 if copy_function is None else copy_function
        with self.scandir(src) as it:
            entries = list(it)
        ignored = ignore(src, [e.name for e in entries]) if ignore is not None else set()
        self.makedirs(dst, exist_ok=dirs_exist_ok)
        errors: List[Any] = []
        for e in entries:
            if e.name in ignored:
                continue
            to = posixpath.join(dst, e.name)
            try:
                if e.is_symlink() and symlinks:
                    self.symlink(self.readlink(e.path), to)
                    self.copystat(e.path, to, follow_symlinks=False)
                elif e.is_symlink() and ignore_dangling_symlinks and not self.exists(e.path):
                    continue
                elif e.is_dir():
                    self.copytree(e.path, to, symlinks, ignore, copy, ignore_dangling_symlinks, dirs_exist_ok)
                else:
                    copy(e.path, to)
            except Error as err:
                errors += err.args[0] if isinstance(err.args[0], list) else [(e.path, to, str(err))]
            except OSError as err:
                errors.append((e.path, to, str(err)))
        try:
            self.copystat(src, dst)
        except OSError as err:
            errors.append((src, dst, str(err)))
        if errors:
            raise Error(errors)
        return dst

    def rmtree(
        self,
        path: Any,
        ignore_errors: bool = False,
        onerror: Optional[Callable[[Any, Any, Any], Any]] = None,
        *,
        onexc: Optional[Callable[[Any, Any, BaseException], Any]] = None,
    ) -> None:
        """Remove a tree, as shutil.rmtree does. Symbolic links are not followed.

        >>> vol.makedirs("t/u"); vol.rmtree("t"); vol.exists("t")
        False
        """

        def failed(f: Any, p: Any, e: BaseException) -> None:
            if ignore_errors:
                return
            if onexc is not None:
                onexc(f, p, e)
            elif onerror is not None:
                onerror(f, p, sys.exc_info())
            else:
                raise e

        try:
            if self.islink(path):
                raise OSError("Cannot call rmtree on a symbolic link")
        except OSError as e:
            failed(self.islink, path, e)
            return
        self._rmtree(os.fspath(path), failed)

    def _rmtree(self, path: Any, failed: Callable[[Any, Any, BaseException], None]) -> None:
        try:
            with self.scandir(path) as it:
                entries = list(it)
        except OSError as e:
            failed(self.scandir, path, e)
            entries = []
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                self._rmtree(entry.path, failed)
                continue
            try:
                self.unlink(entry.path)
            except OSError as err:
                failed(self.unlink, entry.path, err)
        try:
            self.rmdir(path)
        except OSError as err:
            failed(self.rmdir, path, err)

    def move(self, src: Any, dst: Any) -> Any:
        """Rename src, into dst if that is a directory, and return the new path."""
        real = dst
        if self.isdir(dst):
            if self.samefile(src, dst):
                self.rename(src, dst)
                return dst
            real = posixpath.join(os.fspath(dst), posixpath.basename(os.fspath(src).rstrip("/")))
            if self.lexists(real):
                raise Error("Destination path '%s' already exists" % (real,))
        self.rename(src, real)
        return real

    def disk_usage(self, path: Any = "/") -> Any:
        """Total, used and free bytes, as shutil.disk_usage gives them."""
        s = self.statvfs(path)
        used = (s.f_blocks - s.f_bfree) * s.f_frsize
        return shutil._ntuple_diskusage(s.f_blocks * s.f_frsize, used, s.f_bavail * s.f_frsize)


def _same(a: os.stat_result, b: os.stat_result) -> bool:
    return a.st_ino == b.st_ino and a.st_dev == b.st_dev


def _copy(src: RawFile, dst: RawFile) -> None:
    """Copy all that follows in src to dst.

    Through this process: glfs_copy_file_range of GlusterFS 10.3 fails with EPERM where
    the files are on different bricks, and goes on past the end of the source.
    """
    buffer = bytearray(_CHUNK)
    with memoryview(buffer) as whole:
        while True:
            n = src.readinto(whole)
            if n == 0:
                return
            at = 0
            while at < n:
                at += dst.write(whole[at:n])
