"""Exporter gguf: one file for llama.cpp and what is built on it (Ollama, LM Studio ...), read again before it is kept.

    f32                    the folder's own function                       4    bytes a weight
    f16, bf16              matrices rounded to 16 bits                     2
    q8_0                   whole numbers of 32 weights and a scale         1.06
    q5_0, q4_0             the same in 5 and 4 bits                        0.69, 0.56
    q6_k, q5_k, q4_k       blocks of 256 with scales of scales (libgguf)   0.82, 0.69, 0.56

Norms, biases, tables of positions and routers stay float32. Embeddings and the head are never below q8_0: they are
read at every token and lose most. A row that cannot be cut into blocks takes q8_0, and where it has no blocks of 32
f16. Weights that compress rounded to int8 keep their whole numbers in q8_0; only their scale is rounded, to 16 bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pretune.base.errors import NoParity, NotSupported
from pretune.base.extras import need
from pretune.base.json import Json
from pretune.export.exporter import Exporter, Job, Proof

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType

    from pretune.export.gguf_tensors import Weight
    from pretune.export.gguf_tokenizer import Vocabulary
    from pretune.export.llama_cpp import LlamaCpp
    from pretune.export.parity import Thresholds
    from pretune.infer.predictor import Difference, Streams

FILE = "model.gguf"
BLOCK = 32
ASKED = [{"role": "user", "content": "Hello, 你好 🙂!"}]
WIDE = ("token_embd.weight", "output.weight")
KEPT = ("ffn_gate_inp.weight", "position_embd.weight", "rope_freqs.weight")
Type = Literal["f32", "f16", "bf16", "q8_0", "q5_0", "q4_0", "q6_k", "q5_k", "q4_k"]


class Gguf(Exporter):
    """One GGUF file: weights, tokenizer and chat template; and what Ollama needs (Modelfile)."""

    extras: ClassVar[tuple[str, ...]] = ("gguf",)

    type: Type = "f32"
    """How matrices are stored: f32, f16, bf16; q8_0, q5_0, q4_0 (blocks of 32); q6_k, q5_k, q4_k (blocks of 256,
    pretune[kquants])."""
    prompts: int = Field(20, gt=0)
    """Prompts on which greedy answers are compared, where llama.cpp is installed (pretune[llamacpp])."""
    tokens: int = Field(64, gt=0)
    """Tokens of each answer that is compared."""
    max_logit_difference: float | None = Field(None, gt=0)
    """How far a logit of type=f32 may be from the model's; null: 0.001, or 0.01 where llama.cpp computes GELU (from a
    table in 16 bits)."""
    min_agreement: float = Field(0.7, gt=0, le=1)
    """Share of greedy tokens that must agree with a type that rounds; of f32 all must."""

    def write(self, job: Job) -> Json:
        need(["kquants"] if self.type.endswith("_k") else [])
        from gguf import GGUFWriter

        from pretune.export.gguf_tensors import kind_of

        made = _Made(job, self.type)
        writer = GGUFWriter(job.out / FILE, kind_of(made.model.config).architecture)
        for key, value in made.fields().items():
            _add(writer, key, value)
        types = Counter[str]()
        for name, array, kind in made.tensors():
            writer.add_tensor(name, array, raw_dtype=kind)
            types[kind.name] += 1
        _finish(writer)
        write_beside(made.ready, job.out)
        facts = {"file": FILE, "architecture": writer.arch, "type": self.type, "tensors": dict(sorted(types.items()))}
        return facts | ({"differs": made.differs} if made.differs else {})

    def prove(self, job: Job) -> Proof:
        from pretune.export.llama_cpp import has_llama_cpp
        from pretune.export.parity import Parity

        made, size = _Made(job, self.type), (job.out / FILE).stat().st_size
        again = _read_again(job.out / FILE, made)
        parity: Json = {"read again": again, "type": self.type}
        metrics: Json = {"bytes": size}
        told = f"gguf: {again['tensors']} tensors of {self.type} read again, {size / 1e6:.1f} MB"
        told = "; ".join([told, *made.differs])
        if not has_llama_cpp():
            hint = "not tried in llama.cpp: pip install 'pretune[llamacpp]'"
            return Proof(parity | {"llama.cpp": hint}, metrics, f"{told}; {hint}")
        ids, found = self._answers(job, made)
        limits = self._limits(made)
        answers = Parity(found, limits).demand().to_json()
        same = f"{found.decisions - found.different} of {found.decisions} {found.compared} as the model's in llama.cpp"
        metrics |= {"agreement": found.agreement, "max_logit_difference": found.max_logit_difference}
        return Proof(parity | {"ids": ids, "llama.cpp": answers}, metrics, f"{told}; {same}, {ids} texts with its ids")

    def _limits(self, made: _Made) -> Thresholds:
        from pretune.export.gguf_tensors import kind_of
        from pretune.export.parity import Thresholds

        if self.type != "f32":
            return Thresholds(None, self.min_agreement)
        return Thresholds(self.max_logit_difference or kind_of(made.model.config).near, 1.0)

    def _answers(self, job: Job, made: _Made) -> tuple[int, Difference]:
        """What llama.cpp makes of the file: the number of texts with the model's ids, then greedy answers."""
        from pretune.export.llama_cpp import LlamaCpp
        from pretune.export.parity import inputs_for
        from pretune.infer.compare import LONGEST_TRIED
        from pretune.infer.load import predictor_of

        ready = made.ready
        engine = LlamaCpp.open(job.out / FILE, min(ready.facts.max_length, LONGEST_TRIED))
        ids = compare_ids(ready, engine, made.words)
        other = predictor_of(engine, job.out.parent, ready.facts)
        asked = inputs_for(job.data, ready)
        return ids, ready.compare(other, asked, most_written=self.prompts, num_tokens=self.tokens)


