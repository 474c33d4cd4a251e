"""The functions of os on a volume, held against os on a local directory."""

import errno
import io
import os
import pickle
import stat
import threading
import uuid

import pytest

import wythe


class Local:
    """A local directory with the methods of a Volume that are compared."""

    def __init__(self, root):
        self.root = str(root)

    def _p(self, p):
        return os.path.join(self.root, p)

    def __getattr__(self, name):
        f = getattr(os, name, None) or getattr(os.path, name)
        if name in ("rename", "replace", "link"):
            return lambda a, b: f(self._p(a), self._p(b))
        if name == "symlink":
            return lambda a, b: f(a, self._p(b))
        return lambda p, *a, **k: f(self._p(p), *a, **k)

    def open(self, p, *a, **k):
        return open(self._p(p), *a, **k)


def outcome(f, *a, **k):
    try:
        r = f(*a, **k)
    except Exception as e:
        return type(e), getattr(e, "errno", None)
    return r


CALLS = [
    ("mkdir", "d"), ("mkdir", "d"), ("mkdir", "no/d"), ("rmdir", "no"), ("symlink", "d", "l"),
    ("symlink", "gone", "dangling"), ("readlink", "l"), ("readlink", "d"), ("readlink", "no"),
    ("exists", "dangling"), ("lexists", "dangling"), ("islink", "l"), ("isdir", "l"), ("isfile", "l"),
    ("listdir", "d"), ("listdir", "no"), ("makedirs", "a/b/c"), ("makedirs", "a/b/c"),
    ("removedirs", "a/b/c"), ("exists", "a"), ("unlink", "d"), ("unlink", "no"), ("rename", "no", "x"),
    ("mkdir", "e"), ("rename", "e", "d/e"), ("rmdir", "d"), ("listdir", "d"), ("rename", "d", "d/e/f"),
    ("access", "d", os.F_OK), ("access", "no", os.F_OK), ("chmod", "no", 0o600), ("truncate", "no", 3),
    ("link", "no", "y"), ("mkdir", "n" * 256), ("mkdir", "n" * 255), ("getsize", "no"),
    ("rmdir", "l"), ("listdir", "l"), ("open", "d"), ("open", "no/x", "w"), ("open", "no"), ("open", "d", "w"),
    ("open", "no", "q"), ("open", "dangling"), ("readlink", b"x"),
]


def test_outcomes(vol, tmp_path):
    local = Local(tmp_path)
    for name, *args in CALLS:
        if args == [b"x"]:
            continue
        ours, theirs = outcome(getattr(vol, name), *args), outcome(getattr(local, name), *args)
        if isinstance(theirs, list):
            ours, theirs = sorted(ours), sorted(theirs)
        assert ours == theirs, (name, args)


def test_stat(vol):
    assert vol.write_bytes("f", b"x" * 5000) == 5000
    s = vol.stat("f")
    assert isinstance(s, os.stat_result)
    assert stat.S_ISREG(s.st_mode) and s.st_size == 5000 and s.st_nlink == 1 and s.st_blksize > 0
    assert s.st_uid == os.geteuid()
    assert s.st_mtime_ns // 10**9 == int(s.st_mtime) == s[stat.ST_MTIME]
    vol.link("f", "g")
    assert vol.stat("g").st_nlink == 2 and vol.samefile("f", "g") and vol.stat("g").st_ino == s.st_ino
    vol.symlink("f", "l")
    assert vol.stat("l").st_size == 5000 and vol.lstat("l").st_size == 1 and vol.islink("l")
    vol.utime("f", ns=(123456789123456789, 987654321987654321))
    s = vol.stat("f")
    assert (s.st_atime_ns, s.st_mtime_ns) == (123456789123456789, 987654321987654321)
    vol.utime("f", (1.5, 2.25))
    assert (vol.getatime("f"), vol.getmtime("f")) == (1.5, 2.25)
    before = vol.getmtime("f")
    vol.utime("f")
    assert vol.getmtime("f") > before
    for bad in (1, (1,), [1, 2]):
        with pytest.raises(TypeError):
            vol.utime("f", bad)
    with pytest.raises(ValueError):
        vol.utime("f", (1, 2), ns=(1, 2))


