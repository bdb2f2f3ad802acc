"""Curves for the terminal: points joined on a grid of dots, four rows by two columns of dots in a character.

4.16 ⡇
     ⠘⢄
2.55 ⠀⠀⠑⠒⠤⠤⣀⣀⣀
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pretune.report.drawing import Points, finite, frame_of
from pretune.report.numbers import figure

WIDTH, HEIGHT = 64, 12
"""Characters of the grid."""
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of a dot in a Braille character, by row and column (Unicode, block U+2800)."""
MARKS = "ox+*"
"""What the second curve and those behind it are drawn with: dots of several curves could not be told apart."""


def sketch(series: Mapping[str, Points], *, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Curves over common axes, the first one in dots, the others in marks; "" without two points to join.

    Values that are not finite are left out.
    """
    drawn = finite(series, most=2 * width)
    if not drawn:
        return ""
    frame = frame_of([p for points in drawn.values() for p in points])
    grid = [[" "] * width for _ in range(height)]
    for place, points in reversed(list(enumerate(drawn.values()))):
        scaled = [(_part(x, frame.x_low, frame.x_high), _part(y, frame.y_low, frame.y_high)) for x, y in points]
        _dots(grid, scaled) if place == 0 else _marks(grid, scaled, MARKS[(place - 1) % len(MARKS)])
    return "\n".join(
        [*_framed(grid, frame.y_low, frame.y_high), *_below(frame.x_low, frame.x_high, width), *_names(drawn)]
    )


def _part(value: float, low: float, high: float) -> float:
    return (value - low) / (high - low)


def _joined(points: Points, columns: int) -> list[tuple[int, float]]:
    """(column, height from 0 to 1) in every column from the first point to the last, straight between points."""
    found: list[tuple[int, float]] = []
    for column in range(columns):
        x = column / max(1, columns - 1)
        after = next((k for k, (at, _) in enumerate(points) if at >= x), None)
        if after is None or (after == 0 and points[0][0] - x > 1 / columns):
            continue
        (x0, y0), (x1, y1) = points[max(0, after - 1)], points[after]
        share = (x - x0) / (x1 - x0) if x1 > x0 else 1.0
        found.append((column, y0 + (y1 - y0) * min(1.0, share)))
    return found


def _dots(grid: list[list[str]], points: Points) -> None:
    rows, columns = 4 * len(grid), 2 * len(grid[0])
    for column, y in _joined(points, columns):
        row = min(rows - 1, int((1 - y) * rows))
        old = grid[row // 4][column // 2]
        bits = ord(old) - 0x2800 if 0x2800 <= ord(old) < 0x2900 else 0
        grid[row // 4][column // 2] = chr(0x2800 + (bits | DOTS[row % 4][column % 2]))


def _marks(grid: list[list[str]], points: Points, mark: str) -> None:
    for column, y in _joined(points, len(grid[0])):
        if column % 2 == 0:
            grid[min(len(grid) - 1, int((1 - y) * len(grid)))][column] = mark


def _framed(grid: Sequence[Sequence[str]], low: float, high: float) -> list[str]:
    names = {0: figure(high), len(grid) - 1: figure(low), len(grid) // 2: figure((low + high) / 2)}
    width = max(map(len, names.values()))
    return [f"{names.get(row, ''):>{width}} │{''.join(line).rstrip()}" for row, line in enumerate(grid)]


def _below(low: float, high: float, width: int) -> list[str]:
    left, right = f"{low:,.6g}", f"{high:,.6g}"
    return [f"{left:>10}{right:>{max(1, width - 2)}}"]


def _names(drawn: Mapping[str, Points]) -> list[str]:
    marks = ["⠶", *(MARKS[k % len(MARKS)] for k in range(len(drawn)))]
    return [
        f"  {mark} {name}: {figure(points[-1][1])} at the end"
        for mark, (name, points) in zip(marks, drawn.items(), strict=False)
    ]
