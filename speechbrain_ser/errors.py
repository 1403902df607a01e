"""The one exception for a user's mistake, and the one place where programs tell it."""

import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import TypeVar

from speechbrain_ser.output import printable

T = TypeVar("T")


class InputError(ValueError):
    """The user's mistake, in one sentence: which file, what is wrong, what to do.

    Scripts print the message and exit with status 2; they show no traceback for it. Control
    characters, such as of a file's name, are escaped; line breaks stay.
    """

    def __init__(self, message: str):
        # a loader's worker process wraps the sentence in its own traceback
        sentence = message.split("speechbrain_ser.errors.InputError: ")[-1].strip()
        super().__init__("\n".join(map(printable, sentence.split("\n"))))


def or_error(function: Callable[..., T], *arguments, **named) -> T | InputError:
    """What a function gives, or the InputError that it raises: of many, one fails and all go on."""
    try:
        return function(*arguments, **named)
    except InputError as error:
        return error


def program(name: str) -> Callable[[Callable], Callable[..., int]]:
    """Decorates the main function of a program, which then returns its exit status.

    InputError and errors of the operating system (a full disk, a missing right) are printed in a
    sentence, with status 2; Ctrl-C gives 130. All else is a fault of ours and keeps its traceback;
    SER_DEBUG=1 keeps them all.
    """

    def decorate(main: Callable) -> Callable[..., int]:
        @functools.wraps(main)
        def run(*args, **kwargs) -> int:
            try:
                return main(*args, **kwargs) or 0
            except (InputError, OSError) as error:
                if os.environ.get("SER_DEBUG"):
                    raise
                message = str(error) if isinstance(error, InputError) else in_words(error)
                print(f"{name}: {message}", file=sys.stderr)
                return 2
            except KeyboardInterrupt:
                print(f"\n{name}: interrupted; the same command goes on", file=sys.stderr)
                return 130

        return run

    return decorate


def in_words(error: OSError) -> str:
    """An error of the operating system in words, and what helps."""
    helps = {
        errno.ENOSPC: "free some space, or name another disk",
        errno.EDQUOT: "free some space, or name another disk",
        errno.EACCES: "ask for the right to it, or name another folder",
        errno.EROFS: "name a folder that can be written",
        errno.EPERM: "ask for the right to it, or name another folder",
        errno.ENOTDIR: "a file stands where a folder is needed: move it, or name another folder",
    }
    reason = error.strerror or type(error).__name__
    place = f" ({error.filename})" if error.filename else ""
    return f"{reason}{place}; {helps.get(error.errno or 0, 'see to that, and try again')}"
