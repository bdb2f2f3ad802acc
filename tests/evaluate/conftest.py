"""A tiny world: a corpus with its tokens, a labelled set, dialogues, and two untrained models of width 32."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pretune.base.artifact import Artifact
from pretune.base.log import Log
from pretune.base.recipe import Recipe

LINES = [
    "Hello world, how are you today?",
    "The quick brown fox jumps over the lazy dog.",
    "def f(x):\n    return x + 1\n",
    "你好，世界 🙂，今天天气很好。",
    "A lovely film with a lovely ending.",
    "A dull film with a dull ending.",
    "<script>alert('page')</script> is text & nothing else",
    "one two three four five six seven eight nine ten",
]


@dataclass(frozen=True)
class World:
    """Folders; `run` runs one stage through a recipe, as a user would."""

    root: Path
    run: Callable[..., Artifact]
    tokens: Path
    decoder: Path
    classifier: Path
    reviews: Path
    dialogues: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    pytest.importorskip("sklearn", reason="the extra `evaluate` is not installed")
    root = tmp_path_factory.mktemp("evaluate")
    run = _runner(root)
    for k in range(16):
        (root / "text").mkdir(exist_ok=True)
        (root / "text" / f"{k:02d}.txt").write_text(f"{k}. {LINES[k % 8]}\n{LINES[(k * 3) % 8]}", encoding="utf-8")
    corpus = run("corpus", read=[str(root / "text")], validation=0.2, test=0.3).path
    tokenizer = run("tokenizer", corpus=str(corpus), vocab_size=320).path
    tokens = run("tokens", corpus=str(corpus), tokenizer=str(tokenizer)).path
    decoder, classifier = _decoder(root / "decoder", tokenizer), _classifier(root / "classifier", tokenizer)
    reviews, dialogues = _reviews(root, run), _dialogues(root, run)
    return World(root, run, tokens, decoder, classifier, reviews, dialogues)


def _runner(root: Path) -> Callable[..., Artifact]:
    number = iter(range(1000))

    def run(kind: str, **settings: Any) -> Artifact:
        name = f"{kind}{next(number)}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PRETUNE_CACHE", str(root / "cache"))
            stages = {name: {"kind": kind, **settings}}
            return Recipe.build({"work": str(root), "stages": stages}).run(log=Log(quiet=True))[name]

    return run


SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}


def _config(tokenizer: Path, **more: Any) -> Any:
    from transformers import Qwen3Config

    from pretune.tokens.encode.tokenizer import load_tokenizer, special_ids

    specials, size = special_ids(tokenizer), load_tokenizer(tokenizer).get_vocab_size()
    ids = {"eos_token_id": specials.eos, "pad_token_id": specials.pad}
    return Qwen3Config(
        vocab_size=size, hidden_size=32, intermediate_size=64, max_position_embeddings=96, **SIZES, **ids, **more
    )


def _decoder(out: Path, tokenizer: Path) -> Path:
    import torch
    from transformers import Qwen3ForCausalLM

    from pretune.model.folder import save_model

    torch.manual_seed(0)
    out.mkdir()
    save_model(Qwen3ForCausalLM(_config(tokenizer)), out, tokenizer=tokenizer)
    lines = [{"step": k, "loss": 6 - k / 10} for k in range(20)] + [{"step": 20, "validation_loss": 4.5}]
    lines.insert(10, {"step": 10, "validation_loss": 5.5})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (out / "metrics.jsonl").write_text(text + '{"step": 21, "lo', encoding="utf-8")
    return out


def _classifier(out: Path, tokenizer: Path) -> Path:
    import torch
    from transformers import Qwen3ForSequenceClassification

    from pretune.model.folder import save_model

    torch.manual_seed(0)
    labels = ["bad", "good"]
    named = {"id2label": dict(enumerate(labels)), "label2id": {n: k for k, n in enumerate(labels)}}
    out.mkdir()
    save_model(Qwen3ForSequenceClassification(_config(tokenizer, **named)), out, tokenizer=tokenizer)
    return out


def _reviews(root: Path, run: Callable[..., Artifact]) -> Path:
    texts = {"good": ["a lovely film", "lovely acting", "很好看"], "bad": ["a dull film", "dull acting", "很难看"]}
    rows = [(f"{text} {k}", label) for k in range(6) for label, some in texts.items() for text in some]
    folder = root / "reviews"
    folder.mkdir()
    # In every row, for which rows the page shows depends on an untrained classifier.
    hostile = [(f"{text} <script>alert('data')</script>", label) for text, label in rows[24:]]
    for name, part in (("train", rows[:24]), ("test", hostile)):
        lines = [json.dumps({"text": t, "label": label}, ensure_ascii=False) + "\n" for t, label in part]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return run("dataset", read=[str(folder)]).path


def _dialogues(root: Path, run: Callable[..., Artifact]) -> Path:
    def row(question: str, answer: str, split: str) -> dict[str, Any]:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return {"messages": turns, "keywords": answer.split()[:1], "split": split}

    facts = {f"tool {k}": f"Copies {k} trees at once." for k in range(6)}
    rows = [row(f"What does {name} do?", answer, "train") for name, answer in facts.items()]
    rows += [row(f"Tell me about {name}.", answer, "test") for name, answer in list(facts.items())[:3]]
    rows += [row("What is a sieve?", "A thing with holes.", "validation")]
    rows += [row("What does <script>alert('chat')</script> do?", "Nothing <b>bold</b>.", "test")]
    path = root / "dialogues.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return run("dataset", read=[str(path)]).path
