"""Adapters of one base: one per user or task, chosen by the model's name in a request.

    BASE ──▶ weights, once ◀── alice: modules of her own, opened when she first asks
                           ◀── bob:   modules of his own

Nothing is switched between requests: every adapter has a model of its own around the same weights, which nobody
changes. So answers cannot mix, and two adapters may answer at the same time. Price: adapters are not merged, opening
one reads the base again for a moment, and one whose base was rounded keeps the rounded matrices as its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretune.base.errors import Changed, NotSupported, UserError
from pretune.infer.load import HEADS, WITH_TEMPLATE
from pretune.infer.predictor import Predictor
from pretune.infer.trusted import read_json
from pretune.model.folder import load_model
from pretune.model.generate import module_of, open_folder, open_next_to
from pretune.model.methods.adapter import TASK_TYPES, check_base
from pretune.tokens.encode.tokenizer import chat_template

TASKS = {head: task for head, task, _ in HEADS.values()}
"""What an adapted model with a head does, as long as it is not opened."""


@dataclass
class TorchShelf:
    """The adapters of one base.

    Args:
        base: the folder of the base.
        folders: of the adapters that fit it, by the names that clients use; refused: why others are not served.
        body: a transformers model of the base, once `answering` was called.
    """

    base: Path
    folders: Mapping[str, Path]
    refused: Mapping[str, str]
    body: Any = None

    def answering(self) -> dict[str, Predictor]:
        """The base itself by its name, where it has a head that answers; its weights are in memory from now on."""
        try:
            found = open_folder(self.base)
        except NotSupported:
            self.body = load_model(self.base, "vector").eval()
            return {}
        self.body = module_of(found)
        return {self.base.resolve().name: found}

    def open(self, name: str) -> Predictor:
        """What answers with an adapter."""
        assert self.body is not None, "the base comes first"
        return open_next_to(self.folders[name], self.base, self.body)

    def task_of(self, name: str) -> str:
        """What an adapter was made for, by its files alone."""
        folder = self.folders[name]
        said = read_json(folder / "adapter_config.json").get("task_type") or "CAUSAL_LM"
        task = TASKS[TASK_TYPES[said]]
        return WITH_TEMPLATE.get(task, task) if chat_template(folder) else task


def shelf_of(models: Mapping[str, Path], adapters: Path) -> TorchShelf:
    """The adapter folders in `adapters` that fit the one model.

    Raises:
        UserError: not one model, or no adapter that fits.
    """
    if len(models) != 1:
        problem = f"--adapters needs one base, and these were named: {', '.join(models)}"
        raise UserError(problem, hint="name the base alone: pretune serve BASE --adapters DIR")
    ((base_name, base),) = models.items()
    found = sorted(one.parent for one in adapters.glob("*/adapter_config.json"))
    refused = {one.name: why for one in found if (why := _misfit(one, base, base_name))}
    folders = {one.name: one for one in found if one.name not in refused}
    if not folders:
        told = "; ".join(refused.values()) or "it holds no folder with an adapter_config.json"
        hint = "make some: pretune finetune BASE DATA --out DIR/NAME method=lora"
        raise UserError(f"nothing in {adapters.as_posix()} can be served: {told}", hint=hint)
    return TorchShelf(base, folders, refused)


def _misfit(folder: Path, base: Path, base_name: str) -> str | None:
    """Why an adapter is not served next to a base, if so."""
    if folder.name == base_name:
        return f"the adapter {folder.as_posix()} has the name of its base"
    try:
        check_base(folder, base)
    except Changed as error:
        return error.problem
    return None
