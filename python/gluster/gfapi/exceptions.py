"""The exceptions of the old interface. Calls on files and paths raise OSError."""


class LibgfapiException(Exception):
    """A volume cannot be used."""


class VolumeNotMounted(LibgfapiException):
    """A method was called on a volume that is not mounted."""


class Error(EnvironmentError):
    """Copying a tree or a file went wrong, as shutil.Error."""
