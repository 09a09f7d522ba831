"""A report that is put together once and written as Markdown and as one self-contained HTML page.

Every text is escaped in both; the HTML page carries its pictures inside, runs no script and loads
nothing, so it can be sent to somebody as it is.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facemeld.files import write_whole

Cell = str | int | float | None

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto;
  padding: 1rem 1.25rem 4rem; max-width: 76rem; }
h1 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
p, li, figcaption, caption { max-width: 46rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .3rem 0; color: #555; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #e4e4e4; text-align: left;
  vertical-align: top; }
thead th { border-bottom: 2px solid #999; vertical-align: bottom; }
tbody th { font-weight: normal; white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
thead th.number { white-space: normal; }
pre { background: #f4f4f4; padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
figure { margin: 1.5rem 0; }
figcaption { color: #555; font-size: .9rem; }
img { display: block; max-width: 100%; height: auto; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(34rem, 1fr)); gap: 1.5rem; }
.beside figure { margin: 0; min-width: 0; }
@media (max-width: 44rem) {
  .beside { display: block; }
  .beside figure { margin: 1.5rem 0; }
  .wide img { max-width: none; min-width: 36rem; }
}
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
_MARKDOWN_SPECIAL = re.compile(r"([\\`*|<\[\]])|(?<!\w)(_)|(_)(?!\w)")
_NUMBER = re.compile(r"[-+]?[\d,]+(\.\d+)?(e[-+]\d+)?|nan|[-+]?inf")


@dataclass(frozen=True)
class Picture:
    """An encoded picture of a report."""

    name: str
    """File name beside the report; its suffix is the format: .png, .jpg or .webp."""
    content: bytes
    caption: str


class Page:
    """Collects the blocks of a report in order.

    Args:
        title: of the page.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.pictures: list[Picture] = []
        self._markdown = [f"# {markdown_text(title)}"]
        self._html: list[str] = []

    def heading(self, text: str) -> None:
        """Starts a section."""
        self._add(f"## {markdown_text(text)}", f"<h2>{html_text(text)}</h2>")

    def text(self, text: str) -> None:
        """A paragraph."""
        self._add(markdown_text(text), f"<p>{html_text(text)}</p>")

    def code(self, text: str) -> None:
        """One line to be copied."""
        self._add(f"    {_one_line(text)}", f"<pre><code>{html_text(text)}</code></pre>")

    def bullets(self, items: Sequence[str]) -> None:
        """A list; nothing if it has no items."""
        if items:
            lines = "\n".join(f"- {markdown_text(item)}" for item in items)
            self._add(lines, "<ul>" + "".join(f"<li>{html_text(i)}</li>" for i in items) + "</ul>")

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, caption: str = ""
    ) -> None:
        """A table whose first column names its rows; columns of numbers are set right.

        Raises:
            ValueError: a row of another length than the columns.
        """
        self._add(
            (f"{markdown_text(caption)}\n\n" if caption else "") + markdown_table(columns, rows),
            _html_table(columns, rows, caption),
        )

    def figure(self, *pictures: Picture) -> None:
        """One picture over the full width, or several side by side where there is room."""
        self.pictures += pictures
        markdown, figures = [], []
        for picture in pictures:
            caption = markdown_text(picture.caption)
            markdown.append(f"![{caption}]({picture.name})\n\n*{caption}*")
            figures.append(
                f'<figure><div class="wide"><img src="{_data_address(picture)}" '
                f'alt="{html_text(picture.caption)}"></div>'
                f"<figcaption>{html_text(picture.caption)}</figcaption></figure>"
            )
        joined = "\n".join(figures)
        beside = f'<div class="beside">\n{joined}\n</div>' if len(figures) > 1 else joined
        self._add("\n\n".join(markdown), beside)

    def markdown(self) -> str:
        """The report as Markdown that refers to its pictures by their names."""
        return "\n\n".join(self._markdown) + "\n"

    def html(self) -> str:
        """The report as one HTML page with its pictures inside."""
        body = "\n".join(self._html)
        return _PAGE.format(title=html_text(self.title), style=_STYLE, body=body)

    def write(self, folder: Path, name: str = "report") -> list[Path]:
        """Writes NAME.md, NAME.html and the pictures; returns their paths, the two pages first.

        Raises:
            UserError: the folder cannot be written to.
        """
        contents = {f"{name}.md": self.markdown().encode(), f"{name}.html": self.html().encode()}
        contents |= {picture.name: picture.content for picture in self.pictures}
        for file, content in contents.items():
            write_whole(
                folder / file, lambda partial, content=content: partial.write_bytes(content)
            )
        return [folder / file for file in contents]

    def _add(self, markdown: str, page: str) -> None:
        self._markdown.append(markdown)
        self._html.append(page)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table in GitHub's Markdown."""
    numeric = _numeric_columns(columns, rows)
    lines = ["| " + " | ".join(markdown_text(column) for column in columns) + " |"]
    lines.append("|" + "|".join("---:" if n else "---" for n in numeric) + "|")
    lines += ["| " + " | ".join(markdown_text(cell_text(c)) for c in row) + " |" for row in rows]
    return "\n".join(lines)


