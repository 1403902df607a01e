"""mkdocs' hook: the repository's pages as a site, with links that work there and on GitHub.

Pages of docs/ keep their names, README.md is the first page, and what a page links to elsewhere in
the repository (recipes' READMEs, figures, tests) is on the site under its path.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)]*)?\)")


def site_path(path: str) -> str:
    """A path of the repository -> that of the site's source."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def in_repository(path: str) -> str:
    """The other way round."""
    if path == "index.md":
        return "README.md"
    return f"docs/{path}" if (ROOT / "docs" / path).is_file() else path


def links(page: str) -> list[str]:
    """The files of the repository that a page of it links to."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [posixpath.join(posixpath.dirname(page), match[1]) for match in LINK.finditer(text)]
    return [path for path in map(posixpath.normpath, targets) if (ROOT / path).is_file()]


def on_files(files: Files, config) -> Files:
    waiting, known = ["README.md", *(in_repository(f.src_uri) for f in files)], set()
    while waiting:
        path = waiting.pop()
        if path in known:
            continue
        known.add(path)
        if files.get_file_from_path(site_path(path)) is None:
            source = str(ROOT / path)
            files.append(File.generated(config, site_path(path), abs_src_path=source))
        if path.endswith(".md"):
            waiting += links(path)
    return files


def on_page_markdown(markdown: str, page, config, files) -> str:
    source = in_repository(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def moved(match: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        return f"]({posixpath.relpath(site_path(path), here or '.')}{match[2] or ''})"

    return LINK.sub(moved, markdown)
