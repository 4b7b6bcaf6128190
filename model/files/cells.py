"""Text in cells of tables: one line, no formula to a spreadsheet, and read back as it was."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = "'"
"""Stands before what looks like a formula, as OWASP's page on CSV injection advises."""
SIGNS = "-=+@\uff0d\uff1d\uff0b\uff20"
"""What formulas begin with, also in full width."""
MARKED = f"^{MARK}({MARK}*[{SIGNS}])"
"""Regular expression of the beginning of marked text; its group is what was marked."""
_MARKED = re.compile(MARKED)
_FIRST = {MARK, *SIGNS}
_HALF = re.compile("[\ud800-\udfff]")


def writable(text: str, *, backslash: str = "\\") -> str:
    r"""Spell out halves of surrogate pairs, which no file and no terminal can take.

    Names of files that are no UTF-8 hold them, and so do messages about such files.

    Examples
    --------
    >>> writable("sub-\udcff")
    'sub-\\udcff'
    """
    return _HALF.sub(lambda half: f"{backslash}u{ord(half[0]):04x}", text)


def text_cell(text: str) -> str:
    r"""Return text as a cell of a table; numbers are no text and need none of this.

    What cannot be printed (tabs, ends of lines, control characters, halves of surrogate pairs) is
    spelled as in Python, for good: no label of a file has any.

    Examples
    --------
    >>> text_cell("+1+1"), text_cell("rest"), text_cell("'=1"), text_cell("two\nlines")
    ("'+1+1", 'rest', "''=1", 'two\\nlines')
    """
    if not text.isprintable():
        text = "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode()
            for letter in text
        )
    # Told by the first letter for almost all.
    is_formula = text[:1] in _FIRST and _MARKED.match(MARK + text)
    return MARK + text if is_formula else text


def cell_text(cell: str) -> str:
    """Return the text of a cell.

    Examples
    --------
    >>> cell_text("'+1+1"), cell_text("rest"), cell_text("''=1"), cell_text("'quoted'")
    ('+1+1', 'rest', "'=1", "'quoted'")
    """
    return cell[1:] if cell[:1] == MARK and _MARKED.match(cell) else cell


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of words as lines, in columns for the eye.

    Examples
    --------
    >>> aligned([("method", "n"), ("probe", "10")])
    ['method  n', 'probe   10']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
