"""Trains the small network that finds heads of animals, people and anime characters.

    pip install -e '.[faces,train]' onnx
    python scripts/train_heads.py --faces DIR --out src/facemeld/assets/heads/heads.onnx

DIR holds folders of face crops, as the bundled model was trained on: cat, dog, wild, woman, man,
anime. People and anime characters lie at their template there; animals do not, so the eyes and
noses of some were read by eye (animal_points.json), and a network on ImageNet features reads the
others after them. Then faces are put into made-up scenes, among pieces of faces that are none,
and the head finder learns to tell where they are: a map of centres for each kind (Zhou et al.
2019, "Objects as Points") and, at each centre, where the eyes and the nose lie.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from head_points import features, read_points, say
from head_scenes import CROP, SCENE, Crops, Scenes
from torch import Tensor, nn

from facemeld.faces.heads import STRIDE, UNIT
from facemeld.faces.templates import KINDS, template
from facemeld.images.read import is_picture_name, read_picture

POINTS = Path(__file__).parents[1] / "benchmarks" / "animal_points.json"
DOMAINS = {
    "cat": "animal",
    "dog": "animal",
    "wild": "animal",
    "woman": "human",
    "man": "human",
    "anime": "anime",
}
BACKBONE_BLOCKS = 8  # of EfficientNet-lite0, up to stride 16
LEAST_SURE = 0.08  # share of the animals that is left out, since their points are least sure


class _Mix(nn.Module):
    """A residual block: each channel's surroundings, then all channels of a place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, 2 * channels, 1),
            nn.ReLU(),
            nn.Conv2d(2 * channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class HeadNetwork(nn.Module):
    """The first half of EfficientNet-lite0, frozen; context at stride 16; answers at stride 8."""

    def __init__(self, width: int = 96, fine_width: int = 64) -> None:
        super().__init__()
        whole = features(SCENE)
        self.stem = whole.stem
        self.blocks = whole.blocks[:BACKBONE_BLOCKS]
        _, middle, deep = (whole.blocks[i].project.out_channels for i in (2, 4, 7))
        self.deep = nn.Sequential(nn.Conv2d(deep, width, 1, bias=False), nn.BatchNorm2d(width))
        self.context = nn.Sequential(*(_Mix(width) for _ in range(4)))
        self.down = nn.Conv2d(width, fine_width, 1)
        self.fine = nn.Sequential(
            nn.Conv2d(middle, fine_width, 1, bias=False), nn.BatchNorm2d(fine_width)
        )
        self.merge = nn.Sequential(*(_Mix(fine_width) for _ in range(2)))
        self.answer = nn.Conv2d(fine_width, len(KINDS) + 6, 1)
        nn.init.zeros_(self.answer.weight)
        nn.init.constant_(self.answer.bias[: len(KINDS)], -4.0)

    def forward(self, pictures: Tensor) -> Tensor:
        """B 3 H W in [-1, 1], sides multiples of 16 -> B 9 H/8 W/8: logits, offsets / UNIT."""
        with torch.no_grad():
            x = F.relu6(self.stem(pictures))
            for index, block in enumerate(self.blocks):
                x = block(x)
                if index == 4:
                    fine = x
        coarse = self.down(self.context(self.deep(x)))
        coarse = F.interpolate(coarse, scale_factor=2.0, mode="nearest")
        return self.answer(self.merge(self.fine(fine) + coarse))


def losses(answer: Tensor, faces: list[list[tuple[int, np.ndarray]]]) -> tuple[Tensor, Tensor]:
    """Focal loss of the centres, and mean distance of the points in shares of the face."""
    target = np.zeros((len(faces), len(KINDS), *answer.shape[-2:]), np.float32)
    rows, goals = [], []
    y, x = np.mgrid[: answer.shape[-2], : answer.shape[-1]]
    cells = np.stack([x, y], -1) * STRIDE + STRIDE / 2
    for number, some in enumerate(faces):
        for kind, points in some:
            extent = 3 * np.linalg.norm(points - points.mean(0), axis=1).mean()
            distance = np.linalg.norm(cells - points.mean(0), axis=-1)
            peak = np.exp(-((distance / max(6.0, 0.13 * extent)) ** 2) / 2)
            peak[np.unravel_index(distance.argmin(), distance.shape)] = 1
            target[number, kind] = np.maximum(target[number, kind], peak)
            for i, j in np.argwhere(peak > 0.4):
                rows.append((number, i, j))
                goals.append(np.append((points - cells[i, j]) / UNIT, (extent / UNIT, 0)))
    logits = answer[:, : len(KINDS)]
    goal = torch.from_numpy(target)
    p = logits.sigmoid().clamp(1e-5, 1 - 1e-5)
    positive = (goal == 1) * (1 - p) ** 2 * p.log()
    negative = (goal < 1) * (1 - goal) ** 4 * p**2 * (1 - p).log()
    count = max(1, sum(map(len, faces)))
    centres = -(positive + negative).sum() / count
    if not rows:
        return centres, answer.sum() * 0
    number, i, j = torch.tensor(rows).T
    offsets = answer[number, len(KINDS) :, i, j].view(-1, 3, 2)
    aims = torch.from_numpy(np.stack(goals)).float()
    distances = (offsets - aims[:, :6].view(-1, 3, 2)).norm(dim=-1).mean(1)
    return centres, (distances / aims[:, 6]).mean()


def train(crops: dict[str, Crops], minutes: float, seed: int) -> HeadNetwork:
    """Learns from scenes for a while; the learning rate follows the time that has passed."""
    torch.manual_seed(seed)
    scenes = Scenes(crops, np.random.default_rng(seed))
    network = HeadNetwork()
    weights = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=0.0, weight_decay=0.02, betas=(0.9, 0.98))
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995), use_buffers=True
    )
    started, step, batch, shown = time.process_time(), 0, 16, np.zeros(2)
    while (done := (time.process_time() - started) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1, step / 200, 2.5 * (1 - done) + 0.01)
        pictures, faces = zip(*(scenes() for _ in range(batch)))
        values = torch.from_numpy(np.stack(pictures)).float().permute(0, 3, 1, 2) / 127.5 - 1
        centres, points = losses(network(values), list(faces))
        optimiser.zero_grad()
        (centres + 4 * points).backward()
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimiser.step()
        average.update_parameters(network)
        shown = 0.98 * shown + 0.02 * np.array([centres.item(), points.item()])
        step += 1
        if step % 100 == 0:
            say(f"{done:4.0%} {step * batch} scenes, losses {shown[0]:.3f} {shown[1]:.3f}")
    return average.module.eval()


