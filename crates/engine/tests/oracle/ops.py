"""Operator cases of all families: oracle/ops.py FOLDER"""

import numpy as np
import onnx
from case import R, case, f, i64, write
from onnx import TensorProto, helper, numpy_helper

# Convolutions.
for kernel, stride, pads, dilation, group in [
    (3, 1, 1, 1, 1), (3, 2, 1, 1, 1), (3, 1, 2, 2, 1), (3, 2, 1, 1, 4), (3, 1, 1, 1, 2), (1, 1, 0, 1, 1), (1, 2, 0, 1, 1),
    (5, 2, 2, 1, 4), (5, 3, 0, 2, 4),
]:
    case("Conv", [f(2, 4, 15, 13), f(8, 4 // group, kernel, kernel), f(8)], kernel_shape=[kernel] * 2,
         strides=[stride] * 2, pads=[pads] * 4, dilations=[dilation] * 2, group=group)
case("Conv", [f(2, 4, 15, 13), f(8, 4, 3, 2)], pads=[0, 1, 2, 0])
case("Conv", [f(2, 4, 21), f(8, 4, 5), f(8)], strides=[2], pads=[1, 2])
case("Conv", [f(2, 4, 21), f(4, 1, 3)], group=4, dilations=[2])
for auto in ["SAME_UPPER", "SAME_LOWER", "VALID"]:
    for stride in [1, 2, 3]:
        case("Conv", [f(1, 3, 10, 11), f(2, 3, 4, 3)], auto_pad=auto, strides=[stride, stride])
        case("MaxPool", [f(1, 3, 10, 11)], auto_pad=auto, strides=[stride, stride], kernel_shape=[3, 2])
        case("AveragePool", [f(1, 3, 10, 11)], auto_pad=auto, strides=[stride, stride], kernel_shape=[3, 2])
        case("ConvTranspose", [f(1, 3, 5, 6), f(3, 2, 4, 3)], auto_pad=auto, strides=[stride, stride])
case("ConvTranspose", [f(2, 4, 5, 6), f(4, 3, 3, 3), f(3)], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])
case("ConvTranspose", [f(2, 4, 5, 6), f(4, 2, 3, 2)], group=2, dilations=[2, 1], pads=[1, 0, 0, 1])
case("ConvTranspose", [f(2, 4, 7), f(4, 3, 4), f(3)], strides=[3], pads=[1, 0])
case("ConvTranspose", [f(1, 2, 5, 6), f(2, 3, 3, 3)], strides=[2, 2], output_shape=[10, 12])
# Matrices.
case("MatMul", [f(3, 4), f(4, 5)])
case("MatMul", [f(2, 1, 3, 4), f(5, 4, 6)])
case("MatMul", [f(4), f(2, 4, 3)])
case("MatMul", [f(2, 3, 4), f(4)])
case("MatMul", [f(4), f(4)])
case("Gemm", [f(3, 4), f(4, 5), f(5)], alpha=0.5, beta=2.0)
case("Gemm", [f(4, 3), f(5, 4), f(3, 1)], transA=1, transB=1)
case("Gemm", [f(3, 4), f(4, 5)])
# Functions of one element.
special = np.array([0.0, -0.0, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-30, 80, -80], np.float32)
for op in ["Relu", "LeakyRelu", "Elu", "ThresholdedRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "Exp", "Abs",
           "Neg", "Sign", "Floor", "Ceil", "Round", "Softsign", "Softplus", "Selu", "Celu", "Sin", "Cos", "Atan", "Tan"]:
    case(op, [f(3, 5, 7, scale=4.0)])
for op in ["Relu", "LeakyRelu", "Sigmoid", "Tanh", "Erf", "Exp", "Abs", "Neg", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal"]:
    case(op, [special])
case("Mish", [f(3, 70, scale=6.0)], opset=18)
case("Gelu", [f(3, 70, scale=3.0)], opset=20)
case("Gelu", [f(3, 70, scale=3.0)], opset=20, approximate="tanh")
case("Gelu", [f(3, 70, scale=3.0)], domain="com.microsoft")
for op in ["Log", "Sqrt", "Reciprocal"]:
    case(op, [np.abs(f(3, 70)) + np.float32(0.01)])
for op in ["Acos", "Asin"]:
    case(op, [R.uniform(-1, 1, (3, 7)).astype(np.float32)])
case("LeakyRelu", [f(40)], alpha=0.3)
case("HardSigmoid", [f(40, scale=3.0)], alpha=0.17, beta=0.4)
case("Clip", [f(40)], opset=10, min=-0.5, max=0.7)
case("Clip", [f(40)], [np.float32(-0.5), np.float32(0.7)], opset=13)
case("Clip", [f(40)], [None, np.float32(0.7)], opset=13)
case("Clip", [special], [np.float32(0), np.float32(6)], opset=13)
case("Clip", [np.arange(-5, 5)], [np.int64(-2), np.int64(3)], opset=13)
case("Abs", [np.arange(-5, 5)])
case("Neg", [np.arange(-5, 5, dtype=np.int32)])
# Arithmetic.
for op in ["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"]:
    for a, b in [((2, 3, 4, 5), (2, 3, 4, 5)), ((2, 3, 4, 5), (3, 1, 1)), ((2, 3, 1, 1), (2, 3, 4, 5)), ((5,), (4, 1)), ((4,), ())]:
        case(op, [np.abs(f(*a)) + np.float32(0.1), f(*b)])
    case(op, [np.arange(1, 13).reshape(3, 4), np.array([2, 3, 1, 4])], opset=13)
    if op not in ("Pow",):
        case(op, [np.arange(-6, 6, dtype=np.int32).reshape(3, 4), np.array([[-2], [3], [5]], np.int32)], opset=13)
case("Pow", [f(4, 3)], [np.float32(2)])
case("Pow", [f(4, 3)], [np.int64(3)], opset=13)
case("Min", [f(3, 4), f(4), f(3, 1)])
case("Max", [f(3, 4)])
case("Sum", [f(3, 4), f(4), f(3, 1)])
case("Mean", [f(3, 4), f(4), f(3, 1)])
case("PRelu", [f(2, 3, 4, 5), f(3, 1, 1)])
case("Mod", [np.arange(-6, 6), np.full(12, 5)])
case("Mod", [np.arange(-6, 6), np.full(12, -5)])
case("Mod", [np.arange(-6, 6), np.full(12, -5)], fmod=1)
case("Mod", [f(12), np.full(12, 0.3, np.float32)], fmod=1)
# Logic.
for op in ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]:
    case(op, [np.arange(6).reshape(2, 3), np.array([3, 1, 2])])
    case(op, [f(2, 3).round(), f(3).round()])
for op in ["And", "Or", "Xor"]:
    case(op, [R.random((2, 3)) > 0.5, R.random(3) > 0.5])
case("Not", [R.random((2, 3)) > 0.5])
case("IsNaN", [special])
case("IsInf", [special])
case("IsInf", [special], detect_negative=0)
case("Where", [R.random((2, 1)) > 0.5, f(2, 3), f(3)])
case("Where", [R.random((2, 3)) > 0.5, np.arange(3), np.int64(7).reshape(())])
casts = {"f": np.array([-2.7, 0, 0.4, 3.5, 100.0], np.float32), "i": i64(-3, 0, 5, 300), "b": np.array([True, False]),
         "h": np.array([-2.7, 0, 3.5], np.float16)}
for value in casts.values():
    for to in [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.INT32, TensorProto.INT8,
               TensorProto.UINT8, TensorProto.BOOL]:
        if to == TensorProto.UINT8 and value.dtype.kind == "f":
            value = np.abs(value)
        case("Cast", [value], to=to)
# Pooling.
for op in ["MaxPool", "AveragePool"]:
    for ceil in [0, 1]:
        case(op, [f(2, 3, 9, 10)], opset=19, kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 1, 1], ceil_mode=ceil)
        case(op, [f(2, 3, 9, 10)], opset=19, kernel_shape=[3, 3], dilations=[2, 1], ceil_mode=ceil, strides=[2, 2])
        case(op, [f(2, 3, 11)], kernel_shape=[3], strides=[2], ceil_mode=ceil)
