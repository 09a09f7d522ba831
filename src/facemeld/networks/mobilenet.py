"""MobileNetV2 (Sandler et al. 2018), frozen: features for measuring, never for training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

# expansion, channels out, blocks, stride of each stage
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _unit(inputs: int, outputs: int, kernel: int, stride: int, groups: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = [_unit(inputs, hidden, 1, 1, 1)] if expansion > 1 else []
        layers += [
            _unit(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2Features(nn.Module):
    """The last block's 320 maps, averaged over the pixels. Names are torchvision's.

    Pictures are resized to ``input_size`` (bilinear) and normalised as ImageNet.
    """

    size = 320
    _LAYOUT = 6  # the last block of stride 8
    input_size = 128

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [_unit(3, 32, 3, 2, 1)]
        inputs = 32
        for expansion, outputs, repeats, stride in _STAGES:
            for i in range(repeats):
                blocks.append(_Block(inputs, outputs, expansion, stride if i == 0 else 1))
                inputs = outputs
        self.features = nn.ModuleList(blocks)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[:, None, None])
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225])[:, None, None])
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """B 3 H W in [-1, 1] -> B 320."""
        return self.with_layout(pictures)[0]

    def with_layout(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """B 3 H W in [-1, 1] -> B 320, and B 32 16 16: a map that still knows where things are."""
        side = (self.input_size, self.input_size)
        x = F.interpolate(pictures.clamp(-1, 1), size=side, mode="bilinear")
        x = ((x + 1) / 2 - self.mean) / self.deviation
        x = x.contiguous(memory_format=torch.channels_last)
        for index, block in enumerate(self.features):
            x = block(x)
            if index == self._LAYOUT:
                layout = x
        return x.mean(dim=(2, 3)), layout

    def load_published(self, weights: dict[str, Tensor]) -> None:
        """Loads torchvision's ``mobilenet_v2`` state dict, folding batch norms into convolutions.

        The classifier's part is not needed. Possible once.
        """
        mine = self.state_dict()
        kept = {name: value for name, value in weights.items() if name in mine}
        self.load_state_dict(kept | {n: mine[n] for n in ("mean", "deviation")})
        for part in [m for m in self.modules() if isinstance(m, nn.Sequential)]:
            for index in range(1, len(part)):
                if isinstance(part[index], nn.BatchNorm2d):
                    part[index - 1] = fuse_conv_bn_eval(part[index - 1], part[index])
                    part[index] = nn.Identity()
        self.requires_grad_(False)  # the folded weights are new
