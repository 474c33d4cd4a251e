"""wythe.fsspec: what fsspec and its users do with a file system."""

import os
import pickle
import threading

import pytest

fsspec = pytest.importorskip("fsspec")

import wythe.fsspec  # noqa: E402


@pytest.fixture
def fs(where):
    hosts, port, volume = where
    return fsspec.filesystem("gluster", host=hosts[0], port=port, volume=volume)


@pytest.fixture
def home(vol):
    return vol.getcwd()


@pytest.fixture
def url(where, home):
    hosts, port, volume = where
    return "gluster://%s:%d/%s%s" % (hosts[0], port, volume, home)


def test_names(fs, url, where):
    _, port, volume = where
    cls = wythe.fsspec.GlusterFileSystem
    assert cls._strip_protocol("gluster://h:1/v/a/b/") == "/a/b"
    assert cls._strip_protocol(["a", "/b//c/../d"]) == ["/a", "/b/d"]
    assert cls._get_kwargs_from_urls("gluster://h1,h2:12/v/x") == {"host": "h1,h2", "volume": "v", "port": 12}
    full = fs.unstrip_protocol("/x")
    assert full.endswith("/%s/x" % volume) and full.startswith("gluster://")
    got, path = fsspec.core.url_to_fs(url)
    assert got.volume is fs.volume and url.endswith(path)
    with pytest.raises(ValueError):
        fsspec.filesystem("gluster", host="h")


def test_files(fs, home):
    f = home + "/new/dir/f"
    with fs.open(f, "wb") as out:
        out.write(b"hello")
    with fs.open(f, "rt") as text:
        assert text.read() == "hello"
    assert fs.cat(f) == b"hello" and fs.cat_file(f, 1, 3) == b"el" and fs.head(f, 2) == b"he" and fs.tail(f, 2) == b"lo"
    info = fs.info(f)
    assert (info["name"], info["size"], info["type"]) == (f, 5, "file") and fs.size(f) == 5
    assert fs.isfile(f) and fs.isdir(home) and fs.exists(f) and not fs.exists(f + "x")
    assert fs.created(f) is not None and fs.modified(f).timestamp() == pytest.approx(info["mtime"])
    assert fs.ls(f) == [info] and fs.ls(home, detail=False) == [home + "/new"]
    with pytest.raises(FileNotFoundError):
        fs.ls(home + "/none")
    with pytest.raises(FileNotFoundError):
        fs.info(home + "/none")
    with pytest.raises(FileExistsError):
        fs.open(f, "xb")
    with fs.open(f, "ab") as out:
        out.write(b"!")
    assert fs.cat(f) == b"hello!"
    key = fs.ukey(f)
    fs.pipe(f, b"other")
    assert fs.ukey(f) != key
    fs.touch(f)
    assert fs.size(f) == 0
    fs.rm(home + "/new", recursive=True)
    assert fs.ls(home) == []
    with pytest.raises(FileNotFoundError):
        fs.rm(home + "/new")


def test_trees(fs, home, tmp_path):
    (tmp_path / "src" / "sub").mkdir(parents=True)
    for i in range(5):
        (tmp_path / "src" / ("f%d" % i)).write_bytes(b"x" * i)
    (tmp_path / "src" / "sub" / "g").write_bytes(b"g")
    fs.put(str(tmp_path / "src"), home + "/put", recursive=True)
    assert sorted(fs.find(home + "/put")) == sorted(
        [home + "/put/f%d" % i for i in range(5)] + [home + "/put/sub/g"]
    )
    assert fs.glob(home + "/put/f[1-2]") == [home + "/put/f1", home + "/put/f2"]
    assert fs.du(home + "/put") == 1 + 2 + 3 + 4 + 1
    assert [d for d, _, _ in fs.walk(home + "/put")] == [home + "/put", home + "/put/sub"]
    fs.copy(home + "/put", home + "/copy", recursive=True)
    assert fs.cat(home + "/copy/sub/g") == b"g"
    fs.mv(home + "/copy", home + "/moved", recursive=True)
    assert not fs.exists(home + "/copy") and fs.cat(home + "/moved/f3") == b"xxx"
    fs.get(home + "/moved", str(tmp_path / "got"), recursive=True)
    assert (tmp_path / "got" / "sub" / "g").read_bytes() == b"g"
    fs.makedirs(home + "/m/n", exist_ok=True)
    fs.makedirs(home + "/m/n", exist_ok=True)
    with pytest.raises(FileExistsError):
        fs.makedirs(home + "/m/n")
    with pytest.raises(OSError):
        fs.rmdir(home + "/m")
    fs.rmdir(home + "/m/n")
    m = fs.get_mapper(home + "/map")
    m["a/b"] = b"1"
    assert list(m) == ["a/b"] and m["a/b"] == b"1"


def test_transaction(fs, home):
    with fs.transaction:
        with fs.open(home + "/t", "wb") as f:
            f.write(b"x")
        assert not fs.exists(home + "/t")
    assert fs.cat(home + "/t") == b"x" and fs.ls(home, detail=False) == [home + "/t"]


def test_one_mount(fs, where):
    assert pickle.loads(pickle.dumps(fs)) == fs
    seen = []

    def look():
        hosts, port, volume = where
        other = fsspec.filesystem("gluster", host=hosts[0], port=port, volume=volume)
        seen.append((other is fs, other.volume is fs.volume))

    t = threading.Thread(target=look)
    t.start()
    t.join()
    assert seen == [(False, True)]


def test_pandas(url):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": range(1000), "b": ["x%d" % i for i in range(1000)]})
    frame.to_csv(url + "/frame.csv", index=False)
    assert pandas.read_csv(url + "/frame.csv").equals(frame)


def test_dask(url):
    pytest.importorskip("dask")
    text = pytest.importorskip("dask.bag")
    with fsspec.open(url + "/lines.txt", "w") as f:
        f.write("".join("%d\n" % i for i in range(100)))
    bag = text.read_text(url + "/lines.txt")
    assert [int(x) for x in bag.compute(scheduler="synchronous")] == list(range(100))
