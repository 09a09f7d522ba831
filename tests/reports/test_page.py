"""Reports: one description, two forms; nothing a person names can break out of its place."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

import pytest

from facemeld.errors import UserError
from facemeld.reports.page import (
    Page,
    Picture,
    cell_text,
    html_text,
    markdown_table,
    markdown_text,
    text_table,
)

EVIL = "<script>alert(1)</script> | *a* _b_ `c` [d](e) \udc80\n# f"


class _Reader(HTMLParser):
    """Elements and text of a page; what is not closed, or closed twice, is an error."""

    VOID = ("meta", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.seen if name == tag]


@pytest.fixture
def page() -> Page:
    page = Page(f"Title {EVIL}")
    page.heading(EVIL)
    page.text(EVIL)
    page.bullets([EVIL, "two"])
    page.table(["run", "size", "kind"], [[EVIL, 12345, EVIL], ["b", None, "x"]], caption=EVIL)
    page.figure(Picture("one.png", b"png", EVIL))
    page.figure(Picture("two.png", b"2", "two"), Picture("three.jpg", b"3", "three"))
    return page


def test_the_html_page_is_well_formed_and_escaped(page: Page) -> None:
    reader = _Reader(page.html())
    assert reader.all("script") == [] and reader.all("a") == []
    assert reader.words.count("<script>alert(1)</script>") == 9
    assert [len(reader.all(t)) for t in ("h1", "h2", "p", "li", "table", "tr")] == [
        1,
        1,
        1,
        2,
        1,
        3,
    ]


def test_the_html_page_holds_its_pictures_and_loads_nothing(page: Page) -> None:
    reader = _Reader(page.html())
    sources = [image["src"] for image in reader.all("img")]
    assert [s.partition(",")[0] for s in sources] == [
        "data:image/png;base64",
        "data:image/png;base64",
        "data:image/jpeg;base64",
    ]
    assert base64.b64decode(sources[0].partition(",")[2]) == b"png"
    assert "http:" not in page.html() and "https:" not in page.html()
    assert any("default-src 'none'" in m.get("content", "") for m in reader.all("meta"))


def test_numbers_stand_right_and_only_they(page: Page) -> None:
    cells = _Reader(page.html()).all("td")
    assert [cell.get("class") for cell in cells] == ["number", None] * 2


def test_the_markdown_keeps_a_table_in_shape(page: Page) -> None:
    lines = page.markdown().splitlines()
    rows = [line.replace("\\|", "") for line in lines if line.startswith("|")]
    assert [row.count("|") for row in rows] == [4, 4, 4, 4]
    assert rows[1] == "|---|---:|---|"
    assert "![two](two.png)" in lines and "<script>" not in page.markdown().replace("\\<", "")


def test_words_that_only_look_special_stay_readable() -> None:
    assert markdown_text("network.style_encoder = a-b (2 < 3)") == (
        "network.style_encoder = a-b (2 \\< 3)"
    )
    assert markdown_text("_x_ *y*\n- z") == "\\_x\\_ \\*y\\* - z"
    assert markdown_text("- z") == "\\- z"
    assert html_text("a & 'b'\t\x1b[31m") == "a &amp; &#x27;b&#x27; [31m"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (33893000, "33,893,000"),
        (0.000123456, "0.0001235"),
        (12.3456, "12.35"),
        (123456.7, "123,457"),
        (float("nan"), "nan"),
        (True, "True"),
        ("1e9", "1e9"),
    ],
)
def test_cells_are_rounded_for_reading(value, text: str) -> None:
    assert cell_text(value) == text


def test_a_table_for_the_terminal_is_aligned() -> None:
    told = text_table(["part", "GMAC"], [["generator", 48.65], ["x", None]])
    assert told.splitlines() == ["part        GMAC", "generator  48.65", "x"]


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="2 cells in a table of 1"):
        markdown_table(["a"], [["b", "c"]])


def test_all_files_are_written_or_the_reason_told(page: Page, tmp_path: Path) -> None:
    paths = page.write(tmp_path / "new" / "folder")
    assert [p.name for p in paths] == [
        "report.md",
        "report.html",
        "one.png",
        "two.png",
        "three.jpg",
    ]
    assert (tmp_path / "new" / "folder" / "one.png").read_bytes() == b"png"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        page.write(tmp_path / "file")
