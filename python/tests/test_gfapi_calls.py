"""How gluster.gfapi calls the C functions: programs replace them in tests of their own.

No volume and no library is needed: every function is looked up in gluster.gfapi.api
when it is called, with paths and values as bytes.
"""

import errno
import os
from unittest.mock import Mock, patch

import pytest

from gluster.gfapi import Dir, File, LibgfapiException, Volume, api, utils
from gluster.gfapi.exceptions import VolumeNotMounted

# method, its arguments, C function, the arguments it must get after fs (None: not looked at)
PATHS = [
    ("chmod", ("f", 0o600), "chmod", (b"f", 0o600)),
    ("chown", ("f", 1, 2), "chown", (b"f", 1, 2)),
    ("mkdir", ("d/", 0o775), "mkdir", (b"d/", 0o775)),
    ("rename", ("a", "b"), "rename", (b"a", b"b")),
    ("rmdir", ("d",), "rmdir", (b"d",)),
    ("unlink", ("f",), "unlink", (b"f",)),
    ("removexattr", ("f", "user.k"), "removexattr", (b"f", b"user.k")),
    ("setxattr", ("f", "user.k", "v", 1), "setxattr", (b"f", b"user.k", b"v", 1, 1)),
    ("symlink", ("a", "b"), "symlink", (b"a", b"b")),
    ("link", ("a", "b"), "link", (b"a", b"b")),
    ("mknod", ("n", 0o644, 0), "mknod", (b"n", 0o644, 0)),
    ("chdir", ("d",), "chdir", (b"d",)),
    ("stat", ("f",), "stat", None),
    ("lstat", ("f",), "lstat", None),
    ("statvfs", ("f",), "statvfs", None),
    ("utime", ("f", (1, 2)), "utimens", None),
]
FILES = [
    ("fchmod", (0o600,), "fchmod", (0o600,)),
    ("fchown", (1, 2), "fchown", (1, 2)),
    ("fdatasync", (), "fdatasync", ()),
    ("fsync", (), "fsync", ()),
    ("ftruncate", (5,), "ftruncate", (5,)),
    ("fallocate", (0, 1, 2), "fallocate", (0, 1, 2)),
    ("discard", (1, 2), "discard", (1, 2)),
    ("zerofill", (1, 2), "zerofill", (1, 2)),
    ("fsetxattr", ("user.k", "v", 2), "fsetxattr", (b"user.k", b"v", 1, 2)),
    ("fremovexattr", ("user.k",), "fremovexattr", (b"user.k",)),
    ("lseek", (20, os.SEEK_SET), "lseek", (20, os.SEEK_SET)),
    ("fstat", (), "fstat", None),
    ("write", (b"abc",), "write", (b"abc", 3, 0)),
]


@pytest.fixture
def vol():
    v = Volume("host", "vol")
    v.fs, v._mounted = 12345, True
    yield v
    v.fs = None


@pytest.mark.parametrize("method,args,function,want", PATHS, ids=lambda x: x if isinstance(x, str) else "")
def test_paths(vol, method, args, function, want):
    ok = Mock(return_value=0)
    with patch("gluster.gfapi.api.glfs_" + function, ok):
        getattr(vol, method)(*args)
    got = ok.call_args[0]
    assert ok.call_count == 1 and got[0] == 12345
    assert got[1:] == want if want is not None else got[1] == b"f"
    with patch("gluster.gfapi.api.glfs_" + function, Mock(return_value=-1)), pytest.raises(OSError):
        getattr(vol, method)(*args)
    vol._mounted = False
    with pytest.raises(VolumeNotMounted):
        getattr(vol, method)(*args)
    assert hasattr(getattr(Volume, method), "__wrapped__")


@pytest.mark.parametrize("method,args,function,want", FILES, ids=lambda x: x if isinstance(x, str) else "")
def test_files(method, args, function, want):
    ok = Mock(return_value=20)
    f = File(2, "file")
    with patch("gluster.gfapi.api.glfs_" + function, ok):
        result = getattr(f, method)(*args)
    assert ok.call_args[0][0] == 2
    if want is not None:
        assert ok.call_args[0][1:] == want
    if method in ("lseek", "write"):
        assert result == 20
    with patch("gluster.gfapi.api.glfs_" + function, Mock(return_value=-1)), pytest.raises(OSError):
        getattr(f, method)(*args)
    assert hasattr(getattr(File, method), "__wrapped__")


def test_mount_calls():
    new, server, log, init, fini = Mock(return_value=7), Mock(return_value=0), Mock(return_value=0), Mock(return_value=0), Mock(return_value=0)
    names = {"new": new, "set_volfile_server": server, "set_logging": log, "init": init, "fini": fini}
    with patch.multiple("gluster.gfapi.api", **{"glfs_" + k: m for k, m in names.items()}):
        v = Volume(["h1", "h2"], "vol")
        v.mount()
        v.mount()
        new.assert_called_once_with(b"vol")
        assert [c[0] for c in server.call_args_list] == [(7, b"tcp", b"h1", 24007), (7, b"tcp", b"h2", 24007)]
        log.assert_called_once_with(7, b"/dev/null", 7)
        init.assert_called_once_with(7)
        fini.return_value = -1
        with pytest.raises(LibgfapiException):
            v.umount()
        assert v.mounted
        fini.return_value = 0
        v.umount()
        assert not v.fs
        for broken, value in ((new, None), (server, -1), (init, -1)):
            before, broken.return_value = broken.return_value, value
            w = Volume("h", "vol")
            with pytest.raises(LibgfapiException):
                w.mount()
            assert not w.mounted
            broken.return_value = before


