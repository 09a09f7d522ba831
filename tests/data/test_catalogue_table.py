"""The table of docs/data.md says what the catalogue says.

    python tests/data/test_catalogue_table.py

writes it anew.
"""

from __future__ import annotations

from pathlib import Path

from facemeld.data.published import DATA_SETS, WEIGHTS, Published, Weights

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "data.md"
START, END = "<!-- catalogue: written by tests/data/test_catalogue_table.py -->", "<!-- end -->"


def table() -> str:
    lines = [
        "| name | kind | what | size | licence | SHA-256 | link |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_row(name, entry) for name, entry in {**WEIGHTS, **DATA_SETS}.items()]
    return "\n".join(lines)


def _row(name: str, entry: Published) -> str:
    kind = entry.kind if isinstance(entry, Weights) else "data set"
    what = entry.purpose
    if isinstance(entry, Weights) and entry.together:
        what += f"; comes with {', '.join(entry.together)}"
    if entry.note:
        what += f" ({entry.note})"
    size = "unknown" if entry.size is None else f"{entry.size:,}"
    licence = f"[{entry.licence}]({entry.terms})" if entry.terms else entry.licence
    if entry.accept:
        licence += ", to be accepted"
    sha256 = f"`{entry.sha256[:12]}…`" if entry.sha256 else "recorded at first download"
    return f"| {name} | {kind} | {what} | {size} | {licence} | {sha256} | [link]({entry.url}) |"


def test_the_table_is_that_of_the_catalogue() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    written = text.split(START)[1].split(END)[0].strip()
    assert written == table(), "run: python tests/data/test_catalogue_table.py"


if __name__ == "__main__":
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    DOCUMENT.write_text(f"{before}{START}\n{table()}\n{END}{after}", encoding="utf-8")