def test_modes_and_owners(vol):
    old, vol.umask = vol.umask, 0o027
    try:
        vol.mkdir("d", 0o777)
        vol.open("f", "w").close()
    finally:
        vol.umask = old
    assert stat.S_IMODE(vol.stat("d").st_mode) == 0o750
    assert stat.S_IMODE(vol.stat("f").st_mode) == 0o640
    vol.chmod("f", 0o4711)
    assert stat.S_IMODE(vol.stat("f").st_mode) == 0o4711
    if os.geteuid() == 0:
        vol.chown("f", 12, -1)
        assert (vol.stat("f").st_uid, vol.stat("f").st_gid) == (12, vol.stat("d").st_gid)
        vol.chown("f", -1, 34)
        assert (vol.stat("f").st_uid, vol.stat("f").st_gid) == (12, 34)
        vol.chmod("d", 0o700)
        with vol.as_user(1000, 1000, [1001]):
            with pytest.raises(PermissionError):
                vol.open("d/x", "w")
            assert not vol.access("d", os.W_OK)
        vol.open("d/x", "w").close()


def test_xattrs(vol):
    vol.mkdir("d")
    value = bytes(range(256)) * 4
    vol.setxattr("d", "user.a", value)
    assert vol.getxattr("d", "user.a") == value
    assert "user.a" in vol.listxattr("d")
    with pytest.raises(FileExistsError):
        vol.setxattr("d", "user.a", b"", os.XATTR_CREATE)
    with pytest.raises(OSError) as e:
        vol.setxattr("d", "user.b", b"", os.XATTR_REPLACE)
    assert e.value.errno == errno.ENODATA
    vol.removexattr("d", "user.a")
    with pytest.raises(OSError) as e:
        vol.getxattr("d", "user.a")
    assert (e.value.errno, e.value.filename) == (errno.ENODATA, "d")


def test_paths(vol):
    class P:
        def __fspath__(self):
            return "p"

    vol.mkdir(P())
    assert vol.isdir(b"p") and vol.isdir(P())
    odd = os.fsdecode(b"\xff\xfe")
    vol.mkdir("p/" + odd)
    assert vol.listdir("p") == [odd] and vol.listdir(b"p") == [b"\xff\xfe"]
    with vol.scandir(b"p") as it:
        assert [e.path for e in it] == [b"p/\xff\xfe"]
    vol.symlink("\udcff", "s")
    assert vol.readlink("s") == "\udcff" and vol.readlink(b"s") == b"\xff"
    with pytest.raises(ValueError):
        vol.stat("a\0b")
    with pytest.raises(TypeError):
        vol.stat(3)
    try:
        vol.rename("no", "p/x")
    except FileNotFoundError as e:
        assert (e.filename, e.filename2) == ("no", "p/x")
    else:
        pytest.fail("renamed what is not there")


def test_scandir(vol):
    n = 700  # more than one batch
    vol.mkdir("d")
    for i in range(n):
        vol.mknod("d/%03d" % i)
    vol.symlink("000", "d/link")
    vol.mkdir("d/dir")
    with vol.scandir("d") as it:
        found = {e.name: e for e in it}
    assert len(found) == n + 2 and sorted(vol.listdir("d")) == sorted(found)
    link = found["link"]
    assert link.is_symlink() and link.is_file() and not link.is_file(follow_symlinks=False)
    assert stat.S_ISLNK(link.stat(follow_symlinks=False).st_mode) and link.stat().st_ino == found["000"].inode()
    assert found["dir"].is_dir() and os.fspath(found["dir"]) == "d/dir"
    assert found["001"].stat().st_size == 0 and found["001"].is_file() and not found["001"].is_dir()
    it = vol.scandir("d")
    next(it)
    it.close()
    assert list(it) == []


