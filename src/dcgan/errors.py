"""The one exception that means "the user can mend this"."""


class DcganError(ValueError):
    """A mistake or obstacle outside our code: its message names what is wrong and what to do about it.

    The command line prints the message on one line and exits with status 2, without a traceback.
    """
