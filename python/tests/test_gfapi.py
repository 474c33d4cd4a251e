"""gluster.gfapi on a volume: what programs written for libgfapi-python 1.2 expect."""

import errno
import os
import stat
import threading
import time
import uuid

import pytest

from gluster.gfapi import Dir, DirEntry, Error, File, LibgfapiException, Volume, VolumeNotMounted, api


@pytest.fixture(scope="module")
def volume(where):
    hosts, port, name = where
    v = Volume(hosts[0], name, port=port)
    v.mount()
    yield v
    v.umount()


@pytest.fixture
def v(volume):
    home = "/compat-" + uuid.uuid4().hex[:12]
    volume.mkdir(home, 0o755)
    volume.chdir(home)
    yield volume
    volume.chdir("/")
    volume.rmtree(home, ignore_errors=True)


@pytest.fixture
def path(v):
    """A file that says gluster is awesome."""
    with File(v.open("file", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644), path="file") as f:
        assert f.write("gluster is awesome") == 18
        f.fsync()
        assert f.originalpath == f.name == "file"
    return "file"


@pytest.fixture
def tree(v):
    """Three directories, five files, two links."""
    v.makedirs("tree/one/two")
    for name in ("tree/a", "tree/b", "tree/one/c", "tree/one/two/d", "tree/one/two/e"):
        with v.fopen(name, "w") as f:
            f.write(name)
    v.symlink("one/two", "tree/linkdir")
    v.symlink("a", "tree/linkfile")
    return "tree"


def fails(code, f, *args, **kw):
    with pytest.raises(OSError) as e:
        f(*args, **kw)
    assert code is None or e.value.errno == code


def test_the_slide(where):
    hosts, port, name = where
    volume = Volume(hosts[0], name, port=port)
    volume.mount()
    volume.mkdir("slide-dir")
    assert "slide-dir" in volume.listdir("/")
    with volume.fopen("slide-dir/somefile.txt", "w+") as fd:
        fd.write("Winter is coming.")
    with volume.fopen("slide-dir/somefile.txt") as fd:
        assert fd.read().decode() == "Winter is coming."
    volume.unlink("slide-dir/somefile.txt")
    volume.rmdir("slide-dir")
    volume.umount()
    assert not volume.mounted


def test_binary(v):
    data = bytearray(range(256))
    with File(v.open("bin", os.O_CREAT | os.O_RDWR, 0o600)) as f:
        assert f.write(data) == 256
        f.lseek(0, os.SEEK_SET)
        assert f.read(1000) == bytes(data)


def test_open(v, path):
    fails(errno.ENOENT, v.open, "none", os.O_RDONLY)
    with pytest.raises(TypeError):
        v.open(path, "w")
    fails(errno.EEXIST, v.open, path, os.O_CREAT | os.O_EXCL, 0o644)
    File(v.open(path, os.O_CREAT | os.O_RDONLY, 0o644)).close()
    f = File(v.open(path, os.O_RDONLY))
    f.close()
    fails(errno.EBADF, f.close)
    fails(errno.EBADF, f.read)
    assert f.closed
    for bad in (None, "5"):
        with pytest.raises(ValueError):
            File(bad)


def test_fopen(v, path):
    with pytest.raises(TypeError):
        v.fopen(path, 3)
    with pytest.raises(ValueError):
        v.fopen(path, "x")
    fails(errno.ENOENT, v.fopen, "none")
    with v.fopen(path) as f:
        assert isinstance(f, File) and f.lseek(0, os.SEEK_CUR) == 0 and f.read() == b"gluster is awesome"
        assert f.read() == b"" and f.mode == "r"
    with v.fopen("new", "w") as f:
        f.write("123")
    assert stat.S_IMODE(v.stat("new").st_mode) == 0o666
    with v.fopen("new", "r+") as f:
        f.write("xy")
        assert f.lseek(0, os.SEEK_CUR) == 2
        f.ftruncate(0)
        assert f.lseek(0, os.SEEK_CUR) == 2 and f.fgetsize() == 0
    with v.fopen("new", "w+b") as f:
        f.write(b"abc")
        f.lseek(0, os.SEEK_SET)
        assert f.read() == b"abc"
    with v.fopen("new", "a") as f:
        f.write("def")
    with v.fopen("new", "a+") as f:
        f.write("ghi")
        f.lseek(0, os.SEEK_SET)
        assert f.read() == b"abcdefghi"