case("AveragePool", [f(2, 3, 9, 10)], opset=19, kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 1, 1], count_include_pad=1)
case("AveragePool", [f(2, 3, 9, 10)], opset=19, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1, ceil_mode=1)
for op in ["GlobalAveragePool", "GlobalMaxPool"]:
    case(op, [f(2, 3, 9, 10)])
    case(op, [f(2, 3, 9)])
# Reductions.
for op in ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
           "ReduceLogSumExp"]:
    for axes in [None, [1], [-1], [0, 2], [2, 3], [1, 2]]:
        for keep in [0, 1]:
            x = f(2, 3, 4, 5)
            if op == "ReduceSum":
                case(op, [x], [i64(*axes)] if axes else [], opset=13, keepdims=keep)
            else:
                extra = {"axes": axes} if axes else {}
                case(op, [x], opset=13, keepdims=keep, **extra)
                case(op, [x], [i64(*axes)] if axes else [], opset=18, keepdims=keep)
case("ReduceSum", [f(2, 3)], opset=13, noop_with_empty_axes=1)
case("ReduceLogSum", [np.abs(f(2, 3))], axes=[1])
for op in ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"]:
    case(op, [np.arange(1, 13).reshape(3, 4)], [i64(1)], opset=18)
for op in ["ArgMax", "ArgMin"]:
    case(op, [f(3, 4, 5)], axis=1)
    case(op, [f(3, 4, 5).round()], axis=-1, keepdims=0)
    case(op, [f(3, 4, 5).round()], axis=0, select_last_index=1)
