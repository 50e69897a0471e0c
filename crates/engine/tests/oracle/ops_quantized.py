"""Operator cases on quantized tensors: oracle/ops_quantized.py FOLDER"""

import numpy as np
from case import R, case, f
from onnx import TensorProto

MS = "com.microsoft"


def q(dtype, *shape):
    info = np.iinfo(dtype)
    return R.integers(info.min, info.max, shape, endpoint=True).astype(dtype)


def scale(*shape):
    return (np.abs(f(*shape)) * np.float32(0.05) + np.float32(0.003)).astype(np.float32)


def s(value):
    return np.array(value, np.float32)


def z(value, dtype):
    return np.array(value, dtype)


# QuantizeLinear and DequantizeLinear: every form.
special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30], np.float32)
for opset in [10, 13, 19, 21, 22]:
    types = [np.int8, np.uint8] + ([np.int16, np.uint16] if opset > 20 else [])
    floats = [np.float32] + ([np.float16] if opset > 18 else [])
    for dtype in types:
        for real in floats:
            # float16 in ONNX Runtime has +inf become the lowest value, unlike float32 and the definition.
            x = np.concatenate([f(500, scale=6.0), special[4:5] if real is np.float16 else special]).astype(real)
            case("QuantizeLinear", [x], [z(0.071, real), z(3, dtype)], opset=opset)
            case("DequantizeLinear", [q(dtype, 4, 5)], [z(0.071, real), z(3, dtype)], opset=opset)
            for axis in [0, 1, 2, -1, -2] if opset > 10 else []:
                x = f(3, 4, 5, scale=3.0).astype(real)
                n = x.shape[axis]
                case("QuantizeLinear", [x], [scale(n).astype(real), q(dtype, n)], opset=opset, axis=axis)
                case("DequantizeLinear", [q(dtype, 3, 4, 5)], [scale(n).astype(real), q(dtype, n)], opset=opset, axis=axis)
        case("DequantizeLinear", [q(dtype, 4, 5)], [s(0.3)], opset=opset)
    case("QuantizeLinear", [f(4, 5)], [s(0.01)], opset=opset)
    case("QuantizeLinear", [f(0, 5)], [s(0.01)], opset=opset)
    case("DequantizeLinear", [q(np.int32, 4, 5)], [s(1e-6)], opset=opset)
    if opset > 10:
        case("DequantizeLinear", [q(np.int32, 4, 5)], [scale(4), np.zeros(4, np.int32)], opset=opset, axis=0)
