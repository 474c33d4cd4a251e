"""Pointers of the C library that several threads use and one closes."""

from __future__ import annotations

import errno
import os
import threading
from types import TracebackType
from typing import Any, List, Optional, Type

__all__ = ["Handle", "generation"]

# Counts forks: a pointer from before one is dead in the child, and calling the
# library with it might hang.
_generation = 0


def _forked() -> None:
    global _generation
    _generation += 1


os.register_at_fork(after_in_child=_forked)


def generation() -> int:
    """How often this process or an ancestor has forked since the module was loaded."""
    return _generation


class Handle:
    """A pointer that stays valid while it is in use.

    ``with handle as pointer:`` may run in any number of threads; ``take()`` waits
    until none is inside and hands the pointer out for the last time. After it, and
    in a forked child, entering raises OSError with the errno given.
    """

    __slots__ = ("_pointer", "_inside", "_idle", "_generation", "_errno")

    def __init__(self, pointer: int, closed_errno: int = errno.EBADF) -> None:
        self._pointer: Optional[int] = pointer
        # One for each that is inside. Lists grow and shrink in one step, which
        # spares those who come and go a lock.
        self._inside: List[None] = []
        self._idle = threading.Condition(threading.Lock())
        self._generation = _generation
        self._errno = closed_errno

    @property
    def stale(self) -> bool:
        """Whether it comes from before a fork."""
        return self._generation != _generation

    @property
    def open(self) -> bool:
        return self._pointer is not None and self._generation == _generation

    def __enter__(self) -> int:
        self._inside.append(None)
        pointer = self._pointer
        if pointer is None or self._generation != _generation:
            self.__exit__(None, None, None)
            raise OSError(self._errno, os.strerror(self._errno))
        return pointer

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._inside.pop()
        # Where the process has forked the lock may be held for ever.
        if self._pointer is None and self._generation == _generation:
            with self._idle:
                self._idle.notify_all()

    def take(self) -> Optional[int]:
        """The pointer, to be closed; None if it was taken before or is from before a fork."""
        if self._generation != _generation:
            return None
        with self._idle:
            pointer, self._pointer = self._pointer, None
            while self._inside:
                self._idle.wait()
            return pointer

    def __getstate__(self) -> Any:
        raise TypeError("pointers of a C library cannot be pickled")
