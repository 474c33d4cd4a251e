"""GlusterFS for fsspec: gluster://HOST[:PORT]/VOLUME/PATH.

It is registered for the protocol, so that pandas, dask, pyarrow and fsspec.open
take such addresses as they are:

>>> import fsspec
>>> with fsspec.open("gluster://%s:%d/%s/notes.txt" % (HOST, PORT, VOLUME), "w") as f:
...     _ = f.write("one\\ntwo\\n")
>>> fs = fsspec.filesystem("gluster", host=HOST, port=PORT, volume=VOLUME)
>>> fs.cat("/notes.txt")
b'one\\ntwo\\n'
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat as _stat
import threading
from datetime import datetime, timezone
from typing import Any, Dict, List, Optional, Tuple, Union

from fsspec.registry import register_implementation  # type: ignore[import]
from fsspec.spec import AbstractFileSystem  # type: ignore[import]

from ._volume import DEFAULT_PORT, Volume, parse_url

__all__ = ["GlusterFileSystem"]

_TYPES = {_stat.S_IFREG: "file", _stat.S_IFDIR: "directory", _stat.S_IFLNK: "link"}

# fsspec keeps one instance per thread and set of arguments; all of a process
# share a mount.
_volumes: Dict[Tuple[Any, ...], Volume] = {}
_lock = threading.Lock()


def _volume(hosts: Tuple[str, ...], port: int, name: str, options: Dict[str, Any]) -> Volume:
    key = (hosts, port, name, tuple(sorted((k, repr(v)) for k, v in options.items())))
    with _lock:
        v = _volumes.get(key)
        if v is None:
            v = _volumes[key] = Volume(list(hosts), name, port=port, **options)
        return v


def _fresh_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_fresh_lock)


class GlusterFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """A volume as a file system of fsspec.

    host may be several, separated by commas. More arguments are those of
    wythe.Volume. Paths begin at the root of the volume.
    """

    protocol = ("gluster", "glusterfs")
    root_marker = "/"
    cachable = True
    async_impl = False

    def __init__(self, host: str = "localhost", volume: str = "", port: int = DEFAULT_PORT, **kwargs: Any) -> None:
        known = ("transport", "log_file", "log_level", "options", "umask", "library")
        options = {k: kwargs.pop(k) for k in known if k in kwargs}
        super().__init__(host=host, volume=volume, port=port, **options, **kwargs)
        if not volume:
            raise ValueError("gluster: name a volume, as in gluster://host/volume/path or volume=…")
        hosts = tuple(h for h in host.split(",") if h) or ("localhost",)
        self.volume = _volume(hosts, port, volume, options)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(p) for p in path]
        path = os.fspath(path)
        if "://" in path:
            path = parse_url(path)[3]
        path = posixpath.normpath("/" + path.lstrip("/"))
        return path

    @staticmethod
    def _get_kwargs_from_urls(url: str) -> Dict[str, Any]:
        if "://" not in url:
            return {}
        hosts, port, volume, _ = parse_url(url)
        kwargs: Dict[str, Any] = {"host": ",".join(hosts), "volume": volume}
        if port is not None:
            kwargs["port"] = port
        return kwargs

    def unstrip_protocol(self, name: str) -> str:
        """The full address of a path."""
        if "://" in name:
            return name
        port = "" if self.volume.port == DEFAULT_PORT else ":%d" % self.volume.port
        path = self._strip_protocol(name)
        return "gluster://%s%s/%s%s" % (",".join(self.volume.hosts), port, self.volume.name, path)

    @property
    def fsid(self) -> str:
        """What tells this volume from others."""
        return "gluster_%s" % self.volume.volume_id()

    def _info(self, path: str, s: os.stat_result, link: Optional[os.stat_result] = None) -> Dict[str, Any]:
        info = {
            "name": path,
            "size": s.st_size if _stat.S_ISREG(s.st_mode) else 0,
            "type": _TYPES.get(_stat.S_IFMT(s.st_mode), "other"),
            "created": s.st_ctime,
            "mtime": s.st_mtime,
            "mode": s.st_mode,
            "uid": s.st_uid,
            "gid": s.st_gid,
            "ino": s.st_ino,
            "nlink": s.st_nlink,
            "islink": link is not None,
        }
        return info

    def info(self, path: str, **kwargs: Any) -> Dict[str, Any]:
        """Name, size, type and more of one path."""
        path = self._strip_protocol(path)
        link = self.volume.lstat(path)
        if not _stat.S_ISLNK(link.st_mode):
            return self._info(path, link)
        try:
            return self._info(path, self.volume.stat(path), link)
        except OSError:
            return self._info(path, link, link)

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> List[Any]:
        """What is in a directory, or the file itself."""
        path = self._strip_protocol(path)
        try:
            with self.volume.scandir(path) as entries:
                found = []
                for e in entries:
                    name = posixpath.join(path, e.name)
                    s = e.stat(follow_symlinks=False)
                    link = None
                    if e.is_symlink():
                        link = s
                        try:
                            s = e.stat()
                        except OSError:
                            pass
                    found.append(self._info(name, s, link))
        except NotADirectoryError:
            found = [self.info(path)]
        return found if detail else sorted(i["name"] for i in found)

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Whether there is something."""
        return self.volume.lexists(self._strip_protocol(path))

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Make a directory."""
        path = self._strip_protocol(path)
        if create_parents:
            self.volume.makedirs(path)
        else:
            self.volume.mkdir(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a directory and its parents."""
        path = self._strip_protocol(path)
        if path == "/":
            if not exist_ok:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            return
        self.volume.makedirs(path, exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        self.volume.rmdir(self._strip_protocol(path))

    def rm_file(self, path: str) -> None:
        """Remove a file."""
        self.volume.unlink(self._strip_protocol(path))

    _rm = rm_file

    def rm(self, path: Union[str, List[str]], recursive: bool = False, maxdepth: Optional[int] = None) -> None:
        """Remove files and, with recursive, trees."""
        if maxdepth is not None:
            return super().rm(path, recursive=recursive, maxdepth=maxdepth)  # type: ignore[no-any-return]
        for p in [path] if isinstance(path, str) else path:
            p = self._strip_protocol(p)
            if self.volume.isdir(p) and not self.volume.islink(p):
                if not recursive:
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), p)
                self.volume.rmtree(p)
            elif any(c in p for c in "*?[") and not self.volume.lexists(p):
                for q in self.expand_path(p):
                    self.rm(q, recursive=recursive)
            else:
                self.volume.unlink(p)

    def _parents(self, path: str) -> None:
        self.volume.makedirs(posixpath.dirname(path) or "/", exist_ok=True)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Copy one file on the volume, or make a directory like it."""
        path1, path2 = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.volume.isdir(path1):
            self.volume.makedirs(path2, exist_ok=True)
            return
        self._parents(path2)
        self.volume.copyfile(path1, path2)

    def mv_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """Rename."""
        path2 = self._strip_protocol(path2)
        self._parents(path2)
        self.volume.rename(self._strip_protocol(path1), path2)

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: Optional[int] = None, **kwargs: Any) -> None:
        """Rename a file or a tree in one step."""
        if isinstance(path1, str) and isinstance(path2, str) and self.exists(path1) and maxdepth is None:
            if self.volume.isdir(self._strip_protocol(path1)) and not recursive:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path1)
            target = self._strip_protocol(path2)
            if path2.endswith("/") or self.volume.isdir(target):
                target = posixpath.join(target, posixpath.basename(self._strip_protocol(path1)))
            return self.mv_file(path1, target)
        return super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **kwargs)  # type: ignore[no-any-return]

    def link(self, src: str, dst: str, **kwargs: Any) -> None:
        """Give a file one more name."""
        self.volume.link(self._strip_protocol(src), self._strip_protocol(dst))

    def symlink(self, src: str, dst: str, **kwargs: Any) -> None:
        """Make a symbolic link dst to src."""
        self.volume.symlink(self._strip_protocol(src), self._strip_protocol(dst))

    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """Make a file empty, or set its times to now."""
        path = self._strip_protocol(path)
        if truncate or not self.exists(path):
            self._parents(path)
            self.volume.open(path, "wb", 0).close()
        else:
            self.volume.utime(path)

    def created(self, path: str) -> datetime:
        """When its attributes last changed; volumes keep no time of birth."""
        return datetime.fromtimestamp(self.volume.stat(self._strip_protocol(path)).st_ctime, tz=timezone.utc)

    def modified(self, path: str) -> datetime:
        """When its contents last changed."""
        return datetime.fromtimestamp(self.volume.stat(self._strip_protocol(path)).st_mtime, tz=timezone.utc)

    def ukey(self, path: str) -> str:
        """A text that changes when the file does."""
        s = self.volume.stat(self._strip_protocol(path))
        return "%x-%x-%x" % (s.st_ino, s.st_size, s.st_mtime_ns)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: Optional[int] = None,
        autocommit: bool = True,
        cache_options: Optional[Dict[str, Any]] = None,
        **kwargs: Any,
    ) -> Any:
        path = self._strip_protocol(path)
        if not autocommit:
            return _Transaction(self, path, mode)
        if "r" not in mode:
            self._parents(path)
        # fsspec's block size is for reading over slow networks; only an explicit one counts.
        size = block_size if isinstance(block_size, int) and 0 < block_size < 1 << 24 else -1
        f = self.volume.open(path, mode if "b" in mode else mode + "b", size if size != 1 else -1)
        if "r" in mode:
            f.size = f.fstat().st_size  # some of fsspec's methods ask for it
        return f


class _Transaction:
    """A file written under another name until its transaction commits."""

    def __init__(self, fs: GlusterFileSystem, path: str, mode: str) -> None:
        self._fs = fs
        self.path = path
        fs._parents(path)
        head, tail = posixpath.split(path)
        self._temporary = posixpath.join(head, ".%s.%s" % (tail[:200], os.urandom(8).hex()))
        self._file = fs.volume.open(self._temporary, "xb")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Transaction":
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def commit(self) -> None:
        """Give the file its name."""
        self._file.close()
        self._fs.volume.rename(self._temporary, self.path)

    def discard(self) -> None:
        """Forget what was written."""
        self._file.close()
        self._fs.volume.unlink(self._temporary)


# Installed packages are found by their entry points; this is for the others.
for _protocol in GlusterFileSystem.protocol:
    register_implementation(_protocol, GlusterFileSystem, clobber=True)