def test_in_thread(v):
    seen = []

    def work():
        with v.fopen("thread", "w") as f:
            seen.append(f.write("x"))

    t = threading.Thread(target=work)
    t.start()
    t.join()
    assert seen == [1] and v.getsize("thread") == 1


def test_text_is_utf8(v):
    with v.fopen("u", "w") as f:
        assert f.write("zwölf") == 6
    with v.fopen("u") as f:
        assert f.read() == "zwölf".encode()


def test_dup_lseek(v, path):
    with v.fopen(path) as f:
        d = f.dup()
    assert d.originalpath == path
    assert d.lseek(8, os.SEEK_SET) == 8 and d.read(2) == b"is" and d.read() == b" awesome"
    d.close()


def test_attributes(v, path):
    v.chmod(path, 0o600)
    assert stat.S_IMODE(v.stat(path).st_mode) == 0o600
    s = v.lstat(path)
    assert isinstance(s, api.Stat) and s.st_size == v.getsize(path) == 18
    assert v.exists(path) and not v.exists("none") and v.isfile(path) and not v.isdir(path) and not v.islink(path)
    for bad in ("x", (1,), [1, 2]):
        with pytest.raises(TypeError):
            v.utime(path, bad)
    v.utime(path, (692884800, 692884801.5))
    assert (v.getatime(path), v.getmtime(path)) == (692884800, 692884801)
    v.utime(path, None)
    assert abs(v.getmtime(path) - time.time()) < 60 and v.getctime(path) > 0
    fails(errno.ENOENT, v.utime, "none", None)
    v.chmod(path, 0o777)
    assert v.access(path, os.F_OK) and v.access(path, os.W_OK | os.X_OK) and not v.access("none", os.F_OK)
    with v.fopen(path, "r+") as f:
        f.fchmod(0o640)
        f.fchown(3, 4)
        s = f.fstat()
    assert (stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid) == (0o640, 3, 4)
    v.chown(path, 5, 6)
    assert (v.stat(path).st_uid, v.stat(path).st_gid) == (5, 6)


