"""Scores of fusion itself, one value a fake; docs/evaluation.md defines them and their limits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from facemeld.evaluation.structure import luminance_structure, self_similarity


def structure_kept(fakes: Tensor, sources: Tensor) -> Tensor:
    """Correlation of luminance gradients at 16 px with the source's. B C H W twice -> B"""
    return (luminance_structure(fakes) * luminance_structure(sources)).sum(dim=1)


def likeness(fakes: Tensor, rows: Tensor, references: Tensor) -> Tensor:
    """How much nearer a fake is to its own reference than to other faces of that domain.

    1 - (feature distance to the own reference) / (mean one to all others): 1 is the reference
    itself, 0 no nearer than to any other, below 0 farther.

    Args:
        fakes: B F, features of the fakes.
        rows: B int64, which reference each one was made from.
        references: R F, features of all references of the domain; at least 2.
    """
    gaps = torch.cdist(fakes.double(), references.double())
    own = gaps.gather(1, rows[:, None]).squeeze(1)
    others = (gaps.sum(dim=1) - own) / (len(references) - 1)
    return (1 - own / others.clamp(min=1e-12)).float()


def nearer_to_own(fakes: Tensor, rows: Tensor, references: Tensor) -> Tensor:
    """How probably a fake is nearer to its own reference than to a random other one.

    1/2 is chance: what fakes get that follow no reference. Arguments as of ``likeness``. -> B
    """
    gaps = torch.cdist(fakes.double(), references.double())
    own = gaps.gather(1, rows[:, None])
    return ((gaps > own).sum(dim=1) / (len(references) - 1)).float()


def layout_of(maps: Tensor) -> Tensor:
    """Unit vectors of which places of a map resemble which, whatever the colours. B C H W -> B P"""
    similar = self_similarity(maps).flatten(1)
    return similar / maps.shape[-2:].numel() ** 0.5


def layout_kept(fakes: Tensor, sources: Tensor, others: Tensor, different: Tensor) -> Tensor:
    """How much nearer a fake's layout is to its own source's than to other sources'.

    1 - (distance to the own source) / (mean one to the others), distance being 1 - correlation: 1
    is the source itself, 0 no nearer than to any other.

    Args:
        fakes: B P, layouts of the fakes; see ``layout_of``.
        sources: B P, those of their sources.
        others: N P, those that are compared with.
        different: B N bool, whether that one is of another picture than the source.

    Returns:
        B; nan where there is no other source.
    """
    to_own = 1 - (fakes * sources).sum(dim=1)
    to_others = ((1 - fakes @ others.T) * different).sum(dim=1) / different.sum(dim=1)
    return 1 - to_own / to_others


def evenness(steps: Tensor) -> Tensor:
    """Mean step over largest step of paths: 1 is an even path, 1 / T a single jump. B T -> B

    nan where a path does not move at all.
    """
    largest = steps.amax(dim=1)
    return torch.where(largest > 0, steps.mean(dim=1) / largest, torch.nan)


class DomainClassifier:
    """Logistic regression on frozen features that no training uses; fitted without randomness.

    Args:
        features: N F of real pictures.
        labels: N int64.
        domains: number of classes; all weigh the same.
    """

    PENALTY = 1e-3

    def __init__(self, features: Tensor, labels: Tensor, domains: int) -> None:
        features = features.double()
        self.mean = features.mean(dim=0)
        self.deviation = features.std(dim=0).clamp(min=1e-6)
        standard = self._standard(features)
        self.weight = torch.zeros(domains, features.shape[1], dtype=torch.float64)
        self.bias = torch.zeros(domains, dtype=torch.float64)
        self.weight, self.bias = self.weight.to(features.device), self.bias.to(features.device)
        balance = 1 / torch.bincount(labels, minlength=domains).double().clamp(min=1)
        optimizer = torch.optim.LBFGS(
            [self.weight.requires_grad_(), self.bias.requires_grad_()],
            max_iter=100,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            scores = F.linear(standard, self.weight, self.bias)
            value = F.cross_entropy(scores, labels, weight=balance)
            value = value + self.PENALTY * self.weight.square().sum()
            value.backward()
            return value

        with torch.enable_grad():
            optimizer.step(loss)
        self.weight, self.bias = self.weight.detach(), self.bias.detach()

    def probabilities(self, features: Tensor) -> Tensor:
        """B F -> B domains, float32."""
        scores = F.linear(self._standard(features.double()), self.weight, self.bias)
        return scores.softmax(dim=1).float()

    def _standard(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.deviation
