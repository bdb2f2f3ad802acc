"""The house of DESIGN section 4: imports run one way, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "pretune"
ORDER = (
    *(
        "base",
        "report",
        "text",
        "tokens",
        "infer",
        "model",
        "objective",
        "train",
        "task",
        "evaluate",
        "compress",
        "export",
    ),
    *("serve", "apps", "studio", "tune", "api", "testing", "quickstart", "cli", "__main__"),
)
INSIDE = {"text": ("read", "clean", "dedup", "corpus", "dataset"), "tokens": ("encode", "learn", "store")}
LIGHT = ("base", "report", "text", "tokens", "infer")
"""No torch and no transformers here, at any depth."""
BY_CLASS = re.compile(r"isinstance\([^()]*\b(TextClassifier|LanguageModel|Labelled|Dialogue)\b")
TABLE_ENTRY = re.compile(r'^\s+"[a-z0-9_-]+": "(pretune(?:\.\w+)+):\w+",?$', re.MULTILINE)
INLINE_ENTRY = re.compile(r'\{?"[a-z0-9_-]+": "(pretune(?:\.\w+)+):\w+"')


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imported(path: Path) -> Iterator[str]:
    """Modules of pretune that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("pretune."))
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "pretune":
                yield from (f"pretune.{name.name}" for name in node.names)
            elif node.module.startswith("pretune."):
                yield node.module
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path} has a relative import"


