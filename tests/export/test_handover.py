"""What other servers get: a plain folder that answers as the model, a Modelfile that writes what the template writes."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jinja2 import Template
from tokenizers import processors

from pretune.base.errors import NoParity, NotSupported
from pretune.base.log import Log
from pretune.export.bundle import write_bundle
from pretune.export.exporter import Job
from pretune.export.go_template import Parts, parts_of
from pretune.export.huggingface import HuggingFace
from pretune.infer.chat import ChatFormat
from pretune.model.generate import open_folder
from pretune.testing.folders import TEMPLATE, write_model, write_tokenizer
from pretune.tokens.encode.tokenizer import chat_template, load_tokenizer, special_ids
from pretune.tokens.learn.stage import CHAT_TEMPLATE as OURS
from tests.conftest import SHARED

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello 你好"},
    {"role": "assistant", "content": "Hi\n\nthere"},
    {"role": "user", "content": "And {now}?"},
]


def chat_of(template: str, folder: Path) -> ChatFormat:
    write_tokenizer(folder)
    return ChatFormat(template, load_tokenizer(folder), special_ids(folder), ())


def as_jinja(go: str) -> str:
    """The constructs of Go's templates that are written here, in Jinja."""
    go = go.replace("{{ range .Messages }}", "{% for m in messages %}").replace("{{ .Content }}", "{{ m.content }}")
    go = re.sub(
        r'\{\{ (else )?if eq \.Role "(\w+)" \}\}',
        lambda found: f'{{% {"el" * bool(found[1])}if m.role == "{found[2]}" %}}',
        go,
    )
    go = go.replace("{{ if .System }}{{ else }}", '{% if messages[0].role != "system" %}')
    head, _, tail = go.rpartition("{{ end }}{{ end }}")
    found = f"{head}{{% endif %}}{{% endfor %}}{tail}".replace("{{ end }}", "{% endif %}")
    return found


@pytest.mark.parametrize("template", [TEMPLATE, OURS, "minimind"])
def test_the_modelfiles_template_writes_what_the_chat_template_writes(template: str, tmp_path: Path) -> None:
    if template == "minimind":
        folder = SHARED / "models/minimind2-small"
        if not folder.is_dir():
            pytest.skip("../shared/models/minimind2-small is not here")
        template = chat_template(folder) or ""
    chat = chat_of(template, tmp_path)
    parts = parts_of(chat)
    assert parts is not None
    go = parts.go()
    assert go is not None
    for said in (TALK[1:2], TALK[1:], TALK if "system" in parts.around else TALK[1:]):
        wanted = chat.prompt_text(said)
        assert parts.text(said) == wanted
        assert Template(as_jinja(go), keep_trailing_newline=True).render(messages=said) == wanted


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ loop.index }}. {{ m.content }}\n{% endfor %}",
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if not loop.last %}<eos>{% endif %}{% endfor %}",
        "{{ messages[-1].content }}",
        "{{ raise_exception('no') }}",
    ],
)
def test_a_template_that_does_more_than_put_text_around_messages_has_no_parts(template: str, tmp_path: Path) -> None:
    assert parts_of(chat_of(template, tmp_path)) is None


def test_a_part_that_go_would_read_as_a_template_is_not_written() -> None:
    assert Parts({"user": ("{{x}}", "")}, "", "").go() is None
    assert Parts({"user": ('"""', "")}, "", "").go() is None


# ---- the folder ---------------------------------------------------------------------------------


def handed_over(folder: Path, out: Path, exporter: HuggingFace | None = None) -> Path:
    out.mkdir()
    exporter = exporter or HuggingFace(kind="huggingface", prompts=2, tokens=6)
    write_bundle([exporter], Job(folder, open_folder(folder), None, out), Log(quiet=True))
    return out / exporter.folder


