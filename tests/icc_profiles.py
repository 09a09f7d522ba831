"""ICC profiles made by hand: three primaries, or grey, and a tone curve."""

from __future__ import annotations

import struct

DISPLAY_P3 = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
"""XYZ of red, green and blue under D50, as phones write them."""
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))

_D50 = (0.9642, 1.0, 0.8249)
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(primaries: tuple = (), *, gamma: float | None = None) -> bytes:
    """Of RGB with these primaries, or of grey without any; with sRGB's curve if no gamma."""
    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(_SRGB_CURVE)
    if gamma is not None:
        curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, round(gamma * 256), 0)
    tags = {b"desc": b"text" + bytes(8), b"wtpt": _xyz(_D50)}
    if primaries:
        tags |= {name + b"XYZ": _xyz(place) for name, place in zip((b"r", b"g", b"b"), primaries)}
        tags |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
    else:
        tags[b"kTRC"] = curve
    start = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    space = b"RGB " if primaries else b"GRAY"
    head = struct.pack(">I4sI", start + len(data), b"test", 0x04000000)
    head += b"mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + _fixed(_D50)
    return head.ljust(128, b"\0") + table + data


def _fixed(values: tuple[float, ...]) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _xyz(place: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(place)
