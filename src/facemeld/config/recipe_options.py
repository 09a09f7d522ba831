"""Which options belong to which recipe: one table, and the refusal of what would be ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facemeld.config.training import TrainingConfig

RECIPES = ("starganv2", "fast", "lean", "distil")

USERS: dict[str, tuple[str, ...]] = {
    "domains": ("starganv2", "fast", "lean"),
    "teacher": ("distil",),
    "guide": ("lean",),
    "guided_domains": ("lean",),
    "augmentation": ("starganv2", "fast"),
    "r1": ("starganv2", "fast"),
    "r1_interval": ("starganv2", "fast"),
    "branches": ("fast",),
    "reference_share": ("fast", "lean", "distil"),
    "warmup_pictures": ("lean", "distil"),
    "outermost_pictures": ("lean",),
    "cycle_interval": ("lean",),
    "matching_steps": ("lean",),
    "content_target": ("fast", "lean"),
    "diversity_until": ("starganv2", "fast", "lean"),
    "mapping_learning_rate": ("starganv2", "fast", "lean"),
    "weights.style": ("starganv2", "fast", "lean"),
    "weights.diversity": ("starganv2", "fast", "lean"),
    "weights.cycle": ("starganv2", "fast", "lean"),
    "weights.content": ("fast", "lean"),
    "weights.features": ("lean", "distil"),
    "weights.pixels": ("distil",),
    "weights.reconstruction": ("lean",),
    "weights.perceptual": ("lean",),
    "weights.landmarks": ("lean",),
    "weights.likeness": ("lean",),
    "weights.edges": ("lean",),
    "weights.style_matching": ("lean",),
    "weights.style_spread": ("lean",),
    "weights.geometry": ("lean",),
    "weights.guide": ("lean",),
    "weights.self_similarity": ("lean",),
}
"""The recipes that use an option; one that is not listed is used by all. ``late_weights`` are as
``weights``."""


def is_ignored(option: str, recipe: str) -> bool:
    """Whether a recipe does nothing with an option, by its dotted name."""
    return recipe not in USERS.get(option.removeprefix("late_"), RECIPES)


def ignored_problems(config: TrainingConfig) -> list[str]:
    """Options that were set, but that the recipe would ignore.

    Set is what differs from its default; a weight of 0 asks for nothing, and is never wrong.
    """
    found = []
    for option, users in USERS.items():
        *group, name = option.split(".")
        places = [*group, *(f"late_{g}" for g in group)] or [""]
        for place in places if is_ignored(option, config.recipe) else ():
            values = getattr(config, place) if place else config
            if values is None:
                continue
            value, default = getattr(values, name), getattr(type(values), name)
            if value != default and not (value == 0 and (place or name == "r1")):
                shown = f"{place}.{name}" if place else name
                told = ", ".join(users)
                found.append(f"the {config.recipe} recipe ignores {shown}, an option of {told}")
    return found