def test_names(v, path):
    v.symlink(path, "link")
    assert v.islink("link") and v.readlink("link") == path and v.stat("link").st_size == 18
    v.link(path, "hard")
    assert v.samefile(path, "hard") and v.stat(path).st_nlink == 2
    fails(errno.EEXIST, v.link, path, "hard")
    fails(errno.ENOENT, v.link, "none", "x")
    v.rename("hard", "moved")
    fails(errno.ENOENT, v.lstat, "hard")
    v.unlink("moved")
    v.remove("link")
    fails(errno.ENOENT, v.unlink, "moved")
    v.mknod("null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    s = v.stat("null")
    assert stat.S_ISCHR(s.st_mode) and (os.major(s.st_rdev), os.minor(s.st_rdev)) == (1, 3)


@pytest.mark.parametrize("kind", ("path", "file"))
def test_xattrs(v, path, kind):
    with v.fopen(path, "r+") as f:

        def on(name):
            if kind == "file":
                return getattr(f, "f" + name)
            return lambda *args, **kw: getattr(v, name)(path, *args, **kw)

        on("setxattr")("trusted.key1", "hello")
        fails(errno.EEXIST, on("setxattr"), "trusted.key1", "x", 1)
        fails(errno.ENODATA, on("setxattr"), "trusted.none", "x", 2)
        on("setxattr")("trusted.key1", "world", 2)
        on("setxattr")("trusted.key2", "x", flags=1)
        get = on("getxattr")
        assert get("trusted.key1") == get("trusted.key1", size=5) == get("trusted.key1", size=99) == "world"
        fails(errno.ERANGE, get, "trusted.key1", size=1)
        for call in (lambda: get("trusted.key1", size=-1), lambda: on("listxattr")(size=-1)):
            with pytest.raises(ValueError):
                call()
        keys = on("listxattr")()
        assert {"trusted.key1", "trusted.key2"} <= set(keys) and keys == sorted(keys)
        assert on("listxattr")(size=4096) == keys
        fails(errno.ERANGE, on("listxattr"), size=1)
        on("removexattr")("trusted.key1")
        fails(errno.ENODATA, on("removexattr"), "trusted.key1")


def test_space(v, path):
    with v.fopen(path, "r+") as f:
        f.ftruncate(7)
        assert f.fgetsize() == 7 and f.read() == b"gluster"
        f.fallocate(0, 0, 10)
        assert f.fgetsize() == 10
        f.discard(0, 3)
        f.zerofill(5, 8)
        f.lseek(0, os.SEEK_SET)
        assert f.read() == b"\0\0\0st" + bytes(8)
        f.fdatasync()
        f.ftruncate(1 << 33)  # beyond what fits into an int
        assert f.fgetsize() == 1 << 33 and f.lseek(-1, os.SEEK_END) == (1 << 33) - 1


def test_readinto(v, path):
    with v.fopen(path) as f:
        got = bytearray()
        one = bytearray(1)
        while f.readinto(one):
            got += one
        assert got == b"gluster is awesome"
        with pytest.raises(TypeError):
            f.readinto("text")


def test_cwd(v):
    home = v.getcwd()
    v.makedirs("a/b")
    v.chdir("a/b")
    assert v.getcwd() == home + "/a/b"
    v.chdir("../..")
    assert v.getcwd() == home
    v.chdir("/")
    assert v.getcwd() == "/"
    v.chdir(home)


def test_copies(v, path):
    data = os.urandom(281 * 1024)
    with v.fopen("big", "wb") as f:
        f.write(data)
    with v.fopen("big", "rb") as a, v.fopen("copy", "wb") as b:
        v.copyfileobj(a, b, 32 * 1024)
    with v.fopen("copy", "rb") as f:
        assert f.read() == data
    closed = v.fopen("big")
    closed.close()
    with v.fopen("copy", "w") as b:
        fails(errno.EBADF, v.copyfileobj, closed, b)
    with pytest.raises(Error):
        v.copyfile(path, path)
    v.link(path, "hard")
    with pytest.raises(Error):
        v.copyfile(path, "hard")
    v.chmod(path, 0o741)
    v.utime(path, (100, 200))
    v.copyfile(path, "c1")
    v.copymode(path, "c1")
    assert stat.S_IMODE(v.stat("c1").st_mode) == 0o741
    v.copystat(path, "c1")
    assert (v.stat("c1").st_atime, v.stat("c1").st_mtime) == (100, 200)
    v.mkdir("d")
    v.copy(path, "d")
    v.copy2(path, "d/two")
    assert v.getsize("d/file") == 18 and v.stat("d/two").st_mtime == 200


def test_directories(v, tree):
    assert v.isdir(tree) and sorted(v.listdir(tree)) == ["a", "b", "linkdir", "linkfile", "one"]
    pairs = dict(v.listdir_with_stat(tree))
    assert sorted(pairs) == sorted(v.listdir(tree)) and all(isinstance(s, api.Stat) for s in pairs.values())
    assert stat.S_ISDIR(pairs["one"].st_mode) and pairs["a"].st_size == 6
    fails(errno.ENOENT, v.listdir_with_stat, "none")
    fails(errno.ENOENT, v.listdir, "none")
    entries = {e.name: e for e in v.scandir(tree)}
    assert all(isinstance(e, DirEntry) and isinstance(e.stat(), api.Stat) for e in entries.values())
    link = entries["linkdir"]
    assert link.is_symlink() and not link.is_dir() and link.is_dir(follow_symlinks=True) and link.path == "tree/linkdir"
    assert entries["a"].is_file() and entries["a"].inode() == v.stat("tree/a").st_ino
    d = v.opendir(tree)
    assert isinstance(d, Dir) and all(isinstance(e, api.Dirent) for e in d)
    assert all(isinstance(s, api.Stat) for _, s in v.opendir(tree, readdirplus=True))
    fails(errno.EEXIST, v.mkdir, tree)
    fails(errno.EEXIST, v.makedirs, "tree/one")
    fails(errno.ENOTEMPTY, v.rmdir, tree)
    s = v.statvfs("/")
    assert isinstance(s, api.Statvfs) and s.f_namemax == 255 and s.f_ffree > 0


def test_walk(v, tree):
    def count(**kw):
        steps = list(v.walk(tree, **kw))
        return len(steps), sum(len(f) for _, _, f in steps)

    assert count() == count(topdown=False) == (3, 7)
    assert count(followlinks=True) == count(followlinks=True, topdown=False) == (4, 8)
    assert list(v.walk(tree))[0][0] == tree and list(v.walk(tree, topdown=False))[-1][0] == tree
    assert list(v.walk("none")) == []

    def shout(e):
        raise e

    fails(errno.ENOENT, list, v.walk("none", onerror=shout))


def test_trees(v, tree):
    v.copytree(tree, "copy")
    assert [len(list(v.walk("copy"))), sum(len(f) for _, _, f in v.walk("copy"))] == [4, 8]
    assert not v.islink("copy/linkdir")
    v.copytree(tree, "links", symlinks=True)
    assert v.readlink("links/linkdir") == "one/two" and v.readlink("links/linkfile") == "a"
    fails(errno.EEXIST, v.copytree, tree, "copy")
    v.copytree(tree, "some", ignore=lambda d, names: ["one", "linkdir"])
    assert sorted(v.listdir("some")) == ["a", "b", "linkfile"]
    fails(None, v.rmtree, "tree/linkdir")
    v.rmtree(tree)
    assert not v.exists(tree)
    heard = []
    v.rmtree("none", onerror=lambda f, p, e: heard.append((p, e.errno)))
    assert ("none", errno.ENOENT) in heard
    v.rmtree("none", ignore_errors=True)
    fails(errno.ENOENT, v.rmtree, "none")


def test_users(v):
    v.mkdir("private", 0o700)
    v.setfsgid(1000)
    v.setfsuid(1000)
    try:
        fails(errno.EACCES, v.fopen, "private/f", "w")
    finally:
        v.setfsuid(0)
        v.setfsgid(0)
    v.fopen("private/f", "w").close()


def test_volume(where, tmp_path):
    hosts, port, name = where
    v = Volume(hosts[0], name)
    assert (v.hosts, v.volname, v.port, v.protocol) == ([hosts[0]], name, 24007, "tcp")
    assert (v.log_file, v.log_level, v.mounted, v.fs) == ("/dev/null", 7, False, None)
    with pytest.raises(VolumeNotMounted, match='Volume "%s" not mounted.' % name):
        v.listdir("/")
    for bad in ((None, name), (hosts[0], None), ([], name)):
        with pytest.raises(LibgfapiException):
            Volume(*bad)
    for bad in ({"proto": "x"}, {"port": "24007"}):
        with pytest.raises(LibgfapiException):
            Volume(hosts[0], name, **bad)
    log = tmp_path / "log"
    v = Volume(hosts[0], name, port=port)
    v.set_logging(str(log), 7)
    v.mount()
    v.mount()
    assert v.mounted and log.exists()
    assert isinstance(v.get_volume_id(), uuid.UUID) and v.volid == v.get_volume_id()
    v.disable_logging()
    assert v.log_file == "/dev/null"
    v.umount()
    v.umount()
    assert not v.mounted and not v.fs
    for bad in ((hosts[0], "no-such-volume", port), ("127.0.0.1", name, 1)):
        w = Volume(bad[0], bad[1], port=bad[2])
        with pytest.raises(LibgfapiException):
            w.mount()
        assert not w.mounted
