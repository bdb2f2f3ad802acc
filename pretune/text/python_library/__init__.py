"""The text of the quickstart: the Python that is installed, read without a download.

    python:code         the standard library's sources without their docstrings, a document per file
    python:docs         every docstring under its public name, a document per module; the language reference of `pydoc`
    python:questions    "What does `shutil.copytree` do?" -> the first sentence of its docstring
    python:order        four lines of code -> are they in order, or shuffled?
    python:answers      "What does `os.path.isdir` do?", and a passage that says it, or does not
    python:names        a line of code -> the names defined in it, and what each is
    python:areas        docstring -> the chapter of the library reference it belongs to

Some 10 % of the docstrings are *held out*: they are neither in code nor in docs, nobody trains on them, and the
tests ask for them ("guessed", and the test split of areas). What decides is a keyed hash of the cluster of near copies
(`copies`), so no copy of a held-out docstring was read under another name. Of the code some 4 % of the files are held
out for `order` and `names`.

`python:questions?functions=2000&only=guessed` narrows a part: `functions` reads the most useful ones (well-known
modules first, then by how often the library itself says the name) and asks for the same held-out ones as ever,
`skimmed=500` adds the next 500 in three wordings instead of 28 - too few to be remembered, enough to learn what
docstrings say of such names - and `only` keeps one of `remembered` and `guessed`.
Docstrings of compiled modules depend on the platform; everything else on the version of Python alone.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qsl

from pretune.base.errors import UserError
from pretune.base.json import Json
from pretune.text.dedup.near import Roots
from pretune.text.python_library.areas import area_rows
from pretune.text.python_library.compiled import compiled_entries, compiled_files
from pretune.text.python_library.copies import join_near_copies
from pretune.text.python_library.defined import defined_rows
from pretune.text.python_library.facts import Asked, Library, is_read, place, plain
from pretune.text.python_library.names import Namespace, is_private, named, short_methods
from pretune.text.python_library.order import order_rows, split_of
from pretune.text.python_library.passages import answer_rows
from pretune.text.python_library.questions import NUMBERS, question_rows
from pretune.text.python_library.sentences import first_sentence
from pretune.text.python_library.sources import (
    Entry,
    Source,
    library_root,
    python_version,
    read_sources,
    source_files,
    tidy,
)
from pretune.text.read.characters import word_set
from pretune.text.read.document import Document, document_id

# With the version of Python, because compiled docstrings have no file that could be digested.
VERSION = f"11 with Python {python_version()}"
PARTS = ("code", "docs", "questions", "order", "names", "areas", "answers")

HELD_OUT, VALIDATION = 0.10, 0.08
# A sentence that nine docstrings share is a formula, not a fact about one of them.
MAX_CLUSTER = 8
# Shown in the README and by the quickstart: what a reader will try first must have been read.
SHOWN = ("shutil.copytree", "json.dumps", "os.path.join", "Path.read_text", "str.split", "random.shuffle")


WELL_KNOWN = word_set(
    "builtins os os.path sys re json math random datetime time pathlib shutil collections collections.abc itertools "
    "functools string textwrap io csv subprocess threading asyncio logging argparse typing dataclasses contextlib "
    "copy enum glob tempfile urllib.parse urllib.request socket struct hashlib base64 pickle sqlite3 statistics "
    "decimal fractions heapq bisect queue zipfile tarfile gzip configparser unittest unittest.mock inspect traceback "
    "warnings operator string shlex fnmatch getpass platform signal uuid secrets http.client http.server "
    "multiprocessing concurrent.futures calendar difflib pprint timeit types weakref abc ast dis locale zlib html "
    "email.message smtplib ssl select selectors xml.etree.ElementTree"
)
RARELY_WANTED = word_set(
    "tkinter turtle ctypes curses msilib xml xmlrpc wsgiref email mailbox imaplib nntplib telnetlib"
)
# Programs and leavings rather than a library that one calls.
NOT_ASKED = word_set(
    "idlelib lib2to3 distutils encodings test unittest.test antigravity this venv pydoc asyncore asynchat smtpd "
    "unicodedata.UCD"
)


# ---- the six parts ------------------------------------------------------------------------------


def files(part: str) -> list[Path]:
    """The files that `part` is made of, sorted; their digests and VERSION make its id."""
    _parse(part)
    return list(_files(library_root()))


@lru_cache(maxsize=1)
def _files(root: Path) -> tuple[Path, ...]:
    """Walking the library takes a second, and every page that names its sources asks."""
    return tuple(sorted([*source_files(root), *compiled_files(root), *_topic_files(root)]))


def documents(part: str) -> Iterator[Document]:
    """The documents of "code" or "docs", in the order of their origins.

    Raises:
        UserError: no such part.
    """
    name, _ = _parse(part)
    found = library()
    pages = {"code": _code, "docs": _docs}
    if name not in pages:
        raise UserError(f"python:{part} holds examples, not documents", hint="for text take python:code or python:docs")
    for origin, text in sorted(pages[name](found)):
        yield Document(text=text, id=document_id(name, origin, 0), source=name, origin=origin)


def rows(part: str) -> Iterator[Json]:
    """The rows of "questions" (messages, keywords, group), of "answers" (question, context, answers), of "order" and
    "areas" (text, label) or of "names" (text, entities), each with split and origin.

    Raises:
        UserError: no such part, or a setting of it that is no number or does not exist.
    """
    name, settings = _parse(part)
    if name == "questions":
        yield from question_rows(library(), **settings)
    elif name == "order":
        yield from order_rows(library().sources, library().read)
    elif name == "answers":
        yield from answer_rows(library())
    elif name == "names":
        yield from defined_rows(library().sources)
    elif name == "areas":
        yield from area_rows(library())
    else:
        hint = "take python:questions, python:answers, python:order, python:names or python:areas"
        raise UserError(f"python:{part} holds documents, not examples", hint=hint)


def _parse(part: str) -> tuple[str, Json]:
    name, _, query = part.partition("?")
    if name not in PARTS:
        raise UserError(f"there is no python:{name}", hint=f"there are {', '.join(f'python:{p}' for p in PARTS)}")
    settings: Json = dict(parse_qsl(query, keep_blank_values=True))
    for key, value in settings.items():
        is_fine = name == "questions" and (
            (key in NUMBERS and value.isdecimal() and int(value) >= NUMBERS[key])
            or (key == "only" and value in ("remembered", "guessed"))
        )
        if not is_fine:
            hint = "python:questions?functions=2000&skimmed=500&only=remembered (or guessed)"
            raise UserError(f"python:{part} has no setting {key}={value!r}", hint=hint)
    return name, {key: int(value) if key in NUMBERS else value for key, value in settings.items()}


@lru_cache(maxsize=1)
def library() -> Library:
    """The installed standard library; read on the first call, some seconds on one core."""
    root = library_root()
    return build(read_sources(root), compiled_entries(), _read_topics(root))


def build(sources: list[Source], compiled: list[Entry], topics: dict[str, str]) -> Library:
    """A library of given sources, compiled entries and pages of reference: names, clusters, splits, questions."""
    mine = [entry for source in sources for entry in source.entries]
    entries = _distinct([*named(mine, Namespace(sources).public_names()), *compiled])
    answers = [_answer(entry) for entry in entries]
    clusters = Roots[int]()
    join_near_copies(clusters, [entry.doc for entry in entries])
    join_near_copies(clusters, answers)
    short = short_methods([entry for entry, answer in zip(entries, answers, strict=True) if answer])
    labels = [short.get(entry.name, entry.name) for entry in entries]
    split = _splits(entries, labels, clusters)
    asked = [Asked(labels[k], answer, k, split[k] == "test") for k, answer in enumerate(answers) if answer]
    found = Library(sources, entries, topics, split)
    pages = (text for part in (_code, _docs) for _, text in part(found))
    found = replace(found, read=plain("\n".join(pages)))
    return replace(found, asked=_ranked(found, _without_known(found, asked)))


def _distinct(entries: Iterable[Entry]) -> list[Entry]:
    """One entry per public name (Python's before C's), and one of those that say the same under the same last name."""
    by_name: dict[str, Entry] = {}
    for entry in entries:
        by_name.setdefault(entry.name, entry)
    best: dict[tuple[str, str], str] = {}
    for entry in sorted(by_name.values(), key=lambda entry: (entry.name.count("."), len(entry.name), entry.name)):
        best.setdefault(_said(entry), entry.name)
    return [entry for name, entry in sorted(by_name.items()) if best[_said(entry)] == name]


def _said(entry: Entry) -> tuple[str, str]:
    # Methods of two classes may say the same and are two; io.open and open are one.
    key = entry.name if entry.kind in ("method", "module") else entry.name.rpartition(".")[2]
    return key, " ".join(entry.doc.split())


# ---- what is asked ------------------------------------------------------------------------------


def _answer(entry: Entry) -> str | None:
    parts = entry.name.split(".")
    has_no_public_name = is_private(entry.module) and entry.name.startswith(f"{entry.module}.")
    is_hidden = has_no_public_name or any(part.startswith("_") for part in parts)
    is_left_out = any(".".join(parts[:num]) in NOT_ASKED for num in range(1, len(parts) + 1))
    is_helper = any(part.startswith(("visit_", "do_", "test")) for part in parts[1:])
    if entry.kind == "module" or is_hidden or is_left_out or is_helper:
        return None
    return first_sentence(entry.doc)


def _splits(entries: list[Entry], labels: list[str], clusters: Roots[int]) -> list[str]:
    """The split of every entry, the same for all of its cluster; from a keyed hash of the cluster's first name."""
    members: dict[int, list[int]] = defaultdict(list)
    for k in range(len(entries)):
        members[clusters.of(k)].append(k)
    split = [""] * len(entries)
    for group in members.values():
        drawn = place(min(entries[k].name for k in group))
        is_free = len(group) <= MAX_CLUSTER and not any(labels[k] in SHOWN for k in group)
        if is_free and drawn < HELD_OUT:
            where = "test"
        else:
            where = "validation" if is_free and drawn < HELD_OUT + VALIDATION else "train"
        for k in group:
            split[k] = where
    return split


