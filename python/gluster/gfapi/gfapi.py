"""Volume, File, Dir and DirEntry of the old interface."""

import ctypes
import errno
import functools
import os
import stat
import time
import uuid
from collections.abc import Iterator

from gluster.gfapi import api
from gluster.gfapi.exceptions import Error, LibgfapiException
from gluster.gfapi.utils import validate_glfd, validate_mount

PATH_MAX = 4096

# The modes of fopen, without "b", which means nothing here.
_FLAGS = {
    "r": os.O_RDONLY,
    "r+": os.O_RDWR,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "w+": os.O_RDWR | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
    "a+": os.O_RDWR | os.O_CREAT | os.O_APPEND,
}


def _bytes(text):
    """A path or name for the C library."""
    return os.fsencode(text)


def _text(name):
    """A name from the C library."""
    return os.fsdecode(name)


def _failed(*path):
    e = ctypes.get_errno()
    return OSError(e, os.strerror(e), *path)


def _done(result, *path):
    """Raise OSError if a call failed."""
    if result is not None and result < 0:
        raise _failed(*path)
    return result


def _value(call, size):
    """What an xattr call returns, in a buffer of size bytes (0: as many as it takes)."""
    if size < 0:
        raise ValueError("size must not be negative")
    if size == 0:
        size = _done(call(None, 0))
        if size == 0:
            return b""
    buf = ctypes.create_string_buffer(size)
    n = _done(call(buf, size))
    return buf.raw[:n]


def _xattr(value):
    """An xattr's value as the text that the old interface gives."""
    return os.fsdecode(value.rstrip(b"\0"))


def _keys(listing):
    return sorted(_text(k) for k in listing.split(b"\0") if k)


class File:
    """An open file; fd is what Volume.open returned."""

    def __init__(self, fd, path=None, mode=None):
        self.fd = fd
        self.originalpath = path
        self._mode = mode
        self._validate_init()

    def _validate_init(self):
        if not isinstance(self.fd, int):
            raise ValueError("fd: want the number that Volume.open returned, not %r" % (self.fd,))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.close()

    @property
    def fileno(self):
        """The number that stands for the file."""
        return self.fd

    @property
    def mode(self):
        """The mode that fopen was given."""
        return self._mode

    @property
    def name(self):
        """The path that it was opened by."""
        return self.originalpath

    @property
    def closed(self):
        """Whether it is closed."""
        return self.fd is None

    @validate_glfd
    def close(self):
        """Close it; a second time is EBADF."""
        fd, self.fd = self.fd, None
        _done(api.glfs_close(fd))

    @validate_glfd
    def discard(self, offset, length):
        """Make a hole; the size stays."""
        _done(api.glfs_discard(self.fd, offset, length))

    @validate_glfd
    def dup(self):
        """One more File on the same open file."""
        fd = api.glfs_dup(self.fd)
        if not fd:
            raise _failed()
        return File(fd, self.originalpath)

    @validate_glfd
    def fallocate(self, mode, offset, length):
        """Reserve space; mode 1 leaves the size as it is."""
        _done(api.glfs_fallocate(self.fd, mode, offset, length))

    @validate_glfd
    def fchmod(self, mode):
        """Set the permission bits."""
        _done(api.glfs_fchmod(self.fd, mode))

    @validate_glfd
    def fchown(self, uid, gid):
        """Set owner and group."""
        _done(api.glfs_fchown(self.fd, uid, gid))

    @validate_glfd
    def fdatasync(self):
        """Make the contents durable."""
        _done(api.glfs_fdatasync(self.fd))

    @validate_glfd
    def fgetsize(self):
        """The size in bytes."""
        return self.fstat().st_size

    @validate_glfd
    def fgetxattr(self, key, size=0):
        """The value of an extended attribute."""
        return _xattr(_value(functools.partial(self._fgetxattr, _bytes(key)), size))

    def _fgetxattr(self, key, buf, size):
        return api.glfs_fgetxattr(self.fd, key, buf, size)

    @validate_glfd
    def flistxattr(self, size=0):
        """The names of the extended attributes, sorted."""
        return _keys(_value(lambda buf, n: api.glfs_flistxattr(self.fd, buf, n), size))

    @validate_glfd
    def fsetxattr(self, key, value, flags=0):
        """Set an extended attribute; flags: 1 create, 2 replace."""
        value = _bytes(value)
        _done(api.glfs_fsetxattr(self.fd, _bytes(key), value, len(value), flags))

    @validate_glfd
    def fremovexattr(self, key):
        """Remove an extended attribute."""
        _done(api.glfs_fremovexattr(self.fd, _bytes(key)))

    @validate_glfd
    def fstat(self):
        """The attributes, an api.Stat."""
        s = api.Stat()
        _done(api.glfs_fstat(self.fd, ctypes.byref(s)))
        return s

    @validate_glfd
    def fsync(self):
        """Make the file durable."""
        _done(api.glfs_fsync(self.fd))

    @validate_glfd
    def ftruncate(self, length):
        """Set the size; the offset stays."""
        _done(api.glfs_ftruncate(self.fd, length))

    @validate_glfd
    def lseek(self, pos, how):
        """Move the offset and return it."""
        return _done(api.glfs_lseek(self.fd, pos, how))

    @validate_glfd
    def read(self, size=-1):
        """Up to size bytes; all that follow if size is negative."""
        if size < 0:
            size = self.fgetsize()
        if size == 0:
            return b""
        buf = ctypes.create_string_buffer(size)
        n = _done(api.glfs_read(self.fd, buf, size, 0))
        return buf.raw[:n] if n else b""

    @validate_glfd
    def readinto(self, buf):
        """Read into a bytearray and return how many bytes."""
        if not isinstance(buf, bytearray):
            raise TypeError("readinto: want a bytearray, not %s" % type(buf).__name__)
        if not buf:
            return 0
        target = (ctypes.c_ubyte * len(buf)).from_buffer(buf)
        return _done(api.glfs_read(self.fd, target, len(buf), 0))

    @validate_glfd
    def write(self, data, flags=0):
        """Write bytes, or a str as UTF-8, and return how many bytes were written."""
        data = data.encode("utf-8") if isinstance(data, str) else bytes(data)
        return _done(api.glfs_write(self.fd, data, len(data), flags))

    @validate_glfd
    def zerofill(self, offset, length):
        """Write zeros."""
        _done(api.glfs_zerofill(self.fd, offset, length))