def text_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table for a terminal, its columns aligned by spaces."""
    numeric = _numeric_columns(columns, rows)
    lines = [list(columns), *([cell_text(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(
            t.rjust(w) if n else t.ljust(w) for t, w, n in zip(line, widths, numeric)
        ).rstrip()
        for line in lines
    )


def cell_text(value: Cell) -> str:
    """A cell as text: numbers with four significant digits, whole ones with all, None as none."""
    if value is None:
        return ""
    if isinstance(value, float):
        rounded = f"{value:.4g}"
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else rounded
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def markdown_text(text: str) -> str:
    """Text in which nothing is Markdown any more, on one line."""
    text = _MARKDOWN_SPECIAL.sub(r"\\\g<0>", _one_line(text))
    return re.sub(r"^(#+\s|[>+-]\s)", r"\\\1", text)


def html_text(text: str) -> str:
    """Text in which nothing is HTML any more."""
    return html.escape(_one_line(text))


def _one_line(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()  # file names may hold lone surrogates
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _numeric_columns(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[bool]:
    """Whether every filled cell of a column is a number, or a formatted one."""
    if wrong := [row for row in rows if len(row) != len(columns)]:
        raise ValueError(f"a row of {len(wrong[0])} cells in a table of {len(columns)} columns")
    found = []
    for index in range(len(columns)):
        filled = [row[index] for row in rows if row[index] not in (None, "")]
        numbers = [_NUMBER.fullmatch(cell_text(cell)) for cell in filled]
        found.append(index > 0 and bool(filled) and all(numbers))
    return found


def _html_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str) -> str:
    numeric = _numeric_columns(columns, rows)
    kinds = [' class="number"' if n else "" for n in numeric]
    head = "".join(f"<th{k}>{html_text(c)}</th>" for c, k in zip(columns, kinds))
    body = []
    for row in rows:
        cells = [html_text(cell_text(cell)) for cell in row]
        first = f'<th scope="row">{cells[0]}</th>'
        body.append(first + "".join(f"<td{k}>{c}</td>" for c, k in zip(cells[1:], kinds[1:])))
    told = f"<caption>{html_text(caption)}</caption>" if caption else ""
    joined = "\n".join(f"<tr>{row}</tr>" for row in body)
    return (
        f'<div class="wide"><table>{told}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{joined}\n</tbody></table></div>"
    )


def _data_address(picture: Picture) -> str:
    kind = picture.name.rpartition(".")[2].lower().replace("jpg", "jpeg")
    return f"data:image/{kind};base64,{base64.b64encode(picture.content).decode()}"
