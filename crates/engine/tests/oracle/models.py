"""Runs a model in ONNX Runtime on random inputs: oracle/models.py MODEL FOLDER CASE [--all]

Writes in_<i>.npy for each input and out_<i>.npy for each output to FOLDER, and the names to names.json.
With --all every intermediate tensor is an output.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort

SYMBOLS = {"N": 2}


# Shapes that only work together, and integers that mean something.
SHAPES = {"silero_vad": {"input": [2, 576], "state": [2, 2, 128]}, "silero_vad@8k": {"input": [2, 288], "state": [2, 2, 128]}}
INTEGERS = {"silero_vad": {"sr": 16000}, "silero_vad@8k": {"sr": 8000}}


def feed(info, random, case):
    if info.name in INTEGERS.get(case, {}):
        return np.array(INTEGERS[case][info.name], dtype=np.int64)
    dims = [d if isinstance(d, int) else SYMBOLS.get(d, 2) for d in info.shape]
    dims = SHAPES.get(case, {}).get(info.name, dims)
    if info.type == "tensor(float)":
        return random.standard_normal(dims).astype(np.float32)
    if info.type == "tensor(float16)":
        return random.standard_normal(dims).astype(np.float16)
    if info.type == "tensor(int64)":
        return random.integers(0, 500, dims)
    raise SystemExit(f"no feed for {info.type}")


def main():
    path, folder, case = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    model = onnx.load(path)
    if "--all" in sys.argv:
        known = {o.name for o in model.graph.output}
        for node in model.graph.node:
            if node.op_type == "Constant":
                continue
            for name in node.output:
                if name and name not in known:
                    model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    random = np.random.default_rng(7)
    feeds = {i.name: feed(i, random, case) for i in session.get_inputs()}
    results = session.run(None, feeds)
    for i, value in enumerate(feeds.values()):
        np.save(folder / f"in_{i}.npy", value)
    for i, value in enumerate(results):
        np.save(folder / f"out_{i}.npy", value)
    names = {"inputs": list(feeds), "outputs": [o.name for o in session.get_outputs()]}
    (folder / "names.json").write_text(json.dumps(names))


main()
