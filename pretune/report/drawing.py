"""Where curves and bars stand on a picture; templates draw them, which escape names and follow light and dark."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pretune.base.json import JsonMap

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 480, 220
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 18, 36


def colour(place: int) -> str:
    """The colour of a series by its place: no two alike, neighbours far apart (hues by the golden angle).

    The page sets `--line` (lightness) for light and dark; each eight series it goes up.
    """
    return f"hsl({(212 + 137.508 * place) % 360:.1f} 62% calc(var(--line) + {13 * (place // 8 % 3)}%))"


@dataclass(frozen=True)
class Axes:
    """From values to places on the picture."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM)


@dataclass(frozen=True)
class Chart:
    """Curves over the steps of a run, or over what `across` says; the template asks the frame for places.

    Args:
        names_ends: whether the legend gives the last value of each curve.
    """

    title: str
    unit: str
    series: Mapping[str, Points]
    frame: Axes
    across: str = "step"
    names_ends: bool = True


def chart(title: str, unit: str, series: Mapping[str, Points]) -> Chart | None:
    """Curves over common axes; None when there are not two points to join."""
    drawn = finite(series, most=400)
    return Chart(title, unit, drawn, frame_of([p for points in drawn.values() for p in points])) if drawn else None


def reliability_chart(bins: Mapping[str, Sequence[JsonMap]]) -> Chart:
    """How many of the texts that were called so likely are right, from bins with `chance` and `right` by their names.

    What is under the diagonal is too sure of itself.
    """
    series = {name: [(one["chance"], one["right"]) for one in some] for name, some in bins.items()}
    ideal = {"as likely as it says": [(0.0, 0.0), (1.0, 1.0)]}
    frame = Axes(0.0, 1.0, 0.0, 1.0)
    return Chart("Reliability", "share that is right", {**series, **ideal}, frame, "probability of the answer", False)


def finite(series: Mapping[str, Points], *, most: int) -> dict[str, Points]:
    """The series with their finite points, at most so many each; nothing if none has two points to join."""
    drawn = {n: [p for p in points if math.isfinite(p[0]) and math.isfinite(p[1])] for n, points in series.items()}
    found = {name: thinned(points, most) for name, points in drawn.items() if points}
    return found if any(len(points) > 1 for points in found.values()) else {}


def thinned(points: Points, most: int) -> Points:
    """At most `most` points; each stands for the mean of its neighbours, the last one is kept."""
    if len(points) <= most:
        return points
    size = math.ceil(len(points) / most)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    means = [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]
    return [*means[:-1], points[-1]]


def frame_of(points: Points) -> Axes:
    """A frame around all points, with a little room above and below."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    room = (max(ys) - min(ys)) * 0.06 or 0.5
    return Axes(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, min(ys) - room, max(ys) + room)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values from `low` to `high`, about `wanted` of them: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Bar:
    """One bar; `series` decides its colour (None: grey), `spread` draws a 95 % interval."""

    name: str
    value: float
    series: int | None = 0
    spread: Sequence[float] | None = None

    @property
    def colour(self) -> str:
        return "var(--grey)" if self.series is None else colour(self.series)

    @property
    def end(self) -> float:
        """How far it reaches, its interval counted."""
        return max(self.value, *(self.spread or ()), 0)


def length_bars(lengths: Mapping[str, Counter[int]]) -> list[Bar]:
    """Bars of doubling length in characters: bin k of a name holds 2^(k-1) ... 2^k - 1."""
    bins = [k for counted in lengths.values() for k in counted]
    return [
        Bar(f"{2 ** (k - 1) if k else 0:,} ... {2**k - 1:,} {name}".rstrip() if not place else name, counted[k], place)
        for k in range(min(bins, default=0), max(bins, default=-1) + 1)
        for place, (name, counted) in enumerate(lengths.items())
    ]
