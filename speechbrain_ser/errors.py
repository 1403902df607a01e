"""The one exception for a user's mistake."""


class InputError(ValueError):
    """The user's mistake, in one sentence: which file, what is wrong, what to do.

    Scripts print the message and exit with status 2; they show no traceback for it.
    """
