"""shutil, os.walk, glob and paths on a volume, held against the local ones."""

import errno
import io
import os
import random
import shutil
import stat

import pytest

import wythe


def build(v):
    v.makedirs("t/a/b")
    v.makedirs("t/c")
    for name, data in (("t/1", b"one"), ("t/a/2", b"two" * 99999), ("t/a/b/3", b""), ("t/c/x.txt", b"x")):
        v.write_bytes(name, data)
    v.symlink("a", "t/dirlink")
    v.symlink("1", "t/link")
    v.symlink("gone", "t/dangling")
    v.chmod("t/1", 0o640)
    v.utime("t/1", ns=(10**18 + 1, 10**18 + 2))
    v.setxattr("t/1", "user.k", b"v")


def local(root):
    os.makedirs(root + "/t/a/b")
    os.makedirs(root + "/t/c")
    for name in ("t/1", "t/a/2", "t/a/b/3", "t/c/x.txt"):
        open(root + "/" + name, "w").close()
    os.symlink("a", root + "/t/dirlink")
    os.symlink("1", root + "/t/link")
    os.symlink("gone", root + "/t/dangling")


@pytest.mark.parametrize("topdown", (True, False))
@pytest.mark.parametrize("followlinks", (True, False))
def test_walk(vol, tmp_path, topdown, followlinks):
    build(vol)
    local(str(tmp_path))

    def norm(walk, strip=""):
        return sorted((d[len(strip) :], sorted(a), sorted(b)) for d, a, b in walk)

    want = norm(os.walk(str(tmp_path) + "/t", topdown, None, followlinks), str(tmp_path) + "/")
    assert norm(vol.walk("t", topdown, None, followlinks)) == want
    errors = []
    assert list(vol.walk("none", onerror=errors.append)) == [] and errors[0].errno == errno.ENOENT


def test_walk_prunes(vol):
    build(vol)
    seen = []
    for d, dirs, _ in vol.walk("t"):
        seen.append(d)
        dirs[:] = [x for x in dirs if x != "a"]
    assert sorted(seen) == ["t", "t/c"]


def test_copytree(vol):
    build(vol)
    with pytest.raises(wythe.Error):  # the dangling link
        vol.copytree("t", "u0")
    assert vol.copytree("t", "u", symlinks=True) == "u"
    assert vol.read_bytes("u/a/2") == b"two" * 99999
    assert vol.readlink("u/dangling") == "gone" and vol.islink("u/dirlink")
    s, r = vol.stat("t/1"), vol.stat("u/1")
    assert (r.st_mode, r.st_mtime_ns, r.st_size) == (s.st_mode, s.st_mtime_ns, s.st_size)
    assert vol.getxattr("u/1", "user.k") == b"v"
    with pytest.raises(FileExistsError):
        vol.copytree("t", "u", symlinks=True)
    with pytest.raises(wythe.Error):  # its links exist
        vol.copytree("t", "u", symlinks=True, dirs_exist_ok=True)
    vol.copytree("t", "w", ignore_dangling_symlinks=True, ignore=shutil.ignore_patterns("*.txt", "b"))
    assert not vol.lexists("w/dangling") and not vol.exists("w/c/x.txt") and not vol.exists("w/a/b")
    assert vol.isdir("w/dirlink") and not vol.islink("w/dirlink")


def test_rmtree(vol):
    build(vol)
    with pytest.raises(OSError):
        vol.rmtree("t/dirlink")
    vol.rmtree("t")
    assert not vol.exists("t")
    with pytest.raises(FileNotFoundError):
        vol.rmtree("t")
    vol.rmtree("t", ignore_errors=True)
    heard = []
    vol.rmtree("t", onexc=lambda f, p, e: heard.append((p, e.errno)))
    assert ("t", errno.ENOENT) in heard


def test_copy_and_move(vol):
    build(vol)
    vol.copy("t/1", "t/c")
    assert stat.S_IMODE(vol.stat("t/c/1").st_mode) == 0o640
    assert vol.copy2("t/1", "t/9") == "t/9" and vol.stat("t/9").st_mtime_ns == 10**18 + 2
    with pytest.raises(wythe.SameFileError):
        vol.copyfile("t/1", "t/link")
    vol.copyfile("t/link", "t/link2", follow_symlinks=False)
    assert vol.readlink("t/link2") == "1"
    assert vol.move("t/9", "t/c") == "t/c/9" and not vol.exists("t/9")
    with pytest.raises(wythe.Error):
        vol.copy("t/1", "t/9") and vol.move("t/9", "t/c")
    vol.renames("t/c/9", "new/deep/9")
    assert vol.read_bytes("new/deep/9") == b"one"
    with vol.open("t/a/2", "rb") as a, io.BytesIO() as b:
        shutil.copyfileobj(a, b)
        assert b.getvalue() == b"two" * 99999


