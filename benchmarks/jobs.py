"""What the folders of `benchmarks/objectives.py` do in plain transformers, which knows nothing of pretune.

python benchmarks/jobs.py runs/objectives            a line for each folder that is there

next      AutoModelForCausalLM           greedy text; of 100 held-out texts the share of next tokens that are guessed
masked    AutoModelForMaskedLM           one hidden token in each of 300 texts: the share that is guessed
replaced  AutoModelForPreTraining        a fifth of the tokens of 100 texts are others: balanced accuracy (chance .5)
span      AutoModelForSeq2SeqLM          three tokens in a row are <extra_id_0>: the share of holes filled exactly
infill    AutoModelForCausalLM           a gap of two tokens, behind what is before and after it: the same
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    logging,
)

logging.set_verbosity_error()
Texts = list[list[int]]


def held_out(out: Path) -> Texts:
    """The validation documents, without their end tokens, at most 64 tokens of each, evenly spread."""
    ids = np.fromfile(out / "tokens" / "validation.bin", dtype="<u2").astype(np.int64)
    ends = np.fromfile(out / "tokens" / "validation.ends", dtype="<u8").astype(np.int64)
    whole = [ids[a : b - 1].tolist()[:64] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    long = [text for text in whole if len(text) >= 24]
    return [long[k * len(long) // 300] for k in range(min(300, len(long)))]


@torch.inference_mode()
def following(folder: Path, tokenizer: Any, texts: Texts) -> dict[str, Any]:
    model, right, asked = AutoModelForCausalLM.from_pretrained(folder).eval(), 0, 0
    for text in texts[:100]:
        said = model(torch.tensor([text])).logits[0, :-1].argmax(-1)
        right, asked = right + int((said == torch.tensor(text[1:])).sum()), asked + len(said)
    given = torch.tensor([texts[0][:12]])
    made = model.generate(given, max_new_tokens=24, do_sample=False, pad_token_id=0)[0, 12:]
    return {"next_right": right / asked, "text": f"{tokenizer.decode(given[0])} -> {tokenizer.decode(made)}"}


@torch.inference_mode()
def filling(folder: Path, tokenizer: Any, texts: Texts) -> dict[str, Any]:
    model, right = AutoModelForMaskedLM.from_pretrained(folder).eval(), 0
    cls = tokenizer.convert_tokens_to_ids(tokenizer.cls_token)
    for k, text in enumerate(texts):
        place = 4 + k % (len(text) - 8)
        read = [cls, *text[:place], tokenizer.mask_token_id, *text[place + 1 :]]
        right += int(model(torch.tensor([read])).logits[0, place + 1].argmax()) == text[place]
    return {"masked_right": right / len(texts)}


@torch.inference_mode()
def judging(folder: Path, tokenizer: Any, texts: Texts) -> dict[str, Any]:
    model, rng, rates = AutoModelForPreTraining.from_pretrained(folder).eval(), np.random.default_rng(0), []
    pool = np.concatenate(texts)
    for text in texts[:100]:
        true = np.array(text)
        read = np.where(rng.random(len(true)) < 0.2, rng.choice(pool, len(true)), true)
        cls = tokenizer.convert_tokens_to_ids(tokenizer.cls_token)
        said = model(torch.tensor([[cls, *read]])).logits[0, 1:].numpy() > 0
        rates.append((said, read != true))
    said, wrong = (np.concatenate(part) for part in zip(*rates, strict=True))
    return {"balanced_accuracy": float((said[wrong].mean() + (~said[~wrong]).mean()) / 2)}


@torch.inference_mode()
def spanning(folder: Path, tokenizer: Any, texts: Texts) -> dict[str, Any]:
    model, right = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), 0
    first, second = (tokenizer.convert_tokens_to_ids(f"<extra_id_{k}>") for k in (0, 1))
    for k, text in enumerate(texts[:150]):
        at = 4 + k % (len(text) - 12)
        read = torch.tensor([[*text[:at], first, *text[at + 3 :], tokenizer.eos_token_id]])
        made = model.generate(read, max_new_tokens=8, do_sample=False)[0].tolist()
        right += made[1:6] == [first, *text[at : at + 3], second]
    given = torch.tensor([[*texts[0][:20], tokenizer.eos_token_id]])
    made = tokenizer.decode(model.generate(given, max_new_tokens=24, do_sample=False)[0])
    return {"holes_right": right / 150, "text": f"{tokenizer.decode(texts[0][:20])} -> {made}"}


@torch.inference_mode()
def between(folder: Path, tokenizer: Any, texts: Texts) -> dict[str, Any]:
    model, right = AutoModelForCausalLM.from_pretrained(folder).eval(), 0
    pre, mid, suf = (tokenizer.convert_tokens_to_ids(f"<|fim_{name}|>") for name in ("prefix", "middle", "suffix"))
    for k, text in enumerate(texts[:150]):
        at = 4 + k % (len(text) - 12)
        read = torch.tensor([[pre, *text[:at], suf, *text[at + 2 :], mid]])
        made = model.generate(read, max_new_tokens=4, do_sample=False, pad_token_id=0)[0, read.shape[1] :].tolist()
        right += made[:3] == [*text[at : at + 2], tokenizer.eos_token_id]
    return {"gaps_right": right / 150, **following(folder, tokenizer, texts)}


JOBS: dict[str, Callable[[Path, Any, Texts], dict[str, Any]]] = {
    "masked": filling,
    "replaced": judging,
    **dict.fromkeys(("span", "prefix", "denoise"), spanning),
    "infill": between,
}
"""Kind of the objective -> the job; the next token of every other."""


def main() -> None:
    out = Path(sys.argv[1])
    texts = held_out(out)
    for card in sorted(out.glob("*/artifact.json")):
        tree = json.loads(card.read_text(encoding="utf-8"))
        if tree["stage"] == "pretrain":
            job = JOBS.get(tree["settings"]["objective"]["kind"], following)
            found = job(card.parent, AutoTokenizer.from_pretrained(card.parent), texts)
            print(json.dumps({"cell": card.parent.name, **found}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
