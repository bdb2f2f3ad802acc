"""The quickstart's text: small packages written here, and the standard library that runs this test."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from pretune.base.digest import digest
from pretune.base.errors import UserError
from pretune.text import python_library
from pretune.text.dataset.example import read_split
from pretune.text.dedup.near import Roots
from pretune.text.python_library import Library, build, wordings
from pretune.text.python_library.areas import AREAS, area_of
from pretune.text.python_library.copies import join_near_copies
from pretune.text.python_library.names import Namespace, named, short_methods
from pretune.text.python_library.sentences import first_sentence, keywords, word_frequencies
from pretune.text.python_library.sources import Entry, read_source, read_sources, source_files


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def names_in(root: Path) -> set[str]:
    sources = read_sources(root)
    entries = [entry for source in sources for entry in source.entries]
    return {entry.name for entry in named(entries, Namespace(sources).public_names())}


# ---- cutting ----------------------------------------------------------------------------------


def code_of(tmp_path: Path, text: str) -> str:
    source = read_source(write(tmp_path, module=text) / "module.py", tmp_path)
    assert source is not None
    return source.code


def test_docstrings_are_cut_and_the_rest_of_the_source_stays_byte_for_byte(tmp_path):
    text = '"""Module 你好 🙂."""\n\nX = "not a docstring"\n\n\ndef f(a):  # why\n    """Say.\n\n    More.\n    """\n    return a  # 好\n'
    assert code_of(tmp_path, text) == 'X = "not a docstring"\n\n\ndef f(a):  # why\n    return a  # 好\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('def f():\n    """All there is."""\n', "def f():\n    pass\n"),
        ('def f(): "All there is."\n', "def f(): pass\n"),
        ('class 类:\n    def 读(self): "好。"; return "好"\n', 'class 类:\n    def 读(self): pass; return "好"\n'),
        ('def f():\n    """Two\n    lines."""; x = 1\n', "def f():\n    pass; x = 1\n"),
        ('class A:\n    "Say."\n    # why\n    x = 1\n', "class A:\n    # why\n    x = 1\n"),
    ],
)
def test_a_source_without_its_docstrings_still_parses_wherever_they_stood(tmp_path, text, told):
    code = code_of(tmp_path, text)
    assert code == told
    ast.parse(code)


def test_a_file_that_is_no_python_of_this_version_is_left_out_and_the_others_are_read(tmp_path):
    root = write(tmp_path, old="print 'hello'\n", new="x = 1\n")
    assert [source.module for source in read_sources(root)] == ["new"]


def test_tests_tables_and_installed_packages_are_not_read(tmp_path):
    given = {
        "a": "",
        "test__b": "",
        "pkg__tests__c": "",
        "encodings__cp437": "",
        "encodings__idna": "",
        "_sysconfigdata_x": "",
    }
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "d.py").write_text("", encoding="utf-8")
    assert [p.relative_to(tmp_path).as_posix() for p in source_files(write(tmp_path, **given))] == [
        "a.py",
        "encodings/idna.py",
    ]


# ---- names ------------------------------------------------------------------------------------


def test_a_package_gives_the_names_of_its_parts_and_a_private_module_has_none_of_its_own(tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "__init__.py").write_text("from .tasks import *\n", encoding="utf-8")
    root = write(
        tmp_path,
        pool__tasks='__all__ = ["gather"]\ndef gather():\n    "Gather all."\n',
        posixpath='def join():\n    "Join two paths."\n',
        _inner='def act():\n    "Act now."\n',
        outer="from _inner import act\nfrom pool import gather\n",
    )
    assert names_in(root) == {"pool.gather", "os.path.join", "outer.act"}


def test_a_name_imported_on_demand_is_found_in_the_one_part_that_defines_it(tmp_path):
    (tmp_path / "futures").mkdir()
    (tmp_path / "futures" / "__init__.py").write_text('__all__ = ("Pool",)\n', encoding="utf-8")
    assert names_in(write(tmp_path, futures__thread='class Pool:\n    "A pool."\n')) == {"futures.Pool"}


def test_methods_are_asked_for_by_their_class_alone_unless_two_classes_share_the_name():
    entries = [
        Entry("m", q, "method", "", "Doc.", f"{m}.{q}")
        for m, q in [("a", "Box.put"), ("a", "Bag.put"), ("b", "Bag.get")]
    ]
    entries.append(Entry("a", "deque.append", "method", "", "Doc.", "a.deque.append"))
    assert short_methods(entries) == {"a.Box.put": "Box.put"}


# ---- sentences --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("doc", "sentence"),
    [
        ("Copy a file, e.g. a\nbook, to dst. Then stop.", "Copy a file, e.g. a book, to dst."),
        ("range(stop) -> range object\n\nReturn an object that counts.\n\nMore.", "Return an object that counts."),
        ("D.pop(k[,d]) -- remove the key and give its value.", "remove the key and give its value."),
        ("defaultdict(factory) --> dict\n\nThe factory is called each time.", "The factory is called each time."),
        ("Serialize ``obj`` to a\n:class:`str` without a stop", "Serialize ``obj`` to a"),
        ("Return the value of os.environ. Case matters.", "Return the value of os.environ."),
        ("Too short.", None),
        ("Deprecated since 3.9: use another function.", None),
        ("Initialize self.  See help(type(self)) for accurate signature.", None),
        ("word " * 60, None),
        ("The following are known:\n\n- one", None),
    ],
)
def test_the_first_sentence_is_the_docstrings_own_on_one_line(doc, sentence):
    assert first_sentence(doc) == sentence


def test_keywords_are_the_rarest_words_that_the_name_does_not_give_away():
    answer = "Recursively copy a directory tree and return the destination directory."
    frequencies = word_frequencies([answer, "Remove a directory.", "Remove a destination and its tree and return."])
    assert keywords(answer, "shutil.copytree", frequencies) == ["directory", "destination"]
    assert keywords(answer, "os.copydirectory", frequencies) == ["tree", "destination"]
    assert keywords("Copy the tree.", "shutil.copytree", frequencies) == []


# ---- near copies ------------------------------------------------------------------------------


def test_texts_that_share_70_percent_of_their_words_are_one_cluster_and_no_others():
    texts = ["a b c d e f g", "g f e d c b a x y z", "a b c d e f x1 x2 x3 x4", None, "A, b c. d e f (g)!"]
    clusters = Roots[int]()
    join_near_copies(clusters, texts)
    assert [clusters.of(k) for k in range(5)] == [0, 0, 2, 3, 0]


def test_prefix_filtering_finds_the_clusters_that_comparing_all_pairs_finds():
    vocabulary = [f"w{k}" for k in range(12)]
    texts = [" ".join(vocabulary[(k * 7 + j * (1 + k % 5)) % 12] for j in range(3 + k % 8)) for k in range(150)]
    fast, slow = Roots[int](), Roots[int]()
    join_near_copies(fast, texts)
    sets = [set(text.split()) for text in texts]
    for k in range(150):
        for j in range(k):
            if len(sets[k] & sets[j]) >= 0.7 * len(sets[k] | sets[j]):
                slow.join(j, k)
    assert [fast.of(k) for k in range(150)] == [slow.of(k) for k in range(150)]


def many_functions(root: Path) -> Library:
    """200 functions of two modules: each says something of its own, and its copy in `second` says nearly the same."""
    say = "Turn wheel {0} by {1} and then read {2}"
    first = "".join(f'def turn{k}():\n    """{say.format(f"w{k}x", f"q{k}x", f"d{k}x")}."""\n' for k in range(200))
    second = "".join(
        f'def also{k}():\n    """{say.format(f"w{k}x", f"q{k}x", f"d{k}x")} today."""\n' for k in range(0, 200, 2)
    )
    return build(read_sources(write(root, first=first, second=second)), [], {})


def test_no_near_copy_of_a_held_out_docstring_is_in_the_other_split(tmp_path):
    found = many_functions(tmp_path)
    split = {entry.name: split for entry, split in zip(found.entries, found.split, strict=True)}
    pairs = [(split[f"first.turn{k}"], split[f"second.also{k}"]) for k in range(0, 200, 2)]
    assert all(one == other for one, other in pairs)
    assert ("test", "test") in pairs


def test_the_answer_of_a_held_out_function_that_a_comment_tells_is_asked_of_nobody(tmp_path):
    found = many_functions(tmp_path)
    held = next(one for one in found.asked if one.is_held_out)
    (tmp_path / "third.py").write_text(f"# {held.answer[:30]}\n# {held.answer[30:]}\nx = 1\n", encoding="utf-8")
    again = build(read_sources(tmp_path), [], {})
    told = {one.name for one in found.asked} - {one.name for one in again.asked}
    assert held.name in told
    assert all(one.answer.startswith(held.answer[:-1]) for one in found.asked if one.name in told)


# ---- the installed library --------------------------------------------------------------------


@pytest.fixture(scope="module")
def questions() -> list[dict]:
    return list(python_library.rows("questions"))


def answers(questions: list[dict], name: str) -> set[str]:
    return {row["messages"][1]["content"] for row in questions if row["origin"].partition("/")[2] == name}


def test_functions_are_known_by_the_names_that_users_write(questions):
    assert answers(questions, "shutil.copytree") == {
        "Recursively copy a directory tree and return the destination directory."
    }
    assert answers(questions, "json.dumps") == {"Serialize ``obj`` to a JSON formatted ``str``."}
    assert answers(questions, "len") == {"Return the number of items in a container."}
    for name in ("os.path.join", "str.split", "random.choice", "math.sqrt", "Path.read_text", "asyncio.gather"):
        assert len(answers(questions, name)) == 1, name
    names = {row["origin"].partition("/")[2] for row in questions}
    assert not [n for n in names if n.startswith(("posixpath.", "builtins.", "genericpath.", "_")) or "._" in n]


def test_what_the_readme_shows_is_asked_first():
    first = [one.name for one in python_library.library().asked[: len(python_library.SHOWN)]]
    assert sorted(first) == sorted(python_library.SHOWN)


def asked_in(questions, split):
    return {
        row["origin"].partition("/")[2]: row["messages"][0]["content"]
        for row in questions
        if row["split"] == split and row["group"] == "remembered"
    }


def test_what_was_read_is_asked_in_many_wordings_and_later_in_others(questions):
    read = [row for row in questions if row["origin"] == "remembered/shutil.copytree"]
    train = [row["messages"][0]["content"] for row in read if row["split"] == "train"]
    assert train[0] == "What does `shutil.copytree` do?"
    assert 20 <= len(train) == len(set(train)) <= wordings.EACH
    assert all(question.count("shutil.copytree") == 1 for question in train)
    for split, known in (("validation", wordings.VALIDATION), ("test", wordings.TEST)):
        asked = asked_in(questions, split)
        assert {question.replace(name, "{}", 1) for name, question in asked.items()} == set(known), split
        counted = Counter(question.replace(name, "{}", 1) for name, question in asked.items())
        assert min(counted.values()) > 0.5 * len(asked) / len(known), "each wording has its share"


def test_no_wording_of_validation_or_test_is_trained_on_and_none_is_both():
    splits = [[*wordings.CORES], [*wordings.VALIDATION], [*wordings.TEST]]
    plain = [{re.sub(r"[^a-z ]", "", wording.lower()).strip() for wording in split} for split in splits]
    assert [len(split) for split in plain] == [len(split) for split in splits]
    assert not (plain[0] & plain[1] or plain[0] & plain[2] or plain[1] & plain[2])
    for opening in wordings.OPENINGS:
        assert not [w for w in (*wordings.VALIDATION, *wordings.TEST) if opening and w.startswith(opening)]


def test_words_drawn_around_a_name_are_the_librarys_and_never_another_functions_name(questions):
    names = {row["origin"].partition("/")[2] for row in questions}
    cores = {word for wording in (*wordings.CORES, *wordings.OPENINGS, *wordings.CLOSINGS) for word in wording.split()}
    for row in questions:
        if row["split"] == "train" and row["origin"].endswith("/shutil.copytree"):
            words = row["messages"][0]["content"].replace("shutil.copytree", "").split()
            assert not {w.strip("`.?!") for w in words if w not in cores} & names


def test_the_same_name_is_asked_about_in_the_same_words_everywhere():
    words = ["ab", "cd", "ef", "gh"]
    assert wordings.train_wordings("f", words) == wordings.train_wordings("f", words)
    assert wordings.train_wordings("f", words)[1:] != wordings.train_wordings("g", words)[1:]
    assert wordings.train_wordings("os.path.join", words)[2] == "ab ab gh gh {} cd?"


def test_held_out_functions_are_never_trained_on(questions):
    guessed = {row["origin"].partition("/")[2] for row in questions if row["group"] == "guessed"}
    read = {row["origin"].partition("/")[2] for row in questions if row["group"] == "remembered"}
    assert len(guessed) >= 100
    assert not guessed & read
    assert {row["split"] for row in questions if row["group"] == "guessed"} == {"test"}


def test_no_held_out_first_sentence_stands_in_code_or_docs(questions):
    text = " ".join(
        " ".join(document.text.split()) for part in ("code", "docs") for document in python_library.documents(part)
    )
    held = {row["messages"][1]["content"] for row in questions if row["group"] == "guessed"}
    assert [answer for answer in sorted(held) if answer in text] == []
    assert "Recursively copy a directory tree and return the destination directory." in text


def test_fewer_functions_are_the_more_useful_ones_and_hold_out_the_same(questions):
    fewer = list(python_library.rows("questions?functions=1000"))
    assert {row["origin"] for row in fewer} < {row["origin"] for row in questions}
    assert answers(fewer, "shutil.copytree")
    only = list(python_library.rows("questions?functions=1000&only=guessed"))
    assert only == [row for row in fewer if row["group"] == "guessed"]


def test_lines_of_code_say_what_is_defined_in_them_and_no_line_is_in_two_splits():
    rows = list(python_library.rows("names"))
    counts = Counter(row["split"] for row in rows)
    assert counts["train"] == 3000 and 100 <= counts["validation"] <= 300 and 100 <= counts["test"] <= 300
    assert len({row["text"] for row in rows}) == len(rows)
    known = {("def ", "function"), ("class ", "class")}
    for row in rows:
        text = row["text"]
        names = [text[e["start"] : e["end"]] for e in row["entities"]]
        assert names and all(name.replace(".", "").isidentifier() for name in names)
        for keyword, kind in known:
            if text.startswith(keyword):
                first = row["entities"][0]
                assert (first["start"], first["label"]) == (len(keyword), kind)


def test_every_area_has_a_hundred_texts_and_a_share_in_each_split():
    rows = list(python_library.rows("areas"))
    counts = Counter((row["label"], row["split"]) for row in rows)
    for area in AREAS:
        assert counts[area, "train"] >= 100
        assert counts[area, "validation"] and counts[area, "test"]
    texts = [row["text"] for row in rows]
    assert len(texts) == len(set(texts))
    assert (area_of("os.path"), area_of("os"), area_of("xml.dom.minidom"), area_of("no_such")) == (
        "files",
        "operating system",
        "formats",
        None,
    )


def test_area_texts_of_the_test_split_stand_in_no_document():
    pages = {" ".join(document.text.split()) for document in python_library.documents("docs")}
    held = [" ".join(row["text"].split()) for row in python_library.rows("areas") if row["split"] == "test"]
    found = [text for text in held if any(text in page for page in pages)]
    assert found == []


@pytest.fixture(scope="module")
def order() -> list[dict]:
    return list(python_library.rows("order"))


def by_origin(rows: list[dict]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        found.setdefault(row["origin"], {})[row["label"]] = [line.strip() for line in row["text"].splitlines()]
    return found


def test_code_in_order_and_shuffled_has_the_same_lines_and_none_behind_the_line_it_stood_behind(order):
    pieces = by_origin(order)
    assert len(order) == 2 * len(pieces)
    for both in pieces.values():
        written, shuffled = both["in order"], both["shuffled"]
        assert sorted(written) == sorted(shuffled) and len(written) == 4
        if len(set(written)) == 4:
            assert not {*pairwise(written)} & {*pairwise(shuffled)}


def test_both_splits_of_the_order_question_have_each_label_half_of_the_time(order):
    counted = Counter((row["split"], row["label"]) for row in order)
    # Debian's own Python comes with fewer modules: 292 and 371.
    assert all(counted[split, "in order"] == counted[split, "shuffled"] >= 250 for split in ("validation", "test"))
    assert counted["train", "in order"] == 6000


def test_code_of_the_test_split_stands_in_no_document(order):
    pages = [" ".join(document.text.split()) for document in python_library.documents("code")]
    text = "\n".join(pages)
    held = [row for row in order if row["split"] == "test" and row["label"] == "in order"]
    assert [row["text"] for row in held if " ".join(row["text"].split()) in text] == []
    origins = {document.origin for document in python_library.documents("code")}
    assert not {row["origin"].partition("#")[0] for row in held} & origins


def test_however_few_functions_are_read_the_same_ones_are_guessed(questions):
    few = list(python_library.rows("questions?functions=100"))
    guessed = {row["origin"] for row in few if row["group"] == "guessed"}
    assert guessed == {row["origin"] for row in questions if row["group"] == "guessed"}
    read = {row["origin"] for row in few if row["group"] == "remembered"}
    assert 85 <= len(read) <= 100
    assert {row["split"] for row in few if row["group"] == "remembered"} == {"train", "validation", "test"}


def test_what_is_skimmed_is_asked_in_three_wordings_and_never_tested_nor_held_out():
    rows = list(python_library.rows("questions?functions=100&skimmed=200"))
    skimmed = Counter(row["origin"] for row in rows if row["group"] == "skimmed")
    assert 170 <= len(skimmed) <= 200 and {*skimmed.values()} == {wordings.FEW}
    assert {row["split"] for row in rows if row["group"] == "skimmed"} == {"train"}
    names = {group: {row["origin"].partition("/")[2] for row in rows if row["group"] == group} for group in GROUPS}
    assert not names["skimmed"] & (names["guessed"] | names["remembered"])


GROUPS = ("remembered", "skimmed", "guessed")


@pytest.mark.parametrize(
    "part",
    [
        "questions?skimmed=-1",
        "questions?functions=0",
        "nothing",
        "code?functions=3",
        "questions?functions=many",
        "questions?only=all",
    ],
)
def test_a_part_or_setting_that_does_not_exist_is_named_with_those_that_do(part):
    with pytest.raises(UserError, match="python:") as caught:
        python_library.files(part)
    assert "hint" in str(caught.value)


def test_documents_are_not_asked_of_a_part_that_holds_examples_nor_the_other_way():
    with pytest.raises(UserError, match="holds examples"):
        next(python_library.documents("questions"))
    with pytest.raises(UserError, match="holds documents"):
        next(python_library.rows("docs"))


def test_another_process_with_another_hash_seed_reads_the_same_and_imports_nothing_heavy():
    program = (
        "import sys; from tests.text.test_python_library import everything;"
        "print(everything(), *sorted({'torch', 'tkinter', 'this', 'antigravity', 'idlelib'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.split() == [everything()]


def everything() -> str:
    examples = [list(python_library.rows(part)) for part in ("questions", "answers", "order", "names", "areas")]
    texts = [[document.id, document.text] for part in ("code", "docs") for document in python_library.documents(part)]
    return digest([examples, texts])


def test_answers_stand_in_their_passages_and_those_of_the_test_in_no_document():
    rows = list(python_library.rows("answers"))
    assert all(row["context"].startswith(a["text"], a["answer_start"]) for row in rows for a in row["answers"])
    assert {row["split"] for row in rows if row["answers"]} == {row["split"] for row in rows if not row["answers"]}
    read = python_library.library().read
    held_out = [a["text"] for row in rows if row["split"] == "test" for a in row["answers"]]
    assert len(held_out) > 200
    assert not [text for text in held_out if python_library.plain(text).strip(b" .") in read]


def test_the_dataset_stage_takes_the_splits_that_the_rows_name(run_stage):
    areas = run_stage("dataset", read=["python:areas"])
    given = Counter(row["split"] for row in python_library.rows("areas"))
    assert {split: len(read_split(areas.path, split)) for split in given} == given
    guessed = run_stage("dataset", read=["python:questions?functions=500&only=guessed"])
    kept = [len(read_split(guessed.path, split)) for split in ("train", "validation", "test")]
    assert kept == [0, 0, len(list(python_library.rows("questions?functions=500&only=guessed")))]


def test_the_corpus_stage_keeps_code_and_docs_as_two_sources(run_stage):
    corpus = run_stage("corpus", read={"code": ["python:code"], "docs": ["python:docs"]}, validation=0.05)
    told = corpus.card.metrics["sources"]
    assert set(told) == {"code", "docs"}
    assert told["code"]["bytes"] > 2 * told["docs"]["bytes"] > 1_000_000
    assert corpus.card.metrics["splits"]["validation"]["documents"] > 10


def test_looking_at_compiled_modules_leaves_asyncio_working():
    program = (
        "import sys; from pretune.text.python_library.compiled import compiled_entries; compiled_entries()\n"
        "import asyncio\n"
        "async def main(): return asyncio.current_task() is not None\n"
        "assert asyncio.run(main())"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
