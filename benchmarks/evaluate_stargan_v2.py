"""Times the official StarGAN v2 evaluation and ours: same model, pictures, machine and process.

    python -m venv peers
    peers/bin/pip install torch torchvision lpips scipy munch tqdm -e '.[export]'
    git clone https://github.com/clovaai/stargan-v2
    peers/bin/python benchmarks/evaluate_stargan_v2.py --peer stargan-v2 --data faces

runs the official metrics/eval.py (both modes) and facemeld's starganv2 protocol, which besides
scores fusion (not with ``--only distances``), and prints both times and their ratio, by the
processor's clock because other programs blur the one on the wall. Exits with 1 if it is below 5
(--wanted). With OMP_NUM_THREADS=1 waiting threads do not count as work. In small settings part of
the time does not grow with the number of pictures: what the official code spends on building
Inception for every pair and on square roots of matrices, and ours on loading, compiling, distances,
classifier and paths, is left out of a last ratio on both sides.

    peers/bin/python benchmarks/evaluate_stargan_v2.py --parts [--paper 256 --peer stargan-v2]

times what both repeat for every picture, by the processor's clock, which says more where other
programs run, and works out the ratio at the size of AFHQ.

The model is facemeld's; the official code calls it as it calls its own. With ``--paper 256`` it is
the paper's own, under drawn weights, and each side runs it with its own code. Both use Inception
and AlexNet weights drawn from a seed, which take as long as published ones. The official code is
CC BY-NC 4.0 and stays where you put it; modules that it imports but does not use are left empty.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import resource
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from parity_stargan_v2 import load_peer, official_networks
from PIL import Image
from torch import Tensor

from facemeld.data.catalogue import WEIGHTS
from facemeld.evaluation.compiled import WORTH, CompiledGenerator, backend_for
from facemeld.evaluation.fusion_scores import DomainClassifier
from facemeld.evaluation.judges import Judges
from facemeld.evaluation.scorer import Critics, References, look_at_sources, score_fakes
from facemeld.export.stargan_v2 import import_stargan_v2
from facemeld.networks.bundle import Networks, load_model
from facemeld.networks.generator import Content
from facemeld.networks.inception import InceptionFeatures
from facemeld.networks.lpips import LPIPS, GroupDistance
from facemeld.networks.mobilenet import MobileNetV2Features
from facemeld.networks.model_folder import find_model

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import generated_weights as drawn  # noqa: E402

UNUSED = ("cv2", "ffmpeg", "munch", "skimage", "matplotlib")


class Spent(NamedTuple):
    """Seconds of work."""

    wall: float
    processor: float
    """Of all threads, and of the processes that ended; says more where other programs run."""


class Moment:
    """When a piece of work began."""

    def __init__(self) -> None:
        self.now = self._clocks()

    def passed(self) -> Spent:
        """What has been spent since."""
        return Spent(*(b - a for a, b in zip(self.now, self._clocks(), strict=True)))

    @staticmethod
    def _clocks() -> Spent:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = time.process_time() + children.ru_utime + children.ru_stime
        return Spent(time.monotonic(), own)


def subset(data: Path, into: Path, count: int, reals: int, domains: list[str]) -> None:
    """Links evenly spread pictures of some domains."""
    for split, most in (("val", count), ("train", reals)):
        for domain in domains:
            files = sorted(p for p in (data / split / domain).iterdir() if p.is_file())
            folder = into / split / domain
            folder.mkdir(parents=True)
            most = min(most, len(files))
            for index in range(most):
                file = files[index * len(files) // most]
                (folder / file.name).symlink_to(file.resolve())


def write_weights(folder: Path) -> None:
    """Drawn weights where torchvision and facemeld look for published ones."""
    import torchvision

    inception = torchvision.models.inception_v3(weights=None, init_weights=False)
    inception.load_state_dict(drawn.inception(0), strict=False)
    alexnet = torchvision.models.alexnet(weights=None)
    alexnet.load_state_dict(drawn.alexnet(5), strict=False)
    hub = folder / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    torch.save(inception.state_dict(), hub / "inception_v3_google-0cc3c7bd.pth")
    torch.save(alexnet.state_dict(), hub / "alexnet-owt-7be5be79.pth")
    os.environ["TORCH_HOME"] = str(folder)
    contents = {
        "inception-torchvision": inception.state_dict(),
        "alexnet": alexnet.state_dict(),
        "lpips-alexnet": drawn.lpips_heads(6),
        "mobilenet-v2": MobileNetV2Features().state_dict(),
        "head-pose": {"state_dict": drawn.head_pose(8)},
    }
    for name, content in contents.items():
        path = folder / WEIGHTS[name].file
        torch.save(content, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        WEIGHTS[name] = dataclasses.replace(WEIGHTS[name], sha256=digest)


def clocked(owner: types.ModuleType | type, name: str, spent: dict[str, float]) -> None:
    """Adds the processor time in a function of a module or class to ``spent``, from now on."""
    plain = getattr(owner, name)

    def call(*arguments, **options):
        began = Moment()
        try:
            return plain(*arguments, **options)
        finally:
            spent[name] = spent.get(name, 0.0) + began.passed().processor

    setattr(owner, name, call)


class Nets(NamedTuple):
    """Networks as the official evaluation calls them."""

    generator: Callable
    style_encoder: Callable
    mapping_network: Callable


def as_nets(networks: Networks) -> Nets:
    """Our networks, called as the official ones."""

    def generator(pictures: Tensor, styles: Tensor, masks: None = None) -> Tensor:
        return networks.generator(pictures, styles)

    return Nets(generator, networks.style_encoder, networks.mapping_network)


def papers_networks(checkout: Path, size: int, domains: list[str], folder: Path) -> Nets:
    """The paper's networks under drawn weights, and ``folder``, the same as a model of ours."""
    sizes = {"image_size": size, "domains": len(domains), "w_hpf": 0.0, "max_width": 512}
    networks = official_networks(load_peer(checkout), 0, **sizes)
    folder.mkdir()
    checkpoint = folder / "100000_nets_ema.ckpt"
    torch.save({part: network.state_dict() for part, network in networks.items()}, checkpoint)
    import_stargan_v2(checkpoint, folder / "model", domains=sorted(domains))
    return Nets(**networks)