class Dir(Iterator):
    """The entries of an open directory: api.Dirent, or (api.Dirent, api.Stat) with
    readdirplus."""

    def __init__(self, fd, readdirplus=False):
        self._api = api  # the module may be gone when __del__ runs
        self.fd = fd
        self.readdirplus = readdirplus
        self.cursor = ctypes.POINTER(api.Dirent)()

    def __del__(self):
        self._api.glfs_closedir(self.fd)

    def __next__(self):
        entry = api.Dirent()
        self.cursor.contents = entry
        if self.readdirplus:
            s = api.Stat()
            _done(api.glfs_readdirplus_r(self.fd, ctypes.byref(s), ctypes.byref(entry), ctypes.byref(self.cursor)))
        else:
            s = None
            _done(api.glfs_readdir_r(self.fd, ctypes.byref(entry), ctypes.byref(self.cursor)))
        if not self.cursor:
            raise StopIteration
        return (entry, s) if self.readdirplus else entry

    next = __next__


class DirEntry:
    """An entry that Volume.scandir yields. Symbolic links are not followed unless
    follow_symlinks is given."""

    def __init__(self, vol, scandir_path, name, lstat):
        self._vol = vol
        self._name = name
        self._path = os.path.join(scandir_path, name)
        self._lstat = lstat

    @property
    def name(self):
        """The name in the directory."""
        return self._name

    @property
    def path(self):
        """The path, beginning as scandir's argument."""
        return self._path

    def stat(self, follow_symlinks=False):
        """The attributes, an api.Stat."""
        if follow_symlinks and self.is_symlink():
            return self._vol.stat(self._path)
        return self._lstat

    def is_dir(self, follow_symlinks=False):
        """Whether it is a directory."""
        return self._is(stat.S_ISDIR, follow_symlinks)

    def is_file(self, follow_symlinks=False):
        """Whether it is a regular file."""
        return self._is(stat.S_ISREG, follow_symlinks)

    def _is(self, test, follow):
        if follow and self.is_symlink():
            try:
                return test(self._vol.stat(self._path).st_mode)
            except OSError:
                return False
        return test(self._lstat.st_mode)

    def is_symlink(self):
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self._lstat.st_mode)

    def inode(self):
        """The inode number."""
        return self._lstat.st_ino

    def __repr__(self):
        return "<%s: %r>" % (type(self).__name__, self._name)

    __str__ = __repr__


