"""Errors a user can act on. Everything else is a bug and stays an assertion.

Each class has a `code`, printed in brackets behind the problem; its docstring is what
`pretune explain CODE` answers. All of them stand here, so that the list can be read at once:

    step 812: the gradient norm is nan (rows 103-110)  [not-finite]
      hint: lower optim.learning_rate, or set precision=float32
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import ClassVar


class PretuneError(Exception):
    """Something the user can mend went wrong.

    Args:
        problem: one sentence without a full stop, naming the value with `!r`.
        hint: the next command or edit.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    usual_hint: ClassVar[str | None] = None
    """The hint where none is given."""

    def __init__(self, problem: str, *, hint: str | None = None):
        hint = hint or self.usual_hint
        self.problem, self.hint = problem, hint
        super().__init__(f"{problem}  [{self.code}]" + (f"\n  hint: {hint}" if hint else ""))

    @property
    def sentence(self) -> str:
        """The problem and the hint on one line, where the code stands elsewhere."""
        return f"{self.problem}; {self.hint}" if self.hint else self.problem

    def __reduce__(self) -> tuple[object, ...]:
        # By default the whole message would be the problem when an error comes back from another process.
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(cls: type[PretuneError], args: tuple[object, ...], state: dict[str, object]) -> PretuneError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class UserError(PretuneError):
    """The command, the recipe or the data asks for something that cannot be."""

    code = "user-error"
    exit_code = 2


# ---- settings ---------------------------------------------------------------------------------


class SettingsError(UserError):
    """One or more settings of a recipe or a command are wrong.

    All of them are told at once, each with its dotted name, its line in the recipe, the value and a
    code of its own in brackets; nothing was run.
    """

    code = "settings"


class SeveralMistakes(SettingsError):
    """Every wrong setting stands on a line of its own, with its own code; nothing was run."""

    code = "settings"

    def __str__(self) -> str:
        return self.problem  # each line carries its own code


class UnknownSetting(SettingsError):
    """There is no setting of this name here.

    A misspelt setting is never ignored: training with a default that you meant to change costs more
    than a message. The nearest existing name is printed; `pretune explain STAGE` lists them all.
    """

    code = "unknown-setting"


class MissingSetting(SettingsError):
    """A setting without a default was not given."""

    code = "missing-setting"


class WrongType(SettingsError):
    """The value of a setting has another type than the setting: a word where a number is needed, say."""

    code = "wrong-type"


class WrongValue(SettingsError):
    """The value of a setting has the right type but lies outside what makes sense; the message names the bounds."""

    code = "wrong-value"


class UnknownKind(SettingsError):
    """A choice (a method, task, optimizer, filter ...) names a kind that does not exist; the kinds are listed."""

    code = "unknown-kind"


class BadYaml(SettingsError):
    """The recipe is not YAML; the line is named.

    A value that starts with `*` must stand in quotes ("*.txt"): a bare `*` is an alias in YAML.
    """

    code = "bad-yaml"


class BadReference(SettingsError):
    """`$name` in a recipe names no stage, a stage of another kind, or a circle of stages."""

    code = "bad-reference"


class OtherStudy(UserError):
    """A folder of `pretune tune` holds trials of another recipe, other data, other ranges or another metric.

    Their scores say nothing about this search. Choose another `--out`, or go on with recipe, ranges and `--by` as they
    were.
    """

    code = "other-study"


class OtherAnswers(UserError):
    """The file for the answers of `pretune predict` was begun, or made, with another input, model or setting.

    Rows of both would stand in one file. Choose another `--output`, or delete what is there.
    """

    code = "other-answers"


class BadCommand(UserError):
    """The command line could not be understood."""

    code = "bad-command"


# ---- data -------------------------------------------------------------------------------------


class NoSuchFile(UserError):
    """A file or folder that was named does not exist, or a pattern matches nothing."""

    code = "no-such-file"


class EmptyInput(UserError):
    """What was given holds no text, no rows, or nothing that is left after cleaning."""

    code = "empty-input"
    usual_hint = "look at what the path names, and at what is in it"


class HubError(UserError):
    """A data set of a hub could not be had: no such name, no permission, or no answer.

    What lies in the hub's cache on this machine is used without a network. A folder with the same files does as
    well as the hub.
    """

    code = "hub"


class Unreachable(UserError):
    """A server or a cluster that was named does not answer.

    Nothing is started in its place: check that it runs, and that this machine may speak to it.
    """

    code = "unreachable"


class NotText(UserError):
    """A file that should be text is binary, or in no encoding that could be recognised.

    UTF-8, UTF-16, UTF-32 and GB18030 are recognised. Convert other encodings to UTF-8 first.
    """

    code = "not-text"


class BadFile(UserError):
    """A file is not what its name says: a broken JSON line, a csv with ragged rows, a damaged archive."""

    code = "bad-file"
    usual_hint = "mend the file at that place, write it again with the program that made it, or leave it out"


class NoSuchColumn(UserError):
    """A table has no column of this name, or none that could be taken for the text or the label.

    Name it: `text=COLUMN label=COLUMN` (in a recipe, settings of the dataset stage).
    """

    code = "no-such-column"


class OneClass(UserError):
    """All examples carry the same label, so there is nothing to tell apart."""

    code = "one-class"


class NoTarget(UserError):
    """A row has no position that the loss could score, so the model cannot learn from it.

    Usually the reply of a dialogue did not fit into `max_length`.
    """

    code = "no-target"


# ---- artifacts --------------------------------------------------------------------------------


