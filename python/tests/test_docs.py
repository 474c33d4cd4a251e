"""The examples of the documentation are run."""

import asyncio
import doctest
import importlib
import os

import pytest

import wythe

MODULES = "wythe wythe._file wythe._volume wythe._dir wythe._trees wythe._path wythe.aio wythe.fsspec".split()


def examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in MODULES:
        if name == "wythe.fsspec":
            pytest.importorskip("fsspec")
        for t in finder.find(importlib.import_module(name)):
            if t.examples:
                yield t


MADE = ("stark", "greeting", "notes.txt", "house")  # in the root, by examples that mount


def clean(v):
    v.chdir("/")
    for name in MADE:
        if v.isdir(name):
            v.rmtree(name)
        elif v.exists(name):
            v.unlink(name)


@pytest.mark.parametrize("example", examples(), ids=lambda t: t.name)
def test_example(example, where, vol):
    hosts, port, volume = where
    home = vol.getcwd()
    clean(vol)
    vol.chdir(home)
    example.globs.update(vol=vol, wythe=wythe, os=os, asyncio=asyncio, HOST=hosts[0], PORT=port, VOLUME=volume)
    runner = doctest.DocTestRunner(verbose=False)
    try:
        runner.run(example)
        assert runner.failures == 0
    finally:
        clean(vol)
