"""The C library: finding it, its types, its functions.

Any ``libgfapi.so.0`` will do, Wythe's or GlusterFS's own of version 6 and later
(symbol versions of ``api/src/gfapi.map``). Functions are bound in the version
whose signature stands here, never in whichever happens to be the default, and
offsets have 64 bits.

ctypes lets go of the GIL for the time of each call and keeps ``errno`` per
thread.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import platform
import struct
import threading
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_ssize_t, c_uint32, c_void_p
from typing import Any, Callable, Dict, List, Optional, Tuple

__all__ = ["Dirent", "Flock", "Library", "Stat", "Statvfs", "Timespec", "load"]

if struct.calcsize("P") != 8:
    raise ImportError("wythe needs a 64-bit Python: the structures of libgfapi are laid out for it")


class Timespec(ctypes.Structure):
    """``struct timespec``: seconds and nanoseconds."""

    _fields_ = [("tv_sec", c_int64), ("tv_nsec", c_int64)]


_TIMES = [
    ("st_atime", ctypes.c_uint64),
    ("st_atimensec", ctypes.c_uint64),
    ("st_mtime", ctypes.c_uint64),
    ("st_mtimensec", ctypes.c_uint64),
    ("st_ctime", ctypes.c_uint64),
    ("st_ctimensec", ctypes.c_uint64),
]

# struct stat is the C library's, and differs between processors.
if platform.machine() in ("x86_64", "AMD64"):
    _STAT_FIELDS = [
        ("st_dev", ctypes.c_uint64),
        ("st_ino", ctypes.c_uint64),
        ("st_nlink", ctypes.c_uint64),
        ("st_mode", c_uint32),
        ("st_uid", c_uint32),
        ("st_gid", c_uint32),
        ("_pad0", c_uint32),
        ("st_rdev", ctypes.c_uint64),
        ("st_size", ctypes.c_uint64),
        ("st_blksize", ctypes.c_uint64),
        ("st_blocks", ctypes.c_uint64),
        *_TIMES,
        ("_reserved", c_int64 * 3),
    ]
    _UNPACK = struct.Struct("=QQQIIIxxxxQqqqqqqqqq")
    _MODE_FIRST = False
else:  # the generic layout: aarch64, riscv64
    _STAT_FIELDS = [
        ("st_dev", ctypes.c_uint64),
        ("st_ino", ctypes.c_uint64),
        ("st_mode", c_uint32),
        ("st_nlink", c_uint32),
        ("st_uid", c_uint32),
        ("st_gid", c_uint32),
        ("st_rdev", ctypes.c_uint64),
        ("_pad1", ctypes.c_uint64),
        ("st_size", ctypes.c_uint64),
        ("st_blksize", c_uint32),
        ("_pad2", c_uint32),
        ("st_blocks", ctypes.c_uint64),
        *_TIMES,
        ("_reserved", c_uint32 * 2),
    ]
    _UNPACK = struct.Struct("=QQIIIIQxxxxxxxxqixxxxqqqqqqq")
    _MODE_FIRST = True


class Stat(ctypes.Structure):
    """``struct stat`` of the C library. Times are whole seconds, beside them nanoseconds."""

    _fields_ = _STAT_FIELDS


STAT_SIZE = ctypes.sizeof(Stat)


def _takes_all() -> bool:
    """Whether os.stat_result takes its named fields, too, from one sequence, in the
    order in which they stand here."""
    names = "st_atime st_mtime st_ctime st_atime_ns st_mtime_ns st_ctime_ns st_blksize st_blocks st_rdev".split()
    try:
        r = os.stat_result(range(10 + len(names)))
    except TypeError:
        return False
    return [getattr(r, n) for n in names] == list(range(10, 10 + len(names)))


_ALL = _takes_all()


def stat_result(s: Any) -> os.stat_result:
    """The ``os.stat_result`` of what the library filled in: a Stat, or its bytes.

    Inode numbers are the last eight bytes of the gfid. ``st_blksize`` is 128 KiB
    where the library says nothing.
    """
    dev, ino, nlink, mode, uid, gid, rdev, size, blksize, blocks, a, an, m, mn, c, cn = _UNPACK.unpack_from(s)
    if _MODE_FIRST:
        nlink, mode = mode, nlink
    seconds = (a + an * 1e-9, m + mn * 1e-9, c + cn * 1e-9)
    nanoseconds = (a * 1000000000 + an, m * 1000000000 + mn, c * 1000000000 + cn)
    ten = (mode, ino, dev, nlink, uid, gid, size, a, m, c)
    rest = (blksize or 131072, blocks, rdev)
    if _ALL:
        return os.stat_result(ten + seconds + nanoseconds + rest)
    names = "st_atime st_mtime st_ctime st_atime_ns st_mtime_ns st_ctime_ns st_blksize st_blocks st_rdev".split()
    return os.stat_result(ten, dict(zip(names, seconds + nanoseconds + rest)))


class Statvfs(ctypes.Structure):
    """``struct statvfs``."""

    _fields_ = [
        (name, ctypes.c_ulong)
        for name in (
            "f_bsize f_frsize f_blocks f_bfree f_bavail f_files f_ffree f_favail f_fsid f_flag f_namemax".split()
        )
    ] + [("_spare", c_int * 6)]


class Dirent(ctypes.Structure):
    """``struct dirent``; ``d_name`` has at most 255 bytes."""

    _fields_ = [
        ("d_ino", ctypes.c_uint64),
        ("d_off", ctypes.c_uint64),
        ("d_reclen", ctypes.c_ushort),
        ("d_type", ctypes.c_ubyte),
        ("d_name", ctypes.c_char * 256),
    ]


class Flock(ctypes.Structure):
    """``struct flock``."""

    _fields_ = [
        ("l_type", ctypes.c_short),
        ("l_whence", ctypes.c_short),
        ("l_start", c_int64),
        ("l_len", c_int64),
        ("l_pid", c_int),
    ]


_FD = _FS = c_void_p
_BUF = c_void_p
_STATS = POINTER(Stat)
_DIRENTS = POINTER(Dirent)

# name, version of the symbol, result, arguments. Versions before 6 are those of
# gfapi.map; where a later one changed the signature the later one is meant.
SIGNATURES: Dict[str, Tuple[str, Any, Tuple[Any, ...]]] = {
    "access": ("3.4.0", c_int, (_FS, c_char_p, c_int)),
    "chdir": ("3.4.0", c_int, (_FS, c_char_p)),
    "chmod": ("3.4.0", c_int, (_FS, c_char_p, c_uint32)),
    "chown": ("3.4.0", c_int, (_FS, c_char_p, c_uint32, c_uint32)),
    "close": ("3.4.0", c_int, (_FD,)),
    "closedir": ("3.4.0", c_int, (_FD,)),
    "creat": ("3.4.0", c_void_p, (_FS, c_char_p, c_int, c_uint32)),
    "discard": ("3.5.0", c_int, (_FD, c_int64, c_size_t)),
    "dup": ("3.4.0", c_void_p, (_FD,)),
    "fallocate": ("3.5.0", c_int, (_FD, c_int, c_int64, c_size_t)),
    "fchmod": ("3.4.0", c_int, (_FD, c_uint32)),
    "fchown": ("3.4.0", c_int, (_FD, c_uint32, c_uint32)),
    "fd_set_lkowner": ("3.10.7", c_int, (_FD, c_void_p, c_int)),
    "fdatasync": ("6.0", c_int, (_FD, c_void_p, c_void_p)),
    "fgetxattr": ("3.4.0", c_ssize_t, (_FD, c_char_p, _BUF, c_size_t)),
    "fini": ("3.4.0", c_int, (_FS,)),
    "flistxattr": ("3.4.0", c_ssize_t, (_FD, _BUF, c_size_t)),
    "fremovexattr": ("3.4.0", c_int, (_FD, c_char_p)),
    "fsetxattr": ("3.4.0", c_int, (_FD, c_char_p, _BUF, c_size_t, c_int)),
    "fstat": ("3.4.0", c_int, (_FD, _STATS)),
    "fsync": ("6.0", c_int, (_FD, c_void_p, c_void_p)),
    "ftruncate": ("6.0", c_int, (_FD, c_int64, c_void_p, c_void_p)),
    "futimens": ("3.4.0", c_int, (_FD, POINTER(Timespec))),
    "get_volfile": ("3.6.0", c_ssize_t, (_FS, _BUF, c_size_t)),
    "get_volumeid": ("3.5.0", c_int, (_FS, _BUF, c_size_t)),
    "getcwd": ("3.4.0", c_char_p, (_FS, _BUF, c_size_t)),
    "getxattr": ("3.4.0", c_ssize_t, (_FS, c_char_p, c_char_p, _BUF, c_size_t)),
    "init": ("3.4.0", c_int, (_FS,)),
    "lchown": ("3.4.0", c_int, (_FS, c_char_p, c_uint32, c_uint32)),
    "lgetxattr": ("3.4.0", c_ssize_t, (_FS, c_char_p, c_char_p, _BUF, c_size_t)),
    "link": ("3.4.0", c_int, (_FS, c_char_p, c_char_p)),
    "listxattr": ("3.4.0", c_ssize_t, (_FS, c_char_p, _BUF, c_size_t)),
    "llistxattr": ("3.4.0", c_ssize_t, (_FS, c_char_p, _BUF, c_size_t)),
    "lremovexattr": ("3.4.0", c_int, (_FS, c_char_p, c_char_p)),
    "lseek": ("3.4.0", c_int64, (_FD, c_int64, c_int)),
    "lsetxattr": ("3.4.0", c_int, (_FS, c_char_p, c_char_p, _BUF, c_size_t, c_int)),
    "lstat": ("3.4.0", c_int, (_FS, c_char_p, _STATS)),
    "lutimens": ("3.4.0", c_int, (_FS, c_char_p, POINTER(Timespec))),
    "mkdir": ("3.4.0", c_int, (_FS, c_char_p, c_uint32)),
    "mknod": ("3.4.0", c_int, (_FS, c_char_p, c_uint32, ctypes.c_uint64)),
    "new": ("3.4.0", c_void_p, (c_char_p,)),
    "open": ("3.4.0", c_void_p, (_FS, c_char_p, c_int)),
    "opendir": ("3.4.0", c_void_p, (_FS, c_char_p)),
    "posix_lock": ("3.4.0", c_int, (_FD, c_int, POINTER(Flock))),
    "pread": ("6.0", c_ssize_t, (_FD, _BUF, c_size_t, c_int64, c_int, c_void_p)),
    "pwrite": ("6.0", c_ssize_t, (_FD, _BUF, c_size_t, c_int64, c_int, c_void_p, c_void_p)),
    "read": ("3.4.0", c_ssize_t, (_FD, _BUF, c_size_t, c_int)),
    "readdir_r": ("3.4.0", c_int, (_FD, _DIRENTS, POINTER(_DIRENTS))),
    "readdirplus_r": ("3.4.0", c_int, (_FD, _STATS, _DIRENTS, POINTER(_DIRENTS))),
    "readlink": ("3.4.0", c_int, (_FS, c_char_p, _BUF, c_size_t)),
    "removexattr": ("3.4.0", c_int, (_FS, c_char_p, c_char_p)),
    "rename": ("3.4.0", c_int, (_FS, c_char_p, c_char_p)),
    "rmdir": ("3.4.0", c_int, (_FS, c_char_p)),
    "set_logging": ("3.4.0", c_int, (_FS, c_char_p, c_int)),
    "set_volfile_server": ("3.4.0", c_int, (_FS, c_char_p, c_char_p, c_int)),
    "set_xlator_option": ("3.4.0", c_int, (_FS, c_char_p, c_char_p, c_char_p)),
    "setfsgid": ("3.4.2", c_int, (c_uint32,)),
    "setfsgroups": ("3.4.2", c_int, (c_size_t, POINTER(c_uint32))),
    "setfsuid": ("3.4.2", c_int, (c_uint32,)),
    "setxattr": ("3.4.0", c_int, (_FS, c_char_p, c_char_p, _BUF, c_size_t, c_int)),
    "stat": ("3.4.0", c_int, (_FS, c_char_p, _STATS)),
    "statvfs": ("3.4.0", c_int, (_FS, c_char_p, POINTER(Statvfs))),
    "symlink": ("3.4.0", c_int, (_FS, c_char_p, c_char_p)),
    "truncate": ("3.7.15", c_int, (_FS, c_char_p, c_int64)),
    "unlink": ("3.4.0", c_int, (_FS, c_char_p)),
    "utimens": ("3.4.0", c_int, (_FS, c_char_p, POINTER(Timespec))),
    "write": ("3.4.0", c_ssize_t, (_FD, _BUF, c_size_t, c_int)),
    "zerofill": ("3.5.0", c_int, (_FD, c_int64, c_int64)),
}

# The signatures of GlusterFS 3.4 that take no attributes, under their version.
OLD_SIGNATURES: Dict[str, Tuple[str, Any, Tuple[Any, ...]]] = {
    "fdatasync": ("3.4.0", c_int, (_FD,)),
    "fsync": ("3.4.0", c_int, (_FD,)),
    "ftruncate": ("3.4.0", c_int, (_FD, c_int64)),
}


class Library:
    """One loaded libgfapi: its functions are attributes, named without ``glfs_``.

    Each is a ctypes function with result and argument types; it returns what the C
    function returns and leaves ``errno`` to ``ctypes.get_errno()``.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._cdll = ctypes.CDLL(path, use_errno=True)
        libdl = ctypes.CDLL(None)
        self._dlvsym = libdl.dlvsym
        self._dlvsym.restype = c_void_p
        self._dlvsym.argtypes = (c_void_p, c_char_p, c_char_p)
        for name, (version, result, arguments) in SIGNATURES.items():
            setattr(self, name, self.function(name, version, result, arguments))

    def function(self, name: str, version: str, result: Any, arguments: Tuple[Any, ...]) -> Callable[..., Any]:
        """The function ``glfs_NAME`` in one version of its symbol."""
        symbol = "glfs_" + name
        address = self._dlvsym(self._cdll._handle, symbol.encode(), ("GFAPI_" + version).encode())
        if not address:
            raise ImportError(
                "%s has no %s of version GFAPI_%s; it takes Wythe's library or GlusterFS 6 or later"
                % (self.path, symbol, version)
            )
        prototype = ctypes.CFUNCTYPE(result, *arguments, use_errno=True)
        f: Callable[..., Any] = prototype(address)
        f.__name__ = symbol
        return f

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError("libgfapi has no glfs_%s here" % name)

    def __repr__(self) -> str:
        return "<libgfapi %s>" % self.path


