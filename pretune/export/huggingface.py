"""Exporter huggingface: a plain folder for vLLM, TensorRT-LLM, OpenVINO, sentence-transformers, with each one's command.

A model folder of ours is plain already. This one is whole by itself: an adapter is merged, the tokenizer lies in it,
what belongs to a run stays behind, and a README says which tools read it. It is opened again, and gives the answers of
the model that it was made from.

Other tools know a text's frame ([CLS] ... [SEP]) from the tokenizer alone, and ours keeps it in the task. So it is
written into tokenizer.json; without it they would read the bare text, and give other labels and vectors.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pretune.base.errors import NoParity
from pretune.base.json import Json
from pretune.export.exporter import Exporter, Job, Proof
from pretune.infer.predictor import Facts


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
        save_model(model, job.out, tokenizer=job.source)
        if job.ready.facts.answers != "text":
            write_frame(job.out, job.ready.facts)
        first = f"A {type(model).__name__} in the layout of Hugging Face, float32, with its tokenizer."
        about = readme(FOLDER_TOOLS, type(model).__name__, job.ready.facts, first=first)
        (job.out / "README.md").write_text(about, encoding="utf-8")
        return {"class": type(model).__name__}

    def prove(self, job: Job) -> Proof:
        from pretune.export.parity import Parity, Thresholds, inputs_for
        from pretune.model.generate import open_folder

        assert job.ready is not None, "a model is opened before it is exported"
        again, asked = open_folder(job.out), inputs_for(job.data, job.ready)
        found = job.ready.compare(again, asked, most_written=self.prompts, num_tokens=self.tokens)
        demand_frame(job.out, job.ready.facts)
        parity = Parity(found, Thresholds(1e-3, 1.0)).demand()
        size = sum(file.stat().st_size for file in job.out.rglob("*") if file.is_file())
        same = f"{found.decisions - found.different} of {found.decisions} {found.compared} as the model's"
        return Proof(parity.to_json(), {"bytes": size, "agreement": found.agreement}, f"huggingface: {same}")


def write_frame(folder: Path, facts: Facts) -> None:
    """Let the tokenizer of a folder put the control tokens around a text that its model reads."""
    from tokenizers import processors

    from pretune.tokens.encode.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(folder)
    if _is_framed(folder, facts):
        return
    before, after, between = (
        [tokenizer.id_to_token(one) for one in ids] for ids in (facts.before, facts.after, facts.between)
    )
    pair = [*before, "$A", *between, "$B:1", *(f"{token}:1" for token in after)]
    known = [(token, tokenizer.token_to_id(token)) for token in {*before, *after, *between}]
    frame = processors.TemplateProcessing(single=[*before, "$A", *after], pair=pair, special_tokens=known)
    own = tokenizer.post_processor
    tokenizer.post_processor = processors.Sequence([own, frame]) if own else frame
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def demand_frame(folder: Path, facts: Facts) -> None:
    """Raise NoParity where the tokenizer of a folder, used as other tools do, gives a model other rows than ours."""
    if facts.answers != "text" and not _is_framed(folder, facts):
        raise NoParity(f"{folder.as_posix()} puts other control tokens around a text than its model reads")


def _is_framed(folder: Path, facts: Facts) -> bool:
    from pretune.infer.compare import TEXTS
    from pretune.tokens.encode.tokenizer import encode_texts, load_tokenizer

    tokenizer = load_tokenizer(folder)
    rows = [[*facts.before, *ids, *facts.after] for ids in encode_texts(tokenizer, TEXTS)]
    return [tokenizer.encode(text).ids for text in TEXTS] == rows
