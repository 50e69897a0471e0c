#!/usr/bin/env python3
"""Draws the shapes data set, trains the demo network on it and writes model.onnx.

    pip install torch numpy pillow onnx onnxruntime
    python train.py             # draw, train, export, evaluate
    python train.py --evaluate  # evaluate the committed model on the committed images

Images, network, initial weights and order of training come from fixed seeds. Calibration and
evaluation images are written as PNG files; the training images exist in memory only.
"""

import argparse
import csv
import math
import tomllib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw, ImageFilter

HERE = Path(__file__).resolve().parent
CLASSES = ["arrow", "circle", "crescent", "cross", "heart", "hexagon", "ring", "square", "star", "triangle"]
SIDE = 48
OVERSAMPLE = 4
PALETTE = 32
# One seed a split: no image of one split can reappear in another.
SEEDS = {"training": 11, "calibration": 22, "evaluation": 33}
TRAINING_IMAGES, CALIBRATION_IMAGES, EVALUATION_IMAGES = 24000, 64, 500
EPOCHS, BATCH, PEAK_RATE = 13, 96, 6e-3


# ---- images


def regular(corners, inner=None):
    """Corners of a regular polygon on the unit circle; with `inner`, of a star with that inner radius."""
    radii = [1.0] if inner is None else [1.0, inner]
    count = corners * len(radii)
    turns = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(turns), np.sin(turns)], 1) * np.resize(radii, count)[:, None]


def heart():
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([np.sin(t) ** 3, -(y + 2.5) / 16], 1)


def outlines(name, rng):
    """The outer outline of a shape and the outline of its hole, or None, around the origin in the unit circle."""
    disc = regular(64)
    match name:
        case "circle":
            return disc, None
        case "ring":
            return disc, disc * rng.uniform(0.4, 0.7)
        case "crescent":
            return disc, disc * rng.uniform(0.75, 0.9) + [rng.uniform(0.4, 0.55), 0]
        case "square":
            return regular(4), None
        case "triangle":
            return regular(3), None
        case "hexagon":
            return regular(6), None
        case "star":
            return regular(5, rng.uniform(0.4, 0.55)), None
        case "cross":
            w = rng.uniform(0.2, 0.36)
            arm = [(1, -w), (1, w), (w, w), (w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w), (-w, -1), (w, -1), (w, -w)]
            return np.array(arm) * 0.95, None
        case "heart":
            return heart(), None
        case "arrow":
            w, neck = rng.uniform(0.14, 0.26), rng.uniform(-0.1, 0.25)
            return np.array([(1, 0), (neck, 0.7), (neck, w), (-1, w), (-1, -w), (neck, -w), (neck, -0.7)]), None
    raise ValueError(f"no shape is called {name}")


def shape_mask(name, rng):
    """Coverage of a turned, stretched and moved shape, float [SIDE, SIDE] in 0..1."""
    radius = rng.uniform(8.5, 19)
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    stretch = np.diag([1.0, rng.uniform(0.78, 1.0)]) @ np.array([[1, rng.uniform(-0.15, 0.15)], [0, 1]])
    # Small shapes wander further; a few reach over the border.
    centre = SIDE / 2 + rng.uniform(-1, 1, 2) * (SIDE / 2 - 0.9 * radius)
    canvas = Image.new("L", (SIDE * OVERSAMPLE, SIDE * OVERSAMPLE))
    for outline, level in zip(outlines(name, rng), (255, 0)):
        if outline is not None:
            points = (outline @ (rotation @ stretch).T * radius + centre) * OVERSAMPLE
            ImageDraw.Draw(canvas).polygon([tuple(p) for p in points.tolist()], fill=level)
    return np.asarray(canvas.reduce(OVERSAMPLE), np.float32) / 255


def colour(rng):
    return rng.uniform(15, 240, 3)


