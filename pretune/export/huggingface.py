"""Exporter huggingface: a plain folder for vLLM, TensorRT-LLM, OpenVINO, sentence-transformers, and the commands.

A model folder of ours is plain already. This one is whole by itself: an adapter is merged, the tokenizer lies in it,
what belongs to a run stays behind, and a README says which tools read it. It is opened again, and gives the answers of
the model that it was made from.

Other tools know the frame of a text or a pair ([CLS] ... [SEP] ... [SEP], and their token types) from the tokenizer
alone, and ours keeps it in the task. So it is written into the tokenizer's files; without it they would read the bare
text, or both texts as one, and give other labels, pieces and vectors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pretune.base.errors import NoParity, NotSupported
from pretune.base.json import Json
from pretune.export.exporter import Exporter, Job, Proof
from pretune.infer.predictor import Facts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pretune.infer.classify import Frame

Row = tuple[list[int], list[int]]
"""Ids of a row, and their token types."""
LONGEST = 10**6
"""Tokens of a row that nothing is cut from."""


class HuggingFace(Exporter):
    """A plain Hugging Face folder, adapters merged, with the commands of the tools that read it."""

    prompts: int = Field(20, gt=0)
    """Prompts on which a language model's greedy answers are compared."""
    tokens: int = Field(32, gt=0)
    """Tokens of each answer that is compared."""

    def write(self, job: Job) -> Json:
        from pretune.export.handover import FOLDER_TOOLS, readme
        from pretune.model.folder import save_model
        from pretune.model.generate import module_of

        assert job.ready is not None, "a model is opened before it is exported"
        model = module_of(job.ready)
        if not type(model).__module__.startswith("transformers."):
            problem = f"a {type(model).__name__} is no class of transformers, so no other tool reads its folder"
            raise NotSupported(problem, hint="serve it here, or export it with to=onnx")
        save_model(model, job.out, tokenizer=job.source)
        if job.ready.facts.answers != "text":
            write_frame(job.out, job.ready.facts, second=second_type(model, job.ready.facts))
        first = f"A {type(model).__name__} in the layout of Hugging Face, float32, with its tokenizer."
        about = readme(FOLDER_TOOLS, type(model).__name__, job.ready.facts, first=first)
        (job.out / "README.md").write_text(about, encoding="utf-8")
        return {"class": type(model).__name__}

    def prove(self, job: Job) -> Proof:
        from pretune.export.parity import Parity, Thresholds, inputs_for
        from pretune.model.generate import module_of, open_folder

        assert job.ready is not None, "a model is opened before it is exported"
        again, asked = open_folder(job.out), inputs_for(job.data, job.ready)
        found = job.ready.compare(again, asked, most_written=self.prompts, num_tokens=self.tokens)
        demand_frame(job.out, job.ready.facts, second=second_type(module_of(job.ready), job.ready.facts))
        parity = Parity(found, Thresholds(1e-3, 1.0)).demand()
        size = sum(file.stat().st_size for file in job.out.rglob("*") if file.is_file())
        same = f"{found.decisions - found.different} of {found.decisions} {found.compared} as the model's"
        return Proof(parity.to_json(), {"bytes": size, "agreement": found.agreement}, f"huggingface: {same}")


def second_type(model: Any, facts: Facts) -> int:
    """The token type of the second of two texts; 0 of a model without types, and of one that answers from a context."""
    from pretune.model.families import family_named

    has_types = family_named(model.config.model_type).has_token_types(model.config.to_dict())
    return int(bool(facts.between) and has_types)


def write_frame(folder: Path, facts: Facts, *, second: int) -> None:
    """Let the tokenizer of a folder put the control tokens around texts that its model reads, and tell their types."""
    from tokenizers import processors

    if _is_framed(folder, facts, second):
        return
    tokenizer, frame = _without_frame(folder), _frame(facts)
    before, after, between = (
        [tokenizer.id_to_token(one) for one in ids] for ids in (frame.before, frame.after, frame.between)
    )
    pair = [*before, "$A", *between, f"$B:{second}", *(f"{token}:{second}" for token in after)]
    known = [(tokenizer.id_to_token(one), one) for one in {*frame.before, *frame.after, *frame.between}]
    around = processors.TemplateProcessing(single=[*before, "$A", *after], pair=pair, special_tokens=known)
    own = tokenizer.post_processor
    tokenizer.post_processor = processors.Sequence([own, around]) if own else around
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    _configure(folder / "tokenizer_config.json", has_types=bool(second))


def _configure(path: Path, *, has_types: bool) -> None:
    """Let AutoTokenizer take the frame as it is, and give token types, which it leaves out where none asks by name."""
    from pretune.model.folder import write_json

    config = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: value for name, value in config.items() if name not in ("add_bos_token", "add_eos_token")}
    types = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]} if has_types else {}
    write_json(path, kept | types)


def demand_frame(folder: Path, facts: Facts, *, second: int) -> None:
    """Raise NoParity where the tokenizer of a folder, used as other tools do, gives a model other rows than ours."""
    if facts.answers != "text" and not _is_framed(folder, facts, second):
        raise NoParity(f"{folder.as_posix()} puts other control tokens around a text than its model reads")


def _frame(facts: Facts) -> Frame:
    """A question ends as a text does, and its context follows."""
    from pretune.infer.classify import Frame

    return Frame(facts.before, facts.after, facts.between or facts.after)


def _without_frame(folder: Path) -> Tokenizer:
    """The tokenizer with no control tokens of its own around a text (as Llama's has); what mends offsets stays."""
    from tokenizers import Tokenizer

    from pretune.tokens.encode.tokenizer import load_tokenizer

    tree = json.loads(load_tokenizer(folder).to_str())
    own = tree["post_processor"] or {}
    kept = [one for one in own.get("processors", [own]) if one.get("type") == "ByteLevel"]
    return Tokenizer.from_str(json.dumps({**tree, "post_processor": kept[0] if kept else None}))


def _is_framed(folder: Path, facts: Facts, second: int) -> bool:
    """Whether AutoTokenizer gives the rows that the model reads: of texts, and of a pair where it reads pairs."""
    from transformers import AutoTokenizer

    from pretune.infer.compare import TEXTS

    pairs = [(TEXTS[0], TEXTS[7])] if facts.between or facts.answers == "span" else []
    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    told = [theirs(*one) for one in [*((text,) for text in TEXTS), *pairs]]
    found = [(row["input_ids"], row.get("token_type_ids") or [0] * len(row["input_ids"])) for row in told]
    return found == _rows(folder, facts, [*TEXTS, *pairs], second)


def _rows(folder: Path, facts: Facts, inputs: list[str | tuple[str, str]], second: int) -> list[Row]:
    import numpy as np

    from pretune.infer.engine import token_types
    from pretune.tokens.encode.tokenizer import load_tokenizer

    rows = _frame(facts).rows(load_tokenizer(folder), inputs, max_length=LONGEST)
    if not second:
        return [(ids, [0] * len(ids)) for ids in rows]
    arrays = (np.asarray([ids]) for ids in rows)
    types = [token_types(ids_1L, np.ones_like(ids_1L), facts.between[0])[0].tolist() for ids_1L in arrays]
    return list(zip(rows, types, strict=True))
