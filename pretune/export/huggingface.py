"""Exporter huggingface: a plain folder for vLLM, TensorRT-LLM, OpenVINO, sentence-transformers, with each one's command.

A model folder of ours is plain already. This one is whole by itself: an adapter is merged, the tokenizer lies in it,
what belongs to a run stays behind, and a README says which tools read it. It is opened again, and gives the answers of
the model that it was made from.
"""

from __future__ import annotations

from pydantic import Field

from pretune.base.json import Json
from pretune.export.exporter import Exporter, Job, Proof


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
        parity = Parity(found, Thresholds(1e-3, 1.0)).demand()
        size = sum(file.stat().st_size for file in job.out.rglob("*") if file.is_file())
        same = f"{found.decisions - found.different} of {found.decisions} {found.compared} as the model's"
        return Proof(parity.to_json(), {"bytes": size, "agreement": found.agreement}, f"huggingface: {same}")
