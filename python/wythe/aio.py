"""The methods of wythe.Volume for asyncio.

Each call runs in a thread of the loop's default executor; the library lets go of
the GIL, so calls are under way side by side.

>>> async def main():
...     async with Volume(HOST, VOLUME, port=PORT) as v:
...         async with await v.open("greeting", "w") as f:
...             await f.write("hello")
...         return await v.getsize("greeting"), await v.read_text("greeting")
>>> asyncio.run(main())
(5, 'hello')
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, AsyncIterator, Awaitable, Callable, List, Optional, Tuple, Type

from . import _volume
from ._dir import DirEntry

__all__ = ["File", "Volume"]

_AT_ONCE = frozenset(
    "name hosts port transport umask mounted mode closed raw buffer encoding errors newlines readable writable seekable".split()
)


class _Threaded:
    """An object whose methods become coroutines that run in a thread."""

    _sync: Any

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._sync, name)
        if name in _AT_ONCE or not callable(value):
            return value  # type: ignore[no-any-return]

        async def method(*arguments: Any, **keywords: Any) -> Any:
            return await asyncio.to_thread(value, *arguments, **keywords)

        method.__name__ = name
        method.__doc__ = value.__doc__
        return method

    def __dir__(self) -> List[str]:
        return [n for n in dir(self._sync) if not n.startswith("_")]


class File(_Threaded):
    """An open file: the methods of the file that Volume.open of wythe returns, as
    coroutines. Also an asynchronous context manager and iterator over lines."""

    def __init__(self, sync: Any) -> None:
        self._sync = sync

    async def __aenter__(self) -> "File":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await asyncio.to_thread(self._sync.close)

    def __aiter__(self) -> "File":
        return self

    async def __anext__(self) -> Any:
        line = await asyncio.to_thread(self._sync.readline)
        if not line:
            raise StopAsyncIteration
        return line


class Volume(_Threaded):
    """A volume whose methods are those of wythe.Volume, as coroutines.

    The arguments are those of wythe.Volume. open() returns a File; walk() and
    scandir() are asynchronous iterators.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._sync: _volume.Volume = _volume.Volume(*arguments, **keywords)

    @property
    def sync(self) -> _volume.Volume:
        """The volume with ordinary methods."""
        return self._sync

    async def mount(self) -> "Volume":
        """Mount it, if it is not mounted yet."""
        await asyncio.to_thread(self._sync.mount)
        return self

    async def __aenter__(self) -> "Volume":
        return await self.mount()

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await asyncio.to_thread(self._sync.unmount)

    async def open(self, *arguments: Any, **keywords: Any) -> File:
        """Volume.open of wythe."""
        return File(await asyncio.to_thread(self._sync.open, *arguments, **keywords))

    async def scandir(self, path: Any = ".") -> AsyncIterator[DirEntry]:
        """The entries of a directory, as wythe.Volume.scandir gives them."""
        it = await asyncio.to_thread(self._sync.scandir, path)
        try:
            while True:
                batch = await asyncio.to_thread(_some, it)
                if not batch:
                    return
                for e in batch:
                    yield e
        finally:
            await asyncio.to_thread(it.close)

    async def walk(self, *arguments: Any, **keywords: Any) -> AsyncIterator[Tuple[Any, List[Any], List[Any]]]:
        """The directories of a tree, as wythe.Volume.walk gives them."""
        it = self._sync.walk(*arguments, **keywords)
        while True:
            step = await asyncio.to_thread(lambda: next(it, None))
            if step is None:
                return
            yield step


def _some(it: Any) -> List[DirEntry]:
    """Up to 256 entries, taken in one go."""
    batch: List[DirEntry] = []
    for e in it:
        batch.append(e)
        if len(batch) == 256:
            break
    return batch
