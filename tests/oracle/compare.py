"""Measures a float and a quantized model in ONNX Runtime, without its graph optimisations.

compare.py ORIGINAL PREPARED QUANTIZED RECIPE FOLDER COUNT

Prints as JSON: top-1 accuracy of the prepared and the quantized model, how often they agree (percent), the mean
SQNR of the first output in decibels, and the least SQNR of the prepared against the original model over a few images.
"""

import csv
import json
import pathlib
import sys
import tomllib

import numpy as np
import onnxruntime
from PIL import Image

ORIGINALS = 16
KNOWN = {"channels", "layout", "scale", "divide", "mean", "std"}


def session(path):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def load(path, recipe):
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32)
    if recipe["channels"] == "BGR":
        pixels = pixels[:, :, ::-1]
    pixels = pixels * np.float32(recipe.get("scale", 1)) / np.float32(recipe.get("divide", 1))
    values = (pixels - np.float32(recipe["mean"])) / np.float32(recipe["std"])
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def infer(model, x):
    return model.run(None, {model.get_inputs()[0].name: x})[0].astype(np.float64).ravel()


def sqnr(reference, other):
    noise = max(np.square(reference - other).sum(), 1e-30)
    return 10 * np.log10(max(np.square(reference).sum(), 1e-30) / noise)


def main():
    original, prepared, quantized = (session(path) for path in sys.argv[1:4])
    recipe = tomllib.loads(pathlib.Path(sys.argv[4]).read_text())
    unknown = set(recipe) - KNOWN
    assert not unknown and recipe["layout"] == "NCHW", f"this script does not know {unknown} {recipe['layout']}"
    folder = pathlib.Path(sys.argv[5])
    labels = {row["file"]: int(row["label"]) for row in csv.DictReader((folder / "labels.csv").open())}
    files = sorted(labels)[: int(sys.argv[6])]

    rows, originals = [], []
    for i, file in enumerate(files):
        x = load(folder / file, recipe)
        reference, y = infer(prepared, x), infer(quantized, x)
        a, b = reference.argmax(), y.argmax()
        rows.append((a == labels[file], b == labels[file], a == b, sqnr(reference, y)))
        if i < ORIGINALS:
            originals.append(sqnr(infer(original, x), reference))
    prepared_top1, top1, agreement, decibels = np.array(rows, np.float64).mean(axis=0)
    result = {
        "samples": len(rows),
        "prepared_top1": prepared_top1 * 100,
        "top1": top1 * 100,
        "agreement": agreement * 100,
        "sqnr": decibels,
        "prepared_sqnr": min(originals),
    }
    print(json.dumps(result))


main()
