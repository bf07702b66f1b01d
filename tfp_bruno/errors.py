"""The one exception that stands for a mistake a user can mend."""


class UserError(Exception):
    """Something that the user gave is wrong.

    The message is one line: the file or flag, what is wrong with it, and the mend. The binaries print it on stderr
    without a traceback and exit with status 1; a Python caller catches it like any exception.
    """
