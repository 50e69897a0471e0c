"""Models for the comparison with ONNX Runtime.

models.py generate FOLDER         writes resnet50, vit_tiny and vit_tiny_layernorm, with random weights
models.py expose MODEL TO         writes a copy of a model that has every intermediate tensor as an output
"""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RANDOM = np.random.default_rng(1)


class Net:
    """Nodes under construction. Every method adds what it is named after and returns the name of the result."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def scalar(self, value):
        return self.constant(np.float32(value))

    def node(self, op, *inputs, outputs=1, **attributes):
        names = [f"{op}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"{op}_{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def weight(self, shape, fan):
        return self.constant((RANDOM.standard_normal(shape) * np.sqrt(1.0 / fan)).astype(np.float32))

    def vector(self, size, mean=0.0):
        return self.constant((mean + 0.1 * RANDOM.standard_normal(size)).astype(np.float32))

    def conv(self, x, c_in, c_out, kernel, stride=1, pad=0, gain=2.0):
        weight = self.weight((c_out, c_in, kernel, kernel), c_in * kernel * kernel / gain)
        return self.node(
            "Conv", x, weight, self.vector(c_out), kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
        )

    def linear(self, x, c_in, c_out):
        return self.node("Add", self.node("MatMul", x, self.weight((c_in, c_out), c_in)), self.vector(c_out))

    def save(self, path, inputs, output, classes):
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", classes])],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def resnet50(path):
    """ResNet-50 v1.5 as it is exported for inference: normalisations are part of the convolutions."""
    net = Net()
    x = net.node("Relu", net.conv("input", 3, 64, 7, 2, 3))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    width = 64
    for stage, blocks in enumerate([3, 4, 6, 3]):
        inner = 64 << stage
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            y = net.node("Relu", net.conv(x, width, inner, 1))
            y = net.node("Relu", net.conv(y, inner, inner, 3, stride, 1))
            y = net.conv(y, inner, inner * 4, 1, gain=0.25)
            if block == 0:
                x = net.conv(x, width, inner * 4, 1, stride, gain=1.0)
                width = inner * 4
            x = net.node("Relu", net.node("Add", y, x))
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    x = net.node("Gemm", x, net.weight((1000, width), width), net.vector(1000), transB=1)
    net.save(path, {"input": ["N", 3, 224, 224]}, x, 1000)


def layer_norm(net, x, size, decomposed):
    scale, shift = net.vector(size, 1.0), net.vector(size)
    if not decomposed:
        return net.node("LayerNormalization", x, scale, shift, axis=-1, epsilon=1e-6)
    centred = net.node("Sub", x, net.node("ReduceMean", x, axes=[-1]))
    variance = net.node("ReduceMean", net.node("Pow", centred, net.scalar(2.0)), axes=[-1])
    deviation = net.node("Sqrt", net.node("Add", variance, net.scalar(1e-6)))
    return net.node("Add", net.node("Mul", net.node("Div", centred, deviation), scale), shift)


def gelu(net, x):
    y = net.node("Erf", net.node("Div", x, net.scalar(np.sqrt(2.0))))
    return net.node("Mul", net.node("Mul", x, net.node("Add", y, net.scalar(1.0))), net.scalar(0.5))


def attention(net, x, size, heads, tokens):
    head = size // heads
    qkv = net.linear(x, size, 3 * size)
    qkv = net.node("Reshape", qkv, net.constant(np.array([-1, tokens, 3, heads, head], np.int64)))
    qkv = net.node("Transpose", qkv, perm=[2, 0, 3, 1, 4])
    parts = net.node("Split", qkv, outputs=3, axis=0)
    q, k, v = [net.node("Squeeze", p, net.constant(np.array([0], np.int64))) for p in parts]
    q = net.node("Mul", q, net.scalar(head**-0.5))
    scores = net.node("MatMul", q, net.node("Transpose", k, perm=[0, 1, 3, 2]))
    y = net.node("MatMul", net.node("Softmax", scores, axis=-1), v)
    y = net.node("Transpose", y, perm=[0, 2, 1, 3])
    y = net.node("Reshape", y, net.constant(np.array([-1, tokens, size], np.int64)))
    return net.linear(y, size, size)


def vit_tiny(path, decomposed):
    size, heads, patch, patches = 192, 3, 16, 196
    net = Net()
    x = net.conv("input", 3, size, patch, patch, gain=1.0)
    x = net.node("Reshape", x, net.constant(np.array([0, size, patches], np.int64)))
    x = net.node("Transpose", x, perm=[0, 2, 1])
    # The token of the class, once for each image.
    batch = net.node("Gather", net.node("Shape", x), net.constant(np.int64(0)), axis=0)
    batch = net.node("Unsqueeze", batch, net.constant(np.array([0], np.int64)))
    shape = net.node("Concat", batch, net.constant(np.array([1, size], np.int64)), axis=0)
    x = net.node("Concat", net.node("Expand", net.vector((1, 1, size)), shape), x, axis=1)
    x = net.node("Add", x, net.vector((1, patches + 1, size)))
    for _ in range(12):
        y = attention(net, layer_norm(net, x, size, decomposed), size, heads, patches + 1)
        x = net.node("Add", x, y)
        y = gelu(net, net.linear(layer_norm(net, x, size, decomposed), size, 4 * size))
        x = net.node("Add", x, net.linear(y, 4 * size, size))
    x = layer_norm(net, x, size, decomposed)
    x = net.node("Gather", x, net.constant(np.int64(0)), axis=1)
    x = net.node("Gemm", x, net.weight((1000, size), size), net.vector(1000), transB=1)
    net.save(path, {"input": ["N", 3, 224, 224]}, x, 1000)


def expose(model, to):
    model = onnx.load(model)
    known = {o.name for o in model.graph.output}
    for node in model.graph.node:
        if node.op_type != "Constant":
            model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in node.output if n and n not in known)
    onnx.save(model, to)


def main():
    match sys.argv[1:]:
        case ["generate", folder]:
            folder = pathlib.Path(folder)
            resnet50(folder / "resnet50.onnx")
            vit_tiny(folder / "vit_tiny.onnx", decomposed=True)
            vit_tiny(folder / "vit_tiny_layernorm.onnx", decomposed=False)
        case ["expose", model, to]:
            expose(model, to)
        case _:
            raise SystemExit(__doc__)


main()
