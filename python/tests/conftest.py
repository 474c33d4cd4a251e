"""Fixtures: a mounted volume, and a directory of its own for each test.

WYTHE_TEST_URL names the volume, as gluster://HOST:PORT/VOLUME; without it the
tests that need one are skipped. WYTHE_LIBGFAPI names the library.
"""

import os
import uuid

import pytest

import wythe

URL = os.environ.get("WYTHE_TEST_URL", "")


def place():
    if not URL:
        pytest.skip("WYTHE_TEST_URL names no volume")
    hosts, port, volume, _ = wythe.parse_url(URL)
    return hosts, port or 24007, volume


@pytest.fixture(scope="session")
def where():
    return place()


@pytest.fixture(scope="session")
def shared(where):
    hosts, port, volume = where
    v = wythe.Volume(hosts, volume, port=port)
    v.mount()
    yield v
    v.unmount()


@pytest.fixture
def vol(shared):
    """The volume, with relative paths in a fresh directory."""
    d = "/py-" + uuid.uuid4().hex[:12]
    shared.mkdir(d)
    shared.chdir(d)
    yield shared
    shared.chdir("/")
    shared.rmtree(d)