def test_glob(vol, tmp_path):
    import glob

    build(vol)
    local(str(tmp_path))
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        for p in ("t/*", "t/?", "t/**/*.txt", "t/[a-c]/*", "*/1", "nothing*", "t/a/2", "t/a/none"):
            assert vol.glob(p) == sorted(glob.glob(p, recursive=True)), p
    finally:
        os.chdir(before)


def test_realpath(vol, tmp_path):
    build(vol)
    local(str(tmp_path))
    root = os.path.realpath(str(tmp_path))
    for p in ("t/dirlink/b", "t/link", "t/dangling", "t/dirlink/../1", "./t//a/.", "t/none/x"):
        assert vol.realpath(p) == vol.getcwd() + os.path.realpath(root + "/" + p)[len(root) :], p
    assert vol.realpath(b"/") == b"/"


def test_path(vol):
    p = wythe.Path(vol, "x")
    (p / "y").mkdir(parents=True)
    with pytest.raises(FileExistsError):
        p.mkdir()
    p.mkdir(exist_ok=True)
    f = p / "y" / "f.tar.gz"
    f.touch()
    with pytest.raises(FileExistsError):
        f.touch(exist_ok=False)
    assert f.write_bytes(b"12") == 2 and f.read_bytes() == b"12" and f.is_file() and f.parent.is_dir()
    assert (f.stem, f.suffix, f.with_suffix(".zip").name) == ("f.tar", ".gz", "f.tar.zip")
    assert [str(q) for q in p.rglob("*.gz")] == ["x/y/f.tar.gz"]
    g = f.rename(p / "g")
    assert g.exists() and not f.exists() and g == p / "g" and str(g.relative_to(p)) == "g"
    (p / "l").symlink_to("g")
    assert (p / "l").is_symlink() and str((p / "l").resolve(strict=True)) == vol.getcwd() + "/x/g"
    g.unlink()
    g.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        g.unlink()


def test_random_stream(vol, tmp_path):
    """The same random operations on the volume and on a local directory: the same
    outcomes, the same tree."""
    from test_volume import Local, outcome

    here = Local(tmp_path)
    rng = random.Random(int(os.environ.get("WYTHE_TEST_SEED", "7")))
    names = ["a", "b", "c", "a/x", "a/y", "b/x", "a/x/q"]

    def write(v, p, data, at):
        with v.open(p, "r+b") as f:
            f.seek(at)
            f.write(data)

    for step in range(int(os.environ.get("WYTHE_TEST_STEPS", "300"))):
        op = rng.choice("mkdir rmdir create write read unlink rename link truncate chmod listdir stat".split())
        p, q = rng.choice(names), rng.choice(names)
        data, at, size = rng.randbytes(rng.randrange(9000)), rng.randrange(20000), rng.randrange(20000)

        def do(v):
            if op == "create":
                v.open(p, "xb").close()
            elif op == "write":
                write(v, p, data, at)
            elif op == "read":
                with v.open(p, "rb") as f:
                    return f.read()
            elif op in ("rename", "link"):
                getattr(v, op)(p, q)
            elif op == "truncate":
                v.truncate(p, size)
            elif op == "chmod":
                v.chmod(p, 0o700 | size % 64)
            elif op == "listdir":
                return sorted(v.listdir(p))
            elif op == "stat":
                s = v.stat(p)
                return s.st_mode, s.st_nlink if stat.S_ISREG(s.st_mode) else 0, s.st_size if stat.S_ISREG(s.st_mode) else 0
            else:
                getattr(v, op)(p)

        if op in ("rename", "link") and (q == p or q.startswith(p + "/") or p.startswith(q + "/")):
            continue  # the kernel looks before it asks
        ours, theirs = outcome(do, vol), outcome(do, here)
        if op in ("rename", "link") and isinstance(ours, tuple) and isinstance(theirs, tuple):
            continue  # which of two reasons to fail is found first differs from the kernel
        assert ours == theirs, (step, op, p, q)