def test_open_calls(vol):
    opened, created = Mock(return_value=2), Mock(return_value=3)
    with patch("gluster.gfapi.api.glfs_open", opened), patch("gluster.gfapi.api.glfs_creat", created):
        assert vol.open("file.txt", os.O_RDONLY, 0o644) == 2
        opened.assert_called_once_with(12345, b"file.txt", os.O_RDONLY)
        flags = os.O_CREAT | os.O_WRONLY
        assert vol.open("file.txt", flags, 0o644) == 3
        created.assert_called_once_with(12345, b"file.txt", flags, 0o644)
    with patch("gluster.gfapi.api.glfs_open", Mock(return_value=None)), pytest.raises(OSError):
        vol.open("file.txt", os.O_RDONLY)


def test_read_calls():
    def fill(fd, buf, size, flags):
        assert (fd, flags) == (2, 0)
        buf.value = b"hello"
        return 5

    with patch("gluster.gfapi.api.glfs_read", fill):
        assert File(2).read(5) == b"hello"
        with patch("gluster.gfapi.File.fgetsize", Mock(return_value=6)) as size:
            assert File(2).read(-1) == b"hello" and size.call_count == 1
    with patch("gluster.gfapi.api.glfs_read", Mock(return_value=0)):
        assert File(2).read(5) == b""
    with patch("gluster.gfapi.api.glfs_read", Mock(return_value=-1)), pytest.raises(OSError):
        File(2).read(5)


def test_xattr_calls(vol):
    def value(fs, path, key, buf, size):
        assert (fs, path, key) == (12345, b"f", b"user.k")
        if buf is not None:
            buf.value = b"fake_xattr"
        return 10

    def listing(fs, path, buf, size):
        if buf is not None:
            buf.raw = b"b\0a\0"
        return 4

    with patch("gluster.gfapi.api.glfs_getxattr", value):
        assert vol.getxattr("f", "user.k", 32) == vol.getxattr("f", "user.k") == "fake_xattr"
    with patch("gluster.gfapi.api.glfs_listxattr", listing):
        assert vol.listxattr("f") == ["a", "b"]


def test_directory_calls(vol):
    entries = []
    for name in (b".", b"..", b"x", b"y"):
        e = api.Dirent()
        e.d_name = name
        entries.append(e)
    nexts = [(e, api.Stat()) for e in entries] + [StopIteration]
    with patch("gluster.gfapi.api.glfs_opendir", Mock(return_value=9)) as opened, patch(
        "gluster.gfapi.api.glfs_closedir", Mock()
    ) as closed:
        with patch.object(Dir, "__next__", Mock(side_effect=nexts)):
            assert [e.path for e in vol.scandir("d")] == ["d/x", "d/y"]
        with patch.object(Dir, "__next__", Mock(side_effect=entries + [StopIteration])):
            assert vol.listdir("d") == ["x", "y"]
        opened.assert_called_with(12345, b"d")
        assert closed.call_args[0] == (9,) and closed.call_count == 2


def test_tree_calls(vol):
    """A tree is removed with one islink, for its top; makedirs makes what is missing."""
    e = Mock(path="d/f")
    e.is_dir.return_value = False
    with patch.multiple(Volume, islink=Mock(return_value=False), scandir=Mock(return_value=[e]), unlink=Mock(), rmdir=Mock()):
        vol.rmtree("d")
        Volume.islink.assert_called_once_with("d")
        Volume.unlink.assert_called_once_with("d/f")
        Volume.rmdir.assert_called_once_with("d")
        with patch.object(Volume, "unlink", Mock(side_effect=OSError)), pytest.raises(OSError):
            vol.rmtree("d")
        vol.rmtree("d", ignore_errors=True)
    with patch.object(Volume, "exists", Mock(side_effect=[False, True])), patch(
        "gluster.gfapi.api.glfs_mkdir", Mock(side_effect=[0, 0])
    ) as made:
        vol.makedirs("one/two/", 0o775)
    assert [c[0][1:] for c in made.call_args_list] == [(b"one", 0o775), (b"one/two/", 0o775)]


def test_times(vol):
    seen = []
    with patch("gluster.gfapi.api.glfs_utimens", lambda fs, path, ts: seen.append([(t.tv_sec, t.tv_nsec) for t in ts]) or 0):
        vol.utime("f", (1.5, 2))
        with patch("time.time", Mock(return_value=7.25)):
            vol.utime("f", None)
    assert seen == [[(1, 500000000), (2, 0)], [(7, 250000000), (7, 250000000)]]


def test_decorators():
    class Thing:
        fs, _mounted, volname, fd = 1, True, "vol", 3

        @utils.validate_mount
        def on_mount(self):
            return 1

        @utils.validate_glfd
        def on_file(self):
            return 2

    t = Thing()
    assert (t.on_mount(), t.on_file()) == (1, 2)
    t._mounted, t.fd = False, None
    with pytest.raises(VolumeNotMounted):
        t.on_mount()
    with pytest.raises(OSError) as e:
        t.on_file()
    assert e.value.errno == errno.EBADF
