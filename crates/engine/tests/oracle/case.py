"""What scripts share that write operator cases with what ONNX Runtime makes of them: SCRIPT FOLDER

Each case is a folder with model.onnx, in_<i>.npy, out_<i>.npy and names.json.
"""

import json
import os
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(sys.argv[1])
R = np.random.default_rng(int(os.environ.get("SHIFTWISE_SEED", "3")))
COUNT = 0


def f(*shape, scale=1.0):
    return (R.standard_normal(shape) * scale).astype(np.float32)


def i64(*values):
    return np.array(values, np.int64)


def case(op, inputs, constants=(), opset=17, outputs=1, domain="", **attributes):
    """`inputs` are fed, `constants` become initializers behind them; None is an omitted input."""
    global COUNT
    infos, names, initializers = [], [], []
    inputs = [v if v is None else np.asarray(v) for v in inputs]
    values = inputs + [v if v is None else np.asarray(v) for v in constants]
    for k, value in enumerate(values):
        if value is None:
            names.append("")
            continue
        name = f"x{k}"
        names.append(name)
        if k < len(inputs):
            dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
            infos.append(helper.make_tensor_value_info(name, dtype, value.shape))
        else:
            initializers.append(numpy_helper.from_array(value, name))
    outs = [f"y{k}" for k in range(outputs)]
    # An attribute that is called like a parameter here has an underscore behind its name.
    attributes = {name.rstrip("_"): v for name, v in attributes.items()}
    node = helper.make_node(op, names, outs, name=op.lower(), domain=domain)
    node.attribute.extend(helper.make_attribute(name, v) for name, v in attributes.items())
    feeds = {f"x{k}": v for k, v in enumerate(inputs) if v is not None}
    write(op, opset, [node], infos, initializers, outs, feeds)


def write(label, opset, nodes, infos, initializers, outs, feeds):
    global COUNT
    graph = helper.make_graph(nodes, "case", infos, [onnx.ValueInfoProto(name=n) for n in outs], initializers)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10 if opset > 20 else 8)
    model = onnx.shape_inference.infer_shapes(model)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
        results = session.run(None, feeds)
    except Exception as error:
        raise SystemExit(f"case {label} {nodes[-1]}: {error}") from error
    folder = FOLDER / f"{COUNT:03}_{label}_{opset}"
    COUNT += 1
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    for k, value in enumerate(feeds.values()):
        np.save(folder / f"in_{k}.npy", np.asarray(value, order="C"))
    for k, value in enumerate(results):
        np.save(folder / f"out_{k}.npy", np.asarray(value, order="C"))
    (folder / "names.json").write_text(json.dumps({"inputs": list(feeds), "outputs": outs}))
