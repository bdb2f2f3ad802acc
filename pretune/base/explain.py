"""`pretune explain NAME`: what a setting, an error code or a metric means, its default, where it comes from."""

from __future__ import annotations

import inspect

from pretune.base.config import Choice, Config, FieldFacts, Variant, describe, facts
from pretune.base.errors import UnknownSetting, all_errors, did_you_mean
from pretune.base.stage import STAGE

METRICS = {
    "accuracy": "Share of answers that equal the label. With uneven classes read macro_f1 next to it.",
    "macro_f1": "Mean over the classes of F1 = 2 x right / (said + true): every class counts alike.",
    "f1": "Harmonic mean of precision (right, of what the model found) and recall (found, of what is there). Of "
    "task=tag: of entities, right where both ends and the kind are, all texts together (micro), as conlleval counts. "
    "Of answers in a context: of the words that answer and reference share, the best of several references, as SQuAD's "
    "script counts it; in Chinese of their longest common run of characters, as CMRC 2018's does.",
    "exact": "Share of answers that equal a reference but for case, punctuation and (SQuAD) articles; of task=seq2seq "
    "but for white space.",
    "no_answer": 'How far "no answer" must be ahead of the best piece of a context, in logits, to be given; chosen on '
    "the validation split for the highest F1, and kept in the model's config.json (pretune.no_answer).",
    "micro_f1": "F1 of all decisions together, whatever the label: frequent labels count most.",
    "subset_accuracy": "Share of texts of which every label is right, and none too many.",
    "thresholds": "Of several labels: the probability from which each holds, chosen on the validation split for "
    "best F1 and kept in the model's config.json (pretune.thresholds). Of one label (task.thresholds): by what its "
    "probability is divided before the largest is taken, for best macro-F1; of two labels from which each is given.",
    "ece": "Expected calibration error: the mean distance between the probability of an answer and the share that is "
    "right, in 15 bins of equal width (Guo et al. 2017). 0 where nine in ten of what is called 0.9 are right.",
    "nll": "Mean negative log likelihood of the label, in nats per text in scope.",
    "brier": "Squared distance of the probabilities from certainty of the label, summed over labels (Brier 1950).",
    "temperature": "By what logits are divided before they become probabilities: chosen on the validation split for "
    "the least nll, kept in the model's config.json (pretune.temperature) and served. No answer changes by it.",
    "rejected": "Share of texts that get no label (task.reject): their likeliest label has too low a probability.",
    "in_scope_accuracy": "Accuracy over the texts whose label the model knows; one that is rejected is wrong.",
    "auroc": "How often a text in scope has a higher probability than one that is not, equal ones half; 0.5 is chance.",
    "spearman": "Correlation of the ranks of scores and answers, -1 to 1; 0 where all answers are equal.",
    "ndcg_10": "Gain of the first ten candidates, discounted by place (1 / log2(1 + place)), over that of the best "
    "order; a gain is how far a score is above the lowest of its query (as scikit-learn's ndcg_score). 1 is best.",
    "coverage": "Share of all items that stand in the list of any user who was asked.",
    "novelty": "Mean of -log2 of the share of users who have seen what is shown, in bits; 0: everybody has seen it.",
    "alike": "Mean cosine of two items of a list, by their texts; less is more diverse.",
    "auc": "Share of the other items, nobody having seen any of them, that stand below one that was wanted; ties half.",
    "half_life": "After how many further events what was seen counts half; 0: everything counts the same. Chosen on "
    "validation.",
    "left_out": "What could not be used of the tables, and how often.",
    "mrr": "Mean of 1 / place of the first of the best candidates; 0 where it is not among the first 100.",
    "recall_1": "Share of a query's best candidates that stand first.",
    "recall_10": "Share of a query's best candidates that are among the first ten.",
    "pearson": "Linear correlation of scores and answers, -1 to 1; 0 where all answers are equal.",
    "mae": "Mean distance of the answer from the score, in the unit of the data.",
    "rmse": "Root of the mean squared distance of the answer from the score: large errors count more than in mae.",
    "bits_per_byte": "Negative log2 likelihood of the text divided by its bytes: comparable between tokenizers; "
    "lower is better.",
    "perplexity": "exp of the mean loss per token: between how many tokens the model hesitates. "
    "Not comparable between tokenizers.",
    "validation_loss": "Mean negative log likelihood per target in nats, on text that is not trained on.",
    "rouge_l": "F1 of the longest common subsequence of words between answer and reference (Lin 2004); in Chinese of "
    "characters, and of several references the best.",
    "bleu": "sacreBLEU's BLEU of all answers together, 0 to 1: runs of one to four words (in Chinese characters) that "
    "a reference has too, less where answers are too short. Of few or very short answers it is close to 0.",
    "chrf": "sacreBLEU's chrF2 of all answers together, 0 to 1: runs of one to six characters that answers and "
    "references share, recall counting twice.",
    "length_ratio": "Words (in Chinese characters) of all answers divided by those of their nearest references.",
    "word_for_word": "Share of answers that equal the reference word for word.",
    "any_keyword": "Share of answers that hold at least one keyword of the example; /one between slashes/ is a regular "
    "expression.",
    "all_keywords": "Share of answers that hold every keyword of the example.",
    "call_name": "Of the replies that call tools: share of answers that call those of the same names, in their order.",
    "call_arguments": "Of the replies that call tools: share of answers whose calls have the same names and, as JSON, "
    "the same arguments; the order of keys does not count.",
    "unfinished": "Share of answers that went on to max_tokens without the token that ends a reply (finetune: of some "
    "questions of the validation split, past the longest wanted reply). What the model's window cut is left out. Above "
    "0.2 it is warned of: train longer, see that replies keep their end within max_length, or raise max_tokens.",
    "nats_per_token": "Mean negative log likelihood per token. Not comparable between tokenizers; bits_per_byte is.",
    "baseline_margin": "The figure minus that of its hardest baseline (lower-is-better figures: the other way round).",
    "baseline_beaten": "True only if the 95 % interval of the margin over the hardest baseline lies above 0.",
    "flip_rate": "evaluate swaps=: share of the swaps between two groups (a name, a gender, a region) that change the "
    "label; read it next to same_group_flip_rate, the same between two fillings of one group.",
    "score_gap": "evaluate swaps=: how far the mean scores (the probability of a label, or the number) of the two "
    "groups that are furthest apart are from each other; the interval draws the templates again.",
    "doctor": "What the doctor found in labelled data, the worst first: name, level, rows to look at, what to do.",
    "train_rows": "Rows of the training split by where they come from: as read, copies, each augmentation. What came "
    "out as it went in, or as a row of validation or test, is counted as nothing new and not written.",
    "class_weights": "How much an error on each label weighs in the loss of task classify (dataset.balance=weights).",
    "gradient_norm": "Length of the gradient before clipping. A jump of a factor of ten is a warning; nan is refused.",
    "balance": "Balance loss of a mixture of experts, mean over blocks: experts times the sum over them of the share "
    "of tokens that chose one times its mean probability. The experts of a token when all are even, more else.",
    "before": "Of a model that learns on (base=), or is tuned with watch: before the first step, loss and bits per "
    "byte of the text that it learns (domain) and of the texts that are watched, by the names of their folders; of "
    "earlier data sets the scores on their validation split, by the head that they were saved with.",
    "after": "The same as `before`, with the weights that are saved; both on the same validation rows, in float32.",
    "forgotten": "What was lost of each thing that `watch` names, in the unit of its first figure: the fall of a "
    "score, or the rise of bits per byte (of masked tokens: nats). Below 0 it has become better.",
    "knows": "The score of each data set that the model has learnt, its own first, on their validation splits; a "
    "summary of models that were made one from the other makes the accuracy matrix of them.",
    "average_accuracy": "Of tasks that were learnt one after the other: the mean of their scores after the last one "
    "(Lopez-Paz & Ranzato 2017). Each on its validation split, by its own saved head.",
    "backward_transfer": "Of tasks that were learnt one after the other: the mean over the earlier ones of the score "
    "after the last task, less that right after their own. -0.05: five points were forgotten.",
    "average_weight": "remember=average: the weight of what was learnt; 0 is the start, 1 what training gave.",
    "average_curve": "remember=average: the scores on the validation splits at each weight tried; `mean` chose.",
    "penalty": "remember=ewc and l2: what the run pays for leaving its start, added to the loss of each step.",
    "router_z": "Mean over tokens and blocks of the square of the log of the sum of exp of a router's logits.",
    "busiest_expert": "Tokens of the busiest expert over an even share, in the block where that is most. 1 is even; "
    "with two of eight experts a token, 4 is the worst. Much more than 2 at the end: raise model.balance.",
    "validation_expert_loads": "Tokens of the validation split that each expert got, block by block.",
    "validation_busiest_expert": "busiest_expert of each block, on the validation split.",
    "validation_bits_per_byte": "Bits per byte of held-out text: validation_loss in a unit that does not depend on the "
    "tokenizer. Two to three after a million bytes, one to one and a half for good models of plain prose.",
    "validation_loss_by_source": "validation_loss of each source (store, or `source` of its documents), the eight "
    "largest: one that stays behind is too small in the mixture, or is not text.",
    "validation_bits_per_byte_by_source": "validation_bits_per_byte of each source.",
    "tokens_per_second": "Tokens that steps read in a second, waiting for rows counted, validation and saving not.",
    "seconds_of": "What the time since the stage began was spent on, in seconds: start (before step 1; measuring and "
    "forecast are parts of it), steps, validation, checkpoints.",
    "share_of_machine": "tokens_per_second times the arithmetic of a token, over this machine's best matrix product in "
    "the same precision. A half and more is good on a CPU; much less: rows too few, too short, or a busy machine.",
    "data_wait": "Share of the time of steps that went by waiting for rows. From 0.05 on the data are too slow: a slow "
    "disk, or rows that are made again each time.",
    "memory_bytes": "Memory of the process that lies in RAM now (resident).",
    "peak_memory_bytes": "The most memory that the process had in RAM so far.",
    "gpu_memory_bytes": "The most memory that torch held on the GPU so far.",
    "energy_joules": "Energy since the run was started or went on: whole processor packages (Linux lets root read "
    "them) and the GPU; absent where nothing can be read. 3.6 million joules are a kilowatt-hour.",
    "under-fit": "Said by `pretune show RUN --compare`: the loss still fell by more than a sixth in the second "
    "half, or ended above the references, or near guessing. Train longer, or with a larger model.",
    "over-fit": "Said by `pretune show RUN --compare`: after several epochs held-out text is more than a quarter "
    "harder than text that was read. Fewer epochs, more text, or a smaller model. Of a fine-tuning also on its page: "
    "the loss of its examples still fell while that of the validation split rose by more than a tenth.",
    "over_fit_from": "The step from which the losses of training and validation examples went apart; the weights that "
    "are kept are those with the best score, perhaps earlier.",
    "refuse": "Stage support: the confidence below which a question is passed on to a person. refuse_from says whether "
    "it was chosen on dev, set, or is the usual one.",
    "dev_false_refusals": "Stage support: share of the questions of dev that have an answer and are refused.",
    "dev_refused": "Stage support: share of the questions of dev without an answer that are refused.",
    "folds": "Scores of training examples by models that have learnt from the others alone: mean, standard deviation, "
    "and each fold's.",
    "self_training": "Of each round, how many texts without labels were taken in by label, and a few of them.",
    "remedy": "The setting that is nearest to keep a fine-tuning from learning its examples by heart; see the guide.",
    "rate-too-high": "Said by `pretune show RUN --compare`: steps were refused, the loss jumped, or it soon stopped "
    "falling with a rate of five times the optimizer's usual and more. Lower the rate tenfold.",
    "leak": "Said by `pretune show RUN --compare`: after several epochs held-out text is known better than any honest "
    "run knows it, so it stood in the training text. Let the corpus leave it out (max_overlap, dedup).",
    "duplicates": "Said by `pretune show RUN --compare`: text that was read about once is known by heart, so it holds "
    "many copies of itself (or has few patterns, as logs and tables have). dedup=minhash leaves copies out.",
    "tokenizer-trouble": "Said by `pretune show RUN --compare`: tokens are less than 0.6 times as long as usual "
    "in this language, or many are unknown: the vocabulary is too small, or was learnt from other text.",
}