def texture(base, rng):
    """A surface around the colour `base`, float [SIDE, SIDE, 3]: plain, gradient, stripes, checks or clouds."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    turn = rng.uniform(0, 2 * np.pi)
    along = x * math.cos(turn) + y * math.sin(turn)
    across = y * math.cos(turn) - x * math.sin(turn)
    waves = rng.uniform(2, 7)
    match rng.integers(5):
        case 0:
            field = np.zeros((SIDE, SIDE))
        case 1:
            field = along - along.mean()
        case 2:
            field = np.sign(np.sin(2 * np.pi * waves * along)) / 2
        case 3:
            field = np.sign(np.sin(2 * np.pi * waves * along) * np.sin(2 * np.pi * waves * across)) / 2
        case _:
            grid = Image.fromarray(rng.uniform(-1, 1, (7, 7)).astype(np.float32))
            field = np.asarray(grid.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return base + field[..., None] * rng.uniform(-45, 45, 3)


def clutter(image, count, rng):
    """Strokes of random colour drawn over `image`."""
    canvas = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for _ in range(count):
        start = rng.uniform(0, SIDE, 2)
        end = start + rng.uniform(-22, 22, 2)
        draw.line([*start.tolist(), *end.tolist()], fill=tuple(int(v) for v in colour(rng)), width=int(rng.integers(1, 6)))
    return np.asarray(canvas, np.float32)


def draw_image(label, rng):
    """One image of class `label` with at most PALETTE colours, so that its PNG file stays small."""
    ground, fill = colour(rng), colour(rng)
    while np.linalg.norm(ground - fill) < 70:
        ground, fill = colour(rng), colour(rng)
    mask = shape_mask(CLASSES[label], rng)[..., None]
    image = clutter(texture(ground, rng), rng.integers(0, 5), rng)
    image = image * (1 - mask) + texture(fill, rng) * mask
    # Strokes in front of the shape hide parts of it.
    image = clutter(image, rng.integers(0, 3), rng)
    blurred = Image.fromarray(image.astype(np.uint8)).filter(ImageFilter.GaussianBlur(rng.uniform(0, 1.1)))
    noisy = np.asarray(blurred, np.float32) + rng.normal(0, rng.uniform(2, 20), (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).quantize(PALETTE)


def draw_split(split, count):
    """`count` images and labels of a split; the classes take turns, so any prefix is balanced."""
    for index in range(count):
        label = index % len(CLASSES)
        yield draw_image(label, np.random.default_rng([SEEDS[split], index])), label


def write_split(split, count):
    folder = HERE / split
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    with open(folder / "labels.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "label"])
        for index, (image, label) in enumerate(draw_split(split, count)):
            name = f"{index:03}_{CLASSES[label]}.png"
            image.save(folder / name, optimize=True)
            rows.writerow([name, label])


# ---- preprocessing and evaluation


def load_recipe():
    recipe = tomllib.loads((HERE / "recipe.toml").read_text())
    if recipe["channels"] != "RGB" or recipe["layout"] != "NCHW" or "resize" in recipe or "crop" in recipe:
        raise SystemExit("train.py follows RGB, NCHW recipes without resize and crop only")
    return recipe


def preprocess(images, recipe):
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W] as recipe.toml says."""
    x = images.astype(np.float32) * np.float32(recipe["scale"])
    x = (x - np.float32(recipe["mean"])) / np.float32(recipe["std"])
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def evaluate(model_path):
    """Top-1 in percent and the confusion counts [truth, answer] on the committed evaluation images."""
    with open(HERE / "evaluation" / "labels.csv", newline="") as file:
        rows = [(row["file"], int(row["label"])) for row in csv.DictReader(file)]
    images = np.stack([np.asarray(Image.open(HERE / "evaluation" / name).convert("RGB")) for name, _ in rows])
    labels = np.array([label for _, label in rows])
    session = onnxruntime.InferenceSession(str(model_path), providers=["CPUExecutionProvider"])
    answers = session.run(["logits"], {"input": preprocess(images, load_recipe())})[0].argmax(1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), int)
    np.add.at(confusion, (labels, answers), 1)
    return 100 * float((answers == labels).mean()), confusion


# ---- network: (output channels, expansion, stride) of each inverted residual block

STEM = 16
BLOCKS = [(16, 1, 1), (24, 4, 2), (24, 4, 1), (40, 4, 2), (40, 4, 1), (40, 4, 1), (56, 4, 1)]
HEAD = 160


def layers():
    """The network as rows (kind, name, ...): the PyTorch module and the ONNX graph both follow this list.

    ("conv", name, inputs, outputs, kernel, stride, groups, activation) with batch normalization and maybe ReLU6,
    ("save",) and ("add", name) around a residual block, ("head", name, inputs, outputs).
    """
    rows = [("conv", "features.0", 3, STEM, 3, 2, 1, True)]
    channels = STEM
    for index, (outputs, expansion, stride) in enumerate(BLOCKS, 1):
        name, hidden = f"features.{index}", channels * expansion
        residual = stride == 1 and channels == outputs
        if residual:
            rows.append(("save",))
        if expansion != 1:
            rows.append(("conv", f"{name}.expand", channels, hidden, 1, 1, 1, True))
        rows.append(("conv", f"{name}.depthwise", hidden, hidden, 3, stride, hidden, True))
        rows.append(("conv", f"{name}.project", hidden, outputs, 1, 1, 1, False))
        if residual:
            rows.append(("add", f"{name}.add"))
        channels = outputs
    rows.append(("conv", f"features.{len(BLOCKS) + 1}", channels, HEAD, 1, 1, 1, True))
    rows.append(("head", "classifier", HEAD, len(CLASSES)))
    return rows


