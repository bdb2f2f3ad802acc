"""Curves and bars as SVG text, without a library: Chinese names stay readable and nothing is loaded.

Colours are CSS variables of the page, so that a picture follows light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 14, 34
COLOURS = ("var(--blue)", "var(--orange)", "var(--green)", "var(--grey)")


@dataclass(frozen=True)
class Frame:
    """From values to places on the picture."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        return LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.y_low) / (self.y_high - self.y_low) * (HEIGHT - TOP - BOTTOM)


def number(value: float) -> str:
    """A figure for people: 1,234 or 0.8125 or 12.3."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values from `low` to `high`, about `wanted` of them: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def line_chart(series: Mapping[str, Points], *, x_name: str, y_name: str) -> str:
    """Curves over common axes, as an SVG; "" when there are not two points to join.

    Values that are not finite are left out.
    """
    drawn = {
        name: [p for p in points if math.isfinite(p[0]) and math.isfinite(p[1])] for name, points in series.items()
    }
    drawn = {name: thinned(points) for name, points in drawn.items() if points}
    if not any(len(points) > 1 for points in drawn.values()):
        return ""
    frame = frame_of([p for points in drawn.values() for p in points])
    parts = [_axes(frame, x_name, y_name)]
    for place, (name, points) in enumerate(drawn.items()):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(points) <= 40:
            parts += [f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_legend(place, name, points[-1][1], colour))
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_name)}">{"".join(parts)}</svg>'


def thinned(points: Points, most: int = 400) -> list[tuple[float, float]]:
    """At most `most` points; each stands for the mean of its neighbours, the last one is kept."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / most)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    means = [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]
    return [*means[:-1], points[-1]]


def frame_of(points: Points) -> Frame:
    """A frame around all points, with a little room above and below."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    room = (max(ys) - min(ys)) * 0.06 or 0.5
    return Frame(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, min(ys) - room, max(ys) + room)


def _axes(frame: Frame, x_name: str, y_name: str) -> str:
    lines = []
    for value in ticks(frame.y_low, frame.y_high):
        y = frame.y(value)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in ticks(frame.x_low, frame.x_high):
        place = f'x="{frame.x(value):.1f}" y="{HEIGHT - BOTTOM + 16}"'
        lines.append(f'<text class="tick" {place} text-anchor="middle">{value:,.6g}</text>')
    lines.append(f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">{escape(x_name)}</text>')
    lines.append(f'<text class="tick" x="{LEFT}" y="{TOP - 3}">{escape(y_name)}</text>')
    return "".join(lines)


def _legend(place: int, name: str, last: float, colour: str) -> str:
    y = TOP + 14 + 16 * place
    mark = f'<rect x="{WIDTH - 210}" y="{y - 8}" width="10" height="10" fill="{colour}"/>'
    return f'{mark}<text class="tick" x="{WIDTH - 194}" y="{y + 1}">{escape(name)}: {number(last)} at the end</text>'


@dataclass(frozen=True)
class Bar:
    """One bar; `spread` draws a 95 % interval."""

    name: str
    value: float
    is_model: bool = False
    spread: tuple[float, float] | None = None


def bar_chart(bars: Sequence[Bar], *, most: float | None = None) -> str:
    """Horizontal bars from 0, the model's in another colour; `most` is the end of the scale (1 for shares)."""
    left, width, high = 190, WIDTH - 190 - 80, 26
    ends = [max(b.value, b.spread[1] if b.spread else 0) for b in bars]
    scale = width / (most or max([*ends, 1e-9]))
    parts = []
    for row, bar in enumerate(bars):
        y, colour = row * high + 4, "var(--blue)" if bar.is_model else "var(--grey)"
        parts.append(f'<text class="name" x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(bar.name)}</text>')
        parts.append(
            f'<rect x="{left}" y="{y}" width="{max(bar.value, 0) * scale:.1f}" height="18" rx="3" fill="{colour}"/>'
        )
        if bar.spread:
            a, b = (left + max(v, 0) * scale for v in bar.spread)
            parts.append(f'<path class="spread" d="M{a:.1f},{y + 9}H{b:.1f}M{a:.1f},{y + 5}v8M{b:.1f},{y + 5}v8"/>')
        at = left + max(ends[row], 0) * scale + 8
        parts.append(f'<text class="name" x="{at:.1f}" y="{y + 13}">{number(bar.value)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {len(bars) * high + 4}" role="img" aria-label="bars">{"".join(parts)}</svg>'
