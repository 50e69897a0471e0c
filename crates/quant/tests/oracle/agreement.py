"""Writes distributions as raw float32 files, and what numpy and onnxruntime choose for them from the values themselves, as
cases.json, into the folder that is given."""

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
from onnxruntime.quantization.calibrate import HistogramCollector
from onnxruntime.quantization.quant_utils import smooth_distribution

FOLDER = Path(sys.argv[1])
TYPES = {"uint8": (0, 255, 128), "int8": (-127, 127, 0), "uint16": (0, 65535, 32768), "int16": (-32767, 32767, 0)}
PERCENTILES = [50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 100.0]
# Bins and quantized bins. With as many of both there is one candidate only. Of few values those that fall into another bin than in
# the statistics, next to an edge, decide; of many, ONNX Runtime takes long.
ENTROPY = [(128, 128), (256, 64), (512, 128)]


def distributions():
    rng = np.random.default_rng(5)
    normal = rng.standard_normal
    kinds = {
        "gaussian": lambda n: 1.7 * normal(n),
        "shifted gaussian": lambda n: normal(n) + 3,
        "laplace": lambda n: 0.3 * rng.laplace(size=n),
        "relu": lambda n: np.maximum(normal(n), 0),
        "relu6": lambda n: np.clip(3 * normal(n) + 1, 0, 6),
        "heavy tails": lambda n: rng.standard_t(2.5, n),
        "bimodal": lambda n: np.where(rng.random(n) < 0.3, 5 + 0.2 * normal(n), -2 + 0.5 * normal(n)),
        "log-normal": lambda n: np.exp(normal(n)) * 1e-3,
        "uniform": lambda n: rng.uniform(-1, 1, n),
        "negative": lambda n: -np.abs(normal(n)) * 40,
        "silu": lambda n: (lambda x: x / (1 + np.exp(-x)))(2 * normal(n)),
    }
    for name, make in kinds.items():
        for n in [1000, 30_000, 200_000]:
            yield f"{name} {n}", make(n)
    for name in ["gaussian", "relu6", "heavy tails"]:
        yield f"{name} 2000000", kinds[name](2_000_000)
    outlier = normal(50_000)
    outlier[17] = 90
    yield "outlier 50000", outlier


def positions(x):
    """The squared error of each of five positions around the covering one, for each type."""
    x = x.astype(np.float32)
    wide = x.astype(np.float64)
    largest = max(np.float32(0), x.max(), -x.min())
    found = {}
    for name, (lo, hi, zero) in TYPES.items():
        scale = np.float32(np.float64(largest + largest) / (hi - lo))
        covering = int(np.rint(-np.log2(np.float64(scale))))
        errors = []
        for position in range(covering - 1, covering + 4):
            step = np.float32(2.0) ** np.float32(-position)
            q = np.clip(np.rint(x / step) + np.float32(zero), np.float32(lo), np.float32(hi))
            error = wide - (q.astype(np.float64) - zero) * np.float64(step)
            errors.append([position, float(error @ error)])
        found[name] = errors
    return found


def entropy(x, bins, quantized):
    """The ranges that ONNX Runtime chooses, and that it might as well have: it compares divergences in float32, whose rounding
    decides where they differ by less than a thousandth."""
    with contextlib.redirect_stdout(io.StringIO()):
        collector = HistogramCollector("entropy", False, bins, quantized, 99.999, "same")
        collector.collect({"t": [x]})
        chosen = collector.compute_collection_result()["t"][:2]
    counts, edges, least, most = collector.histogram_dict["t"][:4]
    middle = bins // 2
    found = []
    for reach in range(quantized // 2, middle + 1):
        start, end = middle - reach, min(middle + reach + 1, bins)
        p = counts[start:end].copy()
        q = np.zeros_like(p)
        merged = p.size // quantized
        sums = np.add.reduceat(p, np.arange(quantized) * merged)
        p[0] += counts[:start].sum()
        p[-1] += counts[end:].sum()
        for i in range(quantized):
            part = slice(i * merged, (i + 1) * merged)
            occupied = np.count_nonzero(p[part])
            if occupied:
                q[part] = sums[i] // occupied
        p, q = smooth_distribution(p), smooth_distribution(q)
        if p is not None and q is not None:
            p, q = p.astype(np.float64) / p.sum(dtype=np.float64), q.astype(np.float64) / q.sum(dtype=np.float64)
            found.append((float(np.sum(p * np.log(p / q))), max(edges[start], least), min(edges[end], most)))
    best = min(found)[0]
    ranges = [chosen] + [(lo, hi) for divergence, lo, hi in found if divergence <= 1.001 * best]
    return {"bins": bins, "quantized": quantized, "ranges": [[float(lo), float(hi)] for lo, hi in ranges]}


cases = []
for index, (name, values) in enumerate(distributions()):
    x = values.astype(np.float32)
    x.tofile(FOLDER / f"{index}.f32")
    wide = x.astype(np.float64)
    magnitude = np.abs(wide)
    cut = [(100 - p) / 2 for p in PERCENTILES]
    cases.append(
        {
            "name": name,
            "percentiles": PERCENTILES,
            "by_magnitude": np.percentile(magnitude, PERCENTILES).tolist(),
            "lower": np.percentile(wide, cut).tolist(),
            "upper": np.percentile(wide, [100 - c for c in cut]).tolist(),
            "positions": positions(x),
            "entropy": [entropy(x, *bins) for bins in (ENTROPY if 10_000 < x.size <= 200_000 else ENTROPY[:1])],
        }
    )
(FOLDER / "cases.json").write_text(json.dumps(cases))
