"""What a recommender knows, on disk and in memory.

    items.parquet           id, title, text, row (the other columns as JSON)
    events.parquet          user, item (their numbers), time; in the order in which they happened
    users.parquet           id
    behaviour.npy           [M] numbers of the items that behaviour says something of
    neighbours.npy          [M, M] float32   row: what was seen, column: what it speaks for
    ease.npy                [M, M] float32
    vectors.npy             [N, D] float32   where items have texts
    recommend.json          weights, half-life, rules

*E events, U users, N items, M items that have events, D width of a vector.*
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pretune.apps.recommend.mixing import Mixture
from pretune.apps.recommend.split import Seen
from pretune.apps.recommend.systems import Linear, Popularity, Scores, System, Vectors, row_of
from pretune.apps.recommend.tables import Events, Items
from pretune.base.errors import BadFile
from pretune.base.json import Json

FORMAT = 1
LINEAR = ("neighbours", "ease")


@dataclass(frozen=True)
class Facts:
    """What was chosen.

    Args:
        out_N: items that a rule leaves out.
        rank_weight: 0: no ranking model is asked.
    """

    weights: dict[str, float]
    half_life: float
    out_N: NDArray[np.bool_]
    diversity: float = 0.0
    repeat: bool = False
    rank_weight: float = 0.0
    rank_candidates: int = 0


@dataclass(frozen=True)
class Shop:
    """All of it, opened."""

    items: Items
    events: Events
    systems: dict[str, System]
    facts: Facts

    @property
    def mixture(self) -> Mixture:
        return Mixture(self.systems, self.facts.weights, self.facts.half_life)

    @property
    def unit_ND(self) -> Scores | None:
        """By which items are alike in text."""
        text = self.systems.get("text")
        return text.unit_ND if isinstance(text, Vectors) else None

    def write(self, out: Path) -> None:
        """Into a folder; the same shop gives the same bytes."""
        rows = [json.dumps(row, ensure_ascii=False, default=str) for row in self.items.rows]
        table = {"id": self.items.ids, "title": self.items.titles, "text": self.items.texts, "row": rows}
        pq.write_table(pa.table(table), out / "items.parquet")
        pq.write_table(pa.table({"id": pa.array(self.events.users, pa.string())}), out / "users.parquet")
        events: Json = {"user": self.events.user_E, "item": self.events.item_E}
        events |= {} if self.events.time_E is None else {"time": self.events.time_E}
        pq.write_table(pa.table(events), out / "events.parquet")
        for name, system in self.systems.items():
            if isinstance(system, Linear):
                np.save(out / f"{name}.npy", system.weight_MM, allow_pickle=False)
                np.save(out / "behaviour.npy", system.item_M, allow_pickle=False)
            elif isinstance(system, Vectors):
                np.save(out / "vectors.npy", system.unit_ND, allow_pickle=False)
        about = {"format": FORMAT, "weights": self.facts.weights, "half_life": self.facts.half_life}
        about |= {"out": np.flatnonzero(self.facts.out_N).tolist(), "diversity": self.facts.diversity}
        about |= {"repeat": self.facts.repeat, "rank_weight": self.facts.rank_weight}
        about |= {"rank_candidates": self.facts.rank_candidates}
        text = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
        (out / "recommend.json").write_text(text, encoding="utf-8", newline="\n")

    @classmethod
    def open(cls, folder: Path) -> Shop:
        """From its folder; matrices are read as they are needed. Raises BadFile."""
        about: Json = json.loads((folder / "recommend.json").read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise BadFile(f"{folder.as_posix()} has format {about['format']}, not {FORMAT}", hint="make it again")
        items = _items(folder)
        events = _events(folder)
        out_N = np.zeros(len(items.ids), dtype=np.bool_)
        out_N[about["out"]] = True
        told = ("weights", "half_life", "diversity", "repeat", "rank_weight", "rank_candidates")
        facts = Facts(out_N=out_N, **{name: about[name] for name in told})
        return cls(items, events, _systems(folder, Seen.of(events), len(items.ids)), facts)


def _items(folder: Path) -> Items:
    table = pq.read_table(folder / "items.parquet").to_pydict()
    return Items(table["id"], table["title"], table["text"], [json.loads(row) for row in table["row"]])


def _events(folder: Path) -> Events:
    table = pq.read_table(folder / "events.parquet")
    users = pq.read_table(folder / "users.parquet")["id"].to_pylist()
    times = table["time"].to_numpy() if "time" in table.column_names else None
    return Events(users, table["user"].to_numpy(), table["item"].to_numpy(), times)


def _systems(folder: Path, seen: Seen, num_items: int) -> dict[str, System]:
    item_M = np.load(folder / "behaviour.npy")
    row_N = row_of(item_M, num_items)
    found: dict[str, System] = {"popularity": Popularity(np.bincount(seen.item_E, minlength=num_items))}
    for name in LINEAR:
        found[name] = Linear(np.load(folder / f"{name}.npy", mmap_mode="r"), item_M, row_N)
    if (folder / "vectors.npy").is_file():
        found["text"] = Vectors(np.load(folder / "vectors.npy"))
    return found
