"""Decorators that check an object before its method runs."""

import errno
import functools
import os

from gluster.gfapi.exceptions import VolumeNotMounted


def validate_mount(func):
    """The method needs a mounted volume: VolumeNotMounted otherwise."""

    @functools.wraps(func)
    def wrapper(self, *args, **kwargs):
        if not (self.fs and self._mounted):
            raise VolumeNotMounted('Volume "%s" not mounted.' % self.volname)
        return func(self, *args, **kwargs)

    wrapper.__wrapped__ = func
    return wrapper


def validate_glfd(func):
    """The method needs an open file: OSError with EBADF otherwise."""

    @functools.wraps(func)
    def wrapper(self, *args, **kwargs):
        if self.fd is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return func(self, *args, **kwargs)

    wrapper.__wrapped__ = func
    return wrapper