def explain(name: str) -> str:
    """The answer as text; raises UnknownSetting with the nearest name."""
    errors = all_errors()
    if name in errors:
        return f"{name} (error, exit code {errors[name].exit_code})\n\n{inspect.cleandoc(errors[name].__doc__ or '')}"
    if name in METRICS:
        return f"{name} (metric)\n\n{METRICS[name]}"
    first, *rest = name.split(".")
    if first in STAGE.kinds():
        return _setting(STAGE.find(first), rest, name)
    found = [place for kind in STAGE.kinds() for place in _places(STAGE.find(kind), kind, name)]
    if found:
        return "\n\n".join(explain(full) for full in found)
    raise UnknownSetting(f"nothing is called {name!r}", hint=did_you_mean(name, [*errors, *METRICS, *STAGE.kinds()]))


def _places(cls: type[Config], place: str, name: str) -> list[str]:
    """Where settings called `name` stand, at any depth; `optim.learning_rate` matches by its end."""
    first, _, rest = name.partition(".")
    found = [f"{place}.{name}"] if first in cls.model_fields and (not rest or facts(cls, first).choice) else []
    for field in [] if rest else cls.model_fields:
        choice = facts(cls, field).choice
        for kind in choice.kinds() if choice else []:
            if choice and name != "kind" and name in choice.find(kind).model_fields:
                found.append(f"{place}.{field}.{kind}.{name}")
    return found