def build_network():
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            # Module names cannot hold dots: slashes stand for them until the weights are handed to the export.
            self.parts = nn.ModuleDict()
            for kind, *row in layers():
                if kind == "conv":
                    name, inputs, outputs, kernel, stride, groups, _ = row
                    key = name.replace(".", "/")
                    self.parts[key + "/conv"] = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
                    self.parts[key + "/bn"] = nn.BatchNorm2d(outputs)
                    nn.init.kaiming_normal_(self.parts[key + "/conv"].weight, mode="fan_out")
                elif kind == "head":
                    self.parts[row[0]] = nn.Linear(row[1], row[2])

        def forward(self, x):
            saved = None
            for kind, *row in layers():
                match kind:
                    case "conv":
                        key = row[0].replace(".", "/")
                        x = self.parts[key + "/bn"](self.parts[key + "/conv"](x))
                        x = nn.functional.relu6(x) if row[-1] else x
                    case "save":
                        saved = x
                    case "add":
                        x = x + saved
                    case "head":
                        x = self.parts[row[0]](x.mean((2, 3)))
            return x

    return Network()


def train(recipe):
    """The trained weights as {name: array}."""
    import torch

    torch.manual_seed(SEEDS["training"])
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    drawn = list(draw_split("training", TRAINING_IMAGES))
    images = torch.from_numpy(preprocess(np.stack([np.asarray(image.convert("RGB")) for image, _ in drawn]), recipe))
    labels = torch.tensor([label for _, label in drawn])
    network = build_network()
    print(f"{TRAINING_IMAGES} training images, {sum(p.numel() for p in network.parameters())} parameters", flush=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    steps = TRAINING_IMAGES // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=EPOCHS * steps, pct_start=0.2)
    for epoch in range(EPOCHS):
        order, total, right = torch.randperm(len(labels)), 0.0, 0
        for batch in order[: steps * BATCH].split(BATCH):
            # No class changes under a quarter turn or a mirror.
            x = torch.rot90(images[batch], int(torch.randint(4, ())), (2, 3))
            x = x.flip(3) if torch.randint(2, ()) else x
            logits = network(x)
            loss = torch.nn.functional.cross_entropy(logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
            right += int((logits.argmax(1) == labels[batch]).sum())
        print(f"epoch {epoch + 1:2}: loss {total / steps:.3f}, training top-1 {100 * right / (steps * BATCH):.1f}", flush=True)
    state = network.eval().state_dict()
    names = (name for name in state if not name.endswith("num_batches_tracked"))
    return {name.removeprefix("parts.").replace("/", "."): state[name].numpy() for name in names}


# ---- export


def export(weights, path):
    """Writes the ONNX graph node by node: an exporter would fold the batch normalizations away."""
    nodes, constants, x, saved = [], {"relu6.min": np.float32(0), "relu6.max": np.float32(6)}, "input", None

    def node(operator, name, inputs, output=None, **attributes):
        nodes.append(helper.make_node(operator, inputs, [output or name], name=name, **attributes))
        return nodes[-1].output[0]

    for kind, *row in layers():
        match kind:
            case "conv":
                name, _, _, kernel, stride, groups, activation = row
                constants[f"{name}.conv.weight"] = weights[f"{name}.conv.weight"]
                x = node("Conv", f"{name}.conv", [x, f"{name}.conv.weight"], group=groups, kernel_shape=[kernel] * 2,
                         strides=[stride] * 2, pads=[kernel // 2] * 4, dilations=[1, 1])
                parts = [f"{name}.bn.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
                constants |= {part: weights[part] for part in parts}
                x = node("BatchNormalization", f"{name}.bn", [x, *parts], epsilon=1e-5)
                if activation:
                    x = node("Clip", f"{name}.relu6", [x, "relu6.min", "relu6.max"])
            case "save":
                saved = x
            case "add":
                x = node("Add", row[0], [saved, x])
            case "head":
                constants |= {f"{row[0]}.{part}": weights[f"{row[0]}.{part}"] for part in ("weight", "bias")}
                x = node("GlobalAveragePool", "pool", [x])
                x = node("Flatten", "flatten", [x], axis=1)
                node("Gemm", row[0], [x, f"{row[0]}.weight", f"{row[0]}.bias"], "logits", transB=1)
    graph = helper.make_graph(
        nodes, "shapes",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(CLASSES)])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="shiftwise-demo")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main():
    arguments = argparse.ArgumentParser(description="Train the demo network, or evaluate the committed one.")
    arguments.add_argument("--evaluate", action="store_true", help="evaluate the committed model and stop")
    if not arguments.parse_args().evaluate:
        write_split("calibration", CALIBRATION_IMAGES)
        write_split("evaluation", EVALUATION_IMAGES)
        export(train(load_recipe()), HERE / "model.onnx")
    top1, confusion = evaluate(HERE / "model.onnx")
    for name, row in zip(CLASSES, confusion):
        print(f"{name:>9} " + " ".join(f"{count:3}" for count in row))
    print(f"top-1 {top1:.1f} % of {confusion.sum()} images")


if __name__ == "__main__":
    main()