class NotAnArtifact(UserError):
    """The folder carries no card (`artifact.json`) and its content is of no known kind."""

    code = "not-an-artifact"


class WrongKind(UserError):
    """An artifact is of another kind than the one needed here: a corpus where a model is needed, say."""

    code = "wrong-kind"
    usual_hint = "`pretune show PATH` says what a folder is, and what made it"


class Changed(PretuneError):
    """A file of a finished artifact is missing or has other bytes than when it was made.

    A damaged file is named and never loaded. Build the artifact again, or restore the file.
    """

    code = "changed"


class Locked(PretuneError):
    """Another process is working on the same output folder, or holds the state of an application.

    Wait for it, or choose another `--out` (`--state`).
    """

    code = "locked"


class DiskFull(PretuneError):
    """The disk is full, or a write failed. Nothing finished was touched; free space, then run the same command."""

    code = "disk-full"


class Damaged(PretuneError):
    """A checkpoint does not verify and no older one does; or the state of an application is no database any more."""

    code = "damaged"


class NotSaved(PretuneError):
    """A checkpoint could not be written, and not because the disk is full (an I/O error, a folder that is read-only).

    The last good checkpoint is whole; the same command continues from it.
    """

    code = "not-saved"


class OtherRun(UserError):
    """A checkpoint is of a run with other settings or other inputs: data, tokenizer, model.

    Each that differs is named with both values. Weights of one run are never continued with the data of another.
    """

    code = "other-run"


class OtherVersion(UserError):
    """A checkpoint was written by a version of pretune whose checkpoints look otherwise."""

    code = "other-version"


class NotWritable(UserError):
    """A folder cannot be written: it is read-only, or another user's."""

    code = "not-writable"


# ---- running ----------------------------------------------------------------------------------


class NotFinite(PretuneError):
    """The loss or the gradient was not a finite number in three steps on end.

    A step that is not finite never reaches the weights. Three in a row end the run; the last good
    checkpoint is kept. Lower `optim.learning_rate`, or set `precision=float32`.
    """

    code = "not-finite"


class DoesNotFit(PretuneError):
    """The work needs more memory or disk than this machine has free; told before it is begun."""

    code = "does-not-fit"
    exit_code = 3


class LeaderGone(PretuneError):
    """Of several processes that train together, this one lost rank 0, which leads. Rank 0 says why it ended.

    The same command continues from the last checkpoint.
    """

    code = "leader-gone"
    exit_code = 1


class OutOfMemory(PretuneError):
    """Memory ran out in the middle of the work, although a step was cut into ever smaller micro-batches.

    The last checkpoint is kept. Shorter rows, `checkpointing=full`, `optim.moments=8bit` or a smaller model need less.
    """

    code = "out-of-memory"
    exit_code = 3


class MissingExtra(UserError):
    """A package is needed that is not installed; the extra of pretune that brings it is named."""

    code = "missing-extra"


class PortInUse(UserError):
    """Another program listens on this port. Choose another with `--port`."""

    code = "port-in-use"


class OutsideFolder(UserError):
    """The studio shows and takes files of its folder only, and none whose name begins with a dot.

    Links that lead out of the folder are outside too. Data and models that lie elsewhere: start it with
    `pretune studio DIR --also PATH`, which lets its recipes read that path.
    """

    code = "outside-folder"
    usual_hint = "`pretune studio DIR --also PATH` lets recipes read what lies elsewhere"


class NoKey(UserError):
    """A server that is reachable from other machines needs an API key.

    Set PRETUNE_API_KEY or give `--api-key-file`; or bind to 127.0.0.1.
    """

    code = "no-key"


class NotDelivered(PretuneError):
    """An alert of a watch did not reach its channel: a webhook that is down or refuses it, a mail server that is away.

    It is kept with its reason in the state of the watch, tried again after 10 s, 20 s and so on up to an hour, for two
    days. As long as it waits, the page of the watch and /metrics (`pretune_monitor_undelivered`) show it.
    """

    code = "not-delivered"


class NoParity(PretuneError):
    """An exported model gave other answers than the model folder, so this format was not written."""

    code = "no-parity"


class TooMuchLost(UserError):
    """No compressed model stays within the loss of quality that `max_drop` allows, so none was written.

    The one that came nearest is named with its figures.
    """

    code = "too-much-lost"


class TooLong(UserError):
    """A prompt leaves the model no room to answer: it has as many tokens as the model can read, or more."""

    code = "too-long"


class BadMessages(UserError):
    """The model's chat template cannot write these messages: an unknown role, two turns of one side, say."""

    code = "bad-messages"


class BadGrammar(UserError):
    """An answer cannot be kept to what was asked for: a JSON schema, a regular expression, or choices.

    It is none; nothing can fulfil it (a number above 5 and below 3); it has parts that cannot be kept to token by token
    (`uniqueItems`, `not`, look-around), which are refused and never passed over; or it is too large, deep or complex.
    """

    code = "bad-grammar"


class NotSupported(UserError):
    """This combination of model and action is not supported; the message says which are."""

    code = "not-supported"


class Stopped(PretuneError):
    """The run was stopped (Ctrl-C or SIGTERM). What was done is saved; the same command continues."""

    code = "stopped"
    exit_code = 130


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest of `known`, or lists them when none is near."""
    names = sorted(known)
    if not names:
        return "there is nothing to set here"
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else "choose one of: " + ", ".join(names)


def all_errors() -> dict[str, type[PretuneError]]:
    """Every error of pretune by its code."""
    classes = [c for c in globals().values() if inspect.isclass(c) and issubclass(c, PretuneError)]
    return {c.code: c for c in classes}