def _setting(cls: type[Config], path: list[str], name: str) -> str:
    if not path:
        return _block(cls, name)
    head, *rest = path
    if head not in cls.model_fields:
        raise UnknownSetting(f"there is no setting {name!r}", hint=did_you_mean(head, cls.model_fields))
    known, field = facts(cls, head), cls.model_fields[head]
    if known.choice is not None:
        return _choice(known.choice, rest, name, field.description)
    if isinstance(field.annotation, type) and issubclass(field.annotation, Config):
        return _setting(field.annotation, rest, name)
    default = next(d for n, d, _ in describe(cls) if n == head)
    return f"{name} (setting, default {_shown(default)}{_marks(known)})\n\n{field.description or ''}"


def _choice(choice: Choice[Variant], rest: list[str], name: str, text: str | None) -> str:
    kinds = choice.kinds()
    if not rest or rest == ["kind"]:
        told = "\n".join(f"  {kind}: {_first_line(choice.find(kind))}" for kind in kinds)
        return f"{name} (one of several kinds)\n\n{text or ''}\n\n{told}"
    if rest[0] in kinds:
        return _setting(choice.find(rest[0]), rest[1:], name)
    alike: dict[str, list[str]] = {}
    for kind in kinds:
        if rest[0] in choice.find(kind).model_fields:
            alike.setdefault(_setting(choice.find(kind), rest, name), []).append(kind)
    if not alike:
        raise UnknownSetting(f"there is no setting {name!r}", hint=did_you_mean(rest[0], kinds))
    if len(alike) == 1:
        return next(iter(alike))
    return "\n\n".join(_setting(choice.find(of[0]), rest, f"{name} of {', '.join(of)}") for of in alike.values())


def _block(cls: type[Config], name: str) -> str:
    rows = "\n".join(f"  {n} = {_shown(default)}\n      {text}" for n, default, text in describe(cls))
    return f"{name}: {inspect.cleandoc(cls.__doc__ or '')}\n\n{rows}"


def _first_line(cls: type[Config]) -> str:
    return inspect.cleandoc(cls.__doc__ or "").splitlines()[0]


def _shown(value: object) -> str:
    if isinstance(value, Config):
        return str(getattr(value, "kind", "") or value)
    return str(value)


def _marks(known: FieldFacts) -> str:
    return ", decides only where or how fast" if known.free else ""