def export(network: HeadNetwork, path: Path) -> None:
    """Writes ONNX, the larger weights in half precision."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    torch.onnx.export(
        network,
        (torch.zeros(1, 3, SCENE, SCENE),),
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=["pictures"],
        output_names=["answer"],
        dynamic_axes={"pictures": {2: "height", 3: "width"}, "answer": {2: "rows", 3: "columns"}},
    )
    model = onnx.load(str(path))
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size > 64:
            name = weight.name
            weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + "_half"))
            casts.append(helper.make_node("Cast", [name + "_half"], [name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    say(f"{path}: {path.stat().st_size:,} bytes")


def load(faces: Path, labels: Path, seed: int) -> dict[str, Crops]:
    """All crops with their points."""
    names = {d: sorted(p for p in (faces / d).iterdir() if is_picture_name(p)) for d in DOMAINS}
    pictures = {
        d: np.stack([np.asarray(read_picture(p).resize((CROP, CROP))) for p in files])
        for d, files in names.items()
    }
    say(", ".join(f"{d} {len(p)}" for d, p in pictures.items()))
    animals = [d for d, kind in DOMAINS.items() if kind == "animal"]
    order = [f"{d}/{p.name}" for d in animals for p in names[d]]
    known = {order.index(name): np.array(p) for name, p in json.loads(labels.read_text()).items()}
    together = np.concatenate([pictures[d] for d in animals])
    points, sure = read_points(together, known, np.random.default_rng(seed))
    keep = sure >= np.quantile(sure, LEAST_SURE)
    crops, start = {}, 0
    for d, kind in DOMAINS.items():
        if kind == "animal":
            chosen = np.flatnonzero(keep[start : start + len(pictures[d])])
            crops[d] = Crops(KINDS.index(kind), pictures[d][chosen], points[start + chosen])
            start += len(pictures[d])
        else:
            usual = np.broadcast_to(template(kind)[:3], (len(pictures[d]), 3, 2))
            crops[d] = Crops(KINDS.index(kind), pictures[d], usual)
    return crops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faces", type=Path, required=True, help="folders of face crops")
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    parser.add_argument("--points", type=Path, default=POINTS)
    parser.add_argument("--minutes", type=float, default=2.5, help="processor time to train for")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    crops = load(options.faces, options.points, options.seed)
    export(train(crops, options.minutes, options.seed), options.out)


if __name__ == "__main__":
    main()
