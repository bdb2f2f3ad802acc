"""Which files of an input are labelled data, in which format each is, and which split it is.

    by suffix     csv tsv json jsonl parquet arrow, conll bio bmes ..., inter
    by its kin    train.de next to train.en, train.seq.in next to train.seq.out
    by content    any other text file: words with tags, `__label__` lines, text <tab> label
    by folder     where none of these is found: a folder of texts per class

Archives are opened. README, LICENSE and lists of class names are no data.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath

from pretune.base.errors import NoSuchColumn, UserError
from pretune.text.dataset.shapes import atomic, conll, folders, lines, parallel
from pretune.text.dataset.shapes.converter import Record
from pretune.text.dataset.shapes.features import class_names, named
from pretune.text.dataset.shapes.trees import unfolded
from pretune.text.read.encoding import detect
from pretune.text.read.readers import ARCHIVES, READERS, TABULAR, Repairs, members, open_bytes, read_records, suffix_of
from pretune.text.read.split import NAMES

Files = dict[str, Path]
ABOUT = re.compile(r"(readme|licen[cs]e|copying|notice|citation|changelog)([.-]\w+)*", re.IGNORECASE)
ABOUT_SUFFIXES = ("", ".md", ".txt", ".rst", ".cff", ".html", ".pdf")
DESCRIPTIONS = ("artifact.json", "dataset_info.json", "dataset_infos.json", "state.json")
CLASS_NAMES = ("class.txt", "classes.txt", "labels.txt", "class_names.txt", "labels.json")
SHARD = re.compile(r"-\d{2,6}-of-\d{2,6}$")
SAMPLE_BYTES = 1 << 16
FORMATS = (
    f"tables ({', '.join(TABULAR)}), words and tags (.conll), ratings (.inter), two text files line by line, "
    "lines of __label__LABEL and a text, lines of text, tab and label"
)
"""By what labelled data is known; folders of texts per class besides."""


@dataclass(frozen=True)
class LabelledFile:
    """Records that come in one format.

    Args:
        name: of the file, or of the files with ` + ` between them.
        stem: what may say the split: the name without folder, packing and suffix.
        read: the records, streaming.
        paths: the files on disk.
        is_parallel: its name says the split also where more follows (test_2016_flickr.de).
    """

    name: str
    stem: str
    read: Callable[[Repairs], Iterator[Record]]
    paths: tuple[Path, ...]
    is_parallel: bool = False

    @property
    def num_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.paths)


def sources_of(files: Sequence[tuple[str, Path]], *, where: str) -> tuple[list[LabelledFile], list[str]]:
    """(sources by name, files that are in no known format) of an input; every file is in one of them or is no data.

    Raises:
        NoSuchColumn: there is no labelled data.
    """
    left = {name: path for name, path in files if not _is_no_data(name)}
    found = _in_a_format(left) or _classes(left)
    if not found:
        raise NoSuchColumn(
            f"{where!r} holds no table and nothing else with labels; looked for: {FORMATS}, folders of texts per class",
            hint="plain text is for `pretune corpus` and `pretune pretrain`",
        )
    return sorted(found, key=lambda s: s.name), sorted(left)


def is_labelled(files: Sequence[tuple[str, Path]]) -> bool:
    """Whether some file is in a format of labelled data, or all of them are short texts in folders of classes."""
    left = {name: path for name, path in files if not _is_no_data(name)}
    return bool(_in_a_format(left)) or folders.look_like_classes(left)


def is_named_so(name: str) -> bool:
    """Whether a file says by its name that it is labelled data; by its content it may be text after all."""
    return suffix_of(Path(name)) in (*TABULAR, *conll.SUFFIXES, ".inter")


def _in_a_format(left: Files) -> list[LabelledFile]:
    return [*_slots(left), *_languages(left), *_ratings(left), *_tables(left), *_lines(left)]


def unpacked(
    files: Sequence[tuple[str, Path]], scratch: Path, repairs: Repairs, *, most: int | None = None
) -> list[tuple[str, Path]]:
    """The files, the members of archives (of each the first `most`) in the place of each, unpacked into `scratch`."""
    found = []
    for name, path in files:
        if suffix_of(path) not in ARCHIVES:
            found.append((name, path))
            continue
        scratch.mkdir(parents=True, exist_ok=True)
        for number, (inner, member) in enumerate(islice(members(path, scratch, repairs), most)):
            kept = member.replace(scratch / f"kept-{len(found)}-{number}{''.join(member.suffixes)}")
            found.append((f"{name}/{inner}", kept))
    return found


def _is_no_data(name: str) -> bool:
    """README, LICENSE.txt, class.txt, a program; not notice.csv."""
    plain = PurePosixPath(name).name.lower()
    about = ABOUT.fullmatch(plain) and suffix_of(Path(plain)) in ABOUT_SUFFIXES
    return bool(about) or plain in (*CLASS_NAMES, *DESCRIPTIONS) or plain.endswith((".py", ".lock"))


# ---- formats; each takes what is its own out of what is left ------------------------------------


def _slots(left: Files) -> Iterator[LabelledFile]:
    for stem, roles in parallel.slot_files(left).items():
        pairs = [(role, left.pop(name)) for role, name in sorted(roles.items(), reverse=True)]
        yield _together(stem, roles, pairs, parallel.read_slots)


def _languages(left: Files) -> Iterator[LabelledFile]:
    for stem, endings in parallel.language_files(left).items():
        pairs = [(ending, left.pop(endings[ending])) for ending in sorted(endings)]
        yield _together(stem, endings, pairs, parallel.read_parallel)


def _together(
    stem: str, names: Mapping[str, str], pairs: list[tuple[str, Path]], read: Callable[..., Iterator[Record]]
) -> LabelledFile:
    name = " + ".join(names[role] for role, _ in pairs)
    return LabelledFile(
        name, PurePosixPath(stem).name, partial(read, pairs), tuple(p for _, p in pairs), is_parallel=True
    )


def _ratings(left: Files) -> Iterator[LabelledFile]:
    for name in [n for n in left if suffix_of(left[n]) == ".inter"]:
        stem = name.rpartition(".inter")[0]
        items = next((left.pop(n) for n in list(left) if n.startswith(f"{stem}.item")), None)
        for users in [n for n in left if n.startswith(f"{stem}.user")]:
            del left[users]
        path = left.pop(name)
        yield LabelledFile(name, _stem(name), partial(atomic.read_ratings, path, items), (path,))


def _tables(left: Files) -> Iterator[LabelledFile]:
    for name in [n for n in left if suffix_of(left[n]) in TABULAR]:
        path = left.pop(name)
        yield LabelledFile(name, _stem(name), partial(_records, path), (path,))


def _records(path: Path, repairs: Repairs) -> Iterator[Record]:
    records = read_records(path, repairs)
    if suffix_of(path) == ".parquet" and (names := class_names(path)):
        return named(records, names)
    return unfolded(records, path.as_posix()) if suffix_of(path) in (".json", ".jsonl", ".ndjson") else records


def _lines(left: Files) -> Iterator[LabelledFile]:
    for name, path in list(left.items()):
        suffix = suffix_of(path)
        if suffix in READERS and suffix != ".txt":
            continue
        read = conll.read_conll if suffix in conll.SUFFIXES else _by_content(path)
        if read is not None:
            del left[name]
            yield LabelledFile(name, _stem(name), partial(read, path), (path,))


def _by_content(path: Path) -> Callable[[Path, Repairs], Iterator[Record]] | None:
    """The reader of a text file, by its beginning; None if it is in no such format."""
    try:
        with open_bytes(path) as stream:
            sample = stream.read(SAMPLE_BYTES)
        text = sample.decode(detect(io.BytesIO(sample), path.as_posix()), errors="replace")
    except UserError:
        return None
    rows = list(io.StringIO(text, newline=None))  # splitlines() cuts at form feeds, U+0085 and U+2028, too
    rows = rows[:-1] if len(sample) == SAMPLE_BYTES else rows
    if lines.has_marks(rows):
        return lines.read_marked
    if conll.looks_like(rows):
        return conll.read_conll
    return lines.read_tabs if lines.has_tabs(rows) else None


def _classes(left: Files) -> list[LabelledFile]:
    """One source for each split that the folders of classes are in."""
    names = folders.class_files({n: p for n, p in left.items() if suffix_of(p) in ("", ".txt", ".text", ".md")})
    found = []
    for split in sorted({_folder_split(name) for name in names}):
        mine = [(name, left.pop(name)) for name in names if _folder_split(name) == split]
        paths = tuple(path for _, path in mine)
        title = f"{split}/*/*" if split else "*/*"
        found.append(LabelledFile(title, split, partial(folders.read_classes, mine), paths))
    return found


# ---- splits --------------------------------------------------------------------------------------


def _stem(name: str) -> str:
    return parallel.plain_name(name).rpartition(".")[0] or parallel.plain_name(name)


def _folder_split(name: str) -> str:
    """The split that the nearest folder of such a name is (an archive's name counts without its suffix); "" if none."""
    parents = [part.lower().partition(".")[0] for part in PurePosixPath(name).parent.parts]
    return next((NAMES[part] for part in reversed(parents) if part in NAMES), "")


def _split(source: LabelledFile) -> str:
    """By the exact stem: train, dev ...; behind `__` or a dot (raw__train, reviews.train); example.train; a folder."""
    stem = SHARD.sub("", source.stem).removesuffix(".char")
    ending = suffix_of(Path(source.name)).removeprefix(".")
    words = (stem, stem.rpartition("__")[2], stem.rpartition(".")[2], ending)
    return next((NAMES[word] for word in words if word in NAMES), "") or _folder_split(source.name)


def _first_word(source: LabelledFile) -> str:
    """`test` of test_2016_flickr and raw__test_2016_flickr."""
    return NAMES.get(re.split(r"[_\W]", source.stem.rpartition("__")[2])[0], "")


def splits_of(sources: Sequence[LabelledFile]) -> list[str | None]:
    """The split of each source, "" for none; None for one to be left alone, as others say what they are.

    A name says its split exactly. Where it says more (test_noleak), it counts if no name is exact and all of them
    begin with splits, at least two different ones; or, of parallel files, if it is the only one for its split.
    """
    exact, first = [_split(s) for s in sources], [_first_word(s) for s in sources]
    if not any(exact):
        return list(first) if all(first) and len(set(first)) > 1 else [""] * len(sources)
    found: list[str | None] = [split or None for split in exact]
    for k, source in enumerate(sources):
        alone = first[k] not in exact and first.count(first[k]) == 1
        if found[k] is None and source.is_parallel and first[k] and alone:
            found[k] = first[k]
    return found