def _without_known(found: Library, asked: list[Asked]) -> list[Asked]:
    """Held-out functions whose answer can be read elsewhere (a comment, a page of reference) are asked of nobody."""
    reference = "\n".join(found.topics.values())
    return [
        one for one in asked if not one.is_held_out or not (is_read(one.answer, found) or f"{one.name}(" in reference)
    ]


def _ranked(found: Library, asked: list[Asked]) -> list[Asked]:
    """What is shown, then the most useful first; of two that are called alike the more useful one stays."""
    mentions = Counter(re.findall(r"[A-Za-z_]\w+", "\n".join(source.code for source in found.sources)))
    sharers = Counter(_last(one) for one in asked)

    def rank(one: Asked) -> tuple[bool, int, float, str]:
        # "name" and "get" are said everywhere and mean something else each time.
        tier = _tier(found.entries[one.entry])
        return one.name not in SHOWN, tier, -mentions[_last(one)] / sharers[_last(one)] ** 2, one.name

    kept: dict[str, Asked] = {}
    for one in sorted(asked, key=rank):
        kept.setdefault(one.name, one)
    return list(kept.values())


def _last(one: Asked) -> str:
    return one.name.rpartition(".")[2]


def _tier(entry: Entry) -> int:
    """0: functions and classes of well-known modules, methods of built-in types; 1: their methods; 2, 3: the rest."""
    owner = entry.name.rpartition(".")[0]
    if entry.name.split(".")[0] in RARELY_WANTED and owner not in WELL_KNOWN:
        return 3
    if entry.module == "builtins" or owner in WELL_KNOWN:
        return 0
    return 1 if owner.rpartition(".")[0] in WELL_KNOWN else 2


