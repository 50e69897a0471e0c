"""Writes a model with functions of its own and what ONNX Runtime computes: oracle/functions.py FOLDER

Functions call functions, refer to attributes with and without defaults, hold bodies, and are called twice.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, parser


def main():
    folder = pathlib.Path(sys.argv[1])
    model = parser.parse_model(
        """
        <ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        main (float[2,3] x, bool flag) => (float[2,3] y, float[2,3] z) {
            a = own.twice(x)
            b = own.twice <alpha = 0.5> (a)
            y = own.choose(flag, b, x)
            c, z = own.pass_on(y, )
        }
        <domain: "own", opset_import: ["" : 17]>
        sloped <alpha: float = 0.25> (v) => (w) {
            t = Neg(v)
            w = LeakyRelu <alpha: float = @alpha> (t)
        }
        <domain: "own", opset_import: ["" : 17, "own" : 1]>
        twice <alpha: float = 0.125> (v) => (w) {
            t = own.sloped <alpha: float = @alpha> (v)
            w = own.sloped (t)
        }
        <domain: "own", opset_import: ["" : 17]>
        choose (flag, v, other) => (w) {
            t = Abs(v)
            w = If (flag) <
                then_branch = one () => (r) { s = Sqrt(t)  r = Add(s, other) },
                else_branch = two () => (r) { s = Exp(other)  r = Mul(s, t) }
            >
        }
        <domain: "own", opset_import: ["" : 17]>
        pass_on (v, missing) => (s, t) {
            s = Abs(v)
            t = Neg(v)
        }
        """
    )
    onnx.save(model, folder / "model.onnx")
    random = np.random.default_rng(5)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for flag in (False, True):
        case = folder / str(flag)
        case.mkdir()
        feeds = {"x": random.standard_normal((2, 3)).astype(np.float32), "flag": np.array(flag)}
        for i, value in enumerate(feeds.values()):
            np.save(case / f"in_{i}.npy", value)
        for i, value in enumerate(session.run(None, feeds)):
            np.save(case / f"out_{i}.npy", value)
        (case / "names.json").write_text(json.dumps({"inputs": list(feeds), "outputs": ["y", "z"]}))


main()