def candidates() -> List[str]:
    """Where the library is looked for, in this order.

    ``WYTHE_LIBGFAPI`` alone if it is set; else next to this package, then by the
    dynamic linker's rules (``LD_LIBRARY_PATH``, ``ldconfig``).
    """
    named = os.environ.get("WYTHE_LIBGFAPI")
    if named:
        return [named]
    here = os.path.dirname(os.path.abspath(__file__))
    found = [p for p in (os.path.join(here, d, "libgfapi.so.0") for d in ("", "lib")) if os.path.exists(p)]
    return found + ["libgfapi.so.0"]


_loaded: Dict[str, Library] = {}
_lock = threading.Lock()


def load(path: Optional[str] = None) -> Library:
    """Load the library, once per path.

    Raises ImportError, with every place that was tried, if there is none.
    """
    tried = []
    with _lock:
        for p in [path] if path else candidates():
            if p in _loaded:
                return _loaded[p]
            try:
                lib = Library(p)
            except OSError as e:
                tried.append("%s: %s" % (p, e))
                continue
            _loaded[p] = lib
            return lib
    raise ImportError(
        "no libgfapi.so.0 (%s); set WYTHE_LIBGFAPI to its path, or install Wythe's C library or the "
        "package libgfapi0" % "; ".join(tried)
    )


def error(filename: Any = None, filename2: Any = None, code: Optional[int] = None) -> OSError:
    """The OSError for the errno that the last call of this thread left."""
    e = ctypes.get_errno() if code is None else code
    if e == 0:
        e = errno.EIO  # a failure that the library does not explain
    if filename2 is not None:
        return OSError(e, os.strerror(e), filename, None, filename2)
    if filename is not None:
        return OSError(e, os.strerror(e), filename)
    return OSError(e, os.strerror(e))
