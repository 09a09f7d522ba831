"""Contact sheets: a grid of pictures on white, with labels for its rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from facemeld.images.read import to_rgb

_INK = (40, 40, 40)
_ELLIPSIS = "…"
_LONGEST_LABEL = 200  # characters; a longer one is cut before it is measured
# Pillow's own font draws ASCII only. The first of these that is installed draws the rest.
_WIDE_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "PingFang.ttc",
    "msjh.ttc",
    "msyh.ttc",
    "wqy-zenhei.ttc",
    "Arial Unicode.ttf",
    "DejaVuSans.ttf",
)


def sheet(
    rows: Sequence[Sequence[Image.Image | None]],
    *,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    cell: int | None = None,
    gap: int = 2,
) -> Image.Image:
    """Lay pictures out in a grid; None, and what short rows lack, stays white.

    Args:
        rows: the pictures, row by row; of any mode and size, centred in their cells.
        row_labels: one for each row, written at its left.
        column_labels: one for each column, written above it. Labels too long for their place end
            in an ellipsis; what no font at hand can draw appears as boxes.
        cell: the side of the square cells, in pixels; pictures are scaled to fit. By default cells
            are as large as the largest picture, and nothing is scaled.
        gap: white pixels between cells.

    Raises:
        ValueError: no cell at all, or a number of labels that does not match.
    """
    columns = max((len(row) for row in rows), default=0)
    if columns == 0:
        raise ValueError("a sheet needs at least one cell")
    for labels, count, kind in ((row_labels, len(rows), "row"), (column_labels, columns, "column")):
        if labels is not None and len(labels) != count:
            raise ValueError(f"{len(labels)} {kind} labels for {count} {kind}s")

    width, height = _cell_size(rows, cell)
    text = max(10, min(32, round(min(width, height) / 7)))
    margin = text // 2
    left = top = 0
    if row_labels is not None:
        widest = 2 * max(width, 4 * text)
        row_labels = [_fit(label, widest, text) for label in row_labels]
        left = max(round(_font(label, text).getlength(label)) for label in row_labels) + 2 * margin
    if column_labels is not None:
        column_labels = [_fit(label, width, text) for label in column_labels]
        top = text + 2 * margin

    page_width = left + columns * (width + gap) - gap
    page_height = top + len(rows) * (height + gap) - gap
    page = Image.new("RGB", (page_width, page_height), "white")
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            if image is not None:
                image = _scaled(to_rgb(image), cell)
                x = left + j * (width + gap) + (width - image.width) // 2
                y = top + i * (height + gap) + (height - image.height) // 2
                page.paste(image, (x, y))

    draw = ImageDraw.Draw(page)
    for i, label in enumerate(row_labels or ()):
        place = (left - margin, top + i * (height + gap) + height / 2)
        draw.text(place, label, fill=_INK, font=_font(label, text), anchor="rm")
    for j, label in enumerate(column_labels or ()):
        place = (left + j * (width + gap) + width / 2, top / 2)
        draw.text(place, label, fill=_INK, font=_font(label, text), anchor="mm")
    return page


def _cell_size(rows: Sequence[Sequence[Image.Image | None]], cell: int | None) -> tuple[int, int]:
    if cell is not None:
        return cell, cell
    sizes = [image.size for row in rows for image in row if image is not None] or [(64, 64)]
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def _scaled(image: Image.Image, cell: int | None) -> Image.Image:
    if cell is None or max(image.size) == cell:
        return image
    factor = cell / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    # Lanczos rings visibly when it enlarges.
    method = Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC
    return image.resize(size, method)


def _fit(label: str, width: int, text: int) -> str:
    """The label on one line, cut so that it is at most `width` pixels wide."""
    label = label.encode("utf-8", "replace").decode()  # file names may hold lone surrogates
    label = "".join(c if c.isprintable() else " " for c in label[:_LONGEST_LABEL])
    font = _font(label, text)
    fitted = label
    while font.getlength(fitted) > width and len(label) > 1:
        label = label[:-1]
        fitted = label.rstrip() + _ELLIPSIS
    return fitted


def _font(label: str, text: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, which looks the same everywhere, or for other scripts a system font."""
    if not label.replace(_ELLIPSIS, "").isascii():
        for name in _WIDE_FONTS:
            try:
                return ImageFont.truetype(name, text)
            except OSError:
                continue
    return ImageFont.load_default(text)