class _Made:
    """A job with what a file of one type holds."""

    def __init__(self, job: Job, type: Type):
        from pretune.export.gguf_tensors import kind_of
        from pretune.export.gguf_tokenizer import vocabulary_of
        from pretune.infer.load import head_of
        from pretune.infer.predictor import Streams
        from pretune.model.folder import check_plain
        from pretune.model.generate import module_of

        assert job.ready is not None, "a model is opened before it is exported"
        self.job, self.type, self.model = job, type, module_of(job.ready)
        kind_of(self.model.config)
        if head_of([self.model.__class__.__name__]) != "next" or not isinstance(job.ready, Streams):
            raise NotSupported("GGUF is written for models that write text", hint="this one is exported by to=onnx")
        check_plain(self.model)
        self.ready: Streams = job.ready
        self.words: Vocabulary = vocabulary_of(job.source, self.model.config.vocab_size)

    @property
    def differs(self) -> list[str]:
        """What is known to be otherwise in llama.cpp, in words."""
        from pretune.export.gguf_tokenizer import DIFFERS
        from pretune.infer.language import own_start

        bos = "bos" if own_start(self.ready.tokenizer, self.ready.eos_ids) and not begins(self.ready) else ""
        return [DIFFERS[name] for name in (self.words.differs, bos) if name]

    def fields(self) -> Json:
        """Every key of the file but the architecture's name."""
        from pretune.export.gguf_tensors import keys_of, kind_of
        from pretune.export.gguf_tokenizer import fields_of

        name = kind_of(self.model.config).architecture
        about = {f"{name}.{key}": value for key, value in keys_of(self.model, self.ready.facts.max_length).items()}
        words = fields_of(self.words) | specials_of(self.job.source, self.ready)
        about |= {f"tokenizer.ggml.{key}": value for key, value in words.items()}
        about |= {"general.file_type": int(_file_type(self.type)), "general.quantization_version": 2}
        template = self.ready.chat.template if self.ready.chat else None
        return about | ({"tokenizer.chat_template": template} if template else {})

    def tensors(self) -> Iterator[tuple[str, np.ndarray, GGMLQuantizationType]]:
        """(name, the bytes or numbers that are written, type) of each tensor."""
        from pretune.compress.quantise import read_scales, read_steps
        from pretune.export.gguf_tensors import weights_of

        for weight in weights_of(self.model, read_scales(self.job.source), read_steps(self.job.source)):
            yield (weight.name, *stored(weight, self.type))


def _file_type(type: Type) -> int:
    """llama.cpp's number of a file's usual type."""
    from gguf import LlamaFileType

    names = {"f32": "ALL_F32", "q4_k": "MOSTLY_Q4_K_S", "q5_k": "MOSTLY_Q5_K_S"}
    return int(LlamaFileType[names.get(type, f"MOSTLY_{type.upper()}")])