def test_open_modes(vol):
    with pytest.raises(FileNotFoundError):
        vol.open("f")
    with vol.open("f", "x") as f:
        assert f.write("one\n") == 4 and f.mode == "x" and f.name == "f"
    with pytest.raises(FileExistsError):
        vol.open("f", "x")
    with vol.open("f", "a") as f:
        assert f.tell() == 4
        f.write("zwölf\r\n")
    with vol.open("f", newline="") as f:
        assert list(f) == ["one\n", "zwölf\r\n"]
    with vol.open("f", "r+b") as f:
        assert isinstance(f, io.BufferedRandom)
        f.seek(0, os.SEEK_END)
        f.write(b"end")
        f.seek(0)
        assert f.readline() == b"one\n"
        f.truncate(3)
    assert vol.read_bytes("f") == b"one"
    with vol.open("f", "wb", 0) as f:
        assert isinstance(f, wythe.RawFile) and isinstance(f, io.RawIOBase)
        assert f.write(b"abc") == 3 and f.tell() == 3 and f.seekable() and f.mode == "wb"
        with pytest.raises(io.UnsupportedOperation):
            f.read(1)
        with pytest.raises(io.UnsupportedOperation):
            f.fileno()
    assert f.closed
    with pytest.raises(ValueError):
        f.write(b"")
    with vol.open("f", "rb") as f:
        with pytest.raises(io.UnsupportedOperation):
            f.write(b"x")
    for bad in ("", "rw", "rr", "bt", "z"):
        with pytest.raises(ValueError):
            vol.open("f", bad)
    with pytest.raises(ValueError):
        vol.open("f", "rb", encoding="utf-8")
    with pytest.raises(ValueError):
        vol.open("f", "r", 0)


def test_data(vol):
    data = os.urandom(3_000_001)
    with vol.open("f", "wb") as f:
        for i in range(0, len(data), 4097):
            f.write(data[i : i + 4097])
    assert vol.read_bytes("f") == data
    with vol.open("f", "rb") as f:
        f.seek(-10, os.SEEK_END)
        assert f.read() == data[-10:]
        assert f.pread(5, 100) == data[100:105]
        buffer = bytearray(10)
        f.seek(7)
        assert f.readinto(memoryview(buffer)[2:5]) == 3 and buffer == b"\0\0" + data[7:10] + b"\0" * 5
        with pytest.raises(OSError):
            f.seek(-1)
    with vol.open("f", "r+b") as f:
        f.write(memoryview(b"12345678")[2:5])
        f.fsync()
        assert f.fstat().st_size == len(data)
        f.pwrite(b"zz", 1)
        f.punch_hole(4096, 4096)
        f.zero_range(len(data), 100)
        assert f.fstat().st_size == len(data) + 100
        f.fallocate(0, len(data) + 300)
        assert f.fstat().st_size == len(data) + 300
        f.fchmod(0o611)
        f.futime(ns=(5, 7))
        f.setxattr("user.k", b"v")
        assert f.getxattr("user.k") == b"v" and "user.k" in f.listxattr()
        f.removexattr("user.k")
        f.fdatasync()
    want = bytearray(data + b"\0" * 300)
    want[0:3] = b"345"
    want[1:3] = b"zz"
    want[4096:8192] = bytes(4096)
    assert vol.read_bytes("f") == want
    s = vol.stat("f")
    assert stat.S_IMODE(s.st_mode) == 0o611


def test_append(vol):
    with vol.open("f", "ab", 0) as a, vol.open("f", "ab", 0) as b:
        for i in range(10):
            (a if i % 2 else b).write(b"%d" % i)
    assert vol.read_bytes("f") == b"0123456789"


