"""The report's confusion table and worst images."""

from __future__ import annotations

import re

import numpy as np

from edgeseg.bench.report_data import Confused, Example, Mistakes, Picture
from edgeseg.bench.report_pictures import mistakes
from edgeseg.structures import Category

CAR = Category(1, "car & van", True, (200, 40, 40))
BUS = Category(5, "bus", True, (10, 40, 40))
ROAD = Category(2, "road", False, (90, 90, 100))


def rows(page: str) -> list[list[str]]:
    """Text of every table cell."""
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
        for row in re.findall(r"<tr><td>.*?</tr>", page)
    ]


def test_rows_are_true_and_columns_predicted_categories_with_nothing_last() -> None:
    cells = (
        Confused(CAR, CAR, 6, 0.6), Confused(CAR, BUS, 3, 0.3), Confused(CAR, None, 1, 0.1),
        Confused(ROAD, ROAD, 4, 1.0), Confused(None, BUS, 2, 1.0),
    )  # fmt: skip
    page = mistakes(Mistakes("litert int8", cells, ()))
    assert re.findall(r"<span>(.*?)</span></th>", page) == ["car &amp; van", "bus", "road", "nothing (missed)"]
    assert rows(page) == [
        ["car &amp; van", "6", "3", "", "1"],
        ["bus", "", "", "", ""],
        ["road", "", "", "4", ""],
        ["nothing (false)", "", "2", "", ""],
    ]
    assert "worst" not in page


def test_of_many_categories_those_with_the_most_mistakes_are_shown() -> None:
    many = [Category(number, f"c{number}", True, (0, 0, 0)) for number in range(40)]
    cells = tuple(Confused(category, None, 100 - category.id, 1.0) for category in many)
    page = mistakes(Mistakes("m", cells, ()))
    assert [row[0] for row in rows(page)] == [*(f"c{number}" for number in range(24)), "nothing (false)"]
    assert "16 categories with fewer mistakes are left out" in page


def test_worst_images_are_shown_in_their_order() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    worst = tuple(Example(f"{name}: PQ 1.0", (Picture("photo", image),)) for name in ("b", "a"))
    page = mistakes(Mistakes("m", (Confused(CAR, CAR, 1, 1.0),), worst))
    assert page.index("b: PQ") < page.index("a: PQ")
    assert page.count("<img") == 2
