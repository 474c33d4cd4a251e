"""GlusterFS volumes from Python, in the names of os, shutil and io.

>>> with wythe.mount("gluster://%s:%d/%s" % (HOST, PORT, VOLUME)) as vol:
...     vol.makedirs("house/stark", exist_ok=True)
...     _ = vol.write_text("house/stark/motto", "Winter is coming.")
...     vol.read_text("house/stark/motto")
'Winter is coming.'

It stands on the C library ``libgfapi.so.0``, Wythe's or GlusterFS's own, which is
loaded by the first volume that is mounted; ``WYTHE_LIBGFAPI`` names another one
than the system's. ``wythe.fsspec`` is a file system for fsspec, pandas and dask
(``gluster://host/volume/path``), ``wythe.aio`` the same methods for asyncio, and
``gluster.gfapi`` the interface of the old package libgfapi-python.
"""

from ._dir import DirEntry, ScandirIterator
from ._file import Attributes, BufferedRandom, BufferedReader, BufferedWriter, RawFile, TextFile
from ._library import load
from ._path import Path
from ._trees import Error, SameFileError, SpecialFileError
from ._version import __version__
from ._volume import Volume, mount, parse_url

__all__ = [
    "Attributes",
    "BufferedRandom",
    "BufferedReader",
    "BufferedWriter",
    "DirEntry",
    "Error",
    "Path",
    "RawFile",
    "SameFileError",
    "ScandirIterator",
    "SpecialFileError",
    "TextFile",
    "Volume",
    "__version__",
    "load",
    "mount",
    "parse_url",
]