def test_an_adapter_is_merged_into_a_folder_that_transformers_reads_alone(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from pretune.model.folder import load_model
    from pretune.model.methods import METHOD

    folder = write_model(tmp_path / "model", tmp_path / "words", "qwen3", chat=True)
    method, ids = METHOD("lora"), torch.arange(4, 16)[None]
    model: Any = method.apply(load_model(folder, "next"), heads=())
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    said = model.eval()(ids).logits
    (tmp_path / "adapter").mkdir()
    method.save(model, tmp_path / "adapter", base=str(folder), tokenizer=folder, weights={})
    made = handed_over(tmp_path / "adapter", tmp_path / "out")
    with torch.inference_mode():
        torch.testing.assert_close(AutoModelForCausalLM.from_pretrained(made)(ids).logits, said, rtol=1e-5, atol=1e-5)
    assert AutoTokenizer.from_pretrained(made).chat_template == TEMPLATE
    assert not (made / "adapter_config.json").exists()


def test_a_readme_has_the_command_of_each_tool_that_reads_the_model_and_names_those_that_do_not(
    model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    told = (handed_over(model_folder("gpt2"), tmp_path / "out") / "README.md").read_text(encoding="utf-8")
    assert "vllm serve . --served-model-name my-model --dtype float32 --max-model-len 96" in told
    assert "--task text-generation-with-past" in told
    assert "## TensorRT-LLM\n\nDoes not name GPT2LMHeadModel among what it reads." in told
    assert "## sentence-transformers\n\nGives no answers of the kind `text`." in told
    labels = (handed_over(model_folder("bert-labels"), tmp_path / "labels") / "README.md").read_text(encoding="utf-8")
    assert "--runner pooling" in labels
    assert "--task text-classification" in labels


def test_an_embedder_gives_its_vectors_in_sentence_transformers(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from transformers import BertConfig, BertModel

    from pretune.testing.folders import BERT

    torch.manual_seed(5)
    model: Any = BertModel(BertConfig(**BERT), add_pooling_layer=False).eval()
    model.config.pretune = {"pooling": "mean", "normalize": True}
    folder = write_model(tmp_path / "model", tmp_path / "words", "", model=model)
    made, texts = handed_over(folder, tmp_path / "out"), ["the cat", "你好 and the hat 🙂"]
    theirs = library.SentenceTransformer(str(made), device="cpu").encode(texts)
    ours = [answer.values for answer in open_folder(folder).answer(texts)]  # type: ignore[attr-defined]
    np.testing.assert_allclose(theirs, np.asarray(ours), atol=1e-5)


def test_a_classifier_gives_its_scores_in_the_pipeline_of_transformers(
    model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    from transformers import pipeline

    folder, texts = model_folder("bert-labels"), ["the cat", "你好 and the hat 🙂"]
    theirs = pipeline("text-classification", str(handed_over(folder, tmp_path / "out")), device="cpu", top_k=None)(
        texts
    )
    for found, answer in zip(theirs, open_folder(folder).answer(texts), strict=True):
        assert {one["label"]: one["score"] for one in found} == pytest.approx(dict(answer.scores), abs=1e-5)


def bos_first(folder: Path) -> None:
    """The post-processor of a tokenizer like Llama's, which begins texts and ends none."""
    tokenizer = load_tokenizer(folder)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<cls> $A", pair="<cls> $A <cls> $B:1", special_tokens=[("<cls>", 2)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"bos_token": "<cls>", "add_bos_token": True}
    path.write_text(json.dumps(config), encoding="utf-8")


@pytest.mark.parametrize(("kind", "own"), [("bert-labels", False), ("bert-labels", True), ("roberta-labels", False), ("qwen3-labels", True)])  # fmt: skip
def test_two_texts_have_our_scores_in_plain_transformers(
    kind: str, own: bool, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder, two = model_folder(kind), ("the cat", "你好 and the hat 🙂")
    if own:
        bos_first(folder)
    made = handed_over(folder, tmp_path / "out")
    tokenizer, model = AutoTokenizer.from_pretrained(made), AutoModelForSequenceClassification.from_pretrained(made)
    for asked in (two, two[:1]):
        with torch.inference_mode():
            theirs = model(**tokenizer(*asked, return_tensors="pt")).logits[0].softmax(-1)
        ours: Any = open_folder(folder).answer([asked if len(asked) == 2 else asked[0]])[0]
        found = {name: float(theirs[k]) for k, name in model.config.id2label.items()}
        assert found == pytest.approx(dict(ours.scores), abs=1e-5)


@pytest.mark.parametrize("kind", ["bert-spans", "qwen3-spans"])
def test_a_question_and_its_context_are_the_row_in_plain_transformers_that_we_read(
    kind: str, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    folder = model_folder(kind)
    row = AutoTokenizer.from_pretrained(handed_over(folder, tmp_path / "out"))("the cat", "and the hat")
    ours: Any = open_folder(folder)
    ((window,),) = ours.reader.windows([{"question": "the cat", "context": "and the hat"}])
    assert row["input_ids"] == window.ids
    assert not any(row.get("token_type_ids", ()))


def test_a_model_that_transformers_does_not_know_is_refused_by_its_class(tmp_path: Path) -> None:
    from pretune.model.small import BagConfig, PretuneBagForSequenceClassification

    model = PretuneBagForSequenceClassification(BagConfig(vocab_size=300, num_labels=2, pad_token_id=0)).eval()
    folder = write_model(tmp_path / "model", tmp_path / "words", "", model=model)
    with pytest.raises(NotSupported, match="PretuneBagForSequenceClassification is no class of transformers"):
        handed_over(folder, tmp_path / "out")


class Spoilt(HuggingFace):
    """A folder whose weights are damaged before it is proven."""

    def prove(self, job: Job) -> Any:
        from safetensors.torch import load_file

        from pretune.model.folder import write_safetensors

        weights = load_file(job.out / "model.safetensors")
        weights["model.norm.weight"][3] += 0.5
        write_safetensors(weights, job.out / "model.safetensors")
        return super().prove(job)


def test_a_damaged_folder_is_refused(model_folder: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(NoParity, match="the export differs from its model"):
        handed_over(model_folder("qwen3"), tmp_path / "out", Spoilt(kind="huggingface", prompts=2, tokens=6))
    assert not (tmp_path / "out" / "spoilt").exists() and not (tmp_path / "out" / "huggingface").exists()


def test_a_bundle_holds_both_and_says_so(model_folder: Callable[..., Path], stage_run: Callable[..., Any]) -> None:
    pytest.importorskip("gguf")
    few = {"prompts": 2, "tokens": 6}
    made = stage_run(
        "export",
        model=str(model_folder("qwen3", chat=True)),
        to=[{"kind": "gguf", **few}, {"kind": "huggingface", **few}],
    )
    assert {"gguf/model.gguf", "gguf/Modelfile", "gguf/README.md", "huggingface/model.safetensors"} <= set(
        made.card.files
    )
    told = json.loads((made.path / "bundle.json").read_text(encoding="utf-8"))["formats"]
    assert told["gguf"]["tensors"] == {"F32": 24}
    assert told["huggingface"] == {"class": "Qwen3ForCausalLM"}
    assert 'PARAMETER stop "<eos>"' in (made.path / "gguf/Modelfile").read_text(encoding="utf-8")
