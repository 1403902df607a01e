"""Published archives: fetched with a checksum, resumed where they broke off, unpacked whole."""

import hashlib
import http.client
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from tqdm import tqdm

from speechbrain_ser.errors import InputError

BLOCK = 1 << 18  # bytes
TIMEOUT = 60  # seconds without a byte


def fetch(url: str, path: Path, md5: str) -> None:
    """Download url to path; what an earlier call left in `<path>.part` is not fetched again.

    Raises InputError if the connection breaks (the next call goes on from there) or if the file
    is not the published one.
    """
    part = path.with_name(path.name + ".part")
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
                start = 0  # the server does not resume
            total = start + int(answer.headers.get("Content-Length") or 0)
            bar = tqdm(
                initial=start, total=total, unit="B", unit_scale=True, desc=path.name, disable=None
            )
            with bar, open(part, "ab" if start else "wb") as file:
                while block := answer.read(BLOCK):
                    file.write(block)
                    bar.update(len(block))
        if part.stat().st_size < total:
            raise ConnectionError(f"it broke off after {part.stat().st_size} of {total} bytes")
    except urllib.error.HTTPError as error:
        # nothing lies beyond the end of a part that is already whole
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _broken(url, path, error) from None
    except (OSError, http.client.HTTPException) as error:
        raise _broken(url, path, error) from None
    digest = hashlib.md5()
    with open(part, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    if digest.hexdigest() != md5:
        part.unlink()
        raise InputError(
            f"{url} has the checksum {digest.hexdigest()} instead of {md5}: removed, try again"
        )
    part.replace(path)


def unpack(archive: Path, folder: Path) -> None:
    """Unzip the archive to `folder`, which appears only when complete.

    Raises InputError if a member would land outside, or if the archive is damaged.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        with zipfile.ZipFile(archive) as members:
            for name in members.namelist():
                if not (draft / name).resolve().is_relative_to(draft.resolve()):
                    raise InputError(f"{archive} would write outside its folder ({name}): not used")
            members.extractall(draft)
        draft.chmod(0o755)  # mkdtemp made it private
        draft.rename(folder)
    except zipfile.BadZipFile as error:
        raise InputError(f"{archive} is damaged ({error}): remove it and try again") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _broken(url: str, path: Path, error: Exception) -> InputError:
    return InputError(
        f"cannot fetch {url} ({error}): try again, what has arrived is kept, "
        f"or fetch it by other means and unpack it in {path.parent}"
    )
