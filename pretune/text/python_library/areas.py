"""Which chapter of the library reference a module belongs to: the labels of the quickstart's classifier.

Chapters that are too small to learn alone are joined with their neighbours (functional with numeric, Unix with
operating system). Modules that the reference does not place (idlelib, lib2to3) have no area.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pretune.base.json import Json
from pretune.text.python_library.facts import Library, is_read, place

MIN_AREA_CHARACTERS, MAX_AREA_CHARACTERS, MAX_PER_AREA = 40, 600, 500

_CHAPTERS = {
    "text": (
        "string re difflib textwrap unicodedata stringprep rlcompleter struct codecs encodings gettext locale cmd shlex"
    ),
    "data types": (
        "builtins datetime zoneinfo calendar _strptime collections _collections_abc heapq bisect array weakref "
        "_weakrefset types copy pprint reprlib enum graphlib"
    ),
    "mathematics": (
        "numbers math cmath decimal _pydecimal fractions random statistics itertools functools operator secrets "
        "hashlib hmac"
    ),
    "files": (
        "pathlib posixpath os.path genericpath fileinput stat filecmp tempfile glob fnmatch linecache shutil io "
        "_pyio zlib gzip bz2 lzma zipfile tarfile _compression"
    ),
    "formats": (
        "csv configparser tomllib netrc plistlib pickle _compat_pickle copyreg shelve marshal dbm sqlite3 json "
        "base64 binascii quopri html xml mimetypes uu binhex xdrlib pyexpat"
    ),
    "concurrency": ("threading _threading_local multiprocessing concurrent subprocess sched queue contextvars asyncio"),
    "network": (
        "socket ssl select selectors urllib http ftplib poplib imaplib smtplib smtpd uuid socketserver xmlrpc "
        "ipaddress webbrowser wsgiref nntplib telnetlib asyncore asynchat cgi cgitb email mailbox mailcap"
    ),
    "operating system": (
        "os time argparse getopt optparse logging getpass curses platform errno ctypes pwd grp termios tty pty "
        "fcntl resource syslog signal mmap pipes msvcrt winreg crypt"
    ),
    "development": (
        "typing pydoc doctest unittest lib2to3 bdb faulthandler pdb timeit trace tracemalloc profile cProfile "
        "pstats distutils venv zipapp"
    ),
    "runtime": (
        "sys sysconfig warnings dataclasses contextlib abc _py_abc atexit traceback gc inspect site code codeop "
        "zipimport pkgutil modulefinder runpy importlib imp ast symtable token tokenize tabnanny pyclbr "
        "py_compile compileall dis pickletools opcode _sitebuiltins"
    ),
    "windows and media": "tkinter turtle wave colorsys sndhdr aifc chunk sunau imghdr",
}
AREA_OF = {module: area for area, modules in _CHAPTERS.items() for module in modules.split()}
AREAS = tuple(_CHAPTERS)


def area_of(module: str) -> str | None:
    """The area of a module by its longest known prefix; None where the reference gives it no chapter."""
    parts = module.split(".")
    prefixes = (".".join(parts[:num]) for num in range(len(parts), 0, -1))
    return next((AREA_OF[prefix] for prefix in prefixes if prefix in AREA_OF), None)


def area_rows(found: Library) -> Iterator[Json]:
    """At most 500 texts of an area (chosen by hash), so that no area is a multiple of another."""
    texts: dict[str, dict[str, int]] = {area: {} for area in AREAS}
    for k, entry in enumerate(found.entries):
        area = area_of(entry.module)
        excerpt = _excerpt(entry.doc)
        if area and len(excerpt) >= MIN_AREA_CHARACTERS and not (found.split[k] == "test" and is_read(excerpt, found)):
            texts[area].setdefault(excerpt, k)
    twice = {text for text, num in Counter(text for area in AREAS for text in texts[area]).items() if num > 1}
    for area in AREAS:
        fitting = [(text, k) for text, k in texts[area].items() if text not in twice]
        for text, k in sorted(fitting, key=lambda pair: place(f"area: {found.entries[pair[1]].name}"))[:MAX_PER_AREA]:
            yield {"text": text, "label": area, "split": found.split[k], "origin": found.entries[k].name}


def _excerpt(doc: str) -> str:
    return doc if len(doc) <= MAX_AREA_CHARACTERS else doc[:MAX_AREA_CHARACTERS].rpartition(" ")[0]
