"""What artifacts were made from, back to the raw files, for pages and for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from pretune.base.artifact import Artifact
from pretune.base.json import Json

Input = tuple[str, Mapping[str, str], Artifact | None]
"""Its place, what the card says of it (kind, id, path), and itself if it is still to be found."""


Find = Callable[[Artifact, str], Artifact | None]
"""The input of an artifact at a place."""


def lineage(roots: Mapping[str, Artifact], find: Find = Artifact.source) -> list[Json]:
    """The roots, each followed by what went into it: depth, place, kind, id, path, and a note where there is one."""
    facts = {p: {"kind": one.card.kind, "id": one.card.id, "path": one.path.name} for p, one in roots.items()}
    return list(_lines([(place, facts[place], one) for place, one in roots.items()], 0, set(), find))


def _lines(inputs: Iterable[Input], depth: int, seen: set[str], find: Find) -> Iterator[Json]:
    for place, said, one in inputs:
        known = said["id"] in seen
        seen.add(said["id"])
        note = "(not to be found)" if one is None else "(as above)" if known else ""
        yield {**said, "depth": depth, "place": place, "note": note}
        if one is not None and not known:
            below = one.card.inputs.items()
            yield from _lines([(place, said, find(one, place)) for place, said in below], depth + 1, seen, find)
