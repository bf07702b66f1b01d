"""Numbers, tables and pictures as the reports write them."""

import io
import math
from collections.abc import Sequence


def format_number(value: float | None) -> str:
    """Returns a number with three decimals, or two from 10 up; a dash for what is undefined or infinite."""
    if value is None or not math.isfinite(value):
        return '-'
    return f'{value:.3f}' if abs(value) < 10 else f'{value:.2f}'


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a Markdown table whose columns are padded, so that it reads as plain text too."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    numeric = [all(row[column][:1] in '-0123456789' for row in rows) for column in range(len(header))]

    def line(cells):
        padded = (c.rjust(w) if right else c.ljust(w) for c, w, right in zip(cells, widths, numeric, strict=True))
        return f'| {" | ".join(padded)} |'

    rule = [f'{"-" * (width - 1)}{":" if right else "-"}' for width, right in zip(widths, numeric, strict=True)]
    return [line(header), line(rule), *map(line, rows)]


def finite_json(value):
    """Returns a value with string keys, lists, and None for what is not finite."""
    if isinstance(value, dict):
        return {str(key): finite_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_png(figure) -> bytes:
    """Returns a matplotlib figure as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    return buffer.getvalue()