def official(
    checkout: Path, model: str, nets: Nets | None, data: Path, out: Path, outputs: int
) -> tuple[Spent, dict[str, float]]:
    """Time of the official evaluation in both modes, and what does not grow with pictures."""
    for name in UNUSED:
        try:
            __import__(name)
        except ImportError:
            sys.modules[name] = types.ModuleType(name)
    if not torch.cuda.is_available():
        torch.Tensor.cuda = lambda tensor, *a, **k: tensor  # its LPIPS knows GPUs only
    sys.path.insert(0, str(checkout))
    os.chdir(checkout)  # it reads metrics/lpips_weights.ckpt
    import metrics.fid
    from metrics.eval import calculate_metrics

    fixed: dict[str, float] = {}
    clocked(metrics.fid, "frechet_distance", fixed)
    clocked(metrics.fid, "InceptionV3", fixed)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    networks = load_model(find_model(model), device=device)
    nets = nets or as_nets(networks)
    references = min(len(list(folder.iterdir())) for folder in (data / "val").iterdir())
    arguments = types.SimpleNamespace(
        val_img_dir=str(data / "val"),
        train_img_dir=str(data / "train"),
        eval_dir=str(out),
        val_batch_size=min(32, references),  # it drops a last batch of references that is smaller
        img_size=networks.config.image_size,
        num_outs_per_domain=outputs,
        latent_dim=networks.config.latent_size,
        w_hpf=0,
    )
    began = Moment()
    for mode in ("latent", "reference"):
        calculate_metrics(nets, arguments, step=0, mode=mode)
    return began.passed(), fixed


def clock_ours() -> tuple[dict[str, float], dict[str, float]]:
    """What our evaluation spends from now on: on what does not grow with the number of pictures,
    and on reals, which the next one finds in the cache."""
    from facemeld.evaluation import judges, pairs, reals, run

    fixed: dict[str, float] = {}
    looked: dict[str, float] = {}
    clocked(reals.Reals, "look", looked)
    clocked(pairs, "frechet_distance", fixed)
    clocked(pairs.PairScorer, "_paths", fixed)
    clocked(judges.Judges, "compile", fixed)
    clocked(run, "generator_of", fixed)
    clocked(run, "load_judges", fixed)
    clocked(reals, "DomainClassifier", fixed)
    return fixed, looked


