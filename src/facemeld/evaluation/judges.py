"""The networks that judge, with their published weights, through the catalogue."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from facemeld.data.catalogue import WEIGHTS, find_weights
from facemeld.evaluation.compiled import Compiled, compiled_layouts, compiled_maps
from facemeld.evaluation.plan import INCEPTION, INCEPTION_OF, PERCEPTUAL, first_weights
from facemeld.networks.head_geometry import HeadGeometryNetwork
from facemeld.networks.inception import InceptionFeatures
from facemeld.networks.lpips import LPIPS
from facemeld.networks.mobilenet import MobileNetV2Features

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
_ARRAYS = ("_reconstruct", "ndarray", "dtype")


class Judges:
    """Everything that looks at the pictures of ``clean`` and ``starganv2``.

    Args:
        inception: features of the distances.
        lpips: of diversity, reconstruction and smoothness.
        light: features and layouts of the fusion scores; None where only distances are wanted.
        head: pose and landmarks of people.
    """

    def __init__(
        self,
        inception: InceptionFeatures,
        lpips: LPIPS,
        light: MobileNetV2Features | None = None,
        head: HeadGeometryNetwork | None = None,
    ) -> None:
        self.inception, self.lpips, self.light, self.head = inception, lpips, light, head
        self.inception_features: Callable[[Tensor], Tensor] = inception.features
        self.maps: Callable[[Tensor], list[Tensor]] = lpips.maps
        self.look: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
        if light is not None:
            self.look = light.with_layout

    def compile(self, image_size: int) -> None:
        """Lets OpenVINO compute what is asked of every fake; pictures have this size."""
        side = self.inception.input_size
        run = Compiled(self.inception, torch.zeros(1, 3, side, side))
        self.inception_features = lambda levels: run(self.inception.prepared(levels))
        self.maps = compiled_maps(self.lpips, image_size)
        if self.light is not None:
            self.look = compiled_layouts(self.light, image_size)


def load_judges(
    protocol: str,
    device: torch.device | str,
    weights_dir: str | Path | None = None,
    *,
    fusion: bool = True,
    heads: bool = False,
) -> Judges:
    """The judges of ``clean`` or ``starganv2``.

    Args:
        protocol: which it is.
        device: where they look at pictures.
        weights_dir: where to look first for weights.
        fusion: with those of the fusion scores.
        heads: and of pose and landmarks of people.

    Raises:
        UserError: missing weights.
    """
    return Judges(
        load_inception(INCEPTION_OF[protocol], device, weights_dir)[0],
        load_lpips(device, weights_dir)[0],
        load_mobilenet(device, weights_dir)[0] if fusion else None,
        load_head_geometry(device, weights_dir)[0] if fusion and heads else None,
    )


def load_inception(
    kind: str, device: torch.device | str, weights_dir: str | Path | None = None
) -> tuple[InceptionFeatures, str]:
    """The feature network of FID (``fid``) or of the paper (``torchvision``), and its SHA-256."""
    with torch.device("meta"):  # its own initialisation is not needed
        network = InceptionFeatures(kind)
    network = network.to_empty(device="cpu").to(memory_format=torch.channels_last)
    name, path = first_weights(INCEPTION[kind], weights_dir)
    if name == "inception-2015-torchscript":
        # runs no code of the file, whose bytes are known: only its tensors are asked for
        network.load_execution_order(torch.jit.load(path, map_location="cpu").state_dict())
    else:
        network.load_published(_tensors(path))
    return network.to(device), WEIGHTS[name].sha256


def load_lpips(
    device: torch.device | str, weights_dir: str | Path | None = None
) -> tuple[LPIPS, str]:
    """LPIPS on AlexNet, and the SHA-256 of its file of weights."""
    network = LPIPS()
    name, path = first_weights(PERCEPTUAL, weights_dir)
    if name == "lpips-alexnet":
        network.load_published(_tensors(find_weights("alexnet", weights_dir)), _tensors(path))
    else:
        with path.open("rb") as file:
            network.load_flax(_ArraysOnly(file).load())
    return network.to(device), WEIGHTS[name].sha256


def load_mobilenet(
    device: torch.device | str, weights_dir: str | Path | None = None
) -> tuple[MobileNetV2Features, str]:
    """The light feature network, and the SHA-256 of its weights."""
    network = MobileNetV2Features()
    network.load_published(_tensors(find_weights("mobilenet-v2", weights_dir)))
    return network.to(device), WEIGHTS["mobilenet-v2"].sha256


def load_head_geometry(
    device: torch.device | str, weights_dir: str | Path | None = None
) -> tuple[HeadGeometryNetwork, str]:
    """The network of head pose and landmarks, and the SHA-256 of its weights."""
    network = HeadGeometryNetwork()
    network.load_published(_tensors(find_weights("head-pose", weights_dir))["state_dict"])
    return network.to(device), WEIGHTS["head-pose"].sha256


def _tensors(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=True)


class _ArraysOnly(pickle.Unpickler):
    """Reads pickled NumPy arrays and nothing else."""

    def find_class(self, module: str, name: str):
        if module in _NUMPY and name in _ARRAYS:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")
