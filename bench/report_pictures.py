"""The report's pictures, and what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence

from edgeseg.bench.report_data import Confused, Example, Mistakes
from edgeseg.bench.report_markup import chip, data_uri, escape, section
from edgeseg.structures import Category

_MAX_CONFUSED = 24  # rows that fit a page


def pictures(examples: Sequence[Example], categories: Sequence[Category]) -> str:
    """The legend once, then every example's pictures."""
    kinds = "".join(f"<li>{chip(c)}{escape(c.name)}</li>" for c in sorted(categories, key=lambda c: not c.is_thing))
    legend = f'<ul class="legend">{kinds}</ul>'
    return section(
        "Pictures",
        "Things have a shade per instance; what is dark belongs to no segment. Difference maps show in red each pixel "
        "that is not in the segment that torch, at the same precision, puts it in. Click to enlarge.",
        [legend, *_gallery(examples)],
    )


def _gallery(examples: Sequence[Example]) -> list[str]:
    parts = []
    for example in examples:
        parts.append(f'<h3>{escape(example.name)}</h3><div class="example">')
        for picture in example.pictures:
            alt = escape(f"{example.name}: {picture.caption}")
            note = f' <span class="dim">{escape(picture.note)}</span>' if picture.note else ""
            parts.append(
                f'<figure><label class="zoom"><input type="checkbox" aria-label="enlarge {alt}">'
                f'<img alt="{alt}" src="{data_uri(picture.image)}"></label>'
                f"<figcaption>{escape(picture.caption)}{note}</figcaption></figure>"
            )
        parts.append("</div>")
    return parts


def mistakes(found: Mistakes) -> str:
    """The confusion table, then the worst images."""
    note = (
        f"{found.model}. A row holds the segments of a true category by what they were taken for: the prediction that "
        "overlaps them by an IoU above 0.5, or nothing. Colour is the share of the row."
    )
    parts = [_confusion_table(found.confused)]
    if found.worst:
        parts += ["<h3>The images that score worst, each on its own</h3>", *_gallery(found.worst)]
    return section("What is taken for what", note, parts)


def _confusion_table(cells: Sequence[Confused]) -> str:
    """The categories with the most mistakes, at most `_MAX_CONFUSED`."""
    errors: dict[Category, int] = {}
    for cell in cells:
        for category in filter(None, (cell.gt, cell.pred)):
            errors[category] = errors.get(category, 0) + (cell.segments if cell.gt != cell.pred else 0)
    shown = sorted(errors, key=lambda category: -errors[category])[:_MAX_CONFUSED]
    shown.sort(key=lambda category: (not category.is_thing, category.id))
    value = {(cell.gt, cell.pred): cell for cell in cells}
    head = "".join(f'<th class="turned"><span>{escape(category.name)}</span></th>' for category in shown)
    rows = []
    for gt in [*shown, None]:
        columns = "".join(_confused_cell(value.get((gt, pred)), gt is pred) for pred in [*shown, None])
        name = f"{chip(gt)}{escape(gt.name)}" if gt else '<i class="dim">nothing (false)</i>'
        rows.append(f"<tr><td>{name}</td>{columns}</tr>")
    left_out = len(errors) - len(shown)
    rest = f'<p class="dim">{left_out} categories with fewer mistakes are left out.</p>' if left_out else ""
    turned = f'{head}<th class="turned"><span>nothing (missed)</span></th>'
    return (
        f'<div class="scroll"><table class="confusion"><thead><tr><th>true \\ taken for</th>{turned}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{rest}"
    )


def _confused_cell(cell: Confused | None, is_right: bool) -> str:
    if cell is None:
        return "<td></td>"
    color = f"color-mix(in srgb, var(--{'good' if is_right else 'bad'}) {100 * cell.share:.0f}%, transparent)"
    return f'<td style="background:{color}" title="{cell.share:.1%}">{cell.segments}</td>'