# Normalisations.
for op in ["Softmax", "LogSoftmax"]:
    for axis in [0, 1, 2, -1]:
        case(op, [f(3, 4, 5)], opset=13, axis=axis)
        case(op, [f(3, 4, 5)], opset=11, axis=axis)
    case(op, [f(3, 4, 5)], opset=11)
    case(op, [f(3, 4, 5)], opset=13)
bn = [f(4), f(4), f(4), np.abs(f(4)) + np.float32(0.1)]
case("BatchNormalization", [f(2, 4, 5, 6), *bn], epsilon=1e-3)
case("BatchNormalization", [f(7, 4), *bn], opset=9)
case("InstanceNormalization", [f(2, 4, 5, 6), f(4), f(4)])
case("LayerNormalization", [f(2, 4, 5), f(5), f(5)])
case("LayerNormalization", [f(2, 4, 5), f(4, 5)], axis=1, epsilon=1e-3)
case("LpNormalization", [f(2, 4, 5)], axis=1, p=2)
case("LpNormalization", [f(2, 4, 5)], axis=-1, p=1)
# Shapes.
case("Reshape", [f(2, 3, 4)], [i64(0, -1)])
case("Reshape", [f(2, 3, 4)], [i64(4, 1, -1, 2)])
case("Reshape", [f(0, 3)], [i64(3, 0)], allowzero=1)
for axis in [0, 1, 3, -1]:
    case("Flatten", [f(2, 3, 4)], axis=axis)
case("Squeeze", [f(1, 3, 1)], opset=11, axes=[0])
case("Squeeze", [f(1, 3, 1)], [i64(-1)], opset=13)
case("Squeeze", [f(1, 3, 1)], opset=13)
case("Unsqueeze", [f(3, 2)], opset=11, axes=[0, 3])
case("Unsqueeze", [f(3, 2)], [i64(-1, 1)], opset=13)
case("Shape", [f(3, 2, 4)], opset=15, start=1)
case("Shape", [f(3, 2, 4)], opset=15, start=-2, end=-1)
case("Size", [f(3, 2, 4)])
case("Identity", [f(3)])
case("Dropout", [f(3)], opset=13)
for perm in [[0, 2, 1, 3], [3, 0, 1, 2], [0, 2, 3, 1], [1, 0, 3, 2], [0, 1, 2, 3]]:
    case("Transpose", [f(2, 17, 18, 5)], perm=perm)
case("Transpose", [f(2, 3, 4)])
case("Transpose", [np.arange(6, dtype=np.uint8).reshape(2, 3)])
case("Expand", [f(3, 1)], [i64(2, 1, 4)])
case("Tile", [f(2, 3)], [i64(2, 3)])
for mode in ["DCR", "CRD"]:
    case("DepthToSpace", [f(2, 12, 3, 4)], blocksize=2, mode=mode)
case("SpaceToDepth", [f(2, 3, 4, 6)], blocksize=2)
case("Concat", [f(2, 3, 4), f(2, 1, 4), f(2, 5, 4)], axis=1)
case("Concat", [i64(1, 2), i64(3)], axis=-1)
case("Split", [f(2, 7)], opset=11, outputs=2, axis=1, split=[3, 4])
case("Split", [f(2, 7)], [i64(3, 4)], opset=13, outputs=2, axis=1)
case("Split", [f(2, 6)], opset=13, outputs=3, axis=-1)
case("Split", [f(2, 7)], opset=18, outputs=3, axis=1, num_outputs=3)
case("Slice", [f(5, 6)], opset=9, starts=[1, -3], ends=[100, -1])
case("Slice", [f(5, 6)], [i64(-1), i64(-100), i64(1), i64(-2)])
case("Slice", [f(5, 6, 7)], [i64(1, 0), i64(4, 1000), i64(0, -1), i64(2, 3)])
case("Slice", [f(5, 6)], [i64(3), i64(3), i64(0)])
case("Gather", [f(4, 5)], [i64(3, 0, -1)])
case("Gather", [f(4, 5, 2)], [np.array([[0, 4], [2, -5]])], axis=1)
case("Gather", [f(4, 5)], [np.int64(2)], axis=1)
for mode in ["constant", "reflect", "edge"]:
    case("Pad", [f(2, 3, 4, 5)], opset=10, pads=[0, 0, 1, 2, 0, 0, 2, 1], mode=mode)
    case("Pad", [f(2, 3, 4, 5)], [i64(0, 1, 2, 3, 1, 2, 2, 4)], opset=13, mode=mode)
