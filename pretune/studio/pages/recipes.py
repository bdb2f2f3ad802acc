"""Recipes: a form for each, what it would run, and running it.

    new ──▶ the form ──▶ save ──▶ plan, run

What is wrong stands at its field, and nothing is saved until it is mended. What runs is the file that was checked;
comments in it stay. A form knows which text it was made from: where the file holds another one by now, nothing is
saved, and both are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import quote

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from pretune.base.checking import RESERVED, apply_overrides, copied
from pretune.base.config import Mistake, facts, inputs_of
from pretune.base.digest import digest
from pretune.base.errors import BadCommand, BadYaml, OutsideFolder, UnknownKind
from pretune.base.json import Json
from pretune.base.planning import Head, check_tree
from pretune.base.stage import STAGE, Stage
from pretune.base.staging import write_durably
from pretune.base.yaml import edited, read_yaml
from pretune.studio.folder import Folder
from pretune.studio.form import Box, at_fields, boxes, tree_of, written
from pretune.studio.pages.files import existing
from pretune.studio.pages.tokens import found_in
from pretune.studio.rendering import HEADERS, form_of, reply, studio_of, to_run

HEAD = "HEAD"
"""What the fields above the stages begin with; no stage can be called so."""
SEEN = "SEEN"
"""The field, the form's last, that says which text of the file the form was made from; a form cut short has none."""
NEW_SECONDS = 20


@dataclass(frozen=True)
class Draft:
    """A recipe as the form holds it.

    Args:
        path: its file; before: what that holds.
        seen: the digest of what it held when the form was made.
    """

    path: Path
    tree: Json
    before: str
    seen: str = ""

    @property
    def stages(self) -> Mapping[str, Json]:
        found = self.tree.get("stages")
        stages = found if isinstance(found, dict) else {}
        return {name: {"kind": one} if isinstance(one, str) else one for name, one in stages.items()}

    @property
    def sizes(self) -> list[str]:
        """The names of its sizes."""
        found = self.tree.get("sizes")
        return list(found) if isinstance(found, dict) else []

    @property
    def text(self) -> str:
        """Its YAML, with the comments of the file; where it is unwritable, what the file holds."""
        return self._written[0]

    @property
    def unwritable(self) -> list[Mistake]:
        """Why it cannot be put into its file without harm to what else is there."""
        return self._written[1]

    @cached_property
    def _written(self) -> tuple[str, list[Mistake]]:
        try:
            return edited(self.before, self.tree), []
        except BadYaml as error:
            return self.before, [Mistake((), error.sentence, "", error.code)]

    @property
    def is_fresh(self) -> bool:
        """Whether the file still holds what the form was made from."""
        return self.seen == digest(self.before) and self.before == self.path.read_text(encoding="utf-8")

    def shown(self) -> Draft:
        """The draft of a form that shows what the file holds now."""
        return replace(self, seen=digest(self.before))


# ---- the list, and a new one ----------------------------------------------------------------------


def recipes(request: Request) -> Response:
    folder = studio_of(request).folder
    found = [one for home in [folder.root, *_folders(folder)] for one in folder.entries(home) if one.suffix == ".yaml"]
    return reply(
        request,
        "recipes",
        recipes=[folder.name(one) for one in found],
        source=request.query_params.get("source", ""),
        sources=[folder.name(one) for one in folder.entries(folder.root) if one.suffix != ".yaml"],
    )


def _folders(folder: Folder) -> list[Path]:
    return [one for one in folder.entries(folder.root) if one.is_dir()]


async def new(request: Request) -> Response:
    """`pretune new NAME --from SOURCE`, then its form."""
    studio, form = studio_of(request), await form_of(request)
    source = studio.folder.name(existing(studio.folder, form.get("source", "")))
    path = studio.folder.inside(f"{form.get('name', '')}.yaml")
    words = ["new", f"./{studio.folder.name(path).removesuffix('.yaml')}", "--from", f"./{source}"]
    run = studio.runs.start(words)
    state = await run_sync(run.wait, NEW_SECONDS)
    return (
        RedirectResponse(f"/recipe?path={quote(studio.folder.name(path))}", 303, HEADERS)
        if state == "done"
        else to_run(run)
    )


