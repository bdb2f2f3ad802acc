"""Curves in the terminal: dots where the points are."""

from pretune.report.curves import sketch


def test_a_falling_line_goes_from_the_upper_left_to_the_lower_right() -> None:
    lines = sketch({"loss": [(0, 1.0), (10, 0.0)]}, width=8, height=4).splitlines()
    grid = [line.partition("│")[2] for line in lines[:4]]
    firsts = [min(k for k, mark in enumerate(row) if mark != " ") for row in grid]
    assert firsts == sorted(firsts)
    assert grid[0][0] != " " and grid[3].rstrip()[-1] != " " and len(grid[3]) == 8


def test_a_level_line_fills_one_row_of_dots() -> None:
    (row,) = [
        line
        for line in sketch({"x": [(0, 2.0), (4, 2.0)]}, width=6, height=3).splitlines()
        if "│⠤" in line or "│⠒" in line or "│⠉" in line or "│⣀" in line
    ]
    assert len(set(row.partition("│")[2])) == 1


def test_a_second_curve_is_drawn_with_marks_and_both_are_named_with_their_ends() -> None:
    drawn = sketch({"one": [(0, 1.0), (1, 0.5)], "другой 二": [(0, 0.0), (1, 1.0)]})
    assert "o" in drawn.splitlines()[0]
    assert "⠶ one: 0.500 at the end" in drawn
    assert "o другой 二: 1.00 at the end" in drawn


def test_a_curve_without_two_finite_points_is_not_drawn() -> None:
    assert sketch({"loss": [(1, 2.0), (2, float("nan"))]}) == ""
