"""The interface of libgfapi-python 1.2, for programs that were written for it.

New programs want the package ``wythe``, which is like ``os`` and ``io``; this one
keeps the names, arguments, results and exceptions of the old one, on any Python 3
from 3.9 and with any libgfapi that ``wythe`` takes.

    volume = Volume("server1", "data")
    volume.mount()
    with volume.fopen("motto", "w") as f:
        f.write("Winter is coming.")
    volume.umount()

What was wrong there is right here: offsets have 64 bits, fsync and ftruncate do
not overwrite memory, a str that is written goes out as UTF-8, and reading at the
end of a file gives b"".
"""

from gluster.gfapi.exceptions import Error, LibgfapiException, VolumeNotMounted
from gluster.gfapi.gfapi import Dir, DirEntry, File, Volume

__all__ = ["Dir", "DirEntry", "Error", "File", "LibgfapiException", "Volume", "VolumeNotMounted"]