# ---- the form -------------------------------------------------------------------------------------


def recipe(request: Request) -> Response:
    folder = studio_of(request).folder
    path = existing(folder, request.query_params.get("path", ""))
    return _form(request, _read(path))


def _read(path: Path) -> Draft:
    tree, _ = read_yaml(path)
    return Draft(path, tree, path.read_text(encoding="utf-8")).shown()


def _form(request: Request, draft: Draft, *, status: int = 200, saved: bool = False, other: str = "") -> Response:
    """The form; `other` is what somebody else saved meanwhile."""
    folder = studio_of(request).folder
    head, stages = _boxes(draft)
    wrong = mistakes(folder, draft)
    return reply(
        request,
        "recipe",
        status=status,
        path=folder.name(draft.path),
        head=head,
        stages=stages,
        kinds={name: draft.stages[name].get("kind", "") for name in stages},
        all_kinds=STAGE.kinds(),
        wrong=at_fields(wrong, [*head, *(box for some in stages.values() for box in some)]),
        yaml=draft.text,
        sizes=draft.sizes,
        inputs=[*(f"${name}" for name in draft.stages), *found_in(folder)],
        saved=saved,
        seen=draft.seen,
        other=other,
    )


def _boxes(draft: Draft) -> tuple[list[Box], dict[str, list[Box]]]:
    """The fields above the stages, and those of each stage."""
    head = boxes(Head, {name: draft.tree[name] for name in Head.model_fields if name in draft.tree})
    known = {name: one for name, one in draft.stages.items() if _has_form(name, one)}
    return [box for box in head if box.name != "sizes"], {name: _of_stage(name, one) for name, one in known.items()}


def _of_stage(name: str, given: Json) -> list[Box]:
    try:
        cls = STAGE.find(str(given.get("kind", "")))
    except UnknownKind:
        return [Box((name, key), "", "", written(value)) for key, value in given.items() if key != "kind"]
    return boxes(cls, {key: value for key, value in given.items() if key != "kind"}, (name,))


def draft_of(folder: Folder, fields: Mapping[str, str]) -> Draft:
    """The recipe that the fields of a form hold; what the form does not show is taken from the file."""
    path = existing(folder, fields.get("path", ""))
    if path.suffix != ".yaml":
        raise BadCommand(f"{path.name!r} is no recipe", hint="a recipe's name ends in .yaml")
    kept = read_yaml(path)[0]
    shown = set(Head.model_fields) - {"sizes"}
    names = [name.removesuffix(".kind") for name in fields if name.endswith(".kind") and name.count(".") == 1]
    stages = _kept(kept.get("stages"), {name: tree_of(fields, name) for name in names if name != fields.get("remove")})
    rest = {name: value for name, value in kept.items() if name not in {*shown, "stages"}}
    first = {name: value for name, value in tree_of(fields, HEAD).items() if name in shown}
    before = path.read_text(encoding="utf-8")
    return Draft(path, {**first, "stages": stages, **rest}, before, fields.get(SEEN, ""))


def _has_form(name: str, stage: object) -> bool:
    """Whether the form can hold a stage: a kind, or a block under a name that fields can begin with."""
    return isinstance(stage, dict | str) and "." not in name


def _kept(before: object, shown: Mapping[str, Json]) -> Json:
    """The stages of the form among those of the file that it cannot hold, which stay as they are.

    Raises:
        BadYaml: what the file has as its stages is no block.
    """
    if not isinstance(before, dict | None):
        raise BadYaml("`stages` is no block of stages", hint="mend the file in an editor: stages: {NAME: {kind: ...}}")
    there = before or {}
    others = {name: one for name, one in there.items() if not _has_form(name, one)}
    bare = {name for name, one in there.items() if shown.get(name) == {"kind": one}}
    names = [*(name for name in there if name in others or name in shown), *(n for n in shown if n not in there)]
    return {name: there[name] if name in bare or name in others else shown[name] for name in names}