# ---- code and docs ------------------------------------------------------------------------------


def _code(found: Library) -> Iterator[tuple[str, str]]:
    read = (source for source in found.sources if split_of(source.path) != "test")
    return ((source.path, source.code) for source in read if source.code.strip())


def _docs(found: Library) -> Iterator[tuple[str, str]]:
    pages: dict[str, list[str]] = defaultdict(list)
    for entry, split in zip(found.entries, found.split, strict=True):
        if split != "test":
            pages[entry.module].append(_page(entry))
    for module in sorted(pages):
        yield f"library/{module}", "\n\n".join(pages[module]) + "\n"
    for topic in sorted(found.topics):
        yield f"reference/{topic}", found.topics[topic] + "\n"


def _page(entry: Entry) -> str:
    head = {"module": f"module {entry.name}", "class": f"class {entry.name}{entry.signature}"}
    indented = "\n".join(f"    {line}" if line else "" for line in entry.doc.splitlines())
    return f"{head.get(entry.kind, f'{entry.name}{entry.signature}')}\n{indented}"


def _topic_files(root: Path) -> list[Path]:
    path = root / "pydoc_data" / "topics.py"
    return [path] if path.is_file() else []


def _read_topics(root: Path) -> dict[str, str]:
    """The pages that `help("FOR")` shows; none where a distribution leaves them out."""
    found: dict[str, str] = {}
    for path in _topic_files(root):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                found |= {key: tidy(text) for key, text in ast.literal_eval(node.value).items()}
    return found