def ours(
    model: str,
    data: Path,
    out: Path,
    outputs: int,
    weights: Path,
    only: str | None,
    precision: str,
) -> tuple[Spent, dict]:
    """Time of our evaluation, and its result."""
    from facemeld.evaluation.plan import make_plan
    from facemeld.evaluation.run import run_plan

    os.environ["FACEMELD_HOME"] = str(out.parent / "home")
    began = Moment()
    options = {"outputs": outputs, "only": only, "weights_dir": weights}
    options["precision"] = precision
    plan = make_plan("starganv2", model, data, **options)
    result = run_plan(plan, out)
    return began.passed(), result


def parts(model: str, nets: Nets | None, folder: Path) -> None:
    """Processor time a picture of what either side does again and again, on one thread.

    From it, the ratio at the size of AFHQ: three domains, as many reals a target as fakes a pair,
    ten fakes a source in both modes.
    """
    torch.set_num_threads(1)
    networks = load_model(find_model(model))
    size = networks.config.image_size
    pictures, labels = torch.rand(8, 3, size, size) * 2 - 1, torch.zeros(8, dtype=torch.int64)
    with torch.inference_mode():
        style = networks.style_encoder(pictures, labels)
        content = networks.generator.encode(pictures)
    jobs = official_jobs(nets or as_nets(networks), pictures, style, folder)
    jobs |= our_jobs(networks, pictures, style, content)
    cost = dict.fromkeys(jobs, float("inf"))
    with torch.inference_mode():
        for name in [*jobs] * 3:
            began = time.process_time()
            jobs[name]()
            cost[name] = min(cost[name], 1000 * (time.process_time() - began) / len(pictures))
    for name, spent in cost.items():
        print(f"{name}: {spent:.1f} ms a picture")
    # for each fake a real one; a style is encoded in one of two modes
    official_fake = cost["official generator"] + cost["official style encoder"] / 2
    official_fake += 9 * cost["official alexnet"] + 2 * cost["official inception"]
    official_fake += cost["official writing"] + 2 * cost["official reading"]
    once = cost["our encoder"] / 20 + cost["our style encoder"] / 40
    own = once + sum(cost[f"our {part}"] for part in ("inception", "lpips", "decoder"))
    scored = cost["our fusion scores"]
    with_reals = own + cost["our inception"] / 4  # once a target, which has two sources, two modes
    print(f"a fake: official {official_fake:.0f} ms")
    for name, more in (("distances", 0.0), ("distances and fusion scores", scored)):
        first, again = with_reals + more, own + more
        print(f"ours, {name}: {first:.0f} ms, {again:.0f} ms where reals are cached")
        print(f"times faster {official_fake / first:.2f}, {official_fake / again:.2f}")


