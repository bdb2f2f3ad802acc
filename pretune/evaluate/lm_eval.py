"""Any model folder or bundle under EleutherAI's lm-evaluation-harness, which is installed in an environment of its own.

    python -m pretune.evaluate.lm_eval --model pretune --model_args path=runs/base \\
        --include_path TASKS --tasks arc_easy_local,piqa_local

This is `lm_eval` with one more model, `pretune`; task files over local data are written by benchmarks/lm_eval_tasks.py.
Texts become tokens as its own back end `hf` makes them: a bos where the tokenizer puts one itself, a text without a
context behind the bos that is named, else behind the end token. So the figures are those of `hf`, to float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pretune.base.artifact import Artifact
from pretune.base.errors import MissingExtra, NotSupported, PretuneError
from pretune.evaluate.likelihood import CausalScorer, fitted
from pretune.infer.language import own_start
from pretune.infer.load import open_model
from pretune.infer.predictor import Streams
from pretune.infer.sampling import Sampling
from pretune.tokens.encode.tokenizer import encode_text, special_ids

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError:
    hint = "in an environment of its own: pip install pretune lm-eval"
    raise MissingExtra("not installed: lm_eval", hint=hint) from None

MAX_TOKENS = 256
"""Of an answer where a task says nothing, as in its own back ends."""


@register_model("pretune")
class Pretune(TemplateLM):  # type: ignore[misc]  # of a library without types
    """A model of pretune as lm-evaluation-harness asks one.

    Args:
        path: of the model folder, the adapter or the bundle.

    Raises:
        NotSupported: it does not predict the next token.
    """

    def __init__(self, path: str, **_: object) -> None:
        super().__init__()
        opened = open_model(Artifact.open(path, "model|bundle").path)
        if not isinstance(opened, Streams) or opened.facts.more.get("apart"):
            raise NotSupported(f"{path} gives {opened.gives.plural} and predicts no text")
        self.opened, self._bos = opened, special_ids(path).bos
        self.scorer = CausalScorer(opened.engine, opened.tokenizer, (), ())

    @property
    def eot_token_id(self) -> int:
        return self.opened.eos_ids[0]

    @property
    def prefix_token_id(self) -> int:
        return self.eot_token_id if self._bos is None else self._bos

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: object) -> list[int]:
        own = () if add_special_tokens is False else own_start(self.opened.tokenizer, ())
        return [*own, *encode_text(self.opened.tokenizer, string)]

    def _loglikelihood_tokens(self, requests: Sequence[tuple[Any, Any, Any]], **_: object) -> list[tuple[float, bool]]:
        asked = [fitted(before, after, self.scorer.room(True)) for _, before, after in requests]
        return [(said.total, said.is_greedy) for said in self.scorer.said(asked)]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        return [self._whole(request.args[0]) for request in requests]

    def _whole(self, text: str) -> float:
        """The log-probability of a text of any length, in windows that do not overlap."""
        most = self.opened.engine.max_length
        tokens = self.tok_encode(text)
        windows = get_rolling_token_windows(tokens, self.prefix_token_id, max_seq_len=most, context_len=1)
        requests = [(None, *make_disjoint_window(window)) for window in windows]
        return sum(total for total, _ in self._loglikelihood_tokens(requests))

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        return ["".join(self._pieces(*request.args)) for request in requests]

    def _pieces(self, context: str, settings: dict[str, Any]) -> Iterator[str]:
        until, number = settings.get("until") or [], int(settings.get("max_gen_toks", MAX_TOKENS))
        sampling = Sampling(
            temperature=float(settings.get("temperature", 0)) if settings.get("do_sample") else 0.0,
            max_tokens=number,
            stop=(until,) if isinstance(until, str) else tuple(until),
        )
        prompt = self.tok_encode(context)[-max(1, self.opened.engine.max_length - number) :]
        yield from (piece.text for piece in self.opened.stream(prompt, sampling))


def main() -> None:
    """`lm_eval`, which now knows the model `pretune`."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    try:
        main()
    except PretuneError as error:
        raise SystemExit(str(error)) from None
