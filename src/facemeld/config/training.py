"""TrainingConfig: one training run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from facemeld.config.checks import check, choice_problems, range_problems, type_problems
from facemeld.config.network import NetworkConfig
from facemeld.config.recipe_options import RECIPES, ignored_problems

PRECISIONS = ("auto", "fp32", "bf16")
BRANCHES = ("alternate", "both")
AUGMENTATIONS = ("none", "diffaugment")
FAST_R1_INTERVAL = 16
POINTS_FEATURE_SIZE = 128
"""The feature_size that the reader of landmarks learned with."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the generator's losses; 0 switches a term off."""

    adversarial: float = 1.0
    style: float = 1.0
    """Style reconstruction, L1."""
    diversity: float = 1.0
    """Diversity sensitive loss, L1, subtracted; decays linearly to 0."""
    cycle: float = 1.0
    """Cycle consistency, L1."""
    reconstruction: float = 0.0
    """Source under its own style against itself, L1 (lean)."""
    perceptual: float = 0.0
    """The same in frozen feature maps, L1 in shares of their deviation (lean)."""
    landmarks: float = 0.0
    """Eyes and nose where the source's are, in the terms of the target domain (lean)."""
    features: float = 0.0
    """Feature statistics against the reference's, L1 (lean); frozen feature maps against those of
    the teacher's picture, L1 (distil)."""
    likeness: float = 0.0
    """Feature statistics nearer to the own reference's than to those of others of its domain, at
    every level of the features, InfoNCE (lean)."""
    pixels: float = 0.0
    """Picture against the teacher's, L1 (distil)."""
    content: float = 0.0
    """Hinge on the correlation of luminance gradients with the source's (lean, fast)."""
    style_matching: float = 0.0
    """Energy distance of mapped styles to encoded ones (lean)."""
    style_spread: float = 0.0
    """Hinge on how far the encoded styles of a domain lie apart (lean)."""
    guide: float = 0.0
    """Result against the guide's, both at the guide's size, L1 (lean)."""
    geometry: float = 0.0
    """What a moved source gives against what the source gives, moved, L1 (lean)."""
    edges: float = 0.0
    """Hinge on how much more the outermost pixels differ than those of real pictures (lean)."""
    self_similarity: float = 0.0
    """Which places of the result resemble each other, as in the source (lean)."""