class Volume:
    """A volume. hosts is a server or a list of servers, a socket path with proto
    "unix"."""

    def __init__(self, hosts, volname, proto="tcp", port=24007, log_file="/dev/null", log_level=7):
        self._api = api
        self._mounted = False
        self.fs = None
        if volname is None or hosts is None:
            raise LibgfapiException("host and volume name must not be None")
        self.hosts = [hosts] if isinstance(hosts, str) else hosts
        if not isinstance(self.hosts, list) or not self.hosts or not all(self.hosts):
            raise LibgfapiException("hosts: want a name or a list of names, not %r" % (hosts,))
        if proto not in ("tcp", "rdma", "unix"):
            raise LibgfapiException("proto: want tcp, rdma or unix, not %r" % (proto,))
        if not isinstance(port, int):
            raise LibgfapiException("port: want a number, not %r" % (port,))
        self.volname = volname
        self.volid = None
        self.protocol = proto
        self.port = port
        self.log_file = log_file
        self.log_level = log_level

    @property
    def mounted(self):
        """Whether it is mounted."""
        return bool(self.fs and self._mounted)

    def mount(self):
        """Mount it, unless it is mounted."""
        if self.mounted:
            return
        self.fs = api.glfs_new(_bytes(self.volname))
        if not self.fs:
            raise LibgfapiException("glfs_new(%s) failed: %s" % (self.volname, os.strerror(ctypes.get_errno())))
        port = 0 if self.protocol == "unix" else self.port
        for host in self.hosts:
            if api.glfs_set_volfile_server(self.fs, _bytes(self.protocol), _bytes(host), port) < 0:
                raise LibgfapiException(
                    "glfs_set_volfile_server(%s) failed: %s" % (host, os.strerror(ctypes.get_errno()))
                )
        self.set_logging(self.log_file, self.log_level)
        if api.glfs_init(self.fs) < 0:
            raise LibgfapiException(
                "glfs_init(%s) failed: %s" % (self.volname, os.strerror(ctypes.get_errno()))
            )
        self._mounted = True

    def umount(self):
        """Unmount it, if it is mounted."""
        if not self.fs:
            return
        if self._api.glfs_fini(self.fs) < 0:
            raise LibgfapiException(
                "glfs_fini(%s) failed: %s" % (self.volname, os.strerror(ctypes.get_errno()))
            )
        self._mounted = False
        self.fs = None

    def __del__(self):
        try:
            self.umount()
        except LibgfapiException:
            pass

    def set_logging(self, log_file, log_level):
        """Where the library logs, and up to which level; before mount() it is kept
        until then."""
        if self.fs and api.glfs_set_logging(self.fs, _bytes(log_file), log_level) < 0:
            raise LibgfapiException("glfs_set_logging(%s) failed: %s" % (log_file, os.strerror(ctypes.get_errno())))
        self.log_file = log_file
        self.log_level = log_level

    def disable_logging(self):
        """Log nowhere."""
        self.set_logging("/dev/null", self.log_level)

    @validate_mount
    def get_volume_id(self):
        """The volume's UUID."""
        if self.volid is None:
            buf = ctypes.create_string_buffer(16)
            _done(api.glfs_get_volumeid(self.fs, buf, 16))
            self.volid = uuid.UUID(bytes=buf.raw)
        return self.volid

    @validate_mount
    def access(self, path, mode):
        """Whether the rights of mode are given."""
        return api.glfs_access(self.fs, _bytes(path), mode) == 0

    @validate_mount
    def chdir(self, path):
        """Let relative paths begin there."""
        _done(api.glfs_chdir(self.fs, _bytes(path)), path)

    @validate_mount
    def chmod(self, path, mode):
        """Set the permission bits."""
        _done(api.glfs_chmod(self.fs, _bytes(path), mode), path)

    @validate_mount
    def chown(self, path, uid, gid):
        """Set owner and group."""
        _done(api.glfs_chown(self.fs, _bytes(path), uid, gid), path)

    def exists(self, path):
        """Whether path leads to something."""
        try:
            self.stat(path)
        except OSError:
            return False
        return True

    def getatime(self, path):
        """Time of the last access, in seconds."""
        return self.stat(path).st_atime

    def getctime(self, path):
        """Time of the last change of attributes, in seconds."""
        return self.stat(path).st_ctime

    @validate_mount
    def getcwd(self):
        """Where relative paths begin."""
        buf = ctypes.create_string_buffer(PATH_MAX)
        if not api.glfs_getcwd(self.fs, buf, PATH_MAX):
            raise _failed()
        return _text(buf.value)

    def getmtime(self, path):
        """Time of the last modification, in seconds."""
        return self.stat(path).st_mtime

    def getsize(self, path):
        """The size in bytes."""
        return self.stat(path).st_size

    @validate_mount
    def getxattr(self, path, key, size=0):
        """The value of an extended attribute."""
        p, k = _bytes(path), _bytes(key)
        return _xattr(_value(lambda buf, n: api.glfs_getxattr(self.fs, p, k, buf, n), size))

    def _is(self, test, ask, path):
        try:
            return test(ask(path).st_mode)
        except OSError:
            return False

    def isdir(self, path):
        """Whether path leads to a directory."""
        return self._is(stat.S_ISDIR, self.stat, path)

    def isfile(self, path):
        """Whether path leads to a regular file."""
        return self._is(stat.S_ISREG, self.stat, path)

    def islink(self, path):
        """Whether path is a symbolic link."""
        return self._is(stat.S_ISLNK, self.lstat, path)

    def listdir(self, path):
        """The names in a directory, without . and .."""
        return [name for name in (_text(e.d_name) for e in self.opendir(path)) if name not in (".", "..")]

    def listdir_with_stat(self, path):
        """Pairs of name and api.Stat, without . and .."""
        pairs = ((_text(e.d_name), s) for e, s in self.opendir(path, readdirplus=True))
        return [(name, s) for name, s in pairs if name not in (".", "..")]

    def scandir(self, path):
        """DirEntry objects, without . and .."""
        for e, s in self.opendir(path, readdirplus=True):
            name = _text(e.d_name)
            if name not in (".", ".."):
                yield DirEntry(self, path, name, s)

    @validate_mount
    def listxattr(self, path, size=0):
        """The names of the extended attributes, sorted."""
        p = _bytes(path)
        return _keys(_value(lambda buf, n: api.glfs_listxattr(self.fs, p, buf, n), size))

    @validate_mount
    def lstat(self, path):
        """The attributes, of a symbolic link itself."""
        s = api.Stat()
        _done(api.glfs_lstat(self.fs, _bytes(path), ctypes.byref(s)), path)
        return s

    def makedirs(self, path, mode=0o777):
        """mkdir() with the parents that are missing."""
        head, tail = os.path.split(path)
        if not tail:
            head, tail = os.path.split(head)
        if head and tail and not self.exists(head):
            try:
                self.makedirs(head, mode)
            except OSError as e:
                if e.errno != errno.EEXIST:
                    raise
            if tail == os.curdir:
                return
        self.mkdir(path, mode)

    @validate_mount
    def mkdir(self, path, mode=0o777):
        """Make a directory."""
        _done(api.glfs_mkdir(self.fs, _bytes(path), mode), path)

    @validate_mount
    def fopen(self, path, mode="r"):
        """Open a file as open() does and return a File."""
        if not isinstance(mode, str):
            raise TypeError("mode: want a str, not %s" % type(mode).__name__)
        flags = _FLAGS.get(mode.replace("b", ""))
        if flags is None:
            raise ValueError("mode: want r, w or a, with or without + and b, not %r" % mode)
        return File(self._fd(path, flags, 0o666), path=path, mode=mode)

    @validate_mount
    def open(self, path, flags, mode=0o777):
        """Open a file and return the number that File takes."""
        if not isinstance(flags, int):
            raise TypeError("flags: want a number, not %s" % type(flags).__name__)
        return self._fd(path, flags, mode)

    def _fd(self, path, flags, mode):
        if flags & os.O_CREAT:
            fd = api.glfs_creat(self.fs, _bytes(path), flags, mode)
        else:
            fd = api.glfs_open(self.fs, _bytes(path), flags)
        if not fd:
            raise _failed(path)
        return fd

    @validate_mount
    def opendir(self, path, readdirplus=False):
        """Open a directory and return a Dir."""
        fd = api.glfs_opendir(self.fs, _bytes(path))
        if not fd:
            raise _failed(path)
        return Dir(fd, readdirplus)

    @validate_mount
    def readlink(self, path):
        """What a symbolic link says."""
        buf = ctypes.create_string_buffer(PATH_MAX)
        n = _done(api.glfs_readlink(self.fs, _bytes(path), buf, PATH_MAX), path)
        return _text(buf.raw[:n])

    def remove(self, path):
        """unlink()."""
        return self.unlink(path)

    @validate_mount
    def removexattr(self, path, key):
        """Remove an extended attribute."""
        _done(api.glfs_removexattr(self.fs, _bytes(path), _bytes(key)), path)

    @validate_mount
    def rename(self, src, dst):
        """Rename, replacing dst."""
        _done(api.glfs_rename(self.fs, _bytes(src), _bytes(dst)), src)

    @validate_mount
    def rmdir(self, path):
        """Remove an empty directory."""
        _done(api.glfs_rmdir(self.fs, _bytes(path)), path)

    def rmtree(self, path, ignore_errors=False, onerror=None):
        """Remove a tree; onerror(function, path, exception) hears of what fails."""
        if ignore_errors:

            def onerror(*_):
                pass

        elif onerror is None:

            def onerror(*_):
                raise

        if self.islink(path):
            raise OSError("%s is a symbolic link: rmtree does not follow it" % path)
        self._rmtree(path, onerror)

    def _rmtree(self, path, onerror):
        try:
            for entry in list(self.scandir(path)):
                if entry.is_dir():
                    self._rmtree(entry.path, onerror)
                    continue
                try:
                    self.unlink(entry.path)
                except OSError as e:
                    onerror(self.unlink, entry.path, e)
        except OSError as e:
            onerror(self.scandir, path, e)
        try:
            self.rmdir(path)
        except OSError as e:
            onerror(self.rmdir, path, e)

    def setfsuid(self, uid):
        """Act as this user from now on, in this thread."""
        _done(api.glfs_setfsuid(uid))

    def setfsgid(self, gid):
        """Act as this group from now on, in this thread."""
        _done(api.glfs_setfsgid(gid))

    @validate_mount
    def setxattr(self, path, key, value, flags=0):
        """Set an extended attribute; flags: 1 create, 2 replace."""
        value = _bytes(value)
        _done(api.glfs_setxattr(self.fs, _bytes(path), _bytes(key), value, len(value), flags), path)

    @validate_mount
    def stat(self, path):
        """The attributes, an api.Stat."""
        s = api.Stat()
        _done(api.glfs_stat(self.fs, _bytes(path), ctypes.byref(s)), path)
        return s

    @validate_mount
    def statvfs(self, path):
        """Space and limits, an api.Statvfs."""
        s = api.Statvfs()
        _done(api.glfs_statvfs(self.fs, _bytes(path), ctypes.byref(s)), path)
        return s

    @validate_mount
    def link(self, source, link_name):
        """Give a file one more name."""
        _done(api.glfs_link(self.fs, _bytes(source), _bytes(link_name)), source)

    @validate_mount
    def symlink(self, source, link_name):
        """Make a symbolic link that says source."""
        _done(api.glfs_symlink(self.fs, _bytes(source), _bytes(link_name)), link_name)

    @validate_mount
    def unlink(self, path):
        """Remove a name that is no directory's."""
        _done(api.glfs_unlink(self.fs, _bytes(path)), path)

    @validate_mount
    def utime(self, path, times):
        """Set access and modification time, both now if times is None."""
        if times is None:
            now = time.time()
            times = (now, now)
        elif not isinstance(times, tuple) or len(times) != 2:
            raise TypeError("times: want None or a tuple of access and modification time")
        pair = (api.Timespec * 2)()
        for ts, t in zip(pair, times):
            whole = int(t // 1)
            ts.tv_sec, ts.tv_nsec = whole, int((t - whole) * 1e9)
        _done(api.glfs_utimens(self.fs, _bytes(path), pair), path)

    def walk(self, top, topdown=True, onerror=None, followlinks=False):
        """Like os.walk, but links to directories are among the files unless
        followlinks is given."""
        dirs, files = [], []
        try:
            for entry in self.scandir(top):
                (dirs if entry.is_dir(follow_symlinks=followlinks) else files).append(entry)
        except OSError as e:
            if onerror is not None:
                onerror(e)
            return
        names = [e.name for e in dirs], [e.name for e in files]
        if topdown:
            yield (top,) + names
            # The caller may have pruned or reordered the names.
            for name in names[0]:
                yield from self.walk(os.path.join(top, name), topdown, onerror, followlinks)
        else:
            for entry in dirs:
                yield from self.walk(entry.path, topdown, onerror, followlinks)
            yield (top,) + names

    def samefile(self, path1, path2):
        """Whether both lead to the same object."""
        a, b = self.stat(path1), self.stat(path2)
        return a.st_ino == b.st_ino and a.st_dev == b.st_dev

    @classmethod
    def copyfileobj(cls, fsrc, fdst, length=128 * 1024):
        """Copy what follows in one File to another."""
        buf = bytearray(length)
        with memoryview(buf) as whole:
            while True:
                n = fsrc.readinto(buf)
                if not n:
                    return
                at = 0
                while at < n:
                    at += fdst.write(whole[at:n])

    def copyfile(self, src, dst):
        """Copy the contents of a file."""
        same = False
        try:
            same = self.samefile(src, dst)
        except OSError:
            pass  # dst is new
        if same:
            raise Error("`%s` and `%s` are the same file" % (src, dst))
        with self.fopen(src, "rb") as fsrc:
            with self.fopen(dst, "wb") as fdst:
                self.copyfileobj(fsrc, fdst)

    def copymode(self, src, dst):
        """Copy the permission bits."""
        self.chmod(dst, stat.S_IMODE(self.stat(src).st_mode))

    def copystat(self, src, dst):
        """Copy permission bits and times."""
        s = self.stat(src)
        self.utime(dst, (s.st_atime, s.st_mtime))
        self.chmod(dst, stat.S_IMODE(s.st_mode))

    def copy(self, src, dst):
        """copyfile() and copymode(), into dst if it is a directory."""
        if self.isdir(dst):
            dst = os.path.join(dst, os.path.basename(src))
        self.copyfile(src, dst)
        self.copymode(src, dst)

    def copy2(self, src, dst):
        """copyfile() and copystat(), into dst if it is a directory."""
        if self.isdir(dst):
            dst = os.path.join(dst, os.path.basename(src))
        self.copyfile(src, dst)
        self.copystat(src, dst)

    def copytree(self, src, dst, symlinks=False, ignore=None):
        """Copy a tree to a place that must not exist."""
        pairs = self.listdir_with_stat(src)
        ignored = ignore(src, [name for name, _ in pairs]) if ignore is not None else ()
        self.makedirs(dst)
        errors = []
        for name, s in pairs:
            if name in ignored:
                continue
            one, two = os.path.join(src, name), os.path.join(dst, name)
            try:
                if symlinks and stat.S_ISLNK(s.st_mode):
                    self.symlink(self.readlink(one), two)
                elif stat.S_ISDIR(s.st_mode) or stat.S_ISLNK(s.st_mode) and self.isdir(one):
                    self.copytree(one, two, symlinks)
                else:
                    with self.fopen(one, "rb") as fsrc, self.fopen(two, "wb") as fdst:
                        self.copyfileobj(fsrc, fdst)
                    self.utime(two, (s.st_atime, s.st_mtime))
                    self.chmod(two, stat.S_IMODE(s.st_mode))
            except Error as e:
                errors.extend(e.args[0])
            except EnvironmentError as e:
                errors.append((one, two, str(e)))
        try:
            self.copystat(src, dst)
        except OSError as e:
            errors.append((src, dst, str(e)))
        if errors:
            raise Error(errors)

    @validate_mount
    def mknod(self, path, mode, dev):
        """Make a file or node of any type but directory and symbolic link."""
        _done(api.glfs_mknod(self.fs, _bytes(path), mode, dev), path)
