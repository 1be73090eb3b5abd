"""The errors that are meant for the reader of a terminal rather than for a debugger."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can mend: its message says what is wrong, where, and what to do.

    The command line prints the message as one line and exits with `exit_code`; it never shows a traceback.
    """

    exit_code = 1


class UsageError(UserError):
    """A wrong option, configuration key or value: exit code 2."""

    exit_code = 2