def specials_of(folder: Path, ready: Streams) -> Json:
    """Ids of control tokens; of two that end an answer the second is the end of a turn."""
    from pretune.infer.language import own_start
    from pretune.tokens.encode.tokenizer import special_ids

    own = special_ids(folder)
    ends = sorted(ready.eos_ids, key=lambda token: token != own.eos)
    start = own_start(ready.tokenizer, ())
    found = {
        "bos_token_id": own.bos if not start else start[0],
        "eos_token_id": ends[0] if ends else None,
        "eot_token_id": ends[1] if len(ends) > 1 else None,
        "eom_token_id": ends[2] if len(ends) > 2 else None,
        "padding_token_id": own.pad,
        "unknown_token_id": own.unk,
    }
    given = {name: token for name, token in found.items() if token is not None}
    return given | {"add_bos_token": begins(ready), "add_eos_token": False}


def begins(ready: Streams) -> bool:
    """Whether llama.cpp shall put bos first: as the tokenizer does, unless the model's dialogues begin without it."""
    from pretune.infer.language import own_start

    start = own_start(ready.tokenizer, ready.eos_ids)
    return bool(start) and (ready.chat is None or ready.chat_prompt(ASKED)[:1] == list(start))


# ---- tensors ------------------------------------------------------------------------------------


def stored(weight: Weight, type: Type) -> tuple[np.ndarray, GGMLQuantizationType]:
    """A tensor's numbers, or blocks of bytes, as they are written, and their type."""
    from gguf import GGMLQuantizationType, quantize

    kind = type_of(weight, type)
    if kind.endswith("_k"):
        from libgguf import quantize_rows

        return quantize_rows(weight.array, GGMLQuantizationType[kind.upper()]), GGMLQuantizationType[kind.upper()]
    scales, width = weight.scales, weight.array.shape[-1]
    if scales is not None and kind == "q8_0" and scales.shape[-1] == 1:
        return whole_blocks(weight.array, scales), GGMLQuantizationType.Q8_0
    if scales is not None and kind == "q4_0" and weight.bits == 4 and scales.shape[-1] * BLOCK == width:
        return half_blocks(weight.array, scales), GGMLQuantizationType.Q4_0
    return quantize(weight.array, GGMLQuantizationType[kind.upper()]), GGMLQuantizationType[kind.upper()]


def type_of(weight: Weight, type: Type) -> Type:
    """How one tensor of a file is stored."""
    width = weight.array.shape[-1]
    if type == "f32" or weight.array.ndim == 1 or weight.name.endswith(KEPT):
        return "f32"
    if type in ("f16", "bf16"):
        return type
    if width % BLOCK:
        return "f16"
    if weight.name in WIDE or (type.endswith("_k") and width % 256):
        return "q8_0"
    return type


