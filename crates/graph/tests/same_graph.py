"""Ends with 1, and says why, when two ONNX files do not hold the same model.

Initializers that are also inputs (format version 3) count as initializers only. The encoding of tensors does not
count, nor do names of tensors inside attributes, documentation of values, and declared types of what says its own.
"""

import sys

import numpy as np
import onnx
from onnx import AttributeProto, numpy_helper


def same_tensor(a, b):
    if a.data_type != b.data_type or list(a.dims) != list(b.dims):
        return False
    if a.data_type == onnx.TensorProto.STRING:
        return list(a.string_data) == list(b.string_data)
    return numpy_helper.to_array(a).tobytes() == numpy_helper.to_array(b).tobytes()


def same_attribute(a, b, where):
    assert a.name == b.name and a.type == b.type, f"{where}: attribute {a.name}"
    if a.type == AttributeProto.TENSOR:
        assert same_tensor(a.t, b.t), f"{where}: attribute {a.name}"
    elif a.type == AttributeProto.GRAPH:
        same_graph(a.g, b.g, f"{where}, {a.name}")
    else:
        x, y = onnx.helper.get_attribute_value(a), onnx.helper.get_attribute_value(b)
        assert np.array_equal(x, y, equal_nan=isinstance(x, float)), f"{where}: attribute {a.name}"


def domain(node):
    return "" if node.domain == "ai.onnx" else node.domain


def same_graph(a, b, where="graph"):
    assert a.name == b.name, where
    assert len(a.node) == len(b.node), f"{where}: number of nodes"
    for x, y in zip(a.node, b.node):
        here = f"{where}, node {x.name!r}"
        assert (x.name, x.op_type, domain(x)) == (y.name, y.op_type, y.domain), here
        assert list(x.input) == list(y.input) and list(x.output) == list(y.output), here
        assert len(x.attribute) == len(y.attribute), here
        for p, q in zip(x.attribute, y.attribute):
            same_attribute(p, q, here)
    assert [t.name for t in a.initializer] == [t.name for t in b.initializer], f"{where}: initializers"
    for x, y in zip(a.initializer, b.initializer):
        assert same_tensor(x, y), f"{where}: initializer {x.name}"
    constants = {t.name for t in a.initializer}
    made = {o for n in a.node for o in n.output}
    outputs = {o.name for o in a.output}
    inputs = [v for v in a.input if v.name not in constants]
    types = [v for v in a.value_info if v.name in made and v.name not in outputs]
    for kind, xs, ys in (("inputs", inputs, b.input), ("outputs", a.output, b.output), ("types", types, b.value_info)):
        assert [v.name for v in xs] == [v.name for v in ys], f"{where}: {kind}"
        for x, y in zip(xs, ys):
            assert x.type == y.type, f"{where}: type of {x.name}"


def main():
    a, b = onnx.load(sys.argv[1]), onnx.load(sys.argv[2])
    try:
        versions = lambda m: [("" if o.domain == "ai.onnx" else o.domain, o.version) for o in m.opset_import]
        assert a.ir_version == b.ir_version and versions(a) == versions(b), "versions"
        assert (a.producer_name, a.doc_string, a.domain) == (b.producer_name, b.doc_string, b.domain), "header"
        assert list(a.metadata_props) == list(b.metadata_props), "metadata"
        same_graph(a.graph, b.graph)
        onnx.checker.check_model(b) if not any(n.domain for n in b.graph.node) else None
    except AssertionError as e:
        print(e)
        sys.exit(1)


main()
