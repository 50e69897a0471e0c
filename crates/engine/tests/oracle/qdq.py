"""Quantizes a model with ONNX Runtime's own quantizer and runs it: oracle/qdq.py MODEL FOLDER FORMAT

FORMAT is one of the names in FORMATS. Writes model.onnx, in_<i>.npy, names.json, and out_<i>.npy for every tensor that a node
makes, all computed without graph optimisation.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

INT8, UINT8, INT16, UINT16 = QuantType.QInt8, QuantType.QUInt8, QuantType.QInt16, QuantType.QUInt16
# Types of activations and weights, per channel, and options.
FORMATS = {
    "s8s8": (INT8, INT8, False, {"ActivationSymmetric": True}),
    "u8s8": (UINT8, INT8, False, {}),
    "u8s8_per_channel": (UINT8, INT8, True, {}),
    "s16s8_per_channel": (INT16, INT8, True, {}),
    "u16u8": (UINT16, UINT8, False, {}),
    "s16s8_contrib": (INT16, INT8, False, {"UseQDQContribOps": True}),
}


class Samples(CalibrationDataReader):
    def __init__(self, feeds):
        self.feeds = iter(feeds)

    def get_next(self):
        return next(self.feeds, None)


def sample(model, random):
    initializers = {i.name for i in model.graph.initializer}
    feeds = {}
    for info in model.graph.input:
        if info.name not in initializers:
            dims = [d.dim_value or 1 for d in info.type.tensor_type.shape.dim]
            # Smooth images: noise alone makes every activation alike.
            small = random.standard_normal([*dims[:2], -(-dims[2] // 8), -(-dims[3] // 8)])
            image = np.kron(small, np.ones((8, 8)))[..., : dims[2], : dims[3]]
            feeds[info.name] = (image + 0.2 * random.standard_normal(dims)).astype(np.float32)
    return feeds


def main():
    path, folder, name = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    activation, weight, per_channel, options = FORMATS[name]
    random = np.random.default_rng(11)
    model = onnx.load(path)
    for info in [*model.graph.input, *model.graph.output]:
        for dim in info.type.tensor_type.shape.dim:
            if not dim.dim_value:
                dim.dim_value = 1
    if activation in (INT16, UINT16) and not options:
        model = onnx.version_converter.convert_version(model, 21)
    del model.graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model)
    target = folder / "model.onnx"
    quantize_static(
        model,
        target,
        Samples([sample(model, random) for _ in range(4)]),
        activation_type=activation,
        weight_type=weight,
        per_channel=per_channel,
        extra_options=options,
    )
    quantized = onnx.load(target)
    feeds = sample(model, random)
    known = {o.name for o in quantized.graph.output}
    for node in quantized.graph.node:
        if node.op_type != "Constant":
            quantized.graph.output.extend(onnx.ValueInfoProto(name=n) for n in node.output if n and n not in known)
    session_options = ort.SessionOptions()
    session_options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session_options.log_severity_level = 4
    session = ort.InferenceSession(quantized.SerializeToString(), session_options, ["CPUExecutionProvider"])
    results = session.run(None, feeds)
    for i, value in enumerate(feeds.values()):
        np.save(folder / f"in_{i}.npy", value)
    for i, value in enumerate(results):
        np.save(folder / f"out_{i}.npy", value)
    names = {"inputs": list(feeds), "outputs": [o.name for o in session.get_outputs()]}
    (folder / "names.json").write_text(json.dumps(names))


main()