def whole_blocks(array: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Blocks of Q8_0 with the whole numbers of an int8 weight: a float16 scale and 32 int8 each, uint8 [..., bytes].

    Source: the layout is that of ggml's block_q8_0.
    """
    whole = np.rint(array / scales).astype(np.int8).reshape(*array.shape[:-1], -1, BLOCK)
    rows = np.broadcast_to(scales.astype(np.float16)[..., None], (*whole.shape[:-1], 1))
    blocks = np.concatenate([np.ascontiguousarray(rows).view(np.uint8), whole.view(np.uint8)], axis=-1)
    return blocks.reshape(*array.shape[:-1], -1)


def half_blocks(array: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Blocks of Q4_0 with the numbers of an int4 weight: a float16 scale and 16 bytes each, uint8 [..., bytes].

    Args:
        scales: of groups of 32 inputs [rows, groups], whose zero is 8.

    Source: the layout is that of ggml's block_q4_0.
    """
    blocks = array.reshape(*array.shape[:-1], -1, BLOCK)
    numbers = (np.rint(blocks / scales[..., None]) + 8).astype(np.uint8)
    packed = numbers[..., : BLOCK // 2] | (numbers[..., BLOCK // 2 :] << 4)
    narrow = np.ascontiguousarray(scales.astype(np.float16)[..., None]).view(np.uint8)
    return np.concatenate([narrow, packed], axis=-1).reshape(*array.shape[:-1], -1)


# ---- the file -----------------------------------------------------------------------------------


def _add(writer: Any, key: str, value: Any) -> None:
    """One key; whole numbers are uint32 and others float32, as llama.cpp reads them."""
    adders = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    adders.get(type(value), writer.add_array)(key, value)


def _finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read_again(file: Path, made: _Made) -> Json:
    """Every key and tensor of the file next to what belongs there. Raises NoParity at the first that differs."""
    from gguf import GGUFReader

    reader = GGUFReader(file)
    for key, value in made.fields().items():
        found = reader.fields[key].contents() if key in reader.fields else None
        wanted = float(np.float32(value)) if isinstance(value, float) else value
        if found != wanted:
            raise NoParity(
                f"{file.name} says another {key} than the model: {_short(found)} instead of {_short(wanted)}"
            )
    tensors = {one.name: one for one in reader.tensors}
    number = 0
    for name, array, kind in made.tensors():
        there = tensors.get(name)
        if there is None or there.tensor_type != kind or not _same(there.data, array):
            raise NoParity(f"the first tensor of {file.name} that differs from its model is {name}")
        number += 1
    return {"tensors": number, "fields": len(reader.fields)}


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


def _short(value: object) -> str:
    return repr(value)[:80]


def write_beside(ready: Streams, out: Path) -> None:
    """A Modelfile for Ollama, and how llama.cpp and Ollama are started with the file."""
    from pretune.export.go_template import parts_of
    from pretune.export.handover import GGUF_TOOLS, readme

    parts = parts_of(ready.chat) if ready.chat else None
    template = parts.go() if parts else None
    lines = [f"FROM ./{FILE}", f"PARAMETER num_ctx {ready.facts.max_length}"]
    lines += [f'PARAMETER stop "{ready.tokenizer.id_to_token(token)}"' for token in ready.eos_ids]
    lines += [f'TEMPLATE """{template}"""'] if template else [] if ready.chat else ['TEMPLATE """{{ .Prompt }}"""']
    (out / "Modelfile").write_text("\n".join(lines) + "\n", encoding="utf-8")
    about = readme(
        GGUF_TOOLS, type(ready).__name__, ready.facts, first=f"`{FILE}`: weights, tokenizer and chat template."
    )
    (out / "README.md").write_text(about, encoding="utf-8")


# ---- ids ----------------------------------------------------------------------------------------


def compare_ids(ready: Streams, engine: LlamaCpp, words: Vocabulary) -> int:
    """The ids that llama.cpp gives texts made to trip it, and a dialogue, next to the tokenizer's own.

    Returns:
        The number of texts.

    Raises:
        NoParity: other ids, told with the text and the place; other text for a token; an end that it does not know.
    """
    from pretune.infer.language import own_start
    from pretune.tokens.encode.tokenizer import encode_text

    texts, begin = torture(ready, words), own_start(ready.tokenizer, ready.eos_ids) if begins(ready) else ()
    for text in texts:
        _demand_ids([*begin, *encode_text(ready.tokenizer, text)], engine.encode(text, start=True), text)
    if ready.chat:  # llama-server takes away the bos of a template where it puts one itself
        prompt = ready.chat.prompt_text(ASKED).removeprefix("".join(map(str, map(ready.tokenizer.id_to_token, begin))))
        _demand_ids(ready.chat_prompt(ASKED), engine.encode(prompt, controls=True, start=True), prompt)
    _demand_pieces(ready, engine, words)
    if missing := set(ready.eos_ids) - engine.ends():
        raise NoParity(f"llama.cpp does not end at token {min(missing)}, and the model does")
    return len(texts)


def torture(ready: Streams, words: Vocabulary) -> list[str]:
    """Texts in many scripts, white space, control tokens as text, drawn from Unicode; without what DIFFERS names."""
    import unicodedata

    from pretune.infer.compare import TEXTS
    from pretune.tokens.encode.encoding import probes

    texts = [*TEXTS, "\n".join(TEXTS) * 8, *(" " * n + "x" for n in range(40)), *probes(ready.tokenizer)]
    if words.differs == "space":
        return [text for text in texts if not text.startswith(" ")]
    return [unicodedata.normalize("NFC", text) for text in texts] if words.differs == "nfc" else texts


def _demand_ids(wanted: list[int], found: list[int], text: str) -> None:
    if wanted != found:
        pairs = zip([*wanted, None], [*found, None], strict=False)
        place = next(k for k, (one, other) in enumerate(pairs) if one != other)
        after = f"token {place}: {wanted[place : place + 3]} of the model, {found[place : place + 3]} of llama.cpp"
        raise NoParity(f"llama.cpp gives other ids for {text[:60]!r}, first at {after}")


def _demand_pieces(ready: Streams, engine: LlamaCpp, words: Vocabulary) -> None:
    from pretune.export.gguf_tokenizer import BYTES, NORMAL, USER
    from pretune.tokens.encode.words import token_bytes

    for token, piece in enumerate(token_bytes(ready.tokenizer)):
        text = piece.decode("utf-8", "replace")  # as the binding decodes what is less than a character
        if words.types[token] in (NORMAL, USER, BYTES) and engine.piece(token) != text:
            raise NoParity(f"llama.cpp writes {engine.piece(token)!r} for token {token}, and the model {text!r}")
