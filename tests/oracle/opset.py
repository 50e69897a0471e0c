"""Small models, and whether rewritten ones still compute what they did, by ONNX Runtime.

opset.py make DIR: writes models of old operator sets. opset.py parts DIR: writes operators as exporters decompose them.
opset.py compare BEFORE AFTER OPSET: fails where the second is not a valid model of that operator set (0: of any), or gives other results
than the first on the same random inputs.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

IMAGE = [1, 2, 4, 4]
CONSTANTS = {
    "up": np.float32([1, 1, 2, 2]),
    "down": np.float32([1, 1, 0.5, 0.5]),
    "empty": np.float32([]),
    "sizes": np.int64([1, 2, 8, 6]),
    "rois": np.float32([[0, 0, 3, 3], [1, 0, 3, 2]]),
    "batch": np.int64([0, 0]),
    "grid": np.float32([[[[-0.5, 0.1], [0.3, 0.7]], [[-0.9, 0.2], [0, 0.4]]]]),
    "places": np.int64([[2, 0]]),
    "updates": np.float32([[7, 8]]),
    "channel": np.float32([1.5, 0.5]),
    "offset": np.float32([0.25, -1]),
    "parts": np.int64([1, 3]),
    "two": np.int64([2]),
}

# name: operator, inputs after x, attributes, shape of x, outputs, operator set
MODELS = {
    "clip": ("Clip", [], {"min": -0.25, "max": 0.5}, [3, 4], 1, 10),
    "pad": ("Pad", [], {"pads": [0, 1, 2, 0], "value": 0.5}, [3, 4], 1, 10),
    "dropout": ("Dropout", [], {"ratio": 0.3}, [3, 4], 1, 10),
    "scatter": ("Scatter", ["places", "updates"], {"axis": 1}, [3, 4], 1, 10),
    "topk": ("TopK", ["two"], {"axis": 1}, [3, 4], 2, 10),
    "squeeze": ("Squeeze", [], {"axes": [1]}, [3, 1, 4], 1, 11),
    "unsqueeze": ("Unsqueeze", [], {"axes": [0, -1]}, [3, 4], 1, 11),
    "split": ("Split", [], {"split": [1, 3]}, [4, 3], 2, 11),
    "split_equal": ("Split", [], {"axis": 1}, [4, 6], 3, 13),
    "split_given": ("Split", ["parts"], {}, [4, 3], 2, 13),
    "softmax_rows": ("Softmax", [], {"axis": 1}, [2, 3, 4], 1, 12),
    "softmax_last": ("Softmax", [], {"axis": -1}, [2, 3, 4], 1, 11),
    "log_softmax": ("LogSoftmax", [], {"axis": 0}, [2, 3, 4], 1, 10),
    "hardmax": ("Hardmax", [], {}, [2, 3, 4], 1, 11),
    "resize_up": ("Resize", ["up"], {"mode": "nearest"}, IMAGE, 1, 10),
    "resize_down": ("Resize", ["down"], {"mode": "nearest"}, IMAGE, 1, 10),
    "resize_linear": ("Resize", ["up"], {"mode": "linear"}, IMAGE, 1, 10),
    "resize_sizes": ("Resize", ["empty", "empty", "sizes"], {"mode": "linear"}, IMAGE, 1, 11),
    "resize_cubic": ("Resize", ["empty", "up"], {"mode": "cubic"}, IMAGE, 1, 11),
    "roi_align": (
        "RoiAlign", ["rois", "batch"], {"output_height": 2, "output_width": 2, "sampling_ratio": 2}, IMAGE, 1, 10,
    ),
    "grid_sample": ("GridSample", ["grid"], {"mode": "bilinear"}, IMAGE, 1, 16),
    "grid_cubic": ("GridSample", ["grid"], {"mode": "bicubic"}, IMAGE, 1, 16),
    "batch_norm": ("BatchNormalization", ["channel", "offset", "offset", "channel"], {"epsilon": 0.1}, IMAGE, 1, 10),
    "average": (
        "AveragePool", [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}, IMAGE, 1, 11,
    ),
    "max_pool": ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [2, 2]}, IMAGE, 1, 10),
    "dft": ("DFT", [], {"axis": 1}, [1, 4, 1], 1, 17),
    "depth_to_space": ("DepthToSpace", [], {"blocksize": 2}, [1, 8, 2, 2], 1, 10),
    "flatten": ("Flatten", [], {"axis": 1}, IMAGE, 1, 10),
    "cum_sum": ("CumSum", ["two"], {}, IMAGE, 1, 11),
    "reduce_sum": ("ReduceSum", [], {"axes": [1, 2], "keepdims": 0}, [2, 3, 4], 1, 11),
    "reduce_all": ("ReduceSum", [], {}, [2, 3, 4], 1, 12),
    **{
        f"reduce_{op.lower()}": (f"Reduce{op}", [], {"axes": [-1], "keepdims": 1}, [2, 3, 4], 1, 13)
        for op in ["Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp"]
    },
}


def model(op, more, attributes, shape, outputs, opset):
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, ["x", *more], names, name="node", **attributes)
    constants = [numpy_helper.from_array(CONSTANTS[name], name) for name in dict.fromkeys(more)]
    kind = [TensorProto.INT64 if op == "TopK" and i == 1 else TensorProto.FLOAT for i in range(outputs)]
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, k, None) for name, k in zip(names, kind)],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return onnx.shape_inference.infer_shapes(made)


def make(folder):
    for name, parts in MODELS.items():
        onnx.save(model(*parts), pathlib.Path(folder) / f"{name}.onnx")


# name: types of the graph, constants, nodes
PARTS = {
    "layer_norm": (
        "(float[2,3,8] x) => (float[2,3,8] y)",
        "float two = {2}, float e = {1e-5}, float[8] g = {1,2,3,4,5,6,7,8}, float[8] b = {1,0,1,0,1,0,1,0}",
        """m = ReduceMean <axes = [-1]> (x)  d = Sub (x, m)  q = Pow (d, two)  v = ReduceMean <axes = [-1]> (q)
        a = Add (v, e)  s = Sqrt (a)  n = Div (d, s)  k = Mul (n, g)  y = Add (k, b)""",
    ),
    "instance_norm": (
        "(float[2,3,4,5] x) => (float[2,3,4,5] y)",
        "float e = {1e-3}, float one = {1}, float[3,1,1] g = {1,2,3}, float[3,1,1] b = {1,0,-1}",
        """m = GlobalAveragePool (x)  d = Sub (x, m)  q = Mul (d, d)  v = GlobalAveragePool (q)  a = Add (e, v)  s = Sqrt (a)
        r = Div (one, s)  k = Mul (r, g)  p = Mul (x, k)  t = Mul (m, k)  u = Sub (b, t)  y = Add (p, u)""",
    ),
    "l2_norm": (
        "(float[4,6] x) => (float[4,6] y)",
        "float e = {1e-12}",
        "n = ReduceL2 <axes = [1]> (x)  c = Max (n, e)  y = Div (x, c)",
    ),
    "gelu": (
        "(float[4,6] x) => (float[4,6] y)",
        "float r = {1.4142135}, float one = {1}, float h = {0.5}",
        "z = Div (x, r)  t = Erf (z)  s = Add (t, one)  p = Mul (x, s)  y = Mul (p, h)",
    ),
    "gelu_tanh": (
        "(float[4,6] x) => (float[4,6] y)",
        "float three = {3}, float k = {0.044715}, float c = {0.7978846}, float one = {1}, float h = {0.5}",
        """q = Pow (x, three)  w = Mul (k, q)  u = Add (x, w)  a = Mul (c, u)  t = Tanh (a)  s = Add (one, t)  p = Mul (h, x)
        y = Mul (p, s)""",
    ),
    "hard_swish": (
        "(float[4,6] x) => (float[4,6] y)",
        "float three = {3}, float six = {6}, float zero = {0}",
        "a = Add (x, three)  c = Clip (a, zero, six)  p = Mul (x, c)  y = Div (p, six)",
    ),
    "sigmoid": (
        "(float[4,6] x) => (float[4,6] y)",
        "float one = {1}",
        "n = Neg (x)  t = Exp (n)  s = Add (t, one)  y = Div (one, s)",
    ),
}


def parts(folder):
    for name, (types, constants, nodes) in PARTS.items():
        text = f'<ir_version: 8, opset_import: ["" : 13]> g {types} <{constants}> {{ {nodes} }}'
        onnx.save(onnx.parser.parse_model(text), pathlib.Path(folder) / f"{name}.onnx")


def run(path, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    if feeds is None:
        random = np.random.default_rng(7)
        feeds = {}
        for value in session.get_inputs():
            dims = [d if isinstance(d, int) and d > 0 else 1 for d in value.shape]
            if "int64" in value.type:
                feeds[value.name] = random.integers(0, 100, dims)
            else:
                kind = np.float16 if "float16" in value.type else np.float32
                feeds[value.name] = random.uniform(-1, 1, dims).astype(kind)
    return session.run(None, feeds), feeds


def compare(before, after, opset):
    onnx.checker.check_model(after, full_check=True)
    converted = onnx.load(after)
    versions = {entry.domain: entry.version for entry in converted.opset_import}
    assert int(opset) in (0, versions[""]), f"{after} has operator set {versions['']}"
    wanted, feeds = run(before, None)
    got, _ = run(after, feeds)
    for a, b in zip(wanted, got, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5 * max(1e-6, np.abs(a).max(initial=0)))


if __name__ == "__main__":
    {"make": make, "parts": parts, "compare": compare}[sys.argv[1]](*sys.argv[2:])