for dtype in [np.int8, np.uint8, np.int16, np.uint16]:
    for shape, axis, block in [((4, 6), 1, 2), ((4, 6), 1, 4), ((4, 6), 0, 3), ((4, 6), -1, 6), ((2, 5, 3), 1, 2)]:
        blocks = list(shape)
        blocks[axis] = -(-shape[axis] // block)
        case("QuantizeLinear", [f(*shape)], [scale(*blocks), q(dtype, *blocks)], opset=21, axis=axis, block_size=block)
        case("DequantizeLinear", [q(dtype, *shape)], [scale(*blocks), q(dtype, *blocks)], opset=21, axis=axis, block_size=block)
        case("DequantizeLinear", [q(dtype, *shape)], [scale(*blocks)], opset=21, axis=axis, block_size=block)
for output in [TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16]:
    case("QuantizeLinear", [f(4, 5)], [s(0.01)], opset=21, output_dtype=output)
for dtype in [np.int8, np.uint8, np.int16, np.uint16]:
    for real in [np.float32, np.float16]:
        case("QuantizeLinear", [f(3, 4, scale=3.0).astype(real)], [scale(4).astype(real), q(dtype, 4)], domain=MS, axis=-1)
        case("DequantizeLinear", [q(dtype, 3, 4)], [scale(4).astype(real), q(dtype, 4)], domain=MS, axis=-1)
case("DequantizeLinear", [q(np.int32, 3, 4)], [scale(4), np.zeros(4, np.int32)], domain=MS, axis=1)
for x in [f(40), f(3, 4, scale=100.0), np.abs(f(30)), -np.abs(f(30)), np.zeros(4, np.float32), f(0, 3), s(2.0)]:
    case("DynamicQuantizeLinear", [x], opset=11, outputs=3)
# Integer products.
for a, b in [(np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8), (np.int8, np.uint8)]:
    case("MatMulInteger", [q(a, 3, 7), q(b, 7, 5)], [z(9, a), z(3, b)], opset=10)
    case("MatMulInteger", [q(a, 2, 3, 7), q(b, 7, 5)], [z(9, a), q(b, 5)], opset=10)
    case("MatMulInteger", [q(a, 2, 1, 3, 7), q(b, 4, 7, 5)], opset=10)
    if (a, b) == (np.int8, np.uint8):
        # Defined, but not there.
        continue
    for m in [(3, 7), (2, 3, 7)]:
        case("QLinearMatMul", [q(a, *m), s(0.1), z(5, a), q(b, 7, 5), s(0.03), z(2, b), s(0.7), z(11, a)], opset=10)
        case("QLinearMatMul", [q(a, *m), s(0.1), z(5, a)], [q(b, 7, 5), scale(5), np.zeros(5, b), s(0.4), z(11, a)], opset=10)
    for trans in [0, 1]:
        w = q(b, 5, 7) if trans else q(b, 7, 5)
        c = R.integers(-999, 999, 5).astype(np.int32)
        case("QGemm", [q(a, 3, 7), s(0.1), z(5, a), w, s(0.03), z(2, b), c, s(0.7), z(11, a)], domain=MS, transB=trans)
        case("QGemm", [q(a, 3, 7), s(0.1), z(5, a), w, scale(5), np.zeros(5, b), c], domain=MS, transB=trans, alpha=0.5)
    case("MatMulIntegerToFloat", [q(a, 3, 7), q(b, 7, 5), s(0.1), scale(5), z(5, a), q(b, 5), f(5)], domain=MS)
    case("MatMulIntegerToFloat", [q(a, 3, 7), q(b, 7, 5), s(0.1), s(0.2)], domain=MS)
case("QGemm", [q(np.uint8, 7, 3), s(0.1), z(5, np.uint8), q(np.int8, 7, 5), s(0.03), z(2, np.int8), None, s(0.7), z(11, np.uint8)],
     domain=MS, transA=1)
for b in [np.int8, np.uint8]:
    case("DynamicQuantizeMatMul", [f(3, 7), q(b, 7, 5), s(0.2), z(3, b), f(5)], domain=MS)
    case("DynamicQuantizeMatMul", [f(2, 3, 7)], [q(b, 7, 5), scale(5)], domain=MS)
# Integer convolutions.
for a, b in [(np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)]:
    for window in [dict(), dict(strides=[2, 2], pads=[1, 1, 1, 1]), dict(group=2, pads=[0, 1, 2, 1]), dict(dilations=[2, 1]),
                   dict(auto_pad="SAME_UPPER", strides=[2, 1])]:
        w = q(b, 6, 4 // window.get("group", 1), 3, 3)
        if a is np.uint8:
            case("ConvInteger", [q(a, 2, 4, 9, 8), w], [z(9, a), z(3, b)], opset=10, **window)
        x = [q(a, 2, 4, 9, 8), s(0.05), z(100, a)]
        bias = R.integers(-9999, 9999, 6).astype(np.int32)
        case("QLinearConv", x, [w, s(0.02), z(1, b), s(0.3), z(7, a), bias], opset=10, **window)
        case("QLinearConv", x, [w, scale(6), np.zeros(6, b), s(0.3), z(7, a)], opset=10, **window)
    case("QLinearConv", [q(a, 1, 4, 9), s(0.05), z(100, a)], [q(b, 6, 4, 3), s(0.02), z(1, b), s(0.3), z(7, a)], opset=10)
    case("QLinearConv", [q(a, 1, 2, 5, 6, 4), s(0.05), z(100, a)], [q(b, 3, 2, 2, 3, 2), s(0.02), z(1, b), s(0.3), z(7, a)],
         opset=10, pads=[1, 0, 1, 0, 1, 1], strides=[2, 1, 1])
    case("QLinearConv", [q(a, 1, 6, 9, 9), s(0.05), z(100, a)], [q(b, 6, 1, 3, 3), scale(6), np.zeros(6, b), s(0.3), z(7, a)],
         opset=10, group=6, pads=[1] * 4)
# Operators that quantizers emit.
for d in [np.uint8, np.int8]:
    for op in ["QLinearAdd", "QLinearMul"]:
        for a, b in [((3, 40), (3, 40)), ((2, 3, 4), (3, 1)), ((5,), (4, 1)), ((3, 7), ())]:
            case(op, [q(d, *a), s(0.1), z(3, d), q(d, *b), s(0.07), z(9, d), s(0.2), z(5, d)], domain=MS)
        case(op, [q(d, 999), s(0.5), z(0, d), q(d, 999), s(0.25), z(0, d), s(0.5), z(10, d)], domain=MS)
    every = np.arange(256).astype(np.uint8).view(d)
    for op in ["QLinearLeakyRelu", "QLinearSigmoid"]:
        case(op, [every, s(0.05), z(10, d), s(0.011), z(5, d)], domain=MS)
    case("QLinearLeakyRelu", [every, s(0.5), z(0, d), s(1.0), z(0, d)], domain=MS, alpha=0.3)
    case("QLinearConcat", [s(0.1), z(4, d), q(d, 2, 3, 4), s(0.1), z(4, d), q(d, 2, 5, 4), s(0.33), z(1, d)], domain=MS, axis=1)
    case("QLinearConcat", [s(0.1), z(4, d), q(d, 3), s(0.13), z(0, d), q(d, 4), s(0.05), z(9, d), q(d, 1), s(0.1), z(4, d)],
         domain=MS, axis=-1)
    case("QLinearWhere", [R.random((3, 4)) > 0.5, q(d, 3, 4), s(0.1), z(1, d), q(d, 4), s(0.2), z(2, d), s(0.15), z(3, d)], domain=MS)
    low = np.iinfo(d).min
    for opset, axis in [(13, -1), (13, 1), (12, 1), (13, 0)]:
        x = q(d, 3, 5, 7)
        case("QLinearSoftmax", [x], [s(0.05), z(3, d), s(1 / 256), z(low, d)], domain=MS, axis=axis, opset_=opset)
    for window in [dict(), dict(strides=[2, 2], pads=[1, 1, 1, 1]), dict(strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
                   dict(strides=[2, 2], ceil_mode=1)]:
        x = [s(0.1), z(3, d), s(0.13), z(7, d)]
        case("QLinearAveragePool", [q(d, 2, 3, 9, 9), *x], domain=MS, kernel_shape=[3, 3], **window)
        case("QLinearAveragePool", [q(d, 2, 9, 9, 3), *x], domain=MS, kernel_shape=[3, 3], channels_last=1, **window)
    case("QLinearAveragePool", [q(d, 2, 3, 9), *x], domain=MS, kernel_shape=[2])
    case("QLinearGlobalAveragePool", [q(d, 2, 30, 7, 6), *x], domain=MS)
    case("QLinearGlobalAveragePool", [q(d, 2, 7, 6, 30), *x], domain=MS, channels_last=1)
# Fused convolutions.
for activation, parameters in [("Relu", []), ("Tanh", []), ("Sigmoid", []), ("LeakyRelu", [0.2]), ("Clip", [-0.5, 0.6]),
                               ("HardSigmoid", [0.3, 0.4])]:
    extra = dict(activation_params=parameters) if parameters else {}
    case("FusedConv", [f(1, 3, 6, 7), f(4, 3, 3, 3), f(4)], domain=MS, activation=activation, **extra)
case("FusedConv", [f(1, 3, 6, 7), f(4, 3, 3, 3), f(4), f(1, 4, 4, 5)], domain=MS, activation="Relu")
