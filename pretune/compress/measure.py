"""How good a model is on data, in a few figures: to be told before and after it is compressed.

    classifier, labelled data     accuracy
    chat model, dialogues         loss of the replies (nats per token)
    language model, tokens        loss (nats per token) and bits per byte

Labelled data is read by the code that serves. Loss is that of rows computed alone, in float32; a sample,
evenly spread over the validation split (the test split where there is no other), stands for the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretune.base.artifact import Artifact
from pretune.base.errors import EmptyInput, NotSupported
from pretune.base.sample import evenly
from pretune.infer.classify import TextClassifier
from pretune.infer.language import LanguageModel

if TYPE_CHECKING:
    from pretune.text.dataset.example import Dialogue, Labelled

Scored = tuple[list[int], list[bool]]
MOST_TEXTS = 1000
MOST_ROWS = 128
MOST_LENGTH = 512


def quality(ready: TextClassifier | LanguageModel, data: Artifact) -> dict[str, float]:
    """Figures of a torch model on a dataset or tokens.

    Raises:
        NotSupported: the data does not suit the model; EmptyInput: there is no validation or test split.
    """
    if data.card.kind == "tokens":
        return _on_tokens(_language(ready, "tokens"), data.path)
    examples: Any = examples_of(data.path)
    if isinstance(ready, TextClassifier):
        return _accuracy(ready, examples)
    return _on_dialogues(_language(ready, "dialogues"), examples)


def examples_of(folder: Path) -> list[Labelled] | list[Dialogue]:
    """The examples of validation or, without one, of test. Raises EmptyInput, NotSupported."""
    from pretune.text.dataset.example import check_scored, read_split

    examples = read_split(folder, "validation") or read_split(folder, "test")
    if not examples:
        raise EmptyInput(f"{folder.as_posix()} has neither a validation nor a test split")
    check_scored(examples)
    return examples


def _language(ready: TextClassifier | LanguageModel, data: str) -> LanguageModel:
    if not isinstance(ready, LanguageModel):
        raise NotSupported(f"a classifier cannot be measured on {data}", hint="give a dataset with labels")
    return ready


def _accuracy(ready: TextClassifier, examples: Sequence[Any]) -> dict[str, float]:
    from pretune.text.dataset.example import Labelled

    chosen = evenly(examples, MOST_TEXTS)
    if not isinstance(chosen[0], Labelled):
        raise NotSupported("a classifier cannot be measured on dialogues", hint="give a dataset with labels")
    if strange := sorted({e.label for e in chosen} - set(ready.labels)):
        problem = f"the data has labels that the model does not know: {', '.join(map(repr, strange[:5]))}"
        raise NotSupported(problem, hint=f"the model's are: {', '.join(map(repr, ready.labels[:20]))}")
    answers = ready.predict([e.text for e in chosen])
    right = sum(a.name == e.label for a, e in zip(answers, chosen, strict=True))
    return {"accuracy": right / len(chosen), "examples": len(chosen)}


def _on_dialogues(ready: LanguageModel, examples: Sequence[Any]) -> dict[str, float]:
    from pretune.task.fitting import fit_all
    from pretune.text.dataset.example import Dialogue

    if ready.chat is None or not isinstance(examples[0], Dialogue):
        raise NotSupported("this language model cannot be measured on this dataset", hint="give tokens")
    room = min(ready.decoder.max_length, MOST_LENGTH)
    return _loss(ready, fit_all(ready.chat, evenly(examples, MOST_ROWS), room))


def _on_tokens(ready: LanguageModel, folder: Path) -> dict[str, float]:
    from pretune.tokens.store.store import Store

    splits = (Store.open(folder, split) for split in ("validation", "test"))
    store = next((s for s in splits if s.num_tokens > 1), None)
    if store is None:
        raise EmptyInput(f"{folder.as_posix()} has neither a validation nor a test split")
    room = min(ready.decoder.max_length, MOST_LENGTH)
    documents = (store.document(k)[:room].tolist() for k in evenly(range(store.num_documents), MOST_ROWS))
    found = _loss(ready, [(ids, [True] * len(ids)) for ids in documents if len(ids) > 1])
    per_byte = (store.num_tokens - store.num_documents) / store.num_bytes
    return {**found, "bits_per_byte": found["loss"] * per_byte / math.log(2)}


def _loss(ready: LanguageModel, rows: Sequence[Scored]) -> dict[str, float]:
    """Nats per target; the first token of a row is never one."""
    import torch

    model: Any = ready.decoder.model  # type: ignore[attr-defined]
    nats, targets = 0.0, 0
    with torch.inference_mode():
        for ids, scored in rows:
            logits_LV = model(input_ids=torch.tensor([ids])).logits[0, :-1].float()
            picked = torch.tensor(scored[1:])
            losses = torch.nn.functional.cross_entropy(logits_LV, torch.tensor(ids[1:]), reduction="none")
            nats += float(losses[picked].sum())
            targets += int(picked.sum())
    if not targets:
        raise EmptyInput("no row of the data has a target")
    return {"loss": nats / targets, "targets": targets}
