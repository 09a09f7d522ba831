"""Steps whose loss or gradient is not a number are left out, counted, and end the run in time.

Judging costs one norm of the gradients and no wait for the device: the verdict stays there, where
the fused optimisers read it, and reaches this side one iteration later.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from facemeld.errors import UserError
from facemeld.training import checkpoint


class StepGuard:
    """Judges every optimiser step; see ``step``.

    Nothing is zeroed or replaced: a step with a non-finite loss or gradient leaves weights and
    optimiser as they were, and is counted. All processes judge the same averaged numbers, hence
    alike.

    Args:
        device: where the gradients are.
        left_out: iterations so far with a step that was left out, from a checkpoint.
        in_a_row: those of them just before this session.
    """

    def __init__(self, device: torch.device, *, left_out: int = 0, in_a_row: int = 0) -> None:
        self.counts = torch.tensor([left_out, in_a_row], device=device)
        self.bad = torch.zeros((), device=device)  # 1 if this iteration left a step out
        self._arriving = self.counts.cpu()
        self._arrived: torch.cuda.Event | None = None

    def step(self, optimizers: list[torch.optim.Optimizer], loss: Tensor, norm: Tensor) -> None:
        """Steps the fused optimisers if the loss and the norm of all gradients are finite."""
        bad = (~torch.isfinite(loss + norm)).to(torch.float)  # the kernels read it as fp32
        for optimizer in optimizers:
            optimizer.found_inf = bad  # what torch.amp.GradScaler sets, too
            optimizer.step()
        self.bad = torch.maximum(self.bad, bad)

    def end_iteration(self) -> int:
        """Counts; returns how many iterations in a row were bad: on a GPU, up to the last one."""
        left_out, in_a_row = self.counts.unbind()
        bad = self.bad.long()
        self.counts = torch.stack([left_out + bad, (in_a_row + 1) * bad])
        self.bad = torch.zeros_like(self.bad)
        if self._arrived is not None:
            self._arrived.synchronize()
        arrived, self._arriving = self._arriving, self.counts.to("cpu", non_blocking=True)
        if self.counts.is_cuda:
            self._arrived = torch.cuda.Event()
            self._arrived.record()
            return int(arrived[1])
        return int(self._arriving[1])

    def facts(self) -> dict[str, int]:
        """The arguments that make an equal guard, for a checkpoint."""
        left_out, in_a_row = self.counts.tolist()
        return {"left_out": left_out, "in_a_row": in_a_row}


def not_finite(in_a_row: int, checkpoints: Path) -> UserError:
    """What ends a run whose numbers are past mending; names the last good checkpoint."""
    good = checkpoint.last_good(checkpoints)
    hint = f", from there: --resume {good}" if good else ""
    return UserError(
        f"{in_a_row} iterations in a row had a loss or gradient that is not finite; their "
        "steps were left out",
        where=f"last good checkpoint: {good}" if good else "there is no good checkpoint",
        fix=f"train into another folder with a lower learning rate or precision fp32{hint}",
    )
