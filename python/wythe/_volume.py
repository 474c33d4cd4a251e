"""A mounted volume with the functions of os, os.path and shutil as methods."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import stat as _stat
import sys
import threading
import time
import uuid
import weakref
from types import TracebackType
from typing import Any, AnyStr, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Type, Union
from urllib.parse import unquote, urlsplit

from ._dir import ScandirIterator
from ._file import RawFile, mode_flags, names, sized, timespecs, wrap
from ._handle import Handle
from ._library import Library, Stat, Statvfs, error, load, stat_result
from ._trees import Trees

__all__ = ["Volume", "mount", "parse_url"]

StrOrBytesPath = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

DEFAULT_PORT = 24007
_UTF8 = sys.getfilesystemencoding() == "utf-8" and sys.getfilesystemencodeerrors() == "surrogateescape"
_LOG_LEVEL = 5  # WARNING


class _Mount:
    """One glfs_t, and the files that are open on it."""

    def __init__(self, lib: Library, pointer: int) -> None:
        self.lib = lib
        self.handle = Handle(pointer, errno.ENOTCONN)
        self._files: "weakref.WeakSet[Any]" = weakref.WeakSet()

    def fini(self) -> Optional[int]:
        """Close everything. The errno of the first failure, or None."""
        failed: Optional[int] = None
        for f in list(self._files):
            try:
                f.close()
            except OSError as e:
                failed = failed or e.errno or errno.EIO
        pointer = self.handle.take()
        ctypes.set_errno(0)
        if pointer is not None and self.lib.fini(pointer) != 0:
            # Without an errno: GlusterFS's library got tired of waiting for its own threads.
            failed = failed or ctypes.get_errno() or None
        return failed


_volumes: "weakref.WeakSet[Volume]" = weakref.WeakSet()


class Volume(Trees):
    """A GlusterFS volume.

    hosts is a server's name or address, or several that are tried in turn; with
    transport "unix" it is the path of a management daemon's socket. volume is the
    volume's name. The volume is mounted by mount(), by a with statement, or by the
    first method that needs it; a path is absolute on the volume, or relative to
    the directory that chdir() set (at first the root).

    >>> with Volume(HOST, VOLUME, port=PORT) as v:
    ...     v.mkdir("stark")
    ...     with v.open("stark/motto", "w") as f:
    ...         _ = f.write("Winter is coming.")
    ...     v.listdir("stark")
    ['motto']

    Methods have the names, arguments and results of os, os.path, shutil and
    io.open. What fails raises OSError (FileNotFoundError and so on) with errno and
    filename. Paths may be str, bytes or os.PathLike; bytes give bytes. New objects
    get the mode given less umask, which is the process's when the volume is mounted.

    A Volume may be used by several threads at once; the GIL is not held while a
    call is under way. In a child of os.fork() it is not mounted, and mounts itself
    again when it is used; files opened before the fork are closed there.
    """

    def __init__(
        self,
        hosts: Union[str, Sequence[str]],
        volume: str,
        *,
        port: int = DEFAULT_PORT,
        transport: str = "tcp",
        log_file: Optional[StrOrBytesPath] = None,
        log_level: int = _LOG_LEVEL,
        options: Optional[Mapping[str, str]] = None,
        umask: Optional[int] = None,
        library: Optional[str] = None,
    ) -> None:
        """options sets options of translators: {"*-write-behind.pass-through": "on"}.

        log_file is where the C library writes its log, with messages up to log_level
        (0 none … 9 trace); None for nowhere. library is the path of libgfapi.so.0,
        otherwise found as wythe.load() does.
        """
        hosts = [hosts] if isinstance(hosts, str) else list(hosts)
        if not hosts or not all(isinstance(h, str) and h for h in hosts):
            raise ValueError("hosts: want the name of a server, or several, not %r" % (hosts,))
        if not isinstance(volume, str) or not volume:
            raise ValueError("volume: want the name of a volume, not %r" % (volume,))
        if transport not in ("tcp", "unix"):
            raise ValueError("transport: want tcp or unix, not %r" % transport)
        if not 0 < port < 65536:
            raise ValueError("port: want 1 to 65535, not %r" % port)
        for key in options or {}:
            if not re.match(r"[^.]+\..", key):
                raise ValueError("options: want TRANSLATOR.OPTION, not %r" % key)
        self.hosts = tuple(hosts)
        self.name = volume
        self.port = port
        self.transport = transport
        self.log_file = log_file
        self.log_level = log_level
        self.options = dict(options or {})
        self.umask = -1 if umask is None else umask
        self._library = library
        self._current: Optional[_Mount] = None
        self._wanted = True
        self._mounting = threading.Lock()
        _volumes.add(self)

    # Mounting.

    @property
    def mounted(self) -> bool:
        """Whether it is mounted in this process."""
        m = self._current
        return m is not None and m.handle.open

    def mount(self) -> "Volume":
        """Mount it, if it is not mounted yet, and return it."""
        self._wanted = True
        self._use()
        return self

    def unmount(self) -> None:
        """Close all its files and unmount it. Waits for calls under way in other
        threads. Not being mounted is no error; using it afterwards is (ENOTCONN),
        until mount() is called."""
        self._wanted = False
        with self._mounting:
            m, self._current = self._current, None
        if m is not None and not m.handle.stale:
            failed = m.fini()
            if failed is not None:
                raise OSError(failed, os.strerror(failed), self._source())

    def __enter__(self) -> "Volume":
        return self.mount()

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.unmount()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.unmount()

    def __repr__(self) -> str:
        return "<wythe.Volume %s%s>" % (self._source(), "" if self.mounted else " (not mounted)")

    def __getstate__(self) -> Any:
        return {
            k: v for k, v in self.__dict__.items() if k not in ("_current", "_mounting")
        }

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)
        self._current = None
        self._mounting = threading.Lock()
        _volumes.add(self)

    def _source(self) -> str:
        return "gluster://%s/%s" % (",".join(self.hosts), self.name)

    def _use(self) -> _Mount:
        m = self._current
        if m is not None and m.handle.open:
            return m
        with self._mounting:
            m = self._current
            if m is not None and m.handle.open:
                return m
            if not self._wanted:
                raise OSError(errno.ENOTCONN, "the volume is not mounted; call mount()", self._source())
            self._current = m = self._new()
            return m

    def _new(self) -> _Mount:
        lib = load(self._library)
        fs = lib.new(os.fsencode(self.name))
        if not fs:
            raise error(self._source())
        ok = False
        try:
            log = os.devnull if self.log_file is None else self.log_file
            if lib.set_logging(fs, os.fsencode(log), self.log_level if self.log_file is not None else 0) != 0:
                raise error(log)
            for host in self.hosts:
                port = self.port if self.transport == "tcp" else 0
                if lib.set_volfile_server(fs, self.transport.encode(), os.fsencode(host), port) != 0:
                    raise error(self._source())
            for key, value in self.options.items():
                translator, option = key.rsplit(".", 1)
                if lib.set_xlator_option(fs, translator.encode(), option.encode(), value.encode()) != 0:
                    raise error(key)
            ctypes.set_errno(0)
            if lib.init(fs) != 0:
                e = ctypes.get_errno() or errno.ENOTCONN
                raise OSError(e, self._why(e), self._source())
            ok = True
        finally:
            if not ok:
                lib.fini(fs)
        if self.umask < 0:
            self.umask = _process_umask()
        return _Mount(lib, fs)

    def _why(self, e: int) -> str:
        if e == errno.ENOENT:
            return "the server knows no volume %s" % self.name
        if e == errno.ENOTCONN:
            return "no server answered; is the address right, and the volume started?"
        return os.strerror(e)

    # The ways to call the library.

    def _path(self, path: Any) -> bytes:
        if isinstance(path, int):
            raise TypeError("path: want str, bytes or os.PathLike, not int")
        b = os.fsencode(path)
        if b"\0" in b:
            raise ValueError("embedded null byte")
        if not b:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return b

    def _do(self, name: str, path: Any, *arguments: Any) -> None:
        """Call a function of (fs, path, …) that returns 0 on success."""
        b = path.encode("utf-8", "surrogateescape") if type(path) is str and _UTF8 else path
        if type(b) is not bytes or not b or b"\0" in b:
            b = self._path(path)
        m = self._use()
        with m.handle as fs:
            if getattr(m.lib, name)(fs, b, *arguments) != 0:
                raise error(path)

    def _do2(self, name: str, a: Any, b: Any) -> None:
        """The same for (fs, path, path)."""
        ea, eb = self._path(a), self._path(b)
        m = self._use()
        with m.handle as fs:
            if getattr(m.lib, name)(fs, ea, eb) != 0:
                raise error(a, b)

    # Files.

    def open(
        self,
        path: StrOrBytesPath,
        mode: str = "r",
        buffering: int = -1,
        encoding: Optional[str] = None,
        errors: Optional[str] = None,
        newline: Optional[str] = None,
        *,
        flags: int = 0,
        permissions: int = 0o666,
    ) -> Any:
        """Open a file as io.open does: "r", "w", "a", "x", with "+", "b", "t".

        The result is the standard stack: TextFile, BufferedReader, BufferedWriter,
        BufferedRandom or, with buffering=0, RawFile; each has fsync(), fallocate(),
        punch_hole(), lockf(), getxattr() and the rest of wythe.Attributes besides.
        flags are more os.O_… flags, such as os.O_DIRECT and os.O_SYNC.

        >>> with vol.open("log", "a+b") as f:
        ...     _ = f.write(b"one\\n")
        ...     f.fsync()
        ...     _ = f.seek(0)
        ...     f.readlines()
        [b'one\\n']
        """
        if "b" in mode and (encoding is not None or errors is not None or newline is not None):
            raise ValueError("binary mode doesn't take an encoding, errors or newline argument")
        if buffering == 0 and "b" not in mode:
            raise ValueError("can't have unbuffered text I/O")
        fl = mode_flags(mode)[0] | flags
        return wrap(self._open(path, fl, permissions), mode, buffering, encoding, errors, newline)

    def _open(self, path: Any, flags: int, permissions: int) -> RawFile:
        b = self._path(path)
        m = self._use()
        with m.handle as fs:
            if flags & os.O_CREAT:
                fd = m.lib.creat(fs, b, flags, permissions & ~self.umask)
            else:
                fd = m.lib.open(fs, b, flags)
            if not fd:
                raise error(path)
            raw = RawFile(m.lib, m, fd, path, flags)
            m._files.add(raw)
        # A directory can be opened for reading, but no file can be made of it.
        if flags & os.O_ACCMODE == os.O_RDONLY and _stat.S_ISDIR(raw._fstat().st_mode):
            raw.close()
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if flags & os.O_APPEND:
            raw.seek(0, os.SEEK_END)
        return raw

    def truncate(self, path: StrOrBytesPath, length: int) -> None:
        """Set the size of a file."""
        self._do("truncate", path, length)

    # Attributes.

    def stat(self, path: StrOrBytesPath, *, follow_symlinks: bool = True) -> os.stat_result:
        """The attributes, as os.stat gives them."""
        s = Stat()
        self._do("stat" if follow_symlinks else "lstat", path, ctypes.byref(s))
        return stat_result(s)

    def lstat(self, path: StrOrBytesPath) -> os.stat_result:
        """stat() of a symbolic link itself."""
        return self.stat(path, follow_symlinks=False)

    def access(self, path: StrOrBytesPath, mode: int) -> bool:
        """Whether os.F_OK, os.R_OK, os.W_OK, os.X_OK are given, to the process's
        effective user."""
        try:
            self._do("access", path, mode)
        except (FileNotFoundError, PermissionError, NotADirectoryError):
            return False
        except OSError as e:
            if e.errno in (errno.ELOOP, errno.EROFS):
                return False
            raise
        return True

    def chmod(self, path: StrOrBytesPath, mode: int) -> None:
        """Set the permission bits."""
        self._do("chmod", path, mode)

    def chown(self, path: StrOrBytesPath, uid: int, gid: int, *, follow_symlinks: bool = True) -> None:
        """Set owner and group; -1 leaves one as it is."""
        if -1 in (uid, gid):
            now = self.stat(path, follow_symlinks=follow_symlinks)
            uid, gid = now.st_uid if uid == -1 else uid, now.st_gid if gid == -1 else gid
        self._do("chown" if follow_symlinks else "lchown", path, uid, gid)

    def lchown(self, path: StrOrBytesPath, uid: int, gid: int) -> None:
        """chown() of a symbolic link itself."""
        self.chown(path, uid, gid, follow_symlinks=False)

    def utime(
        self,
        path: StrOrBytesPath,
        times: Optional[Sequence[float]] = None,
        *,
        ns: Optional[Sequence[int]] = None,
        follow_symlinks: bool = True,
    ) -> None:
        """Set access and modification time, in seconds or in nanoseconds; both now
        if neither is given.

        >>> vol.write_bytes("f", b"")
        0
        >>> vol.utime("f", ns=(1, 10**18 + 5))
        >>> vol.stat("f").st_mtime_ns
        1000000000000000005
        """
        pair = timespecs(times, ns, time.time_ns())
        self._do("utimens" if follow_symlinks else "lutimens", path, pair)

    def getxattr(self, path: StrOrBytesPath, attribute: str, *, follow_symlinks: bool = True) -> bytes:
        """The value of an extended attribute; OSError with ENODATA if there is none."""
        b, key = self._path(path), self._key(attribute)
        m = self._use()
        f = m.lib.getxattr if follow_symlinks else m.lib.lgetxattr
        with m.handle as fs:
            return sized(lambda buf, n: f(fs, b, key, buf, n), path)

    def setxattr(
        self, path: StrOrBytesPath, attribute: str, value: Any, flags: int = 0, *, follow_symlinks: bool = True
    ) -> None:
        """Set an extended attribute; flags are os.XATTR_CREATE and os.XATTR_REPLACE."""
        data = bytes(value)
        f = "setxattr" if follow_symlinks else "lsetxattr"
        self._do(f, path, self._key(attribute), data, len(data), flags)

    def listxattr(self, path: StrOrBytesPath, *, follow_symlinks: bool = True) -> List[str]:
        """The names of all extended attributes, GlusterFS's own among them for root."""
        b = self._path(path)
        m = self._use()
        f = m.lib.listxattr if follow_symlinks else m.lib.llistxattr
        with m.handle as fs:
            return names(sized(lambda buf, n: f(fs, b, buf, n), path))

    def removexattr(self, path: StrOrBytesPath, attribute: str, *, follow_symlinks: bool = True) -> None:
        """Remove an extended attribute."""
        self._do("removexattr" if follow_symlinks else "lremovexattr", path, self._key(attribute))

    @staticmethod
    def _key(attribute: Any) -> bytes:
        key = os.fsencode(attribute)
        if b"\0" in key:
            raise ValueError("embedded null byte")
        return key

    # Names.

    def mkdir(self, path: StrOrBytesPath, mode: int = 0o777) -> None:
        """Make a directory."""
        self._do("mkdir", path, mode & ~self._mask())

    def rmdir(self, path: StrOrBytesPath) -> None:
        """Remove an empty directory."""
        self._do("rmdir", path)

    def unlink(self, path: StrOrBytesPath) -> None:
        """Remove a name that is no directory's."""
        self._do("unlink", path)

    remove = unlink

    def rename(self, src: StrOrBytesPath, dst: StrOrBytesPath) -> None:
        """Rename src to dst, replacing what dst is, in one step."""
        self._do2("rename", src, dst)

    replace = rename

    def link(self, src: StrOrBytesPath, dst: StrOrBytesPath) -> None:
        """Give a file one more name."""
        self._do2("link", src, dst)

    def symlink(self, src: StrOrBytesPath, dst: StrOrBytesPath, target_is_directory: bool = False) -> None:
        """Make a symbolic link dst that says src. target_is_directory means nothing."""
        self._do2("symlink", src, dst)

    def readlink(self, path: AnyStr) -> AnyStr:
        """What a symbolic link says."""
        b = self._path(path)
        m = self._use()
        buf = ctypes.create_string_buffer(4097)
        with m.handle as fs:
            n = m.lib.readlink(fs, b, buf, 4096)
            if n < 0:
                raise error(path)
        return _like(path, buf.raw[:n])

    def mknod(self, path: StrOrBytesPath, mode: int = 0o600, device: int = 0) -> None:
        """Make a file, fifo, socket or device node; mode has the type (stat.S_IF…)."""
        if _stat.S_IFMT(mode) == 0:
            mode |= _stat.S_IFREG
        self._do("mknod", path, mode & ~self._mask(), device)

    def mkfifo(self, path: StrOrBytesPath, mode: int = 0o666) -> None:
        """Make a fifo."""
        self.mknod(path, mode | _stat.S_IFIFO)

    def _mask(self) -> int:
        self._use()
        return self.umask

    # Directories.

    def scandir(self, path: StrOrBytesPath = ".") -> ScandirIterator:
        """The entries of a directory with their attributes, as os.scandir gives them.

        It is an iterator and a context manager that closes the directory. The
        attributes come along with the names, so stat() of an entry that is no
        symbolic link costs nothing.

        >>> _ = vol.write_bytes("f", b"12345")
        >>> with vol.scandir(".") as entries:
        ...     [(e.name, e.is_file(), e.stat().st_size) for e in entries if e.name == "f"]
        [('f', True, 5)]
        """
        return self._scan(path, True)

    def _scan(self, path: Any, attributes: bool) -> ScandirIterator:
        b = self._path(path)
        m = self._use()
        with m.handle as fs:
            fd = m.lib.opendir(fs, b)
            if not fd:
                raise error(path)
            it = ScandirIterator(self, m, fd, path, attributes)
            m._files.add(it)
            return it

    def listdir(self, path: Any = ".") -> List[Any]:
        """The names in a directory, without "." and "..", in no particular order."""
        with self._scan(path, False) as entries:
            return entries.names()

    def chdir(self, path: StrOrBytesPath) -> None:
        """Let relative paths begin at another directory, for all users of the Volume."""
        self._do("chdir", path)

    def getcwd(self) -> str:
        """Where relative paths begin."""
        buf = ctypes.create_string_buffer(1 << 16)
        m = self._use()
        with m.handle as fs:
            if not m.lib.getcwd(fs, buf, len(buf)):
                raise error()
        return os.fsdecode(buf.value)

    # The volume.

    def statvfs(self, path: StrOrBytesPath = "/") -> os.statvfs_result:
        """Space and limits, as os.statvfs gives them."""
        s = Statvfs()
        self._do("statvfs", path, ctypes.byref(s))
        values = [s.f_bsize, s.f_frsize, s.f_blocks, s.f_bfree, s.f_bavail]
        values += [s.f_files, s.f_ffree, s.f_favail, s.f_flag, s.f_namemax, s.f_fsid]
        return os.statvfs_result(values)

    def volume_id(self) -> uuid.UUID:
        """The volume's UUID."""
        buf = ctypes.create_string_buffer(16)
        m = self._use()
        with m.handle as fs:
            if m.lib.get_volumeid(fs, buf, 16) < 0:
                raise error(self._source())
        return uuid.UUID(bytes=buf.raw)

    def volfile(self) -> str:
        """The volume's client volfile, as the server gave it."""
        size = 1 << 16
        m = self._use()
        with m.handle as fs:
            while True:
                buf = ctypes.create_string_buffer(size)
                n = m.lib.get_volfile(fs, buf, size)
                if n >= 0:
                    return buf.value.decode()
                if n >= -1 and ctypes.get_errno():
                    raise error(self._source())
                size -= n

    @contextlib.contextmanager
    def as_user(self, uid: int, gid: int, groups: Iterable[int] = ()) -> Iterator["Volume"]:
        """In the with block, the calls of this thread are made in another user's name.

        It works as root, or as far as the bricks believe the client.
        """
        lib = self._use().lib

        def become(u: int, g: int, ids: List[int]) -> None:
            array = (ctypes.c_uint32 * max(len(ids), 1))(*ids)
            if lib.setfsgroups(len(ids), array) != 0 or lib.setfsgid(g) != 0 or lib.setfsuid(u) != 0:
                raise error()

        become(uid, gid, list(groups))
        try:
            yield self
        finally:
            become(os.geteuid(), os.getegid(), os.getgroups())


