"""Whether what frozen blocks give is kept for a fine-tuning, and the one pass over its rows that computes it.

(What is kept, and how it is fed: model/kept.py.)
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pretune.base.errors import Stopped
from pretune.base.sample import evenly
from pretune.model.families import family_of, plain_model
from pretune.model.kept import Keeper, States
from pretune.model.methods.method import Method
from pretune.model.methods.own import frozen_blocks
from pretune.report.numbers import size
from pretune.tokens.rows import Row
from pretune.train.loop.session import Session
from pretune.train.watch.validate import loss_over

FOLDER = "kept"
"""In the scratch folder of the run."""
SHARE_OF_DISK = 0.5
"""Of the disk that is free, what may be kept."""
FEW = 8
"""Rows of which it is seen whether they are read alike each time."""
ROWS_AT_ONCE = 256
"""Between two looks at whether the user asked to stop."""


@contextmanager
def keeping(session: Session, method: Method, rows: Sequence[Row], dev_rows: Sequence[Row]) -> Iterator[None]:
    """Inside, the model of the run begins above its frozen blocks for all of these rows, if the method keeps.

    Whether it does is settled once and kept with the run: what is computed in other company differs in the last bits.
    """
    depth = frozen_blocks(session.state.model) if method.keeps() else 0
    if not depth:
        yield
        return
    keeper = Keeper(session.state.model, depth)
    try:
        if why_not := session.context.choose("kept", lambda: _why_not(keeper, session, rows, dev_rows)):
            session.context.log.info(f"    outputs of the frozen blocks are not kept: {why_not}")
            yield
            return
        _keep(keeper, session, rows, "train")
        if dev_rows:
            with session.state.update.exact_weights():  # as the validation computes
                _keep(keeper, session, dev_rows, "validation")
        yield
    finally:
        keeper.close()


def _why_not(keeper: Keeper, session: Session, rows: Sequence[Row], dev_rows: Sequence[Row]) -> str:
    """Why outputs are computed each time; "": they need not be."""
    core, spec = plain_model(session.state.model), session.spec
    if not family_of(core).keeps:
        return f"a {core.config.model_type} model cannot begin in the middle"
    if session.state.total * spec.batch <= len(rows):
        return "no row is read twice"
    by_length = sorted(rows, key=lambda row: len(row["ids"]))
    if not _are_fixed(keeper, session, evenly(by_length, FEW)):
        return "what the model reads of a row is not the same each time"
    needed, free = kept_bytes([*rows, *dev_rows], spec.width), shutil.disk_usage(session.context.scratch).free
    if needed > SHARE_OF_DISK * free:
        return f"they take {size(needed)} of disk, and {size(free)} are free"
    return ""


def kept_bytes(rows: Sequence[Row], width: int) -> float:
    """Bytes on disk of what is kept of rows, in float32."""
    return 4.0 * width * sum(len(row["ids"]) for row in rows)


def _are_fixed(keeper: Keeper, session: Session, rows: Sequence[Row]) -> bool:
    """Whether the model reads the same of each row in whatever company: nothing drawn, no padding that it sees."""
    spec = session.spec

    def heard(some: Sequence[Row]) -> set[str]:
        with keeper.listening() as keys:
            loss_over(session.state.model, spec.objective, some, spec.vocabulary, session.runtime, batch=FEW)
        return keys

    alone = set().union(*(heard([row]) for row in rows))
    return bool(alone) and heard(rows) == alone == heard(rows[::-1])


def _keep(keeper: Keeper, session: Session, rows: Sequence[Row], name: str) -> None:
    """The outputs for these rows: of an earlier start of the run, or computed now, rows of like length together."""
    folder, context = session.context.scratch / FOLDER, session.context
    folder.mkdir(exist_ok=True)
    store, mark = States(folder / f"{name}.bin", keeper.dtype, session.spec.width), keeper.mark()
    if session.leads and not store.found(mark, context.log):
        store.path.write_bytes(b"")
        with context.log.timing("kept outputs"), keeper.recording(store):
            _record(session, sorted(rows, key=lambda row: len(row["ids"])))
        store.seal(mark)
        context.log.info(
            f"    {name}: outputs of {keeper.depth} frozen blocks are kept, {size(store.path.stat().st_size)}"
        )
    session.runtime.any(False)  # the others wait for whoever writes
    if not session.leads:
        store.found(mark, context.log)
    keeper.stores.append(store)


def _record(session: Session, rows: Sequence[Row]) -> None:
    spec = session.spec
    with session.context.log.progress("    frozen blocks", total=len(rows), unit="rows") as bar:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            loss_over(session.state.model, spec.objective, some, spec.vocabulary, session.runtime, batch=session.micro)
            bar.advance(len(some))
            if session.context.stop:
                raise Stopped("stopped before the first step", hint="the same command begins again")
