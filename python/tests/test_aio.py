"""wythe.aio."""

import asyncio
import os

import pytest

from wythe import aio


def run(coroutine):
    return asyncio.run(coroutine)


def test_volume(where, vol):
    hosts, port, volume = where
    home = vol.getcwd()

    async def main():
        async with aio.Volume(hosts, volume, port=port) as v:
            await v.chdir(home)
            await v.makedirs("a/b")
            async with await v.open("a/f", "w") as f:
                await f.write("one\ntwo\n")
            async with await v.open("a/f") as f:
                assert [line async for line in f] == ["one\n", "two\n"]
            names = ["n%d" % i for i in range(300)]
            await asyncio.gather(*(v.write_bytes("a/b/" + n, n.encode()) for n in names))
            got = await asyncio.gather(*(v.read_bytes("a/b/" + n) for n in names))
            assert got == [n.encode() for n in names]
            assert sorted([e.name async for e in v.scandir("a/b")]) == sorted(names)
            assert [d async for d, _, _ in v.walk("a")] == ["a", "a/b"]
            with pytest.raises(FileNotFoundError):
                await v.stat("none")
            assert v.name == volume and v.mounted and "stat" in dir(v)
        assert not v.mounted

    run(main())


def test_does_not_block_the_loop(where, vol):
    import fcntl

    hosts, port, volume = where
    path = vol.getcwd() + "/lock"
    vol.write_bytes("lock", b"")

    async def main():
        async with aio.Volume(hosts, volume, port=port) as v:
            with vol.open("lock", "r+b") as mine:
                mine.lockf(fcntl.LOCK_EX)
                f = await v.open(path, "r+b")
                waiting = asyncio.ensure_future(f.lockf(fcntl.LOCK_EX))
                ticks = 0
                while ticks < 20:
                    await asyncio.sleep(0.005)
                    ticks += 1
                assert not waiting.done()
                mine.lockf(fcntl.LOCK_UN)
                await waiting
            await f.close()

    run(main())
    assert os.path.basename(path) in vol.listdir(".")
