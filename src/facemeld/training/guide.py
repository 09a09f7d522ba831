"""A trained model that shows roughly what is wanted, where a run does not find it alone.

A guide paints the same sources in the looks of the same references, at its own size; results made
as small should resemble its own. Above that size they are free, so the guide may be a model for
smaller pictures, and what is finer comes from the run's other losses.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from facemeld.config import TrainingConfig
from facemeld.errors import UserError, did_you_mean
from facemeld.evaluation.plan import hash_model
from facemeld.networks.bundle import Networks, load_model
from facemeld.networks.model_folder import find_model, read_network_config


def check_guide(config: TrainingConfig) -> None:
    """Refuses a guide that cannot show what ``config.guided_domains`` look like; loads no weights.

    Args:
        config: the run, with the domains of its network.

    Raises:
        UserError: no such model, larger pictures or masks, or a domain that it or the run lacks.
    """
    network, where = read_network_config(find_model(config.guide)), config.guide
    if network.image_size > config.network.image_size:
        raise UserError(
            f"the guide's pictures have {network.image_size} px, "
            f"more than this run's {config.network.image_size}",
            where=where,
        )
    if network.skips == "masked":
        raise UserError("a guide cannot have masked skips", where=where)
    for known, whose in ((network.domains, "the guide"), (config.network.domains, "this run")):
        for domain in config.guided_domains:
            if domain not in known:
                told = did_you_mean(domain, known)
                raise UserError(f"{whose} has no domain named '{domain}': {told}", where=where)
    if not config.guided_domains and not set(network.domains) & set(config.network.domains):
        told = ", ".join(network.domains)
        raise UserError(f"the guide knows none of this run's domains, but {told}", where=where)


class Guide:
    """The loss of what differs from the guide's results.

    Args:
        networks: the guide's; nothing of them learns.
        domains: those of the run, in its order.
        guided: those of them that the guide shows; all that it knows if empty.
        sha256: of its weights.
    """

    def __init__(
        self,
        networks: Networks,
        domains: tuple[str, ...],
        guided: tuple[str, ...] = (),
        sha256: str = "",
    ) -> None:
        self.sha256 = sha256
        self.networks = networks.eval().requires_grad_(False)
        theirs = networks.config.domains
        wanted = guided or theirs
        # of each domain of the run, its number in the guide, or -1
        self.number = torch.tensor([theirs.index(d) if d in wanted else -1 for d in domains])

    def check_same(self, sha256: str | None) -> None:
        """Raises a UserError if an earlier session of the run had other weights to go by.

        Args:
            sha256: what that session knew; None if it had no guide, as before a branch.
        """
        if sha256 not in (None, self.sha256):
            raise UserError(
                "the run began with another guide",
                where="guide",
                fix="name that one, or train into another folder",
            )

    def loss(self, sources: Tensor, references: Tensor, fakes: Tensor, targets: Tensor) -> Tensor:
        """L1 between fakes and the guide's results at the guide's size, 0 for unguided ones.

        Args:
            sources: n 3 H W in [-1, 1].
            references: 2n 3 H W, two for each source.
            fakes: 2n 3 H W, the run's results.
            targets: 2n int64, domains of the references.

        Returns:
            The mean over all fakes.
        """
        domains = self.number.to(targets.device)[targets]
        rows = (domains >= 0).nonzero().flatten()
        if not len(rows):
            return fakes.new_zeros(())
        with torch.no_grad():
            styles = self.networks.style_encoder(self._reduced(references[rows]), domains[rows])
            wanted = self.networks.generator(self._reduced(sources[rows // 2]), styles)
        off = (self._reduced(fakes[rows]).float() - wanted.float()).abs()
        return off.mean() * (len(rows) / len(fakes))

    def _reduced(self, pictures: Tensor) -> Tensor:
        """At the guide's size, by averages over areas."""
        size = self.networks.config.image_size
        return F.adaptive_avg_pool2d(pictures, size)


def load_guide(config: TrainingConfig, device: torch.device) -> Guide:
    """The guide that a run names."""
    folder = find_model(config.guide)
    networks = load_model(folder, device=device).to(memory_format=torch.channels_last)
    domains = (config.network.domains, config.guided_domains)
    return Guide(networks, *domains, sha256=hash_model(folder))