def imports_of(module: str, path: Path) -> set[str]:
    """The modules themselves that a file imports: of `from pretune.a import b`, pretune.a.b where that is one."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pretune"):
            full = {f"{node.module}.{name.name}" for name in node.names}
            found |= {f if f in known else node.module for f in full}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name in known}
    return found - {module}


def table_modules() -> list[str]:
    """Every module that is named in a table of kinds."""
    texts = [path.read_text(encoding="utf-8") for path in modules().values()]
    return sorted({m for text in texts for m in (*TABLE_ENTRY.findall(text), *INLINE_ENTRY.findall(text))})


def loaded_after(statement: str, *heavy: str) -> list[str]:
    """Which of the heavy packages a fresh process has loaded after a statement."""
    code = f"import sys\n{statement}\nprint(*[n for n in {heavy!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("module", [m for m in modules() if m != "pretune"])
def test_a_module_imports_only_from_its_left(module: str) -> None:
    room = room_of(module)
    for found in imported(modules()[module]):
        assert ORDER.index(room_of(found)) <= ORDER.index(room), f"{module} imports {found}"


@pytest.mark.parametrize("room", INSIDE)
def test_the_rooms_inside_import_only_from_their_left(room: str) -> None:
    place = {f"pretune.{room}.{name}": k for k, name in enumerate(INSIDE[room])}
    for module, path in modules().items():
        here = place.get(".".join(module.split(".")[:3]), len(place))
        for found in imported(path) if room_of(module) == room else ():
            assert place.get(".".join(found.split(".")[:3]), 0) <= here, f"{module} imports {found}"


@pytest.mark.parametrize("module", [m for m in modules() if room_of(m) == "serve"])
def test_serve_imports_base_tokens_and_infer_only(module: str) -> None:
    assert {room_of(found) for found in imported(modules()[module])} <= {"base", "tokens", "infer", "serve"}


def test_what_answers_and_what_is_labelled_are_asked_for_what_they_can_and_never_for_their_class() -> None:
    found = {m: BY_CLASS.search(path.read_text(encoding="utf-8")) for m, path in modules().items()}
    assert {room_of(module) for module, hit in found.items() if hit} <= {"infer", "task", "text"}


def reached_from(module: str, edges: dict[str, set[str]]) -> set[str]:
    """Modules that are imported by this one, at any depth."""
    seen: set[str] = set()
    todo = [*edges[module]]
    while todo:
        found = todo.pop()
        if found not in seen:
            seen.add(found)
            todo += edges[found]
    return seen


def test_no_circle_of_imports_is_left_lazy_ones_counted() -> None:
    edges = {module: imports_of(module, path) for module, path in modules().items()}
    assert [m for m in edges if m in reached_from(m, edges)] == []


def test_no_function_is_longer_than_sixty_lines() -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    trees = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in modules().items()}
    every = [(m, node) for m, tree in trees.items() for node in ast.walk(tree) if isinstance(node, kinds)]
    assert [f"{m}.{f.name}" for m, f in every if (f.end_lineno or 0) - f.lineno >= 60] == []


def test_what_an_objective_needs_is_asked_of_it_and_not_told_by_its_name() -> None:
    uses = [line for p in modules().values() for line in p.read_text(encoding="utf-8").splitlines()]
    assert [line for line in uses if "objective.kind" in line and "{" not in line] == [], "but for messages"


def test_every_package_stands_in_the_order() -> None:
    assert {room_of(m) for m in modules() if m != "pretune"} <= {*ORDER}


def test_the_tables_of_kinds_are_seen_and_their_modules_exist() -> None:
    found = table_modules()
    assert {
        "pretune.train.run.stage",
        "pretune.task.chat",
        "pretune.compress.quantise",
        "pretune.export.onnx_bundle",
    } <= {*found}
    assert [m for m in found if m not in modules()] == []


def test_base_report_text_tokens_and_infer_load_neither_torch_nor_transformers() -> None:
    light = [m for m in modules() if room_of(m) in LIGHT]
    assert loaded_after("\n".join(f"import {m}" for m in light), "torch", "transformers") == []


def test_modules_that_are_named_in_tables_load_neither_torch_nor_transformers() -> None:
    assert loaded_after("\n".join(f"import {m}" for m in table_modules()), "torch", "transformers") == []


def test_the_server_loads_no_torch() -> None:
    assert loaded_after("import pretune.serve.run, pretune.serve.app", "torch", "transformers") == []


def test_help_loads_nothing_heavy() -> None:
    ask = "from pretune.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert loaded_after(ask, "torch", "transformers", "numpy", "pyarrow", "pydantic") == []


def test_importing_pretune_loads_nothing_heavy() -> None:
    assert loaded_after("import pretune", "torch", "transformers", "numpy", "pyarrow", "pydantic") == []


UNSAFE = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle")
"""Modules whose files are programs."""
ASKED_FOR = "pretune.model.converting"
"""`pretune convert`, the one place in which a pickle is read: in a child process, weights_only, after asking."""


def unsafe_in(tree: ast.AST) -> Iterator[str]:
    """What of a file reads or writes pickles, or runs code that comes with data."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.partition(".")[0] in UNSAFE)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in UNSAFE:
            yield node.module or ""
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if name in ("torch.load", "torch.save", "torch.jit.load", "eval", "exec"):
                yield f"{name}(weights_only={given.get('weights_only')})"
            if name in ("np.save", "numpy.save") and given.get("allow_pickle") != "False":
                yield f"{name} of whatever it is given"
            yield from (word for word in ("allow_pickle", "trust_remote_code") if given.get(word, "False") != "False")
            if given.get("use_safetensors", "True") != "True" or given.get("safe_serialization", "True") != "True":
                yield f"{name} without safetensors"


def test_no_pickle_is_read_or_written_and_no_code_of_a_folder_is_run() -> None:
    found = {m: [*unsafe_in(ast.parse(path.read_text(encoding="utf-8")))] for m, path in modules().items()}
    assert {m: told for m, told in found.items() if told} == {ASKED_FOR: ["torch.load(weights_only=True)"]}


def test_the_lint_sees_each_way_to_a_pickle() -> None:
    ways = ["import pickle", "from joblib import load", "torch.load(f)", "np.load(f, allow_pickle=True)", "eval(x)"]
    ways += ["np.save(f, x)", "np.save(f, x, allow_pickle=True)"]
    ways += ["AutoModel.from_pretrained(f, trust_remote_code=True)", "m.save_pretrained(f, safe_serialization=False)"]
    assert all([*unsafe_in(ast.parse(way))] for way in ways)
