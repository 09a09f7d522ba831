"""facemeld fuses the facial features of people, animals and anime characters into new faces.

Public are ``FusionPipeline``, ``train`` and ``evaluate``; they load torch when first used.
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["FusionPipeline", "evaluate", "train"]


def __getattr__(name: str):
    if name == "FusionPipeline":
        from facemeld.fusion.pipeline import FusionPipeline

        return FusionPipeline
    if name == "train":
        from facemeld.training.loop import train

        return train
    if name == "evaluate":
        from facemeld.evaluation.light import evaluate

        return evaluate
    raise AttributeError(f"module 'facemeld' has no attribute '{name}'")