case("Pad", [f(2, 3)], [i64(1, 1, 0, 2), np.float32(7)], opset=13)
case("Pad", [f(4, 5)], [i64(-1, 1, 0, -2), np.float32(7)], opset=13)
case("Pad", [f(4, 5)], [i64(1, 2), np.float32(7), i64(-1)], opset=18)
case("Pad", [f(4, 5)], [i64(1, 2, 3, 4)], opset=19, mode="wrap")
case("ConstantOfShape", [i64(2, 3)], value=helper.make_tensor("v", TensorProto.INT64, [1], [5]))
case("Range", [np.float32(1), np.float32(5), np.float32(0.7)])
case("Range", [np.int64(10), np.int64(0), np.int64(-3)])
# Resizing.
none = np.array([], np.float32)
for scale in [(1, 1, 2, 2), (1, 1, 0.6, 1.7), (1, 1, 3, 0.5)]:
    scales = np.array(scale, np.float32)
    for coordinate in ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]:
        case("Resize", [f(2, 3, 7, 8)], [none, scales], opset=13, mode="linear", coordinate_transformation_mode=coordinate)
        for nearest in ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]:
            case("Resize", [f(2, 3, 7, 8)], [none, scales], opset=13, mode="nearest",
                 coordinate_transformation_mode=coordinate, nearest_mode=nearest)
    case("Resize", [f(2, 3, 7, 8)], [scales], opset=10, mode="nearest")
    case("Resize", [f(2, 3, 7, 8)], [scales], opset=10, mode="linear")
    case("Resize", [f(2, 3, 7, 8)], [none, scales], opset=19, mode="linear", coordinate_transformation_mode="half_pixel_symmetric")
    case("Resize", [f(2, 3, 7, 8)], [None, None, i64(2, 3, 9, 4)], opset=13, mode="linear")
    case("Resize", [f(2, 3, 7, 8)], [None, scales[2:]], opset=18, mode="nearest", axes=[2, 3])
case("Upsample", [f(1, 2, 3, 4)], [np.array([1, 1, 2, 3], np.float32)], opset=9, mode="nearest")
case("Upsample", [f(1, 2, 3, 4)], [np.array([1, 1, 2, 3], np.float32)], opset=9, mode="linear")
# Quantization; a grid of half steps meets every tie.
for dtype, domain in [(np.int8, ""), (np.uint8, ""), (np.int8, "com.microsoft"), (np.int16, "com.microsoft"), (np.uint16, "com.microsoft")]:
    info = np.iinfo(dtype)
    for scale in [0.1, 0.25, 0.0123]:
        scale = np.float32(scale)
        ties = (np.arange(-300, 300) * np.float32(0.5) * scale).astype(np.float32)
        x = np.concatenate([ties, f(500, scale=100 * float(scale)), special])
        case("QuantizeLinear", [x], [scale, np.array(3, dtype)], domain=domain)
    q = R.integers(info.min, info.max, (3, 50), endpoint=True).astype(dtype)
    case("DequantizeLinear", [q], [np.float32(0.07), np.array(5, dtype)], domain=domain)
    case("QuantizeLinear", [f(3, 4, 5, scale=9.0)], [np.abs(f(4)) + np.float32(0.01), np.arange(4).astype(dtype)], domain=domain, axis=1)
    case("DequantizeLinear", [q], [np.abs(f(3)), np.arange(3).astype(dtype)], domain=domain, axis=0)
for dtype in [np.int16, np.uint16]:
    case("QuantizeLinear", [f(900, scale=50.0)], [np.float32(0.003), np.array(7, dtype)], opset=21)
