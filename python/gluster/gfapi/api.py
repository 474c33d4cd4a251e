"""The C functions as the old package named them: glfs_stat, glfs_read, …

They are looked up in this module at every call, so that a test can put another
function in the place of one. The library is loaded when the first one is used.
"""

from wythe import _library
from wythe._library import Dirent, Stat, Statvfs, Timespec

__all__ = ["Dirent", "Stat", "Statvfs", "Timespec"]

_NAMES = (
    "access chdir chmod chown close closedir creat discard dup fallocate fchmod fchown fdatasync fgetxattr fini "
    "flistxattr fremovexattr fsetxattr fstat fsync ftruncate get_volumeid getcwd getxattr init lchown link listxattr "
    "lseek lstat mkdir mknod new open opendir read readdir_r readdirplus_r readlink removexattr rename rmdir "
    "set_logging set_volfile_server setfsgid setfsuid setxattr stat statvfs symlink unlink utimens write zerofill"
).split()


def _late(name):
    """glfs_NAME, bound to the library at its first call."""
    bound = []

    def function(*args):
        if not bound:
            lib = _library.load()
            old = _library.OLD_SIGNATURES.get(name)
            bound.append(lib.function(name, *old) if old else getattr(lib, name))
        return bound[0](*args)

    function.__name__ = "glfs_" + name
    function.__doc__ = "The C function glfs_%s." % name
    return function


for _name in _NAMES:
    globals()["glfs_" + _name] = _late(_name)
    __all__.append("glfs_" + _name)
del _name
