"""The one exception for a user's mistake."""

from speechbrain_ser.output import printable


class InputError(ValueError):
    """The user's mistake, in one sentence: which file, what is wrong, what to do.

    Scripts print the message and exit with status 2; they show no traceback for it. Control
    characters, such as of a file's name, are escaped; line breaks stay.
    """

    def __init__(self, message: str):
        # a loader's worker process wraps the sentence in its own traceback
        sentence = message.split("speechbrain_ser.errors.InputError: ")[-1].strip()
        super().__init__("\n".join(map(printable, sentence.split("\n"))))
