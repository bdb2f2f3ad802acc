"""What a family is: everything that differs between architectures, with plain defaults. No torch at the top.

N places that are asked, D width, V vocabulary, B rows, L positions, C classes of a row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pretune.base.errors import NotSupported, UnknownKind

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Head = Literal["next", "masked", "pair", "replaced", "label", "tags", "span", "score", "text", "vector"]
HEADS: Mapping[Head, tuple[str, str, str]] = {
    "next": ("the next token", "AutoModelForCausalLM", "CAUSAL_LM"),
    "masked": ("masked tokens", "AutoModelForMaskedLM", "MASKED_LM"),
    "pair": ("masked tokens and the next sentence", "", ""),
    "replaced": ("replaced tokens", "", ""),
    "label": ("labels", "AutoModelForSequenceClassification", "SEQUENCE_CLASSIFICATION"),
    "score": ("scores", "AutoModelForSequenceClassification", "SEQUENCE_CLASSIFICATION"),
    "tags": ("tags", "AutoModelForTokenClassification", "TOKEN_CLASSIFICATION"),
    "span": ("spans", "AutoModelForQuestionAnswering", "QUESTION_ANSWERING"),
    "text": ("texts made of texts", "AutoModelForSeq2SeqLM", "SEQ_TO_SEQ_CAUSAL_LM"),
    "vector": ("vectors", "AutoModel", ""),
}
"""What a head predicts, the transformers class that bears it, and transformers' own list of the models that have it."""
LABELLED: tuple[Head, ...] = ("label", "tags", "span")
"""Heads whose outputs have names; those of a span are start and end."""
PARTS = {
    "norms": r"norm|\bln_|LayerNorm",
    "head": r"lm_head|\bhead\.|classifier|\bscore\b|\bcls\b|pooler|_predictions\b",
    "embeddings": r"embed|\bwte\b|\bwpe\b",
    "attention": r"attn|attention",
    "mlp": r"mlp|intermediate|output\.dense|\bffn?\b|feed_forward",
}
"""The first that is found in a parameter's name is its part."""
SEES_ALL, SEES_WINDOW = "full_attention", "sliding_attention"
"""transformers' names of kinds of layers: those that see all tokens, and those that see a window of them."""
BLOCK = re.compile(r"\b(?:layers?|h|blocks?)\.(\d+)\.")


Topped: TypeAlias = tuple[Any, tuple[str, ...]]
"""A transformers model with a head, and the names of its modules that are new."""


@dataclass(frozen=True)
class States:
    """What a model says at the places that are asked, and of whole rows.

    Args:
        hidden_ND: hidden states that `last` turns into logits; the logits themselves [N, V] where it is None.
        last: the last module of the head.
        rows_BC: logits of each row as a whole, where the head scores rows too (next sentence).
        extra: terms that the body adds to the loss, summed over tokens: those of `Family.extras`.
        routers_SNE: logits of each router (S of them) for every token and expert, where the body has such.
    """

    hidden_ND: Tensor
    last: nn.Module | None = None
    rows_BC: Tensor | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    routers_SNE: Tensor | None = None


@dataclass(frozen=True)
class Branches:
    """Names, inside a block, of the modules where its two branches end before they join the stream.

    Args:
        attention: its last layer.
        mlp: the last layer of the feed-forward part, or all of it.
        whole: all of the feed-forward part; or, where that is no module, the one that is given the branch and the
            stream it starts from, and adds them up (BERT's `output`).
    """

    attention: str
    mlp: str
    whole: str


@dataclass(frozen=True)
class Cuts:
    """Names, inside a block, of the matrices that a narrower block has fewer rows or columns of.

    Args:
        hidden: those that give the units of the feed-forward part; `hidden_out`: those that read them.
        hidden_size: the setting that says how many.
        gated: how many units of one number each matrix of `hidden` gives, one part after the other.
        queries, keys: those that give query heads, and key and value heads; none where the width of a head follows
            from their number, so that transformers has no config for fewer of them.
        heads_out: that which reads the heads.
    """

    hidden: tuple[str, ...]
    hidden_out: tuple[str, ...]
    hidden_size: str = "intermediate_size"
    gated: int = 1
    queries: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    heads_out: str = ""


