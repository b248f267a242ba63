"""The report's building blocks: text, tables, cards and pictures as HTML."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgeseg.structures import Category

_JPEG_QUALITY = 88


def section(title: str, note: str, parts: Iterable[str]) -> str:
    """A card with a heading; `note` is plain text below it."""
    lead = f'<p class="dim">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{lead}{''.join(parts)}</section>\n"


def table(heads: Sequence[str], rows: Sequence[str], *, left: int, last_left: bool = False) -> str:
    """Rows of markup under headings; the first `left` columns, and the last if asked, hold words."""
    cells = []
    for i, head in enumerate(heads):
        is_left = i < left or (last_left and i == len(heads) - 1)
        cells.append(f"<th>{escape(head)}</th>" if is_left else f'<th class="num">{escape(head)}</th>')
    head, body = "".join(cells), "".join(rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def row(words: Sequence[str], numbers: Sequence[str] = (), last: str = "") -> str:
    """A table's row: words and numbers as plain text, then a cell that wraps."""
    cells = "".join(f"<td>{escape(word)}</td>" for word in words) + "".join(num(escape(text)) for text in numbers)
    return f"<tr>{cells}{f'<td class=wrap>{escape(last)}</td>' if last else ''}</tr>"


def rule(title: str, columns: int) -> str:
    """A row that heads those below it."""
    return f'<tr class="rule"><td colspan="{columns}">{escape(title)}</td></tr>'


def bullets(lines: Iterable[str]) -> str:
    """A list of plain sentences; nothing where there are none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Name and value pairs in a row."""
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="facts">{cells}</dl>'


def card(value: str, text: str) -> str:
    """One number, large, and what it is."""
    return f'<div class="headline"><b>{escape(value)}</b><span>{escape(text)}</span></div>'


def chip(category: Category) -> str:
    """A square of the category's colour."""
    return f'<span class="chip" style="background:rgb{tuple(category.color)}"></span>'


def mark(is_good: bool | None, good: str = "passed", bad: str = "failed", unknown: str = "–") -> str:
    """A verdict in its colour."""
    if is_good is None:
        return f'<span class="dim">{escape(unknown)}</span>'
    return f'<span class="{"good" if is_good else "bad"}">{escape(good if is_good else bad)}</span>'


def num(markup: str) -> str:
    """A cell whose figures stand below each other."""
    return f'<td class="num">{markup}</td>'


def points(fraction: float) -> str:
    """0.6543 as 65.4."""
    return f"{100 * fraction:.1f}"


def signed(difference: float) -> str:
    """A difference with its sign."""
    return f"{difference:+.2f}"


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def num_threads(count: int) -> str:
    """`1 thread`, `4 threads`."""
    return f"{count} thread{'s' * (count != 1)}"


def escape(text: str) -> str:
    """Text that is shown and not interpreted."""
    return html.escape(text)


def data_uri(image: NDArray[np.uint8]) -> str:
    """The image as a JPEG data URI: a report of PNGs would be five times as large."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
