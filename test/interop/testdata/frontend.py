"""A front end of the streams of operations: the package wythe. Lines come and go
as frontend.c says.

Usage: frontend.py HOST PORT VOLUME
"""

import fcntl
import io
import os
import stat
import sys

import wythe

slots = {}


def text(s):
    return " ".join(
        str(n)
        for n in (
            s.st_ino,
            s.st_mode,
            s.st_nlink,
            s.st_uid,
            s.st_gid,
            s.st_size,
            s.st_rdev,
            *divmod(s.st_atime_ns, 10**9),
            *divmod(s.st_mtime_ns, 10**9),
        )
    ).encode()


LETTERS = {stat.S_IFDIR: b"d", stat.S_IFLNK: b"l", stat.S_IFIFO: b"p", stat.S_IFSOCK: b"s", stat.S_IFCHR: b"c", stat.S_IFBLK: b"b"}


def on_file(vol, what, slot, flags, mode, off, length, path, value):
    """An operation on an open file: its number and bytes."""
    f = slots.get(slot)
    if what == "open":
        if f:
            slots.pop(slot).close()
        # What open() does below its io stack: some flags no mode of open() stands for.
        f = slots[slot] = vol._open(path, flags, mode)
        f.set_lock_owner(b"%d" % slot)
    elif f is None:
        return -1
    elif what == "close":
        slots.pop(slot).close()
    elif what == "read":
        data = b""
        while len(data) < length:
            more = f.pread(length - len(data), off + len(data))
            if not more:
                break
            data += more
        return len(data), data
    elif what == "write":
        return f.pwrite(value, off), b""
    elif what == "append":
        return f.write(value), b""
    elif what == "ftruncate":
        f.truncate(length)
    elif what == "fallocate":
        if flags & 2:  # FALLOC_FL_PUNCH_HOLE
            f.punch_hole(off, length)
        else:
            f.fallocate(off, length, keep_size=bool(flags & 1))
    elif what == "fsync":
        f.fsync()
    elif what == "fstat":
        return 0, text(f.fstat())
    elif what == "lock":
        kinds = {fcntl.F_RDLCK: fcntl.LOCK_SH, fcntl.F_WRLCK: fcntl.LOCK_EX, fcntl.F_UNLCK: fcntl.LOCK_UN}
        f.lockf(kinds[flags] | fcntl.LOCK_NB, length, off)
    elif what == "getlk":
        got = f.getlk(flags == fcntl.F_WRLCK, length, off)
        if got is None:
            return 0, b"%d 0 0" % fcntl.F_UNLCK
        return 0, b"%d %d %d" % (fcntl.F_WRLCK if got[0] else fcntl.F_RDLCK, got[1], got[2])
    else:
        return -2
    return 0, b""


def on_name(vol, what, flags, mode, off, length, uid, gid, path, to, name, value):
    """An operation on a name."""
    link = {"follow_symlinks": False}
    if what == "mkdir":
        vol.mkdir(path, mode)
    elif what == "mknod":
        vol.mknod(path, mode, length)
    elif what == "symlink":
        vol.symlink(to, path)
    elif what == "link":
        vol.link(path, to)
    elif what == "rename":
        vol.rename(path, to)
    elif what == "unlink":
        vol.unlink(path)
    elif what == "rmdir":
        vol.rmdir(path)
    elif what == "chmod":
        vol.chmod(path, mode)
    elif what == "chown":
        vol.lchown(path, uid, gid)
    elif what == "truncate":
        vol.truncate(path, length)
    elif what == "utimes":
        vol.utime(path, ns=(off, length))
    elif what == "lstat":
        return 0, text(vol.lstat(path))
    elif what == "stat":
        return 0, text(vol.stat(path))
    elif what == "readlink":
        return 0, vol.readlink(path)
    elif what == "readdir":
        with vol.scandir(path) as entries:
            return 0, b"/".join(LETTERS.get(stat.S_IFMT(e.stat(**link).st_mode), b"f") + b":" + e.name for e in entries)
    elif what == "readfile":
        return 0, vol.read_bytes(path)
    elif what == "setxattr":
        vol.setxattr(path, name, value, flags, **link)
    elif what == "removexattr":
        vol.removexattr(path, name, **link)
    elif what == "getxattr":
        return 0, vol.getxattr(path, name, **link)
    elif what == "listxattr":
        return 0, b"\0".join(os.fsencode(n) for n in vol.listxattr(path, **link))
    else:
        return -2
    return 0, b""


def main():
    host, port, volume = sys.argv[1:]
    with wythe.Volume(host, volume, port=int(port), umask=0) as vol:
        for line in sys.stdin:
            what, *rest = line.split()
            slot, caller, flags, mode, off, length, uid, gid = map(int, rest[:8])
            path, to, name, value = (bytes.fromhex(s[1:]) for s in rest[8:])
            code, n, data = 0, 0, b""
            try:
                with vol.as_user(caller, caller):
                    if slot:
                        got = on_file(vol, what, slot, flags, mode, off, length, path, value)
                    else:
                        got = on_name(vol, what, flags, mode, off, length, uid, gid, path, to, name, value)
                if isinstance(got, tuple):
                    n, data = got
                else:
                    code = got
            except io.UnsupportedOperation:
                code = -3
            except OSError as e:
                code = e.errno or -2
            print(code, n, "x" + data.hex(), flush=True)
        for f in slots.values():
            f.close()


main()