@dataclass(frozen=True)
class Family:
    """An architecture family. What is not said is found out, by the names that most families use.

    Args:
        classes: head -> transformers class, where it is not the usual one; "" where the family has none.
        architecture: `encoder` or `decoder`; None: by what transformers lists.
        zero_init: ends of names of the weights that may begin at zero: the last matrix of every branch.
        separators: that stand between two texts that are compared.
        needs_marks: whether an encoder reads texts in [CLS] and [SEP] alone; otherwise any tokenizer does.
        paces: ends of names of weights -> factor on their rate in a new model.
        keeps: whether outputs of its lower blocks may be kept (model/kept.py): a block turns states into states, and
            nothing else leads from below to above.
        routes: whether a router sends tokens to experts; then a step must know how many each of them got.
        dropped: ends of names of modules whose output dropout falls on, in families without settings of their own.
        branches: where the branches of a block end; None: nobody said.
        cuts: what a narrower block has less of; None: nobody said.
        tensor_plan: module of the body (* for the number of a block) -> `colwise` or `rowwise`, where transformers has
            no plan for splitting blocks over processes.
    """

    classes: Mapping[Head, str] = field(default_factory=dict)
    architecture: Literal["encoder", "decoder"] | None = None
    zero_init: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    separators: int = 1
    needs_marks: bool = True
    paces: Mapping[str, float] = field(default_factory=dict)
    routes: bool = False
    branches: Branches | None = None
    cuts: Cuts | None = None
    keeps: bool = False
    tensor_plan: Mapping[str, str] = field(default_factory=dict)

    # ---- heads ----

    def class_for(self, head: Head, model_type: str) -> Any:
        """The transformers class that bears a head, say AutoModelForCausalLM.

        Raises:
            NotSupported: the family has no such head.
        """
        import transformers

        what, usual, _ = HEADS[head]
        check_known(model_type)
        name = self.classes.get(head, usual if self._is_listed(head, model_type) else "")
        if not name:
            raise NotSupported(f"a {model_type} model has no head for {what}", hint=self._others(model_type))
        return getattr(transformers, name)

    def config(self, settings: Mapping[str, Any]) -> Any:
        """The transformers config of a config.json. Raises UnknownKind where transformers has none of its type."""
        from transformers import AutoConfig

        check_known(settings["model_type"])
        return AutoConfig.for_model(**settings)

    def _others(self, model_type: str) -> str:
        there = [HEADS[head][0] for head in HEADS if self.classes.get(head) or self._is_listed(head, model_type)]
        return f"it has heads for: {', '.join(there)}"

    def _is_listed(self, head: Head, model_type: str) -> bool:
        from transformers.models.auto import modeling_auto

        _, usual, listed = HEADS[head]
        if head == "next" and self.architecture_of(model_type) == "encoder":
            return False  # transformers lists BERT there, with a mask that nobody pretrained it for
        return bool(usual) and (not listed or model_type in getattr(modeling_auto, f"MODEL_FOR_{listed}_MAPPING_NAMES"))

    def architecture_of(self, model_type: str) -> Literal["encoder", "decoder"]:
        """`decoder` for what transformers lists as causal and not as masked (Qwen3, Llama, GPT-2), else `encoder`."""
        if self.architecture:
            return self.architecture
        from transformers.models.auto import modeling_auto as auto

        causal = model_type in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        return "decoder" if causal and model_type not in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES else "encoder"

    def made_with(self) -> Mapping[str, Any]:
        """What transformers is told when it makes or loads a model, besides what it is always told."""
        return {}

    # ---- what the model says ----

    def kept(self, model: Any) -> Any:
        """What of a model that was pretrained is saved: of most all, of ELECTRA the discriminator."""
        return plain_model(model)

    def states(self, model: Any, inputs: Mapping[str, Any], at: Tensor | None = None) -> States:
        """Hidden states or logits at the flat places `at` (int64 [N] of B * L; None: everywhere).

        Here by the class's own forward pass, which makes logits everywhere: slower than a family that knows its head.
        """
        logits_NV = model(**inputs, use_cache=False).logits.flatten(0, 1)
        return States(logits_NV if at is None else logits_NV[at])

    def extras(self, model: Any) -> Mapping[str, float]:
        """Terms that the body adds to the loss (router losses), each with its weight in the sum."""
        return {}

    # ---- its parts ----

    def stacks(self, model: Any) -> list[list[nn.Module]]:
        """The equal blocks of each stack: here one, the longest list of modules of one class."""
        from torch import nn

        lists = [list(m) for m in plain_model(model).modules() if isinstance(m, nn.ModuleList) and len(m)]
        equal = [blocks for blocks in lists if len({type(block) for block in blocks}) == 1]
        assert equal, f"{type(model).__name__} has no list of blocks"
        return [max(equal, key=len)]

    def part_of(self, name: str) -> str:
        """The part of a parameter: embeddings, attention, mlp, norms, head, or other."""
        return next((part for part, pattern in PARTS.items() if re.search(pattern, name)), "other")

    def level_of(self, name: str) -> int | None:
        """How deep a parameter lies: 1 for the first block, 0 for the embeddings, None above the blocks."""
        found = BLOCK.search(name)
        if found:
            return int(found[1]) + 1
        return 0 if "embed" in name or self.part_of(name) == "embeddings" else None

    def layer_scales(self, names: Iterable[str], decay: float) -> dict[str, float]:
        """What the learning rate of each parameter is multiplied with, so that low layers move less.

        Low layers hold general knowledge. Block i of n gets decay ** (n - i); the embeddings count as block 0, and what
        lies above the blocks (head, last norm) moves in full, as the last block does.

        Args:
            decay: factor per layer, in (0, 1].

        Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.2 (they use 1 / 2.6).
        """
        levels = {name: self.level_of(name) for name in names}
        top = max((level for level in levels.values() if level is not None), default=0)
        return {name: decay ** (top - level) if level is not None else 1.0 for name, level in levels.items()}

    def matrices(self, model: Any) -> set[str]:
        """Names of the weights that Muon moves: matrices inside the blocks, stacks of them (experts) too; no tables."""
        from torch import nn

        tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
        inner = ((n, p) for n, p in model.named_parameters() if p.dim() in (2, 3) and not re.search(PARTS["head"], n))
        return {name for name, parameter in inner if id(parameter) not in tables}

    def stacked(self, name: str) -> int:
        """How many matrices lie on top of each other in a weight; Muon moves each of them by itself."""
        return 1

    def narrow(self, model: Any, dtype: torch.dtype) -> None:
        """Cast the parameters that may be narrow, here all; buffers are not cast: rotary frequencies need float32."""
        for parameter in model.parameters():
            parameter.data = parameter.data.to(dtype)

    def compiled(self, model: Any) -> list[nn.Module]:
        """The modules that are compiled: here the blocks."""
        return [block for stack in self.stacks(model) for block in stack]

    def in_files(self, model: Any, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Weights by the names that they have in a folder: here those of the model."""
        return weights

    # ---- its limits ----

    def longest(self, config: Mapping[str, Any]) -> int | None:
        """Tokens of the longest row that a model of this config reads; None where it has no such limit."""
        found = config.get("max_position_embeddings") or config.get("n_positions")
        return int(found) if found else None

    def has_token_types(self, config: Mapping[str, Any]) -> bool:
        """Whether the first and the second text of two have types of their own; where two separators part them, not."""
        return self.separators == 1 and int(config.get("type_vocab_size") or 0) > 1


def check_known(model_type: str) -> None:
    """Raise UnknownKind for a model type that transformers has no config for, with the nearest that it has."""
    from transformers import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:
        near = get_close_matches(model_type, list(CONFIG_MAPPING.keys()), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "look at model_type in its config.json"
        raise UnknownKind(f"transformers knows no model of type {model_type!r}", hint=hint)


def tops(model: Any) -> tuple[str, ...]:
    """The names of a model's modules above its body that have weights: classifier, score."""
    above = ((name, module) for name, module in model.named_children() if name != model.base_model_prefix)
    return tuple(name for name, module in above if any(True for _ in module.parameters()))


def last_linear(model: Any) -> Any:
    """The layer that gives a classifier's logits, the one that trains where an adapter keeps a second."""
    from torch import nn

    outputs = model.config.num_labels
    return [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == outputs][-1]


def scores_of(output: Any) -> Tensor:
    """Logits of a head: [B, C] of rows, [B, L, C] of tokens; start and end [B, L, 2] of a head for spans."""
    import torch

    found: Tensor = output.logits if "logits" in output else torch.stack([output.start_logits, output.end_logits], -1)
    return found


AS_BERT = Branches("attention.output.dense", "output.dense", "output")
AS_LLAMA = Branches("self_attn.o_proj", "mlp", "mlp")
CUTS_AS_BERT = Cuts(("intermediate.dense",), ("output.dense",))
PLAN_AS_BERT = {
    **{f"encoder.layer.*.attention.self.{name}": "colwise" for name in ("query", "key", "value")},
    "encoder.layer.*.attention.output.dense": "rowwise",
    "encoder.layer.*.intermediate.dense": "colwise",
    "encoder.layer.*.output.dense": "rowwise",
}
CUTS_AS_LLAMA = Cuts(
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
    queries=("self_attn.q_proj",),
    keys=("self_attn.k_proj", "self_attn.v_proj"),
    heads_out="self_attn.o_proj",
)
PLAIN = Family()
"""Of architectures that have no file."""


def plain_model(model: Any) -> Any:
    """The transformers model inside a PEFT wrapper (adapters live in its layers), or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