case("QuantizeLinear", [f(90, scale=50.0)], [np.float32(0.3)], opset=13)
case("DequantizeLinear", [R.integers(-9999, 9999, (4, 5)).astype(np.int32)], [np.abs(f(4))], opset=13, axis=0)
# Operators behind the allow-list.
case("TopK", [f(3, 9)], [i64(4)], outputs=2, axis=1)
case("TopK", [f(3, 9)], [i64(2)], outputs=2, axis=0, largest=0)
case("CumSum", [f(3, 4)], [np.int64(1)], exclusive=1)
case("CumSum", [np.arange(12).reshape(3, 4)], [np.int64(0)], reverse=1)
case("Einsum", [f(2, 3, 4), f(2, 4, 5)], equation="bij,bjk->bik")
case("Einsum", [f(3, 4), f(4)], equation="ij,j->i")
case("Trilu", [f(2, 4, 4)], upper=0)
case("Trilu", [f(4, 5)], [np.int64(1)])
case("NonZero", [f(3, 4).round()])
case("OneHot", [i64(1, 0, 3), np.int64(4), f(2)], axis=-1)
case("GatherElements", [f(3, 4), R.integers(-3, 3, (2, 4))], axis=0)
case("GatherND", [f(3, 4, 5), np.array([[0, 1], [2, -1]])])
case("GatherND", [f(2, 4, 5), np.array([[1], [3]])], batch_dims=1)
case("ScatterElements", [f(3, 4), np.array([[0, 2, 1, 0]]), f(1, 4)], axis=0)
case("ScatterElements", [f(3, 4), np.array([[0, 2, 1, 0]]), f(1, 4)], axis=0, reduction="add")
case("ScatterND", [f(4, 5), np.array([[1], [3]]), f(2, 5)])
case("ScatterND", [f(4, 5), np.array([[1], [3]]), f(2, 5)], reduction="mul")
case("GridSample", [f(1, 2, 5, 6), R.uniform(-1.2, 1.2, (1, 4, 3, 2)).astype(np.float32)], opset=16, mode="bilinear")
case("GridSample", [f(1, 2, 5, 6), R.uniform(-1.2, 1.2, (1, 4, 3, 2)).astype(np.float32)], opset=20, mode="linear", align_corners=1)
for direction, d in [("forward", 1), ("reverse", 1), ("bidirectional", 2)]:
    case("LSTM", [f(6, 2, 3), f(d, 16, 3), f(d, 16, 4), f(d, 32)], outputs=3, hidden_size=4, direction=direction)
    case("GRU", [f(6, 2, 3), f(d, 12, 3), f(d, 12, 4), f(d, 24)], outputs=2, hidden_size=4, direction=direction, linear_before_reset=1)
case("LSTM", [f(6, 2, 3), f(1, 16, 3), f(1, 16, 4), f(1, 32), None, f(1, 2, 4), f(1, 2, 4)][:4], [None, f(1, 2, 4), f(1, 2, 4)],
     outputs=3, hidden_size=4)
case("GRU", [f(6, 2, 3), f(1, 12, 3), f(1, 12, 4)], outputs=2, hidden_size=4, linear_before_reset=1)
boxes = np.array([[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 5, 1, 6], [0, 5.1, 1, 6.1]]], np.float32)
case("NonMaxSuppression", [boxes, np.array([[[0.9, 0.75, 0.6, 0.95]]], np.float32)], [i64(3), np.float32(0.5), np.float32(0.1)])

# Groups.
w = numpy_helper.from_array(f(4, 3, 3, 3), "w")
x = f(2, 3, 9, 9)
info = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
params = [numpy_helper.from_array(v, n) for n, v in zip(["g", "b", "m", "v"], bn)]
limits = [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in [("lo", -0.2), ("hi", 0.9)]]
conv = helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4)
write("ConvBnClip", 13, [conv, helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
                         helper.make_node("Clip", ["n", "lo", "hi"], ["y"])], info, [w, *params, *limits], ["y"], {"x": x})
write("ConvClip", 13, [conv, helper.make_node("Clip", ["c", "", "hi"], ["y"])], info, [w, *limits], ["y"], {"x": x})
write("ConvRelu", 13, [conv, helper.make_node("Relu", ["c"], ["y"])], info, [w], ["y"], {"x": x})
write("ConvClip", 10, [conv, helper.make_node("Clip", ["c"], ["y"], min=0.0, max=0.5)], info, [w], ["y"], {"x": x})
quant = [numpy_helper.from_array(np.array(0.05, np.float32), "s"), numpy_helper.from_array(np.array(3, np.int8), "z")]
write("QuantDequant", 13, [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                           helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])], info, quant, ["y"], {"x": x * 4})