def official_jobs(nets: Nets, pictures: Tensor, style: Tensor, folder: Path) -> dict[str, Callable]:
    """What the official evaluation does with pictures."""
    import torchvision
    from torchvision import transforms

    paths = [folder / f"{index}.png" for index in range(len(pictures))]
    prepared = transforms.Compose(
        [
            transforms.Resize([pictures.shape[-1]] * 2),
            transforms.Resize([299, 299]),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )

    def write() -> None:
        for picture, path in zip((pictures + 1) / 2, paths, strict=True):
            torchvision.utils.save_image(picture, path)

    def read() -> None:
        for path in paths:
            prepared(Image.open(path).convert("RGB"))

    # files as large as those of photographs, which noise would not give
    pictures = torch.nn.functional.avg_pool2d(pictures, 9, 1, 4) * 3

    inception = torchvision.models.inception_v3(weights=None, init_weights=False)
    inception.load_state_dict(drawn.inception(0), strict=False)
    alexnet = torchvision.models.alexnet(weights=None).eval()
    labels = torch.zeros(len(pictures), dtype=torch.int64)
    large = torch.randn(len(pictures), 3, 299, 299)
    return {
        "official inception": lambda: inception.eval()(large),
        "official alexnet": lambda: alexnet.features(pictures),
        "official generator": lambda: nets.generator(pictures, style),
        "official style encoder": lambda: nets.style_encoder(pictures, labels),
        "official writing": write,
        "official reading": read,
    }


def our_jobs(
    networks: Networks, pictures: Tensor, style: Tensor, content: Content
) -> dict[str, Callable]:
    """What ours does with them."""
    inception = InceptionFeatures("torchvision").to(memory_format=torch.channels_last)
    inception.load_published(drawn.inception(0))
    lpips, light = LPIPS(), MobileNetV2Features()
    lpips.load_published(drawn.alexnet(5), drawn.lpips_heads(6))
    light.load_published(MobileNetV2Features().state_dict())
    judges, generator = Judges(inception, lpips, light, head=None), networks.generator
    if backend_for(torch.device("cpu"), WORTH) == "openvino":
        judges.compile(networks.config.image_size)
        generator = CompiledGenerator(networks)
    labels, group = torch.zeros(len(pictures), dtype=torch.int64), GroupDistance()
    features, numbers = judges.look(pictures)[0], torch.arange(len(pictures))
    classifier = DomainClassifier(torch.randn(64, features.shape[1]), torch.arange(64) % 2, 2)
    critics, references = Critics(judges.look, classifier), References(features, numbers)
    sources = look_at_sources(critics, pictures, numbers)
    return {
        "our inception": lambda: judges.inception_features((pictures + 1) * 127.5),
        "our lpips": lambda: group.add(judges.maps(pictures)),
        "our fusion scores": lambda: score_fakes(critics, pictures, sources, 0, references),
        "our decoder": lambda: generator.decode(content, style, None),
        "our encoder": lambda: generator.encode(pictures),
        "our style encoder": lambda: networks.style_encoder(pictures, labels),
    }


def rounded(spent: dict[str, float]) -> dict[str, float]:
    return {name: round(seconds, 1) for name, seconds in spent.items()}


def _tell(name: str, spent: Spent) -> None:
    print(f"{name}: {spent.wall:.1f} s, {spent.processor:.1f} s of processor time", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", action="store_true", help="time the parts alone, without data")
    parser.add_argument("--peer", type=Path, help="checkout of clovaai/stargan-v2")
    parser.add_argument("--data", type=Path, help="folder of train/ and val/")
    parser.add_argument("--model", default="faces-64")
    parser.add_argument("--paper", type=int, help="the paper's networks at so many px instead")
    parser.add_argument("--domains", nargs="+", default=["cat", "dog"])
    parser.add_argument("--count", type=int, default=64, help="held-out pictures a domain")
    parser.add_argument("--reals", type=int, default=640, help="real pictures a domain")
    parser.add_argument("--outputs", type=int, default=10)
    parser.add_argument("--only", choices=["distances"], help="the official amount of work")
    parser.add_argument(
        "--precision", choices=["fp32", "bf16"], default="fp32", help="of our generator"
    )
    parser.add_argument("--wanted", type=float, default=5.0, help="the ratio to reach")
    arguments = parser.parse_args()
    if not arguments.peer and (arguments.paper or not arguments.parts):
        parser.error("--peer is needed")
    if not (arguments.data or arguments.parts):
        parser.error("--data is needed, or --parts")
    peer = arguments.peer and arguments.peer.resolve()
    model, nets = str(find_model(arguments.model).resolve()), None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.paper:
            nets = papers_networks(peer, arguments.paper, arguments.domains, folder / "paper")
            model = str(folder / "paper" / "model")
        if arguments.parts:
            return parts(model, nets, folder)
        data, weights = folder / "data", folder / "weights"
        subset(arguments.data, data, arguments.count, arguments.reals, arguments.domains)
        write_weights(weights)
        ours_fixed, reals = clock_ours()
        how = (arguments.outputs, weights, arguments.only, arguments.precision)
        own, result = ours(model, data, folder / "ours", *how)
        _tell(f"ours, {result['backend']}, generator in {result['precision']}", own)
        print("ours by part:", result["seconds_by_part"])
        print("ours, what does not grow:", rounded(ours_fixed))
        print("ours, reals:", rounded(reals))
        theirs, fixed = official(peer, model, nets, data, folder / "theirs", arguments.outputs)
    _tell("official", theirs)
    print("official, what does not grow:", rounded(fixed))
    ratio = theirs.processor / own.processor
    cached = theirs.processor / (own.processor - sum(reals.values()))
    growing = theirs.processor - sum(fixed.values())
    growing /= own.processor - sum(ours_fixed.values())
    print(f"ratio of processor time {ratio:.2f}, of time {theirs.wall / own.wall:.2f}")
    print(f"ratio where reals are cached {cached:.2f}")
    print(f"ratio of what grows with the number of pictures {growing:.2f}")
    sys.exit(ratio < arguments.wanted)


if __name__ == "__main__":
    main()
