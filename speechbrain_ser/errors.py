"""The one exception for a user's mistake."""


class InputError(ValueError):
    """The user's mistake, in one sentence: which file, what is wrong, what to do.

    Scripts print the message and exit with status 2; they show no traceback for it.
    """

    def __init__(self, message: str):
        # a loader's worker process wraps the sentence in its own traceback
        super().__init__(message.split("speechbrain_ser.errors.InputError: ")[-1].strip())
