"""The networks of a student: a generator of few multiply-adds for the styles of a larger one.

Its residual blocks have separable convolutions, so that nearly all of the teacher's channels can
stay: of two students with as many multiply-adds, one with full convolutions and a third of the
channels imitated the teacher less well (docs/benchmarks.md).
"""

from __future__ import annotations

import dataclasses

from facemeld.config import NetworkConfig
from facemeld.errors import UserError
from facemeld.networks.costs import generator_gmac

LEAST_RATIO = 10.0
"""Multiply-adds of the teacher's generator in those of the student's."""
OWN_PARTS = frozenset(
    ("generator", "widths", "encoder_blocks", "decoder_blocks", "separable")
    + ("discriminator", "discriminator_widths")
)
"""Options in which a student may differ from its teacher; all others are what a style means."""
_STEPS = 64  # tried shares of the teacher's widths: 1/64, 2/64, …


def student_network(teacher: NetworkConfig, widths: tuple[int, ...] = ()) -> NetworkConfig:
    """The networks of a student of residual blocks, for the distil recipe.

    Args:
        teacher: networks of the teacher.
        widths: channels of the student at each resolution, finest first, as many as the teacher
            has; without them the same share of each of the teacher's, as large as the least ratio
            allows.

    Raises:
        UserError: widths that do not fit, or too many multiply-adds.
    """
    if widths and len(widths) != len(teacher.widths):
        raise UserError(
            f"{len(widths)} widths, but the teacher's generator has {len(teacher.widths)}",
            where="--widths",
            fix=f"give one for each of {' '.join(map(str, teacher.widths))}",
        )
    whole = generator_gmac(teacher)
    if not widths:
        return _narrowed(teacher, whole)
    student = _with_widths(teacher, widths)
    ratio = whole / generator_gmac(student)
    if ratio < LEAST_RATIO:
        fitting = _narrowed(teacher, whole).widths
        raise UserError(
            f"a generator of these widths has only {ratio:.1f} times fewer multiply-adds than "
            f"the teacher's, not {LEAST_RATIO:g}",
            where=f"--widths {' '.join(map(str, widths))}",
            fix=f"narrower ones, like {' '.join(map(str, fitting))}, or leave the option out",
        )
    return student


def _with_widths(teacher: NetworkConfig, widths: tuple[int, ...]) -> NetworkConfig:
    student = dataclasses.replace(
        teacher, generator="resnet", separable=True, widths=widths, discriminator="projected"
    )
    return student.resolved()


def _narrowed(teacher: NetworkConfig, whole: float) -> NetworkConfig:
    """The widest student with enough fewer multiply-adds."""
    fitting = None
    low, high = 1, _STEPS
    while low <= high:
        step = (low + high) // 2
        widths = tuple(max(4, 4 * round(w * step / _STEPS / 4)) for w in teacher.widths)
        student = _with_widths(teacher, widths)
        if whole / generator_gmac(student) >= LEAST_RATIO:
            fitting, low = student, step + 1
        else:
            high = step - 1
    if fitting is None:
        raise UserError(
            "the teacher's generator is too small for a student of a tenth of its multiply-adds",
            fix=f"its widths are {' '.join(map(str, teacher.widths))} already",
        )
    return fitting
