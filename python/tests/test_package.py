"""The package itself: installed offline, typed, without a library a clear error."""

import os
import shutil
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def copy(to):
    """The sources, so that building leaves nothing in them."""
    ignore = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".*")
    return shutil.copytree(ROOT, str(to), ignore=ignore)


def test_install(tmp_path):
    """pip installs it with nothing from the network, entry points included."""
    pytest.importorskip("pip")
    src = copy(tmp_path / "src")
    target = str(tmp_path / "target")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-build-isolation", "--no-deps", "--target", target, src],
        check=True,
        env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
    )
    code = """
import importlib.metadata as m, os, wythe, gluster.gfapi
assert os.path.dirname(wythe.__file__) == os.path.join(%r, "wythe"), wythe.__file__
assert os.path.exists(os.path.join(os.path.dirname(wythe.__file__), "py.typed"))
d = m.distribution("wythe")
assert d.version == wythe.__version__ and d.metadata["Requires-Python"] == ">=3.9" and d.metadata["License"] == "Apache-2.0"
assert {e.name for e in d.entry_points if e.group == "fsspec.specs"} == {"gluster", "glusterfs"}
try:
    import fsspec
except ImportError:
    pass
else:
    assert fsspec.get_filesystem_class("gluster").__module__ == "wythe.fsspec"
""" % target
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=str(tmp_path), env={**env, "PYTHONPATH": target})


def test_types():
    """mypy --strict finds nothing."""
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, "-p", "wythe"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_library():
    code = """
import wythe
try:
    wythe.Volume("localhost", "v").mount()
except ImportError as e:
    assert "WYTHE_LIBGFAPI" in str(e) and "/nowhere/libgfapi.so.0" in str(e), e
else:
    raise SystemExit("mounted without a library")
"""
    env = {**os.environ, "WYTHE_LIBGFAPI": "/nowhere/libgfapi.so.0", "PYTHONPATH": ROOT}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