def _like(path: AnyStr, answer: bytes) -> AnyStr:
    """answer as bytes if path is bytes, else as str."""
    like: Any = answer if isinstance(os.fspath(path), bytes) else os.fsdecode(answer)
    return like  # type: ignore[no-any-return]


def _process_umask() -> int:
    """The umask of the process, read where that needs no change of it."""
    try:
        with open("/proc/self/status", "rb") as f:
            for line in f:
                if line.startswith(b"Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def parse_url(url: str) -> Tuple[List[str], Optional[int], str, str]:
    """Split gluster://HOST[,HOST…][:PORT]/VOLUME[/PATH].

    >>> parse_url("gluster://one,two:24008/data/a/b")
    (['one', 'two'], 24008, 'data', '/a/b')
    >>> parse_url("gluster:///data")
    (['localhost'], None, 'data', '/')
    """
    u = urlsplit(url)
    if u.scheme not in ("gluster", "glusterfs", "gluster+tcp"):
        raise ValueError("%r: want gluster://HOST/VOLUME/PATH" % url)
    _, volume, *rest = unquote(u.path).split("/", 2) + [""]
    if not volume:
        raise ValueError("%r names no volume; want gluster://HOST/VOLUME/PATH" % url)
    place = u.netloc.rsplit("@", 1)[-1]
    match = re.fullmatch(r"(\[[^]]*\]|[^:\[\]]*)(?::(\d+))?", place)
    if not match:
        raise ValueError("%r: %r is no HOST[:PORT]" % (url, place))
    hosts = [h.strip("[]") for h in match[1].split(",") if h]
    return hosts or ["localhost"], int(match[2]) if match[2] else None, volume, "/" + rest[0]


def mount(url: str, **arguments: Any) -> Volume:
    """Mount the volume of an address; arguments are those of Volume.

    >>> with mount("gluster://%s:%d/%s" % (HOST, PORT, VOLUME)) as v:
    ...     v.exists("/")
    True

    A path in the address becomes the directory where relative paths begin.
    """
    hosts, port, name, path = parse_url(url)
    if port is not None:
        arguments.setdefault("port", port)
    volume = Volume(hosts, name, **arguments)
    volume.mount()
    if path != "/":
        try:
            volume.chdir(path)
        except BaseException:
            volume.unmount()
            raise
    return volume
