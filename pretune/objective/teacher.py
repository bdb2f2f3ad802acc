"""Opening a teacher: a model folder with the head that the student learns, of the same tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretune.base.digest import digest
from pretune.base.errors import NotSupported
from pretune.infer.pooling import KEPT, pooling_of
from pretune.model.families import Head, plain_model
from pretune.model.families.family import HEADS
from pretune.objective.objective import Objective
from pretune.tokens.encode.tokenizer import load_tokenizer

if TYPE_CHECKING:
    import torch


def open_teacher(
    folder: Path, head: Head, tokenizer: Path, *, device: torch.device, exact: bool = False, attention: str | None
) -> Any:
    """The model in eval mode, with nothing that trains.

    Args:
        tokenizer: of the student.
        exact: in float64.
        attention: transformers' attention implementation; None: its own choice.

    Raises:
        NotSupported: it speaks another vocabulary, or its folder has no such head.
    """
    check_vocabulary(folder, tokenizer)
    model = _opened(folder, head, attention)
    model = model.double() if exact else model
    return model.to(device).eval().requires_grad_(False)


def check_vocabulary(folder: Path, tokenizer: Path) -> None:
    """Raise NotSupported where the two do not give every token the same id."""
    theirs, mine = (digest(sorted(load_tokenizer(one).get_vocab().items())) for one in (folder, tokenizer))
    if theirs != mine:
        raise NotSupported(
            f"the teacher {folder.as_posix()} has another vocabulary ({theirs[:8]}) than the student's tokenizer "
            f"{tokenizer.as_posix()} ({mine[:8]}): what it says of tokens means others",
            hint="take a teacher of the same tokenizer, or learn from texts that it wrote",
        )


def _opened(folder: Path, head: Head, attention: str | None) -> Any:
    from pretune.infer.load import open_model
    from pretune.model.folder import keep, load_with_new
    from pretune.model.generate import module_of

    if (folder / "adapter_config.json").is_file():
        return module_of(open_model(folder))
    model, new = load_with_new(folder, head, attention=attention)
    if head == "vector":
        if (how := pooling_of(folder, model.config.to_dict())) is None:
            problem = f"nothing says how the teacher {folder.as_posix()} makes one vector of a text"
            raise NotSupported(
                problem, hint="fine-tune it first with task=embed, or take a sentence-transformers folder"
            )
        keep(model.config, how)
    if new:
        problem = f"the teacher {folder.as_posix()} has no weights of a head for {HEADS[head][0]} ({', '.join(new)})"
        raise NotSupported(problem, hint="fine-tune it first, and name the model that comes out")
    return model


def check_outputs(teacher: Any, student: Any, objective: Objective, *, name: str) -> None:
    """Raise NotSupported where the outputs of the two mean something else: other labels, a number on another scale,
    vectors of another width.

    Args:
        name: of the teacher, for messages.
    """
    theirs, mine = (_meant(plain_model(one).config, objective) for one in (teacher, student))
    if theirs != mine:
        problem = f"the outputs of the teacher {name} are {theirs}, those of the student {mine}"
        raise NotSupported(problem, hint="take a teacher that was fine-tuned on this data")


def _meant(config: Any, objective: Objective) -> str:
    if objective.outputs == "vector":
        return f"vectors of {config.hidden_size} numbers"
    if objective.outputs == "score":
        return f"numbers on the scale {getattr(config, KEPT, {}).get('scale')}"
    if objective.head not in ("label", "tags"):
        return "tokens"
    return "the labels " + ", ".join(str(name) for _, name in sorted(config.id2label.items()))
