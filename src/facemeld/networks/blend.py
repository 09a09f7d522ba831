"""Models made of models without training: averages, domains told further apart or spread out."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from facemeld.errors import UserError, did_you_mean
from facemeld.networks.bundle import Networks
from facemeld.networks.style_encoder import ProjectedStyleEncoder
from facemeld.networks.transfer import take_over

RELATED = "take a model and one that was trained on from it, or two that were from a third"


def average(before: Networks, after: Networks, share: float) -> Networks:
    """Changes ``after`` to the average of both (Wortsman et al. 2022, "Model soups").

    Heads are matched by the names of their domains: one that only ``after`` knows stays as it is
    there, one that only ``before`` knows is left out.

    Args:
        before, after: one trained on from the other, or both from a third; else the average is of
            nothing.
        share: of ``after``, 0 to 1.

    Raises:
        UserError: they differ in their networks or in all domains, or the share is not one.
    """
    if not 0 <= share <= 1:
        raise UserError(f"a share is between 0 and 1, not {share}")
    if not set(before.config.domains) & set(after.config.domains):
        raise UserError("the models have no domain in common", fix=RELATED)
    start = copy.deepcopy(after)
    for name, part in before.named_children():
        domains = before.config.domains, after.config.domains
        if problem := take_over(part.state_dict(), getattr(start, name), *domains):
            raise UserError(
                f"only models of the same networks can be averaged: {name}: {problem}",
                fix=RELATED,
            )
    weights = start.state_dict()
    for name, value in after.state_dict().items():
        value.copy_(torch.lerp(weights[name], value, share))
    return after


@torch.no_grad()
def move_away(
    networks: Networks,
    pictures: dict[str, Tensor],
    latents: Tensor,
    *,
    domain: str,
    other: str,
    by: float,
) -> None:
    """Makes results of a domain less like those of another one, with their sources as they are.

    Its styles go on along the line from the other's mean style to its own. Only the last biases of
    style encoder and mapping network change.

    Args:
        networks: with a projected style encoder, whose styles are of unit length.
        pictures: of both domains, N 3 H W in [-1, 1].
        latents: N Z, to measure the mapping network by.
        domain, other: names.
        by: times the distance of their means.

    Raises:
        UserError: another style encoder, or an unknown domain.
    """
    means, lengths = {}, {}
    for name in (domain, other):
        means[name], lengths[name] = _middle(networks, pictures, name)
    encoder, mapping = networks.style_encoder, networks.mapping_network
    own = networks.config.domains.index(domain)
    way = by * (means[domain] - means[other])
    mapped = mapping.unscaled(latents)[:, own].float().norm(dim=1)
    encoder.heads.bias.unflatten(0, (encoder.domains, -1))[own] += way * lengths[domain]
    mapping.heads[-1].bias[own] += way * mapped.mean()


@torch.no_grad()
def spread_out(networks: Networks, pictures: dict[str, Tensor], *, domain: str, by: float) -> None:
    """Makes results of a domain differ more from each other, as their references do.

    Its styles lie ``by`` times as far from their mean; where they lie on their sphere makes that a
    little less. Only the style encoder changes: codes are to be matched to it
    (``training.matching``).

    Args:
        networks: with a projected style encoder, whose styles are of unit length.
        pictures: of the domain, among others, N 3 H W in [-1, 1].
        domain: its name.
        by: 1 leaves all as it is.

    Raises:
        UserError: another style encoder, or an unknown domain.
    """
    mean, length = _middle(networks, pictures, domain)
    encoder, own = networks.style_encoder, networks.config.domains.index(domain)
    encoder.heads.weight.unflatten(0, (encoder.domains, -1))[own] *= by
    bias = encoder.heads.bias.unflatten(0, (encoder.domains, -1))[own]
    bias.mul_(by).add_(mean, alpha=(1 - by) * float(length))


def _middle(networks: Networks, pictures: dict[str, Tensor], domain: str) -> tuple[Tensor, Tensor]:
    """Mean style of a domain, each brought to length 1, and the mean length. -> S, a number"""
    encoder, domains = networks.style_encoder, networks.config.domains
    if not isinstance(encoder, ProjectedStyleEncoder):
        raise UserError("styles are moved in models with style_encoder = projected only")
    if domain not in domains:
        raise UserError(f"no domain '{domain}' in this model", fix=did_you_mean(domain, domains))
    shown = pictures[domain]
    statistics = encoder.statistics(encoder.features(shown), shown)
    styles = encoder.unscaled(encoder.standardise(statistics))[:, domains.index(domain)].float()
    lengths = styles.norm(dim=1, keepdim=True)
    return (styles / lengths).mean(dim=0), lengths.mean()
