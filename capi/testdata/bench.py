"""What the Python package costs over a library: lines of "name: operations-per-second".

Usage: bench.py HOST PORT VOLUME SECONDS-EACH
"""

import sys
import time

import wythe

FILES = 10000


def report(name, count, begun):
    print("%s: %.1f" % (name, count / (time.perf_counter() - begun)), flush=True)


def again(name, per, limit, f):
    """Does f as often as there is time for."""
    n, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < limit:
        f(n)
        n += 1
    report(name, n * per, begun)


def main():
    host, port, volume, limit = sys.argv[1:]
    limit = float(limit)
    with wythe.Volume(host, volume, port=int(port)) as v:
        if not v.exists("/pybench/f%d" % (FILES - 1)):
            v.makedirs("/pybench", exist_ok=True)
            for i in range(FILES):
                v.write_bytes("/pybench/f%d" % i, b"x")
        names = ["/pybench/f%d" % i for i in range(FILES)]

        def listing(n):
            assert len(v.listdir("/pybench")) == FILES

        def listing_and_stat(n):
            assert sum(v.stat("/pybench/" + name).st_size for name in v.listdir("/pybench")) == FILES

        def scan(n):
            with v.scandir("/pybench") as entries:
                assert sum(e.stat().st_size for e in entries) == FILES

        def read_small(n):
            assert v.read_bytes(names[n % FILES]) == b"x"

        again("listdir of 10 000, entries *", FILES, limit, listing)
        again("listdir and stat of 10 000, entries *", FILES, limit, listing_and_stat)
        again("scandir with stat of 10 000, entries *", FILES, limit, scan)
        again("stat of one *", 1, limit, lambda n: v.stat(names[0]))
        again("open, read 1 byte, close", 1, limit, read_small)
        data = b"d" * (1 << 20)
        with v.open("/pybench-data", "w+b", buffering=0) as f:

            def write(n):
                f.pwrite(data, n % 64 << 20)
                if n % 64 == 63:
                    f.fsync()

            again("write 1 MiB, fsync after 64", 1, limit, write)
            for i in range(64):
                f.pwrite(data, i << 20)
            f.fsync()
            again("pread of 1 MiB", 1, limit, lambda n: f.pread(1 << 20, n % 64 << 20))
            buffer = bytearray(1 << 20)

            def read_into(n):
                if n % 64 == 0:
                    f.seek(0)
                assert f.readinto(buffer) == 1 << 20

            again("readinto of 1 MiB", 1, limit, read_into)
        v.unlink("/pybench-data")


main()
