"""The layout of a bundle: what the formats share, and a sub-folder for each.

bundle.json          task, labels, limits, control tokens; `formats`: what a reader must know of each
parity.json          by format: what was compared with the model folder, thresholds, result
tokenizer.json ...   the tokenizer and its chat template
onnx/model.onnx      a format's own files

A format is proven as part of a whole bundle, by the code that serves. One that is refused leaves nothing behind.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.base.errors import NoParity, NotSupported, PretuneError
from pretune.base.json import Json, JsonMap
from pretune.export.exporter import Exporter, Job, Proof
from pretune.infer.load import FORMAT

if TYPE_CHECKING:
    from pretune.base.log import Log


def write_bundle(exporters: Sequence[Exporter], job: Job, log: Log) -> Json:
    """Write every format that gives what its source gives; `job.out` is the bundle's folder.

    Returns:
        The figures of every format by its folder, and `refused`.

    Raises:
        NoParity, NotSupported: the first refusal, when no format is left.
    """
    shared = _shared(job)
    formats: Json = {}
    proofs: dict[str, Proof] = {}
    refused: dict[str, PretuneError] = {}
    for exporter in exporters:
        name = exporter.folder
        try:
            formats[name], proofs[name] = _tried(exporter, replace(job, out=job.out / name), shared)
            if proofs[name].told:
                log.info(f"    {proofs[name].told}")
        except (NoParity, NotSupported) as error:
            refused[name] = error
            log.warn(f"{name} was not written: {error.problem}")
    if not formats:
        raise next(iter(refused.values()))
    _write(job.out / "bundle.json", {**shared, "formats": formats})
    _write(job.out / "parity.json", {name: proof.parity for name, proof in proofs.items()})
    return {**{name: proof.metrics for name, proof in proofs.items()}, "refused": sorted(refused)}


def check_merges(folder: Path) -> None:
    """Raise NotSupported for an adapter of which no plain model can be made."""
    from pretune.model.methods import adapter

    adapter.check_merges(folder)


def _tried(exporter: Exporter, job: Job, shared: JsonMap) -> tuple[Json, Proof]:
    """One format's facts and its proof, made while the bundle holds no other; after an error its folder is gone."""
    job.out.mkdir()
    try:
        if exporter.takes == "model" and not exporter.keeps_adapters:
            check_merges(job.source)
        facts = exporter.write(job)
        _write(job.out.parent / "bundle.json", {**shared, "formats": {exporter.folder: facts}})
        return facts, exporter.prove(job)
    except BaseException:
        shutil.rmtree(job.out)
        raise


def _shared(job: Job) -> Json:
    """What all formats share in `bundle.json`; of a model, the tokenizer is copied as well."""
    if job.ready is None:
        return {"format": FORMAT}
    from pretune.model.folder import copy_tokenizer
    from pretune.model.generate import module_of
    from pretune.tokens.encode.tokenizer import special_ids

    copy_tokenizer(job.source, job.out)
    pad = module_of(job.ready).config.pad_token_id
    pad = pad if pad is not None else special_ids(job.source).pad
    return {"format": FORMAT, **job.ready.facts.to_json(), "pad_id": pad}


def _write(path: Path, tree: JsonMap) -> None:
    text = json.dumps(tree, indent=2, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")
