"""The model card that a finished run writes; Hugging Face's layout, honest about what it knows."""

from __future__ import annotations

from pathlib import Path

from facemeld.config import TrainingConfig
from facemeld.data.store import PictureStore


def training_card(config: TrainingConfig, store: PictureStore) -> str:
    """Markdown text for the model folder's README.md."""
    network = config.network
    counts = "\n".join(
        f"| {domain} | {len(pictures)} |" for domain, pictures in zip(store.domains, store.pictures)
    )
    start = f"- Fine-tuned from `{Path(config.init).name}`.\n" if config.init else ""
    if config.teacher:
        start = (
            f"- A student of `{Path(config.teacher).name}`: its generator learned to paint what "
            "that of its\n  teacher does; style encoder and mapping network are the teacher's.\n"
        )
    return f"""# A facemeld model

Fuses faces of {len(network.domains)} domains at {network.image_size} px.

| domain | training pictures |
|---|---|
{counts}

{start}- Recipe `{config.recipe}`, {config.pictures} pictures seen, batch {config.batch_size}, seed
  {config.seed}, precision {config.precision}.
- Generator `{network.generator}` (skips `{network.skips}`), style encoder
  `{network.style_encoder}`, discriminator `{network.discriminator}`.
- `samples.jpg`: sources down, references across; columns marked * come from latent codes.

Not evaluated yet. The licence of the model follows from the pictures it was trained on. Results
are synthetic; use pictures of people only with their consent.
"""
