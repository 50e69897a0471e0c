"""Checks a model with Q/DQ against the rules of ONNX and of the formats that NPU compilers read.

structure.py MODEL: prints what does not hold, a line each, and fails if there is anything.
"""

import collections
import sys

import numpy as np
import onnx
from onnx import numpy_helper

Q, DQ = "QuantizeLinear", "DequantizeLinear"


def problems(path):
    # Also verifies types, shapes, unique names and that nodes are in topological order.
    onnx.checker.check_model(path, full_check=True)
    graph = onnx.load(path).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    producer = {output: node for node in graph.node for output in node.output}
    readers = collections.defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    outputs = {output.name for output in graph.output}

    for count, name in ((n, k) for k, n in collections.Counter(n.name for n in graph.node).items()):
        if count > 1 or not name:
            yield f"{count} nodes are called {name!r}"
    pairs = 0
    for node in graph.node:
        if node.op_type not in (Q, DQ):
            continue
        scale, zero = (constants.get(name) for name in node.input[1:3])
        if scale is None or zero is None:
            yield f"{node.name}: scale and zero point are not constants"
            continue
        position = -np.log2(scale.astype(np.float64))
        if scale.size != 1 or position != np.round(position):
            yield f"{node.name}: scale {scale} is not one power of two"
        if node.op_type == Q:
            pairs += 1
            partners = readers[node.output[0]]
            if [p.op_type for p in partners] != [DQ] or node.output[0] in outputs:
                yield f"{node.name}: read by {[p.name for p in partners]}, not by one {DQ}"
                continue
            if list(partners[0].input[1:]) != list(node.input[1:]):
                yield f"{node.name}: its partner has another scale or zero point"
            # A graph output keeps its name, so it is the input of Q that is renamed.
            tensor = partners[0].output[0]
            tensor = tensor if tensor in outputs else node.input[0]
            if [node.name, partners[0].name] != [f"{tensor}_{Q}", f"{tensor}_{DQ}"]:
                yield f"{node.name}, {partners[0].name}: these quantize {tensor}"
            # Poolings and the like may use the scale of their input.
            owner = node.input[1].removesuffix("_scale")
            if list(node.input[1:3]) != [f"{owner}_scale", f"{owner}_zero_point"]:
                yield f"{node.name}: scale and zero point are called {list(node.input[1:3])}"
        elif node.input[0] in constants:
            weight = constants[node.input[0]]
            if weight.dtype != np.int8 or zero.dtype != np.int8 or zero != 0:
                yield f"{node.name}: a constant of {weight.dtype} with zero point {zero}"
            elif np.abs(weight.astype(int)).max(initial=0) > 127:
                yield f"{node.name}: values beyond 127"
            if not node.input[0].endswith("_quantized"):
                yield f"{node.name}: its integers are called {node.input[0]}"
            elif node.name != f"{node.input[0].removesuffix('_quantized')}_{DQ}":
                yield f"{node.name}: dequantizes {node.input[0]}"
        elif producer.get(node.input[0]) is None or producer[node.input[0]].op_type != Q:
            yield f"{node.name}: dequantizes neither a constant nor what {Q} made"
    if not pairs:
        yield f"there is no {Q}"


found = list(problems(sys.argv[1]))
print("\n".join(found))
sys.exit(bool(found))
