"""Where the page keeps recordings: a folder that is deleted when it ends, or at the next start."""

import getpass
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from speechbrain_ser.errors import InputError

VARIABLE = "GRADIO_TEMP_DIR"  # read when gradio is imported


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder for gradio, to be entered before its import; those of killed pages are deleted.

    Raises InputError if other users can read the place of it.
    """
    place = Path(tempfile.gettempdir()) / f"ser_demo_{getpass.getuser()}"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if place.is_symlink() or os.name == "posix" and place.stat().st_mode & 0o077:
            raise InputError(f"{place} is not this user's alone: delete it, or set TMPDIR")
        with filelock.FileLock(place / "start.lock"):
            for old in place.glob("page_*/"):
                _delete_unless_in_use(old)
            own = Path(tempfile.mkdtemp(prefix="page_", dir=place))
            lock = filelock.FileLock(own / ".lock")  # held until the process ends, however it does
            lock.acquire()
    except OSError as error:
        raise InputError(f"no recordings can be kept in {place} ({error}): set TMPDIR") from None
    try:
        os.environ[VARIABLE] = str(own)
        yield own
    finally:
        os.environ.pop(VARIABLE, None)
        lock.release()
        shutil.rmtree(own, ignore_errors=True)


def _delete_unless_in_use(old: Path) -> None:
    lock = filelock.FileLock(old / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return
    lock.release()
    shutil.rmtree(old, ignore_errors=True)