def with_stage(draft: Draft, kind: str) -> Draft:
    """The draft with one stage more, whose inputs are what the stages above it make."""
    cls, made = STAGE.find(kind), {_makes(one): name for name, one in draft.stages.items() if _has_form(name, one)}
    taken = {*draft.stages, *RESERVED}
    name = next(one for k in range(1, len(taken) + 2) if (one := kind if k == 1 else f"{kind}{k}") not in taken)
    marks = ((field, facts(cls, field).input) for field in cls.model_fields if cls.model_fields[field].is_required())
    fits = {f: made[kind] for f, mark in marks if mark for kind in mark.kind.split("|") if kind in made}
    stage = {"kind": kind, **{field: f"${source}" for field, source in fits.items()}}
    return replace(draft, tree={**draft.tree, "stages": {**draft.stages, name: stage}})


def _makes(stage: Json) -> str:
    """The kind of artifact that a stage makes; "" of one whose kind nobody knows."""
    with suppress(UnknownKind):
        return STAGE.find(str(stage.get("kind", ""))).makes
    return ""


# ---- what is wrong --------------------------------------------------------------------------------


def mistakes(folder: Folder, draft: Draft) -> list[Mistake]:
    """What `plan` would refuse, and what lies outside of the folder; under each size too, once each."""
    found: list[Mistake] = []
    for size_name in (None, *draft.sizes):
        tree = copied(draft.tree)
        wrong = apply_overrides(tree, (), size_name)
        _, stages, more = check_tree(tree)
        outside = [one for name, stage in stages.items() for one in _outside(folder, name, stage)]
        work = [("work", str(tree.get("work", "runs")).rstrip(".") or ".")]
        wrong += [*more, *outside, *_refused(folder.inside, (), work)]
        found += [one for one in wrong if one not in found]
    return found + draft.unwritable


def _outside(folder: Folder, name: str, stage: Stage) -> Iterator[Mistake]:
    paths = [(place, path) for place, path, _ in inputs_of(stage) if not path.startswith("$")]
    return _refused(partial(folder.check_input, follow=stage.follows_links()), (name,), paths)


def _refused(
    check: Callable[[str], object], above: tuple[str, ...], paths: Sequence[tuple[str, str]]
) -> Iterator[Mistake]:
    for place, path in paths:
        try:
            check(path)
        except OutsideFolder as error:
            yield Mistake((*above, *place.split(".")), error.sentence, path, error.code)


# ---- what the buttons do --------------------------------------------------------------------------


async def check(request: Request) -> Response:
    """What is wrong with the form as it stands, by its fields, and its YAML."""
    draft = draft_of(studio_of(request).folder, await form_of(request))
    head, stages = _boxes(draft)
    wrong = at_fields(
        mistakes(studio_of(request).folder, draft), [*head, *(b for some in stages.values() for b in some)]
    )
    return JSONResponse({"wrong": wrong, "yaml": draft.text}, headers=HEADERS)


async def change(request: Request) -> Response:
    """Save, plan or run the form, or show it with another kind or stage."""
    studio, fields = studio_of(request), await form_of(request)
    draft, action = draft_of(studio.folder, fields), fields.get("do", "")
    if action == "add" and fields.get("ADD"):
        return _form(request, with_stage(draft, fields["ADD"]))
    if action not in ("save", "plan", "run"):
        return _form(request, draft)
    if mistakes(studio.folder, draft):
        return _form(request, draft, status=422)
    if not draft.is_fresh:
        return _form(request, draft.shown(), status=409, other=draft.before)
    write_durably(draft.path, draft.text)
    if action == "save":
        return _form(request, _read(draft.path), saved=True)
    of_size = ["--size", fields["SIZE"]] if fields.get("SIZE") in draft.sizes else []
    words = [action, f"./{studio.folder.name(draft.path)}", *of_size]
    words += ["--json"] if action == "plan" else []
    return to_run(studio.runs.start(words, digest([words, draft.text])))


ROUTES = (
    Route("/recipes", recipes),
    Route("/recipes/new", new, methods=["POST"]),
    Route("/recipe", recipe),
    Route("/recipe", change, methods=["POST"]),
    Route("/recipe/check", check, methods=["POST"]),
)