@dataclass(frozen=True)
class TrainingConfig:
    """One training run. The clock is pictures seen: ``batch_size`` more each iteration."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    recipe: str = "starganv2"
    """starganv2: the paper's dynamics. fast: the same losses for less than half of the compute.
    lean: for little compute (see training/lean.py). distil: a small generator learns from a
    trained one (see training/distil.py)."""
    data: str = ""
    """Folder with a subfolder of pictures for each domain."""
    domains: tuple[str, ...] = ()
    """Subfolders of ``data`` to train on; all of them if empty. A student's are its teacher's."""
    favoured_targets: tuple[str, ...] = ()
    """Domains that are targets more often: each time that one is named here counts as once more."""
    init: str = ""
    """Model to start from: a bundled name or a model folder; heads are matched by domain name. One
    for pictures of half the size will do, if all widths but the finest are its own."""
    teacher: str = ""
    """Model whose generator is imitated, and whose other networks are taken over: a bundled name or
    a model folder (distil)."""
    guide: str = ""
    """Model whose results, from references, show roughly what is wanted, with ``weights.guide``: a
    bundled name or a model folder, of this run's size or less (lean)."""
    guided_domains: tuple[str, ...] = ()
    """Target domains that the guide shows; all that it knows if empty (lean)."""
    cache: str = ""
    """Folder for decoded pictures; empty: ``cache`` in the folder FACEMELD_HOME if that is set,
    else ``.cache`` in the run folder."""
    samples_from: str = ""
    """Folder of held-out pictures, laid out like ``data``, for sample sheets and evaluations."""
    pictures: int = 800_000
    """Length of the run: pictures seen at its end."""
    batch_size: int = 8
    """Pictures an iteration, over all processes."""
    seed: int = 0
    processes: int = 0
    """Worker processes with averaged gradients; 0 chooses, as ``--processes auto``: one a core on a
    CPU (lean, distil), else one; a run that goes on keeps its number."""
    precision: str = "auto"
    """fp32, bf16 (autocast), or auto: the faster one on this device, measured at the start."""
    compile: bool = False
    """Compile the generator and the style encoder (a minute or more at the start)."""
    accumulate: int = 1
    """Parts of a batch that go through a step one after the other, so that each needs only its
    share of the memory; the gradients add up to those of the whole batch."""
    recompute_activations: bool = False
    """Compute the blocks' maps anew when back-propagating, instead of keeping them: a third more
    time for a fraction of the memory."""
    augmentation: str = "none"
    """none, or diffaugment: colour, translation and cutout of all that the discriminator sees, for
    data sets of fewer than about twenty thousand pictures (starganv2, fast)."""
    crop_probability: float = 0.5
    """Share of pictures that are randomly cropped (scale 0.8 to 1, ratio 0.9 to 1.1)."""
    learning_rate: float = 1e-4
    swin_learning_rate: float = 0.5
    """Learning rate of Swin blocks as a share of the others'; their biases, norms and position
    biases are never decayed."""
    swin_weights: str = ""
    """File or folder with ImageNet weights of a Swin Transformer to start from."""
    swin_warmup_pictures: int = 8000
    """Pictures over which the learning rate of Swin blocks rises linearly from zero."""
    mapping_learning_rate: float = 1e-6
    matching_steps: int = 0
    """Steps, when the run has ended, that match latent codes to the styles of all pictures; they
    train the mapping network of the finished model alone (lean)."""
    beta1: float = 0.0
    beta2: float = 0.99
    weight_decay: float = 1e-4
    gradient_clip: float = 0.0
    """Largest norm of the gradient in the phases that train the generator; 0 leaves it as it is."""
    decay_from: float = 1.0
    """Share of the run after which the learning rates fall linearly to zero."""
    r1: float = 1.0
    """Weight of the R1 penalty; 0 for none (starganv2, fast)."""
    r1_interval: int = 0
    """Iterations from one R1 penalty to the next, which then weighs that many times more; 0: every
    iteration (starganv2), every 16th (fast)."""
    branches: str = "alternate"
    """Whether an iteration of the fast recipe takes its styles from latent codes or references
    (alternate, see ``reference_share``), or goes through both."""
    weights: LossWeights = field(default_factory=LossWeights)
    late_weights: LossWeights | None = None
    """Weights from the share ``late_from`` of the run on."""
    late_from: float = 0.67
    diversity_until: float = 1.0
    """Share of the run after which the diversity weight has decayed linearly to zero."""
    reference_share: float = 0.6
    """Share of steps whose styles come from references; the others from latent codes (lean, fast,
    distil)."""
    warmup_pictures: int = 0
    """Pictures at the start of pure reconstruction (lean), or of imitation without a discriminator
    (distil)."""
    outermost_pictures: int = 0
    """Pictures at the start, warm-up or not, that train only the generator's outermost layers, at
    the pictures' own resolution, which are new if it starts from one of half the size (lean)."""
    cycle_interval: int = 2
    """One of so many fakes goes round the cycle; each source has two (lean)."""
    content_target: float = 0.5
    """Correlation with the source below which the content term acts (fast, lean)."""
    ema: float = 0.999
    """Share of the moving average that stays at each iteration."""
    ema_rampup: bool = False
    """Start with a shorter memory: at iteration i at most (1 + i) / (10 + i); with a half-life, one
    of at most a twentieth of the pictures seen."""
    ema_half_life: int = 0
    """Half-life of the moving average in pictures, whatever the batch size (Karras et al. 2020), in
    place of ``ema``; 0 for ``ema``."""
    log_every: int = 800
    sample_every: int = 40_000
    checkpoint_every: int = 80_000
    evaluate_every: int = 0
    """Pictures between evaluations by the light protocol, which are logged; 0 for none."""
    keep_checkpoints: int = 2
    """How many checkpoints stay, the newest; older ones are removed when one is written."""
    on_unreadable: str = "refuse"
    """refuse or skip pictures that cannot be read."""
    max_bad_steps: int = 20
    """Iterations in a row with a non-finite loss or gradient after which the run stops."""

    def resolved(self) -> TrainingConfig:
        """The same with a resolved network; raises UserError with all problems together."""
        check(self.problems(), "training options")
        return dataclasses.replace(self, network=self.network.resolved())

    @property
    def penalty_interval(self) -> int:
        """``r1_interval``, or the recipe's own."""
        return self.r1_interval or (FAST_R1_INTERVAL if self.recipe == "fast" else 1)

    def asks_for(self, loss: str) -> bool:
        """Whether a loss has a weight at any time of the run."""
        return any(getattr(w, loss) for w in (self.weights, self.late_weights) if w is not None)

    def problems(self) -> list[str]:
        """Every reason why this run cannot start, as sentences."""
        found = self.network.problems()
        if wrong_types := type_problems(self):
            return found + wrong_types
        found += choice_problems(self, "recipe", RECIPES)
        found += choice_problems(self, "precision", PRECISIONS)
        found += choice_problems(self, "on_unreadable", ("refuse", "skip"))
        found += choice_problems(self, "branches", BRANCHES)
        found += choice_problems(self, "augmentation", AUGMENTATIONS)
        for name, low, high in (
            ("pictures", 1, 10**12),
            ("batch_size", 1, 65536),
            ("seed", 0, 2**63 - 1),
            ("processes", 0, 1024),
            ("log_every", 1, 10**12),
            ("sample_every", 1, 10**12),
            ("checkpoint_every", 1, 10**12),
            ("evaluate_every", 0, 10**12),
            ("keep_checkpoints", 1, 10**6),
            ("max_bad_steps", 1, 10**9),
            ("warmup_pictures", 0, 10**12),
            ("outermost_pictures", 0, 10**12),
            ("matching_steps", 0, 10**6),
            ("crop_probability", 0, 1),
            ("learning_rate", 0, 1),
            ("swin_learning_rate", 0, 100),
            ("swin_warmup_pictures", 0, 10**12),
            ("mapping_learning_rate", 0, 1),
            ("beta1", 0, 0.9999),
            ("beta2", 0, 0.999999),
            ("weight_decay", 0, 1),
            ("gradient_clip", 0, 1e6),
            ("decay_from", 0, 1),
            ("late_from", 0, 1),
            ("diversity_until", 0.001, 1),
            ("reference_share", 0, 1),
            ("cycle_interval", 1, 64),
            ("content_target", -1, 1),
            ("ema", 0, 0.999999),
            ("ema_half_life", 0, 10**12),
            ("r1", 0, 1e6),
            ("r1_interval", 0, 10**6),
            ("accumulate", 1, 65536),
        ):
            found += range_problems(self, name, low, high)
        return found + self._evaluation_problems() + self._recipe_problems()

    def _evaluation_problems(self) -> list[str]:
        found = []
        if self.evaluate_every and not self.samples_from:
            found.append("evaluate_every needs samples_from: pictures that training does not see")
        if self.log_every > 0 and self.evaluate_every % self.log_every:
            found.append(f"evaluate_every must be a multiple of log_every ({self.log_every})")
        return found

    def _recipe_problems(self) -> list[str]:
        found = ignored_problems(self) if self.recipe in RECIPES else []
        network = self.network
        if self.recipe in ("lean", "distil"):
            if network.discriminator != "projected":
                found.append(f"the {self.recipe} recipe needs discriminator = projected")
        elif network.discriminator != "resnet":
            found.append(f"the {self.recipe} recipe needs discriminator = resnet (R1 on pixels)")
        if self.recipe == "lean":
            if self.batch_size % 2:
                found.append("batch_size must be even: the lean recipe uses each source twice")
            if self.batch_size // (max(self.processes, 1) * self.accumulate) < self.cycle_interval:
                found.append("cycle_interval is larger than the share of a batch")
            if self.outermost_pictures and network.generator == "projected":
                found.append("outermost_pictures: a projected generator cannot grow")
            if bool(self.guide) != self.asks_for("guide"):
                found.append("guide and weights.guide need each other")
            if self.guided_domains and not self.guide:
                found.append("guided_domains need a guide")
            if self.asks_for("landmarks") and network.feature_size != POINTS_FEATURE_SIZE:
                found.append(f"weights.landmarks need feature_size = {POINTS_FEATURE_SIZE}")
        if self.recipe == "distil" and not self.teacher:
            found.append("the distil recipe needs a teacher")
        if self.teacher and self.init:
            found.append("init and teacher exclude each other")
        if self.init and self.swin_weights:
            found.append("init and swin_weights exclude each other: a model brings its own weights")
        if network.skips == "masked" and self.recipe not in ("starganv2", "distil"):
            found.append(f"the {self.recipe} recipe has no masks: skips = masked need starganv2")
        samples = self.batch_size // (2 if self.recipe == "lean" else 1)
        shares = max(self.processes, 1) * self.accumulate
        if samples % shares:
            found.append(
                f"{samples} sources a batch cannot be divided evenly by {shares} "
                "(processes times accumulate)"
            )
        return found