def test_locks(vol, where):
    import fcntl

    hosts, port, volume = where
    other = wythe.Volume(hosts, volume, port=port)
    vol.write_bytes("f", b"x")
    with other, vol.open("f", "r+b") as a, other.open(vol.getcwd() + "/f", "r+b") as b:
        a.lockf(fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)
        with pytest.raises(BlockingIOError):
            b.lockf(fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 5)
        b.lockf(fcntl.LOCK_EX | fcntl.LOCK_NB, 5)
        assert b.getlk(False) == (True, 5, 10)
        assert b.getlk(True, 3) is None
        waited = threading.Thread(target=lambda: b.lockf(fcntl.LOCK_EX, 1, 5))
        waited.start()
        waited.join(0.3)
        assert waited.is_alive()
        a.lockf(fcntl.LOCK_UN, 10, 5)
        waited.join(20)
        assert not waited.is_alive()


def test_threads(vol):
    errors = []

    def work(i):
        try:
            for j in range(20):
                name = "t%d-%d" % (i, j)
                vol.write_bytes(name, name.encode())
                assert vol.read_bytes(name) == name.encode()
        except Exception as e:  # shown by the main thread
            errors.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors and len(vol.listdir(".")) == 160


def test_unlinked_while_open(vol):
    with vol.open("f", "w+b") as f:
        f.write(b"still here")
        f.flush()
        vol.unlink("f")
        f.seek(0)
        assert f.read() == b"still here"


def test_mounting(where):
    hosts, port, volume = where
    v = wythe.Volume(hosts, volume, port=port)
    assert not v.mounted and volume in repr(v)
    assert v.isdir("/") and v.mounted  # mounts itself
    f = v.open("/open-" + uuid.uuid4().hex, "wb")
    f.write(b"buffered")
    copy = pickle.loads(pickle.dumps(v))
    assert (copy.name, copy.hosts, copy.mounted) == (v.name, v.hosts, False)
    v.unmount()
    v.unmount()
    assert not v.mounted and f.raw.closed
    with pytest.raises(OSError) as e:
        v.listdir("/")
    assert e.value.errno == errno.ENOTCONN
    with v:
        v.unlink(f.name)
        assert str(v.volume_id()) in v.volfile() or v.volfile().startswith("volume ")
        assert v.statvfs().f_namemax == 255 and v.disk_usage().total > 0


def test_bad_arguments():
    for args in (([], "v"), ("", "v"), ("h", ""), (["h", ""], "v")):
        with pytest.raises(ValueError):
            wythe.Volume(*args)
    for kw in ({"port": 0}, {"port": 70000}, {"transport": "rdma"}, {"options": {"x": "y"}}):
        with pytest.raises(ValueError):
            wythe.Volume("h", "v", **kw)
    for url in ("http://h/v", "gluster://h", "gluster://h:x/v", "gluster://"):
        with pytest.raises(ValueError):
            wythe.mount(url)


def test_failing_mounts(where):
    hosts, port, volume = where
    with pytest.raises(FileNotFoundError) as e:
        wythe.Volume(hosts, "no-such-volume", port=port).mount()
    assert "no-such-volume" in str(e.value)
    with pytest.raises(OSError) as e:
        wythe.Volume("127.0.0.1", volume, port=1).mount()
    assert e.value.errno == errno.ENOTCONN
    with pytest.raises(ImportError) as e:
        wythe.Volume(hosts, volume, port=port, library="/nonexistent.so").mount()
    assert "/nonexistent.so" in str(e.value)


def test_fork(vol):
    vol.write_bytes("f", b"parent")
    f = vol.open("f", "r+b")
    home = vol.getcwd()
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            assert not vol.mounted
            try:
                f.raw.fstat()
                raise AssertionError("a file from before the fork works")
            except OSError as e:
                assert e.errno == errno.EBADF, e
            # It mounts itself again; its directory is the root again.
            assert vol.read_bytes(home + "/f") == b"parent"
            vol.write_bytes(home + "/g", b"child")
            os.write(w, b"ok")
        except BaseException as e:
            os.write(w, repr(e).encode())
        finally:
            os._exit(0)
    os.close(w)
    said = b""
    while chunk := os.read(r, 4096):
        said += chunk
    os.close(r)
    os.waitpid(pid, 0)
    assert said == b"ok", said
    assert f.read() == b"parent"
    f.close()
    assert vol.read_bytes("g") == b"child"

