"""The only place that decodes and encodes pictures: safe reading, sheets, provenance metadata.

`facemeld.images.tensors` is imported by its own name, because it needs torch.
"""

from facemeld.images.read import (
    DEFAULT_LIMITS,
    PictureLimits,
    centre_square,
    is_picture_name,
    read_picture,
)
from facemeld.images.sheet import sheet
from facemeld.images.write import is_marked_synthetic, read_settings, write_picture

__all__ = [
    "DEFAULT_LIMITS",
    "PictureLimits",
    "centre_square",
    "is_marked_synthetic",
    "is_picture_name",
    "read_picture",
    "read_settings",
    "sheet",
    "write_picture",
]
