"""An application, opened from its artifact of kind `app`.

    desk/artifact.json         the card: settings; the models by place, path and id
    desk/*.parquet *.npy ...   what the stage wrote: the index, thresholds
    desk/state/                what its users do, in SQLite (state.py): outside the id, changed by serving alone

`serve APP`, `predict APP`, `show APP` and `check APP` know nothing else of an application than what is here. Another
one is a stage that makes an `app` (STAGE's table), a class, and its line in APP.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pretune.base.artifact import Artifact
from pretune.base.errors import NoSuchFile, NotSupported, WrongKind
from pretune.base.extras import need
from pretune.base.json import Json
from pretune.infer.answers import Answer
from pretune.infer.load import open_model
from pretune.infer.predictor import Advance, Predictor, unheard

if TYPE_CHECKING:
    from starlette.routing import Route

    from pretune.serve.metrics import Gauge
    from pretune.serve.requests import Limits

APP = {
    "support": "pretune.apps.support.desk:Desk",
    "monitor": "pretune.apps.monitor.app:Monitor",
    "recommend": "pretune.apps.recommend.app:Recommend",
}
"""The stage that made an artifact of kind `app` -> the class that opens it."""
Opened = TypeVar("Opened", bound="App")


@dataclass(frozen=True)
class Started:
    """What whoever starts a server says of it.

    Args:
        write: takes lines for who started it.
        webhook: an address that is told what people must hear; a secret, so it is on no card.
        sources: where texts come from, for an application that follows some (`--source`).
    """

    write: Callable[[str], object]
    webhook: str | None = None
    sources: Sequence[str] = ()


class App(ABC):
    """An application with its models in memory."""

    follows: ClassVar[bool] = False
    """Whether it reads `Started.sources`."""

    @classmethod
    @abstractmethod
    def open(cls: type[Opened], artifact: Artifact, state: Path) -> Opened:
        """From a verified artifact. Writes nothing: the state is made when it is served (`running`)."""

    @classmethod
    @abstractmethod
    def told(cls, artifact: Artifact, state: Path) -> Json:
        """What is in its state, for `show`; `problems`, a list of texts, is what `check` fails for. Opens no model."""

    @property
    @abstractmethod
    def gives(self) -> type[Answer]:
        """What its answers are."""

    @abstractmethod
    def answer(
        self, inputs: Sequence[Any], *, max_tokens: int = 256, strict: bool = True, advance: Advance = unheard
    ) -> list[Answer]:
        """An answer to each input, as a predictor's; nothing is remembered of it."""

    @abstractmethod
    def routes(self, limits: Limits) -> list[Route]:
        """Its pages (`/` at least) and what they ask. Keys, limits of time, counts and the log are put around them."""

    @abstractmethod
    def gauges(self) -> list[Gauge]:
        """What is measured now, for /metrics; asked in a thread."""

    @abstractmethod
    def running(self, started: Started) -> AbstractContextManager[None]:
        """What it does while it is served, in threads of its own; its state is made, or brought up to date, first."""


def open_app(path: str | Path, state: Path | None = None) -> App:
    """The application in a folder.

    Args:
        state: where its state lies, if not in the folder.

    Raises:
        WrongKind, NoSuchFile, NotAnArtifact, Changed; what opening its models raises.
    """
    artifact = Artifact.open(path, "app").verify()
    return app_class(artifact).open(artifact, state_of(artifact, state))


def app_class(artifact: Artifact) -> type[App]:
    """The class of an application. Raises MissingExtra; WrongKind: of a stage that is not known here."""
    stage = artifact.card.stage
    if stage not in APP:
        raise WrongKind(f"{artifact.path.as_posix()} was made by {stage!r}, which is no application here")
    need(["serve"])
    module, _, name = APP[stage].partition(":")
    found: type[App] = getattr(import_module(module), name)
    return found


def state_of(artifact: Artifact, given: Path | None = None) -> Path:
    """The folder of what its users do."""
    return given or artifact.path / "state"


def model_of(artifact: Artifact, place: str, *kinds: type[Answer]) -> Predictor | None:
    """The model that was given as an input, opened; None: none was.

    Args:
        kinds: what it must give, one of them.

    Raises:
        NoSuchFile: it is not to be found, by path or by id next to the application; NotSupported: it gives others.
    """
    if place not in artifact.card.inputs:
        return None
    said, found = artifact.card.inputs[place], artifact.source(place)
    if found is None:
        problem = f"{place}={said['path']} (id {said['id'][:8]}) of {artifact.path.as_posix()} is not there, or changed"
        raise NoSuchFile(problem, hint=f"put it next to {artifact.path.name}, or make the application again")
    return giving(open_model(found.path), place, *kinds)


def giving(model: Predictor, place: str, *kinds: type[Answer]) -> Predictor:
    """The model, if it gives what is needed. Raises NotSupported."""
    if model.gives not in kinds:
        wanted = " or ".join(kind.plural for kind in kinds)
        raise NotSupported(f"{place} must give {wanted}; this model gives {model.gives.plural}")
    return model
