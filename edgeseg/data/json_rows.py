"""A JSON document's top-level rows, one at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

MAX_VALUE_CHARS = 64 << 20
"""Longest single value that is read; longer is taken for a broken file."""

_CHUNK_CHARS = 1 << 20
_SPACE = " \t\n\r"
_AFTER_NUMBER = {*_SPACE, ",", "]", "}"}


class JsonItem(NamedTuple):
    """A top-level value, or a row of a top-level list.

    Attributes:
        key: The top-level key.
        row_number: Within the list; None for a value that is no list, and for the list's own opening.
        value: The row, the value, or [] at a list's opening.
    """

    key: str
    row_number: int | None
    value: Any


def iter_json(path: Path, on_constant: Callable[[str], None] = lambda name: None) -> Iterator[JsonItem]:
    """Reads a file whose top level is an object, holding one row of its lists at a time.

    Each list is announced by an item of its own before its rows, so that an empty one is seen too. Memory is bounded
    by the largest row, whatever the file's size.

    Args:
        path: JSON in UTF-8.
        on_constant: Told of each NaN, Infinity and -Infinity, which Python's json writes although JSON has none.

    Raises:
        ValueError: Not JSON, cut off, or the top level is no object; the message says where.
        OSError: The file cannot be read.
    """

    def constant(name: str) -> float:
        on_constant(name)
        return float(name)

    with path.open(encoding="utf-8-sig") as file:
        window = _Window(file, json.JSONDecoder(parse_constant=constant))
        window.expect("{", "the top level is no object")
        while not window.skip("}"):
            key = window.value()
            if not isinstance(key, str):
                raise window.error("a key is no text")
            window.expect(":", "no ':' after a key")
            if window.skip("["):
                yield JsonItem(key, None, [])
                row_number = 0
                while not window.skip("]"):
                    yield JsonItem(key, row_number, window.value())
                    row_number += 1
                    window.comma("]")
            else:
                yield JsonItem(key, None, window.value())
            window.comma("}")
        if window.peek():
            raise window.error("text after the end")


class _Window:
    """A sliding piece of the text; `_at` is the reading position in it."""

    def __init__(self, file: TextIO, decoder: json.JSONDecoder) -> None:
        self._file = file
        self._decoder = decoder
        self._text = ""
        self._at = 0
        self._passed = 0  # characters dropped in front of `_text`
        self._is_whole = False

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def skip(self, wanted: str) -> bool:
        """Passes `wanted` if it comes next."""
        if self.peek() != wanted:
            return False
        self._at += 1
        return True

    def expect(self, wanted: str, complaint: str) -> None:
        if not self.skip(wanted):
            raise self.error(complaint)

    def comma(self, closing: str) -> None:
        """Passes a comma, unless the list or object closes; a comma before the closing is refused."""
        if self.skip(","):
            if self.peek() == closing:
                raise self.error(f"a comma before {closing!r}")
        elif self.peek() != closing:
            raise self.error(f"neither ',' nor {closing!r}")

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise self.error("nested too deeply") from None
            except json.JSONDecodeError as error:
                if len(self._text) - self._at < MAX_VALUE_CHARS and self._more():
                    continue
                raise ValueError(f"{error.msg} at character {self._passed + error.pos}") from None
            if isinstance(value, int | float) and self._text[end : end + 1] not in _AFTER_NUMBER and self._more():
                continue  # it may go on in the next piece
            if any(self._text.find(escape, self._at, end) >= 0 for escape in ("\\ud", "\\uD")):
                self._check_text(value)
            self._at = end
            return value

    def _check_text(self, value: Any) -> None:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise self.error("half a surrogate pair, which is no text") from None

    def error(self, complaint: str) -> ValueError:
        return ValueError(f"{complaint} at character {self._passed + self._at}")

    def _more(self) -> bool:
        """Reads on, twice as far as what is still unread, so that a long row is not scanned over and over."""
        if self._is_whole:
            return False
        self._text, self._passed = self._text[self._at :], self._passed + self._at
        self._at = 0
        piece = self._file.read(max(_CHUNK_CHARS, len(self._text)))
        self._is_whole = not piece
        self._text += piece
        return bool(piece)
