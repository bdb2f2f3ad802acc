"""What stage support does: read, cut, embed, choose thresholds, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pretune.apps.app import giving
from pretune.apps.support.answering import Knowledge, Models, intent_of, same_question
from pretune.apps.support.live import Known, Parts, knowledge_of, read_part, told_unread, write_parts
from pretune.apps.support.passages import refuse_nothing
from pretune.base.artifact import Artifact
from pretune.base.errors import BadFile
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.stage import Context
from pretune.infer.answers import Label, Ranking, Text, Vector
from pretune.infer.embed import Embedder
from pretune.infer.load import open_model
from pretune.text.read.columns import FIRST, Table
from pretune.text.read.readers import read_records
from pretune.text.read.sources import named_files
from pretune.text.read.values import text_in

USUAL_REFUSE = 0.3
"""Without questions to choose it on: a third of what is asked should be in the passage."""


@dataclass(frozen=True)
class Cut:
    """How texts become passages; the same while the desk is served."""

    text: str | None
    words: int
    overlap: int
    exact: int


@dataclass(frozen=True)
class Chosen:
    """How sure a desk must be; `refuse` None: chosen on questions, so that `false_refusals` of them are refused."""

    faq_from: float
    passage_from: float
    refuse: float | None
    false_refusals: float


def make(
    cut: Cut, sure: Chosen, inputs: Mapping[str, Artifact], docs: Sequence[Artifact], out: Path, context: Context
) -> Json:
    """The work of the stage; its figures."""
    facts: Json = asdict(cut)
    models = _models(inputs)
    sources = {f"docs.{k}": one for k, one in enumerate(docs)}
    sources |= {"faq": inputs["faq"]} if "faq" in inputs else {}
    read = {place: read_part(place, artifact, facts) for place, artifact in sources.items()}
    parts: Parts = {place: passages for place, (passages, _) in read.items()}
    unread = {place: why for place, (_, why) in read.items() if why}
    passages = [passage for some in parts.values() for passage in some]
    refuse_nothing(passages, docs)
    for place, why in unread.items():
        context.log.warn(told_unread(place, why))
    context.log.info(f"    {len(passages)} passages, {len(parts.get('faq', ()))} of them entries of the FAQ")
    known = Known(models.embed)
    vectors_ND = known.of([passage.searched for passage in passages])
    knowledge = knowledge_of(parts, known, exact=cut.exact)
    chosen = choose(sure, inputs.get("dev"), knowledge, models, context.log)
    facts["limits"] = {"faq": sure.faq_from, "passage": sure.passage_from, "refuse": chosen["refuse"]}
    facts["unread"] = unread
    write_parts(out, parts, vectors_ND, facts)
    return {
        "passages": len(passages),
        "faq_entries": len(parts.get("faq", ())),
        "unread": sum(map(len, unread.values())),
        **chosen,
    }


def _models(inputs: Mapping[str, Artifact]) -> Models:
    """The models that choosing needs; the chat model is opened to see that it writes."""
    kinds = {"model": (Text,), "intents": (Label,), "embed": (Vector,), "rank": (Ranking, Vector)}
    opened = {p: giving(open_model(inputs[p].path), p, *k) for p, k in kinds.items() if p in inputs}
    embed = opened.get("embed")
    assert embed is None or isinstance(embed, Embedder), "what gives vectors is an embedder"
    return Models(opened.get("model"), opened.get("intents"), embed, opened.get("rank"))


def choose(wanted: Chosen, dev: Artifact | None, knowledge: Knowledge, models: Models, log: Log) -> Json:
    """The threshold of refusal, where it comes from, and what it does to the questions of `dev`."""
    if dev is None:
        set_by = "usual" if wanted.refuse is None else "setting"
        return {"refuse": USUAL_REFUSE if wanted.refuse is None else wanted.refuse, "refuse_from": set_by}
    asked = questions_of(dev)
    sure = np.array([confidence(question, knowledge, models, wanted.faq_from) for question, _ in asked])
    has_answer = np.array([there for _, there in asked])
    if not has_answer.any():
        raise BadFile(
            f"no question of dev={dev.path.as_posix()} has an answer", hint="it needs questions that have one"
        )
    refuse = wanted.refuse
    if refuse is None:
        _warn_of_few(int(has_answer.sum()), wanted.false_refusals, log)
        refuse = threshold(sure[has_answer], wanted.false_refusals)
    found: Json = {"refuse": refuse, "refuse_from": "dev" if wanted.refuse is None else "setting"}
    found |= {"dev_questions": len(asked), "dev_false_refusals": float((sure[has_answer] < refuse).mean())}
    others = sure[~has_answer]
    return found | ({"dev_refused": float((others < refuse).mean())} if len(others) else {})


def threshold(sure: np.ndarray, share: float) -> float:
    """The confidence below which no more than this share of *new* questions like these is expected.

    A new one is equally likely to fall into each of the n + 1 gaps that n leave, so k of them lie below the k-th with
    probability k / (n + 1), not k / n. Of fewer than 1 / share - 1 it is the least: none of these is refused.

    Source: Papadopoulos et al. 2002 (inductive conformal prediction); Angelopoulos & Bates 2021, arXiv:2107.07511.
    """
    return float(np.sort(sure)[max(_below(len(sure), share), 1) - 1])


def _below(number: int, share: float) -> int:
    # 0.29 * 100 is a little less than 29.
    return int(np.floor(share * (number + 1) + 1e-9))


def _warn_of_few(number: int, share: float, log: Log) -> None:
    if share and not _below(number, share):
        needed = int(np.ceil(1 / share - 1e-9)) - 1
        few = f"dev has {number} questions with an answer, too few for false_refusals={share:g}"
        log.warn(f"{few}: about {1 / (number + 1):.1%} of new ones are refused; {needed} would do")


def confidence(question: str, knowledge: Knowledge, models: Models, faq_from: float) -> float:
    """How sure the desk is of its answer; 1 where an entry of the FAQ asks the same, or answers the intent."""
    same = same_question(question, knowledge, models, intent_of(question, models.intents))
    if same is not None and same.confidence >= faq_from:
        return 1.0
    hits = knowledge.index.search(question, models.embed, models.rank, top=1)
    return hits[0].confidence if hits else 0.0


def questions_of(dev: Artifact) -> list[tuple[str, bool]]:
    """Questions, and whether the knowledge answers them."""
    found = list[tuple[str, bool]]()
    for name, path in named_files(dev):
        rows = [*read_records(path)]
        table = Table(name, rows[:FIRST], {}, stage="dev")
        asked, told = table.need("question"), table.column("reply") or table.column("answers")
        found += [
            (text_in(row, asked), told is None or bool(row.get(told))) for row in rows if text_in(row, asked).strip()
        ]
    if not found:
        raise BadFile(f"dev={dev.path.as_posix()} holds no question", hint="a column `question`, and perhaps `answer`")
    return found
