"""Compares features and distances with torch-fidelity, lpips and the official StarGAN v2 code.

    python -m venv peers && peers/bin/pip install torch torchvision torch-fidelity lpips scipy -e .
    git clone https://github.com/clovaai/stargan-v2
    peers/bin/python benchmarks/parity_metrics.py --peer stargan-v2 --weights-dir WEIGHTS

prints one line a comparison, and exits with 1 if FID or KID differ by more than 1e-3 relative or
LPIPS by more than 1e-5. Architectures are compared under weights drawn from a seed, and under the
published ones that WEIGHTS or an installed package holds. ``--fixture FILE`` writes what the peers
gave for the drawn ones, for tests/evaluation.

The peers' code stays where it is installed; the official one is CC BY-NC 4.0. Of it only
metrics/fid.py and metrics/lpips.py are run, with nothing downloaded.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import types
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facemeld.evaluation.distances import FeatureSet, frechet_distance, kernel_distance
from facemeld.evaluation.judges import load_inception, load_lpips
from facemeld.networks.inception import InceptionFeatures
from facemeld.networks.lpips import LPIPS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import generated_weights as drawn  # noqa: E402

SHOWN = 8  # features of each picture in the fixture
SETS = ((1, 150), (2, 120))  # seed and rows of the features that distances are compared on


def torch_fidelity_network(weights: dict[str, Tensor]):
    """torch-fidelity's Inception under a state dict in torchvision's names."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    classifier = {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save(weights | classifier, file.name)
        return FeatureExtractorInceptionV3(
            "peer", ["2048"], feature_extractor_weights_path=file.name
        )


