"""Where the doctor looks: while a dataset is made (card and page), and when `pretune check` is asked for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pretune.base.artifact import Artifact
from pretune.base.config import build
from pretune.base.errors import UserError
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.recipe import Recipe
from pretune.base.stage import Context
from pretune.base.yaml import override
from pretune.text.dataset.doctor.findings import CHECK, LEVELS, Check, Data, Finding, every_check, examine
from pretune.text.dataset.doctor.report import of_facts, summary, write_report
from pretune.text.dataset.example import Example, read_split, shape_of
from pretune.text.dataset.shapes.converter import Remark
from pretune.text.dataset.shapes.files import is_labelled, is_named_so, unpacked
from pretune.text.read import sources
from pretune.text.read.readers import Repairs
from pretune.text.read.split import SPLITS

LENGTHS = "truncation"
MEMBERS = 20
"""So many members of an archive are looked at before it is taken for labelled data."""


def examined(
    shape: str,
    splits: Mapping[str, Sequence[Example]],
    out: Path,
    context: Context,
    *,
    reading: Sequence[Remark] = (),
) -> Json:
    """What the doctor finds in examples that become a dataset, as metrics of its card; writes the note report.html.

    Args:
        reading: what reading has left out or mended.
    """
    data = Data.of(shape, splits, reading)
    findings = examine(data)
    write_report(out, data, findings, context)
    if any(f.level == "error" or f.name == "leaks" for f in findings):
        context.log.warn(f"the doctor found {summary(findings)}: {_names(findings)}; look at report.html")
    return {"doctor": [f.fact() for f in findings]}


def _names(findings: Sequence[Finding]) -> str:
    return ", ".join(dict.fromkeys(f.name for f in findings if f.level != "hint"))


def visit(
    artifact: Artifact, settings: Sequence[str] = (), *, tokenizer: str | None = None, max_length: int | None = None
) -> list[Finding] | None:
    """The findings of a dataset, or of raw files that are read as one; None for what is no labelled data.

    Args:
        settings: `label=stars` and the like, of stage dataset.
        tokenizer: folder that counts tokens; `max_length`: where they are cut.

    Raises:
        UserError: raw tables cannot be read as labelled data, with the stage's own words.
    """
    lengths = _lengths(tokenizer, max_length)
    if artifact.card.kind == "dataset":
        return _of_dataset(artifact, lengths)
    names = _labelled_names(artifact)
    if names is None:
        return None
    try:
        return _of_raw(artifact, settings, lengths)
    except UserError:
        if settings or artifact.path.is_file() or any(map(is_named_so, names)):
            raise
        return None  # text, which nobody took for labelled data


def _of_raw(artifact: Artifact, settings: Sequence[str], lengths: Check) -> list[Finding]:
    with TemporaryDirectory() as folder:
        return _of_dataset(as_dataset(artifact, settings, Path(folder), source="pretune check"), lengths)


def as_dataset(artifact: Artifact, settings: Sequence[str], folder: Path, *, source: str) -> Artifact:
    """The dataset that raw files are, made in a folder.

    Args:
        settings: `label=stars` and the like, of stage dataset.
        source: the command, for messages.

    Raises:
        UserError: they cannot be read as labelled data, with the stage's own words.
    """
    given = artifact.scheme or artifact.path.as_posix()
    tree: Json = {"kind": "dataset", "read": [given if artifact.sample is None else f"{given}#{artifact.sample}"]}
    for setting in settings:
        override(tree, setting)
    recipe = Recipe.build({"work": str(folder), "stages": {"data": tree}}, source=source, main="data")
    return recipe.run(log=Log(quiet=True))["data"]


def _labelled_names(artifact: Artifact) -> list[str] | None:
    """The names of the files, archives opened, if there is labelled data among them."""
    if artifact.card.kind != "files":
        return None
    if artifact.scheme:
        return []
    with TemporaryDirectory() as folder:
        files = unpacked(sources.named_files(artifact), Path(folder), Repairs(quarantine=[]), most=MEMBERS)
        return [name for name, _ in files] if is_labelled(files) else None


def _lengths(tokenizer: str | None, max_length: int | None) -> Check:
    given = {"tokenizer": tokenizer, "max_length": max_length}
    tree = {"kind": LENGTHS, **{k: v for k, v in given.items() if v is not None}}
    return build(CHECK.find(LENGTHS), tree, source="pretune check")


def _of_dataset(artifact: Artifact, lengths: Check) -> list[Finding]:
    """What is on the card was found before rows were added; a dataset of other programs is looked at now."""
    splits = {split: read_split(artifact.path, split) for split in SPLITS}
    data = Data.of(shape_of(artifact.path), splits)
    known = artifact.card.metrics.get("doctor")
    if known is None:
        others = [check for check in every_check() if check.kind != LENGTHS]
        return examine(data, [*others, lengths])
    kept = [f for f in of_facts(known) if f.name != LENGTHS]
    return sorted([*kept, *lengths.find(data)], key=lambda f: LEVELS.index(f.level))
