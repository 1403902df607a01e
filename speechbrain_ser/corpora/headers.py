"""Seconds of audio files by their headers, kept on disk: of a large corpus each is opened once.

What was read stays known by path, size and time of change in one small database, so that a
preparation that was killed goes on where it was, and a later one opens changed files only.
"""

import logging
import os
import sqlite3
from collections.abc import Sequence

from speechbrain_ser.files import cache_folder

logger = logging.getLogger(__name__)

VERSION = 2  # of what audio.duration accepts: other versions read everything again
EVERY = 4_096  # files read: then they are written
SCHEMA = "(path BLOB PRIMARY KEY, size INTEGER, changed INTEGER, seconds REAL) WITHOUT ROWID"

Key = tuple[bytes, int, int]  # path, bytes, nanoseconds of its last change
Row = tuple[bytes, int, int, float]  # that, and seconds of audio


class Known:
    """Context manager: what the database knows of these files when it is entered.

    Without a database that can be used it knows nothing, says why, and forgets what it is given.
    """

    def __init__(self, paths: Sequence[str]):
        self.file = cache_folder() / f"headers-{VERSION}.sqlite"
        self.range = [os.fsencode(end(paths)) for end in (min, max)]
        self.seconds: dict[Key, float] = {}
        self.fresh: list[Row] = []
        self.database: sqlite3.Connection | None = None

    def __enter__(self) -> "Known":
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.database = sqlite3.connect(self.file, timeout=60)
            self.database.execute(f"CREATE TABLE IF NOT EXISTS headers {SCHEMA}")
            found = self.database.execute(
                "SELECT * FROM headers WHERE path BETWEEN ? AND ?", self.range
            )
            self.seconds = {row[:3]: row[3] for row in found}
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
        return self

    def __exit__(self, *exception):
        self.write()
        if self.database is not None:
            self.database.close()

    def add(self, rows: Sequence[Row]) -> None:
        """Keep what was just read; every few thousand files it is written."""
        self.fresh += rows
        if len(self.fresh) >= EVERY:
            self.write()

    def write(self) -> None:
        """One transaction: a kill leaves the database as it was before or after."""
        rows, self.fresh = self.fresh, []
        if not rows or self.database is None:
            return
        try:
            with self.database:
                self.database.executemany("REPLACE INTO headers VALUES (?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        logger.warning(
            "%s cannot be used (%s): headers are read again every time. If it is damaged, delete "
            "it; another place is SER_CACHE=PATH",
            self.file,
            error,
        )
        if self.database is not None:
            self.database.close()
        self.database = None


def key(path: str) -> Key | None:
    """What a file is known by, or None if it is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return os.fsencode(path), found.st_size, found.st_mtime_ns
