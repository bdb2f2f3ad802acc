"""Python is the same tree as YAML and the command line: keywords are settings.

base = pretune.pretrain("books/", out="runs/base", minutes=5)
clf = pretune.fine_tune(base, "reviews.csv", task="classify", method="lora", out="runs/clf")
clf.predict(["A lovely film"])                       # [Label("positive", 0.97)]
pretune.load("runs/clf").evaluate("test.csv")
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pretune.base.artifact import Artifact
from pretune.base.digest import digest
from pretune.base.errors import NotSupported
from pretune.base.json import Json
from pretune.base.log import Log
from pretune.base.oneline import stage_recipe
from pretune.base.planning import StagePlan
from pretune.base.recipe import Recipe

if TYPE_CHECKING:
    from pretune.apps.app import App
    from pretune.infer.answers import Answer
    from pretune.infer.bulk import Journal
    from pretune.infer.explain import Explanation
    from pretune.infer.grammar import Grammar
    from pretune.infer.predictor import Predictor

Asked: TypeAlias = "str | tuple[str, str] | Mapping[str, Any]"
"""A text, two that are compared, or texts by their roles."""
Given: TypeAlias = "str | Path | Loaded"
"""A path, or what `load`, `pretrain` and `fine_tune` return."""


@dataclass(frozen=True)
class Loaded:
    """An artifact by its folder, and what can be done with it.

    Args:
        form: what every answer must be, of a model that writes.
    """

    artifact: Artifact
    form: Grammar | None = None

    @property
    def path(self) -> Path:
        return self.artifact.path

    @property
    def metrics(self) -> Json:
        """The figures on the card."""
        return self.artifact.card.metrics

    @cached_property
    def model(self) -> Predictor:
        """The thing that answers; loaded when it is first asked."""
        from pretune.infer.language import kept_to
        from pretune.infer.load import open_model

        if self.is_app:
            raise NotSupported(f"{self.path.as_posix()} is an application", hint="it is asked with predict, and served")
        found = open_model(self.path)
        return found if self.form is None else kept_to(found, self.form)

    @property
    def is_app(self) -> bool:
        return self.artifact.card.kind == "app"

    @property
    def gives(self) -> type[Answer]:
        """What its answers are."""
        return self.app.gives if self.is_app else self.model.gives

    @cached_property
    def app(self) -> App:
        """The application; its models are loaded when it is first asked."""
        from pretune.apps.app import open_app

        return open_app(self.path)

    def keeping_to(
        self, *, schema: Json | None = None, choices: Sequence[str] | None = None, regex: str | None = None
    ) -> Loaded:
        """The same model, whose every answer is JSON of a schema, one of several texts, or matches a pattern.

        Raises:
            BadGrammar: none of them or several, or one that cannot be kept to; NotSupported: a model that does not
            write.
        """
        from pretune.infer.grammar import form_of

        return replace(self, form=form_of(schema=schema, choices=choices, regex=regex))

    def predict(self, inputs: Asked | Sequence[Asked], *, max_tokens: int = 256) -> list[Answer]:
        """Answers to texts: labels, scores, tags, or greedy texts (messages, where the model has a chat template).

        What labels and scores also reads pairs of texts, as tuples (a reward model a question and its reply, or
        messages); a tagger also reads lists of words.

        A model that finds answers is asked with `{"question": ..., "context": ...}`, one that ranks (or gives vectors)
        with `{"query": ..., "candidates": [...]}`.

        Raises:
            TooLong: a prompt fills the model's window; nothing is answered then.
        """
        listed = [inputs] if isinstance(inputs, str | Mapping) else list(inputs)
        return self.app.answer(listed) if self.is_app else self.model.answer(listed, max_tokens=max_tokens)

    def predict_file(
        self,
        source: str | Path | None,
        output: str | Path,
        *,
        first: Sequence[Asked] = (),
        column: str | None = None,
        max_tokens: int = 256,
        explain: bool = False,
        log: Log | None = None,
    ) -> Journal:
        """Write the answers to a file of any length; stopped anywhere, the same call goes on.

        See `pretune.infer.bulk.answer_file` for arguments and errors; the journal says how many rows there are, and
        how many of them have no answer.
        """
        from pretune.infer.bulk import answer_file

        return answer_file(
            self.model,
            self._answers_id,
            None if source is None else Path(source),
            Path(output),
            first=first,
            column=column,
            max_tokens=max_tokens,
            explained=explain,
            log=log or Log(quiet=True),
        )

    @property
    def _answers_id(self) -> str:
        """What answers depend on: the model, and the form that they keep to."""
        model = self.artifact.card.id
        return model if self.form is None else digest([model, self.form.rule])

    def explain(self, inputs: Asked | Sequence[Asked]) -> list[Explanation]:
        """Answers to texts with the words that spoke for and against each (labels, sets of labels, and numbers).

        Raises:
            NotSupported: answers of another kind, or a bundle.
        """
        from pretune.infer.explain import explain

        return explain(self.model, [inputs] if isinstance(inputs, str) else list(inputs))

    def chat(self, *, system: str | None = None, max_tokens: int = 512, temperature: float = 0.7) -> None:
        """Talk in the terminal."""
        from pretune.infer.predictor import Streams
        from pretune.infer.sampling import Sampling
        from pretune.infer.terminal import chat

        if not isinstance(self.model, Streams):
            problem = f"{self.path.as_posix()} gives {self.model.gives.plural}, it does not talk"
            raise NotSupported(problem, hint="use pretune predict")
        chat(self.model, sampling=Sampling(temperature=temperature, max_tokens=max_tokens), system=system)

    def evaluate(self, data: Given | None = None, *, out: str | Path | None = None, **settings: object) -> Loaded:
        """Measure this model on data, or on `pairs=FILE` and `choices=FILE`; the report lies at `out` (default: next to
        the model)."""
        inputs = [self] if data is None else [self, data]
        return _stage("evaluate", inputs, out or f"{self.path}.report", settings)

    def fine_tune(self, data: Given, *, out: str | Path, **settings: object) -> Loaded:
        return fine_tune(self, data, out=out, **settings)

    def export(self, *, out: str | Path, **settings: object) -> Loaded:
        """Write a bundle that needs no torch."""
        return _stage("export", [self], out, settings)

    def serve(self, *, host: str = "127.0.0.1", port: int = 8000, api_key: str | None = None) -> None:
        """Serve this model or application until stopped."""
        if self.is_app:
            from pretune.apps.serving import serve_app

            serve_app(self.path, host=host, port=port, api_key=api_key)
            return
        from pretune.serve.run import serve

        serve([str(self.path)], host=host, port=port, api_key=api_key)


def load(path: str | Path) -> Loaded:
    """Any artifact, or plain model folder, by its folder."""
    return Loaded(Artifact.open(path))


def pretrain(data: Given, *, out: str | Path, **settings: object) -> Loaded:
    """A model from raw text, a corpus, or tokens. `tokenizer={"vocab_size": 8000}` reaches earlier stages."""
    return _stage("pretrain", [data], out, settings)


def fine_tune(model: Given, data: Given, *, out: str | Path, **settings: object) -> Loaded:
    """A model for a task, from a pretrained model and labelled data."""
    return _stage("finetune", [model, data], out, settings)


def predict(model: Given, inputs: Asked | Sequence[Asked], *, max_tokens: int = 256) -> list[Answer]:
    """What `load(model).predict(inputs)` gives."""
    return (model if isinstance(model, Loaded) else load(_path(model))).predict(inputs, max_tokens=max_tokens)


def run(recipe: str | Path, *settings: str, size: str | None = None, quiet: bool = False) -> dict[str, Loaded]:
    """Run a recipe; returns every stage's artifact."""
    from pretune.evaluate.card import write_cards

    made = Recipe.read(recipe, settings, size).run(log=Log(quiet=quiet), command=f"pretune.run({str(recipe)!r})")
    write_cards(made.values())
    return {name: Loaded(artifact) for name, artifact in made.items()}


def plan(recipe: str | Path, *settings: str, size: str | None = None) -> list[StagePlan]:
    """What `run` would do, and why."""
    return Recipe.read(recipe, settings, size).plan()


def _path(given: Given) -> str:
    return str(given.path if isinstance(given, Loaded) else given)


def _stage(kind: str, inputs: Sequence[Given], out: str | Path, settings: Json) -> Loaded:
    from pretune.evaluate.card import write_cards

    quiet = bool(settings.pop("quiet", False))
    words = [f"{name}={value}" for name, value in _flat(settings)]
    recipe, _ = stage_recipe(kind, [*map(_path, inputs), *words], str(out))
    made = recipe.run(log=Log(quiet=quiet), command=f"pretune.{kind}")
    write_cards(made.values())
    return Loaded(list(made.values())[-1])


def _flat(settings: Json, place: str = "") -> list[tuple[str, str]]:
    """Nested keywords as dotted settings with YAML values."""
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{place}{name}.")
        else:
            rows.append((f"{place}{name}", value if isinstance(value, str) else json.dumps(value)))
    return rows
