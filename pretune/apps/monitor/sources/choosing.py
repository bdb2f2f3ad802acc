"""Which source is meant by what was given."""

from __future__ import annotations

from pathlib import Path

from pretune.apps.monitor.sources.feed import Feed
from pretune.apps.monitor.sources.folder import Folder
from pretune.apps.monitor.sources.growing import Growing
from pretune.apps.monitor.sources.piped import Piped
from pretune.apps.monitor.sources.source import Source
from pretune.base.errors import NoSuchFile

FEEDS = (".rss", ".atom", ".xml", ".rdf")


def source_of(given: str, *, column: str | None = None, time: str | None = None) -> Source:
    """The source that is meant.

    Args:
        column: of the texts in tables; `time`: of when they were written.

    Raises:
        NoSuchFile: nothing is there.
    """
    if given == "-":
        return Piped(column, time)
    path = Path(given)
    if given.startswith(("http://", "https://")) or path.suffix.lower() in FEEDS:
        return Feed(given)
    if path.is_dir():
        return Folder(given, column, time)
    if not path.exists():
        raise NoSuchFile(f"there is no {given!r} to watch", hint="give a folder, a file, an address of a feed, or -")
    return Growing(given, column, time)
