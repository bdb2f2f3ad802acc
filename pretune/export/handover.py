"""Other servers: which of them read a model, and the exact command, as a README next to the files.

What a tool reads is told by its own documentation (the address stands next to each); none of them is run here, and
the README says so. A class that a tool's list lacks is named as not read, not left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pretune.infer.predictor import Facts

DECODERS = frozenset(
    ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "Qwen3MoeForCausalLM")
    + ("Gemma3ForCausalLM", "GPT2LMHeadModel")
)
BODIES = frozenset(("BertModel", "RobertaModel", "ModernBertModel", "Qwen3Model", "LlamaModel", "Gemma3TextModel"))
SCORERS = frozenset(("BertForSequenceClassification", "RobertaForSequenceClassification"))
SCORERS |= {"ModernBertForSequenceClassification", "Qwen3ForSequenceClassification"}


@dataclass(frozen=True)
class Tool:
    """A program that reads a folder.

    Args:
        commands: by the kind of answer; `{length}` is the model's window, `{name}` a name to choose.
        reads: classes of transformers that its documentation names; None: all that transformers knows.
        source: where that is written.
        note: what must be known besides.
    """

    name: str
    commands: Mapping[str, str]
    reads: frozenset[str] | None
    source: str
    note: str = ""


SERVE = "vllm serve . --served-model-name {name} --dtype float32 --max-model-len {length}"
OPENVINO = "optimum-cli export openvino --model . --task {task} --weight-format fp32 ../openvino"
FOLDER_TOOLS = (
    Tool(
        "vLLM",
        {"text": SERVE, "vector": f"{SERVE} --runner pooling", "label": f"{SERVE} --runner pooling"},
        DECODERS | BODIES | SCORERS,
        "docs.vllm.ai/en/latest/models/supported_models",
        "Without `--dtype float32` it computes a float32 folder in float16, and greedy answers may differ. Chat: "
        "`POST /v1/chat/completions`; vectors: `/v1/embeddings`; labels: `/classify`.",
    ),
    Tool(
        "TensorRT-LLM",
        {"text": "trtllm-serve . --max_seq_len {length}"},
        DECODERS - {"GPT2LMHeadModel"},
        "nvidia.github.io/TensorRT-LLM/models/supported-models.html",
        "Its PyTorch backend reads the folder as it is, and computes in 16 bits.",
    ),
    Tool(
        "OpenVINO",
        {
            "text": OPENVINO.replace("{task}", "text-generation-with-past"),
            "label": OPENVINO.replace("{task}", "text-classification"),
            "labels": OPENVINO.replace("{task}", "text-classification"),
            "tags": OPENVINO.replace("{task}", "token-classification"),
            "span": OPENVINO.replace("{task}", "question-answering"),
            "vector": OPENVINO.replace("{task}", "feature-extraction"),
        },
        None,
        "huggingface.co/docs/optimum-intel/openvino/export and .../models",
        "pip install 'optimum-intel[openvino]'.",
    ),
    Tool(
        "sentence-transformers",
        {
            "vector": "python -c \"from sentence_transformers import SentenceTransformer as S; print(S('.').encode(['text']))\""
        },
        None,
        "sbert.net; modules.json and 1_Pooling/config.json are what it reads",
    ),
    Tool(
        "transformers",
        {
            "text": "transformers serve .",
            "label": "python -c \"from transformers import pipeline; print(pipeline('text-classification', '.')('text'))\"",
            "tags": "python -c \"from transformers import pipeline; print(pipeline('token-classification', '.')('text'))\"",
        },
        None,
        "huggingface.co/docs/transformers",
    ),
)


GGUF_TOOLS = (
    Tool(
        "llama.cpp",
        {"text": "llama-server -m model.gguf -c {length} --jinja"},
        None,
        "github.com/ggml-org/llama.cpp, tools/server/README.md",
        "`--jinja` writes dialogues by the file's own chat template. Keys and values are kept in 16 bits unless "
        "`--cache-type-k f32 --cache-type-v f32` is given.",
    ),
    Tool(
        "Ollama",
        {"text": "ollama create {name} -f Modelfile && ollama run {name}"},
        None,
        "docs.ollama.com/modelfile, docs.ollama.com/import",
        "TEMPLATE in the Modelfile is made from the chat template, where that only puts text around messages. Without "
        "one, Ollama 0.30 and later writes dialogues by the template in the file (github.com/ollama/ollama/issues/10222).",
    ),
)


BESIDE = {
    "temperature": "Its logits are divided by a temperature before they become probabilities.",
    "thresholds": "Its labels have thresholds of their own.",
    "reject": "It gives no label where none is likely enough.",
    "crf": "Its tags are chosen together (CRF).",
    "scale": "Its number is counted in standard deviations of the training data.",
}
"""What stays behind in other tools: it is in config.json under `pretune`, and they do not read that."""


def readme(tools: Sequence[Tool], class_name: str, facts: Facts, *, first: str) -> str:
    """A README: for each tool the command, or why it does not read the model.

    Args:
        class_name: the model's class in transformers; first: what the folder is.
    """
    said = [_section(tool, class_name, facts) for tool in tools]
    kept = sorted(set(facts.more) & BESIDE.keys())
    if kept:
        first = " ".join([first, *(BESIDE[name] for name in kept), "These tools do not know of it: see config.json."])
    proven = "The commands follow each tool's documentation. They were not run when this was written; run them here."
    return "\n\n".join(["# For other programs", first, proven, *said]) + "\n"


def _section(tool: Tool, class_name: str, facts: Facts) -> str:
    command = tool.commands.get(facts.answers)
    title, source = f"## {tool.name}", f"Source: {tool.source}"
    if command is None:
        return f"{title}\n\nGives no answers of the kind `{facts.answers}`. {source}"
    if tool.reads is not None and class_name not in tool.reads:
        return f"{title}\n\nDoes not name {class_name} among what it reads. {source}"
    filled = command.replace("{length}", str(facts.max_length)).replace("{name}", "my-model")
    return "\n\n".join(filter(None, [title, f"```\n{filled}\n```", tool.note, source]))
