"""What ONNX Runtime's basic optimizations make of a model, beside what shiftwise-preprocess made of it.

rewrites.py fix MODEL FIXED [NAME=EXTENT...]: writes MODEL with these dimensions fixed, in an operator set that both can read.
rewrites.py compare FIXED PREPARED...: prints as JSON how many nodes of each operator ONNX Runtime leaves of FIXED and each of the
others has, and how far their outputs are from those of FIXED on random inputs, as part of the range of the output.
"""

import collections
import json
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import version_converter

OLDEST = 10
# Free dimensions, where there are any left: not 1, so that what only holds for one sample is seen.
BATCH = 2
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}
SATURATE = ("Sigmoid", "HardSigmoid", "Softmax")
# Outputs with a smaller range are constants as far as float32 goes.
LEAST_RANGE = 1e-6
SAMPLE_RATE = 16000
TOKENS = 500


def fix(path, target, dims):
    model = onnx.load(path)
    standard = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if standard < OLDEST:
        model = version_converter.convert_version(model, 13)
    extents = {name: int(extent) for name, extent in (d.rsplit("=", 1) for d in dims)}
    for value in [*model.graph.input, *model.graph.output, *model.graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in extents:
                dim.dim_value = extents[dim.dim_param]
    # What saturates says little of what comes before it, so that is an output, too.
    made = {output: node for node in model.graph.node for output in node.output}
    for name in [output.name for output in model.graph.output]:
        if name in made and made[name].op_type in SATURATE:
            before = made[name].input[0]
            model.graph.output.append(onnx.helper.make_tensor_value_info(before, onnx.TensorProto.FLOAT, None))
    onnx.save(model, target)


def session(path, level, optimized=None):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = level
    if optimized:
        options.optimized_model_filepath = optimized
    return ort.InferenceSession(
        path, options, providers=["CPUExecutionProvider"], disabled_optimizers=["ConstantSharing"]
    )


def count(path):
    nodes = onnx.load(path, load_external_data=False).graph.node
    return collections.Counter(n.op_type if n.domain in ("", "ai.onnx") else f"{n.domain}.{n.op_type}" for n in nodes)


def feeds(runner):
    rng = np.random.default_rng(7)
    for value in runner.get_inputs():
        shape = [d if isinstance(d, int) else BATCH for d in value.shape]
        dtype = DTYPES[value.type]
        if dtype == np.int64:
            yield value.name, rng.integers(0, TOKENS, shape) if shape else np.array(SAMPLE_RATE, dtype)
        else:
            yield value.name, rng.uniform(-1, 1, shape).astype(dtype)


def compare(fixed, prepared):
    with tempfile.TemporaryDirectory() as folder:
        optimized = os.path.join(folder, "optimized.onnx")
        session(fixed, ort.GraphOptimizationLevel.ORT_ENABLE_BASIC, optimized)
        other = count(optimized)
    plain = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    before = session(fixed, plain)
    inputs = dict(feeds(before))
    names = [o.name for o in before.get_outputs()]
    expected = [v.astype(np.float64) for v in before.run(names, inputs)]
    models = []
    for path in prepared:
        found = session(path, plain).run(names, inputs)
        error, compared = 0.0, 0
        for x, y in zip(expected, found):
            if x.shape != y.shape or not np.isfinite(y).all():
                error = float("inf")
                continue
            # One number has no range but its distance from 0.
            extent = np.ptp(x) if x.size > 1 else np.abs(x).max(initial=0)
            if extent > LEAST_RANGE:
                error, compared = max(error, float(np.abs(x - y).max() / extent)), compared + 1
        models.append({"nodes": count(path), "error": error if compared else float("inf")})
    print(json.dumps({"onnxruntime": other, "prepared": models}))


if sys.argv[1] == "fix":
    fix(sys.argv[2], sys.argv[3], sys.argv[4:])
else:
    compare(sys.argv[2], sys.argv[3:])