def official_module(checkout: Path, name: str) -> types.ModuleType:
    """metrics/NAME.py of the official code; its data loader is not needed."""
    stub = types.ModuleType("core.data_loader")
    stub.get_eval_loader = None
    sys.modules |= {"core": types.ModuleType("core"), "core.data_loader": stub}
    spec = importlib.util.spec_from_file_location(name, checkout / "metrics" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def official_inception(checkout: Path, weights: dict[str, Tensor]) -> torch.nn.Module:
    """The official feature network; where it would download weights it is given these."""
    import torchvision

    fid = official_module(checkout, "fid")
    network = torchvision.models.inception_v3(weights=None, init_weights=False)
    missing = network.load_state_dict(weights, strict=False).missing_keys
    assert all(n.startswith(("AuxLogits", "fc")) or "num_batches" in n for n in missing), missing
    fid.models = types.SimpleNamespace(inception_v3=lambda pretrained: network)
    return fid.InceptionV3().eval()


def official_pixels(pixels: Tensor) -> Tensor:
    """What the official evaluation makes of a saved picture before its network."""
    from PIL import Image
    from torchvision import transforms

    prepare = transforms.Compose(
        [
            transforms.Resize([299, 299]),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
    return torch.stack([prepare(Image.fromarray(p.permute(1, 2, 0).numpy())) for p in pixels])


def lpips_network(alexnet: dict[str, Tensor], heads: dict[str, Tensor]) -> torch.nn.Module:
    """The lpips package's network under these weights."""
    import lpips

    network = lpips.LPIPS(net="alex", pnet_rand=True, pretrained=False, verbose=False)
    parts = list(network.net.children())[:5]
    own = {f"features.{n}": layer for part in parts for n, layer in part.named_children()}
    for name, layer in own.items():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data.copy_(alexnet[f"{name}.weight"])
            layer.bias.data.copy_(alexnet[f"{name}.bias"])
    network.load_state_dict(heads, strict=False)
    return network.eval()


def peer_distances(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """torch-fidelity's FID, and its KID over the largest subset of both."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = torch.from_numpy(a), torch.from_numpy(b)
    fid = fid_statistics_to_metric(
        fid_features_to_statistics(a), fid_features_to_statistics(b), verbose=False
    )
    size = min(len(a), len(b))
    kid = kid_features_to_metric(
        a[:size], b[:size], kid_subsets=2, kid_subset_size=size, verbose=False
    )
    return {
        "fid": fid["frechet_inception_distance"],
        "kid": kid["kernel_inception_distance_mean"],
    }


def own_distances(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    size = min(len(a), len(b))
    random = np.random.default_rng(0)
    kid, _ = kernel_distance(FeatureSet(a[:size]), FeatureSet(b[:size]), random, subsets=2)
    return {"fid": frechet_distance(a, b), "kid": kid}


class Comparison:
    """Prints differences and remembers whether one is too large."""

    def __init__(self) -> None:
        self.failed = False

    def __call__(self, what: str, own, peer, tolerance: float, *, relative: bool = True) -> None:
        own, peer = np.asarray(own, np.float64), np.asarray(peer, np.float64)
        gap = float(np.abs(own - peer).max())
        if relative:
            gap /= float(np.abs(peer).max())
        told = "passes" if gap <= tolerance else "FAILS"
        self.failed |= gap > tolerance
        kind = "relative" if relative else "absolute"
        print(f"{what}: {gap:.1e} {kind}, {told} ({tolerance:.0e})", flush=True)


@torch.no_grad()
def drawn_weights(checkout: Path, compare: Comparison) -> dict:
    """Every architecture under drawn weights; returns what the peers gave."""
    weights, pictures = drawn.inception(0), drawn.pixels(3, 2, 299)
    peer = torch_fidelity_network(weights)(pictures)[0].numpy()
    own = InceptionFeatures("fid")
    own.load_published(weights)
    compare("Inception as torch-fidelity's, 299 px", own.features(pictures), peer, 1e-4)
    found = {"fid_inception": peer[:, :SHOWN].tolist()}

    small = drawn.pixels(4, 2, 64)
    peer = official_inception(checkout, weights)(official_pixels(small)).numpy()
    own = InceptionFeatures("torchvision")
    own.load_published(weights)
    compare("Inception as the official code's, 64 px", own.features(small), peer, 1e-2)
    found["torchvision_inception"] = peer[:, :SHOWN].tolist()

    alexnet, heads = drawn.alexnet(5), drawn.lpips_heads(6)
    pairs = drawn.pixels(7, 4, 64).float() / 127.5 - 1
    peer = lpips_network(alexnet, heads)(pairs[:2], pairs[2:]).flatten().numpy()
    own = LPIPS()
    own.load_published(alexnet, heads)
    compare("LPIPS as lpips', 64 px", own(pairs[:2], pairs[2:]), peer, 1e-5)
    found["lpips"] = peer.tolist()

    a, b = (drawn.features(seed, rows, 64) for seed, rows in SETS)
    found["distances"] = peer_distances(a, b)
    for name, value in own_distances(a, b).items():
        compare(
            f"{name} as torch-fidelity's, drawn features", value, found["distances"][name], 1e-3
        )
    return found


@torch.no_grad()
def published_weights(weights_dir: Path | None, compare: Comparison, count: int) -> None:
    """FID, KID and LPIPS of drawn pictures under the published weights."""
    own, _ = load_inception("fid", "cpu", weights_dir)
    state = {}
    for name, unit in own._units():  # folded: the norm's scale is 1 and its mean 0
        width, one = len(unit.bias), 1 - 1e-3
        state[f"{name}.conv.weight"], state[f"{name}.bn.bias"] = unit.weight, unit.bias
        state[f"{name}.bn.weight"] = torch.ones(width)
        state[f"{name}.bn.running_mean"] = torch.zeros(width)
        state[f"{name}.bn.running_var"] = torch.full((width,), one)
    peer = torch_fidelity_network(state)
    sets = []
    for seed in (21, 22):
        pictures = drawn.pixels(seed, count, 299)
        pictures = pictures if seed == 21 else pictures.roll(1, dims=1) // 2 + 60
        parts = pictures.split(10)
        sets.append([np.concatenate([own.features(p).numpy() for p in parts])])
        sets[-1].append(np.concatenate([peer(p)[0].numpy() for p in parts]))
    ours = own_distances(sets[0][0], sets[1][0])
    theirs = peer_distances(sets[0][1], sets[1][1])
    for name in ours:
        what = f"{name} as torch-fidelity's, published weights ({theirs[name]:.4f})"
        compare(what, ours[name], theirs[name], 1e-3)

    lpips, _ = load_lpips("cpu", weights_dir)
    alexnet, heads = {}, {}
    for index, position in enumerate((0, 3, 6, 8, 10)):
        layer = lpips.convolutions[index]
        alexnet[f"features.{position}.weight"] = layer.weight
        alexnet[f"features.{position}.bias"] = layer.bias
        heads[f"lin{index}.model.1.weight"] = getattr(lpips, f"root{index}").square()[None]
    for side in (64, 256):
        pairs = drawn.pixels(23, 8, side).float() / 127.5 - 1
        theirs = lpips_network(alexnet, heads)(pairs[:4], pairs[4:]).flatten()
        what = f"LPIPS as lpips', {side} px, published weights ({theirs.mean():.3f})"
        compare(what, lpips(pairs[:4], pairs[4:]), theirs, 1e-5, relative=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="checkout of clovaai/stargan-v2")
    parser.add_argument("--weights-dir", type=Path, help="folder of published weights")
    parser.add_argument("--count", type=int, default=100, help="pictures a set for FID and KID")
    parser.add_argument("--fixture", type=Path, help="file for what the peers gave")
    arguments = parser.parse_args()
    compare = Comparison()
    found = drawn_weights(arguments.peer, compare)
    if arguments.fixture:
        names = ("torch", "torchvision", "torch-fidelity", "lpips")
        source = {name: version(name) for name in names}
        source |= {"measured": date.today().isoformat(), "by": "benchmarks/parity_metrics.py"}
        text = json.dumps({"provenance": source} | found, indent=1)
        arguments.fixture.write_text(text + "\n", encoding="utf-8")
    published_weights(arguments.weights_dir, compare, arguments.count)
    sys.exit(compare.failed)


if __name__ == "__main__":
    main()
