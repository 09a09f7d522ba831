"""The networks that judge, with their published weights, through the catalogue."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from facemeld.data.catalogue import WEIGHTS, find_weights
from facemeld.evaluation.plan import INCEPTION, PERCEPTUAL, first_weights
from facemeld.networks.head_geometry import HeadGeometryNetwork
from facemeld.networks.inception import InceptionFeatures
from facemeld.networks.lpips import LPIPS
from facemeld.networks.mobilenet import MobileNetV2Features

_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
_ARRAYS = ("_reconstruct", "ndarray", "dtype")


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
