"""Operators that gather, scatter, select and rearrange, on every type: oracle/ops_index.py FOLDER"""

import numpy as np
from attempt import attempt
from case import R, case, f, i64
from onnx import TensorProto

TYPES = [np.float32, np.float64, np.float16, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
         np.bool_]


def some(dtype, *shape):
    return (R.standard_normal(shape) * 9).round().astype(np.int64 if np.dtype(dtype).kind in "ui" else np.float64).astype(dtype)


for dtype in TYPES:
    x = some(dtype, 3, 4, 5)
    attempt("Gather", [x, np.array([[0, -1], [2, 1]])], axis=1)
    attempt("GatherElements", [x, R.integers(-4, 4, (2, 6, 5))], axis=1, opset=13)
    attempt("GatherND", [x, np.array([[[0, 1]], [[2, -1]], [[1, 1]]])], opset=13)
    attempt("GatherND", [x, np.array([[[1]], [[3]], [[-1]]])], batch_dims=1, opset=13)
    attempt("GatherND", [x, np.array([[0, 1, 2]], np.int64)], opset=13)
    attempt("ScatterElements", [x, R.permutation(4)[:2].reshape(1, 2, 1), some(dtype, 1, 2, 1)], axis=1, opset=18)
    for reduction in ["add", "mul", "min", "max"]:
        attempt("ScatterElements", [x, np.array([[[0], [0], [-1]]]), some(dtype, 1, 3, 1)], axis=1, opset=18, reduction=reduction)
        attempt("ScatterND", [x, np.array([[1], [1]]), some(dtype, 2, 4, 5)], opset=18, reduction=reduction)
    attempt("ScatterND", [x, np.array([[[0, 1], [2, -1]]]), some(dtype, 1, 2, 5)], opset=18)
    attempt("Scatter", [x, np.array([[[1]]]), some(dtype, 1, 1, 1)], axis=2, opset=9)
    attempt("Compress", [x, np.array([True, False, True])], axis=1, opset=11)
    attempt("Compress", [x, np.array([False, True, True, False, True])], opset=11)
    attempt("NonZero", [x], opset=13)
    for sorted_ in [0, 1]:
        attempt("Unique", [some(dtype, 12)], outputs=4, sorted=sorted_)
        attempt("Unique", [some(dtype, 4, 2) > 0 if dtype == np.bool_ else (some(dtype, 4, 2) > 0).astype(dtype)], outputs=4,
                sorted=sorted_, axis=0)
    attempt("Trilu", [x], [np.int64(-1)], upper=0, opset=14)
    attempt("Trilu", [x], [np.int64(1)], upper=1, opset=14)
    attempt("EyeLike", [x[0]], k=1, opset=9)
    attempt("EyeLike", [x[0]], k=-2, opset=9, dtype=TensorProto.INT32)
    attempt("ReverseSequence", [x, i64(1, 3, 0, 2)], opset=10)
    attempt("ReverseSequence", [x, i64(1, 3, 4)], opset=10, batch_axis=0, time_axis=1)
    attempt("Tile", [x, i64(2, 1, 3)], opset=13)
    attempt("Tile", [x, i64(2, 0, 3)], opset=13)
    attempt("Expand", [some(dtype, 3, 1), i64(2, 1, 4)], opset=13)
    attempt("Transpose", [x], perm=[2, 0, 1], opset=13)
    attempt("Concat", [x, some(dtype, 3, 0, 5), some(dtype, 3, 2, 5)], axis=-2, opset=13)
    attempt("Slice", [x], [i64(2, -1), i64(-10, 0), i64(0, 2), i64(-1, -2)], opset=13)
    attempt("Split", [x], [i64(1, 0, 4)], axis=2, outputs=3, opset=13)
    attempt("Squeeze", [x[:1]], opset=13)
    attempt("Unsqueeze", [x], [i64(0, -1)], opset=13)
    attempt("Reshape", [x, i64(0, -1)], opset=14)
    attempt("Reshape", [some(dtype, 0, 3), i64(3, -1)], opset=14)
    attempt("Identity", [x], opset=14)
    attempt("Shape", [x], opset=15, start=-5, end=2)
    attempt("OneHot", [R.integers(-3, 3, (2, 2)), np.int64(3)], [some(dtype, 2)], axis=1, opset=11)
for dtype in [np.float32, np.float64, np.int16, np.int32, np.int64]:
    attempt("Range", [dtype(1), dtype(11), dtype(3)], opset=11)
    attempt("Range", [dtype(5), dtype(-4), dtype(-2)], opset=11)
    attempt("Range", [dtype(5), dtype(9), dtype(-2)], opset=11)
attempt("OneHot", [np.array([0.9, 2, -1], np.float32), np.float32(4)], [f(2)], axis=0, opset=11)
attempt("OneHot", [np.array([5, 2, -9], np.int32), np.int32(4)], [i64(7, 8)], opset=11)
case("Gather", [f(3, 4), np.zeros((2, 0), np.int64)], axis=1)
case("NonZero", [np.float32(3).reshape(())], opset=13)
case("Squeeze", [f(1, 3, 1)], opset=12, axes=[-1])
case("Squeeze", [f(1, 3, 1)], [i64()], opset=13)
case("Unsqueeze", [f(3)], opset=12, axes=[-1, 0])
case("Det", [f(2, 3, 4, 4)])
case("Det", [np.array([[1, 2], [2, 4]], np.float32)])
# Signals.
for dtype in [np.float32, np.float64]:
    x = R.standard_normal((2, 12, 1)).astype(dtype)
    z = R.standard_normal((2, 15, 3, 2)).astype(dtype)
    for onesided in [0, 1]:
        attempt("DFT", [x], opset=17, onesided=onesided)
        attempt("DFT", [x, np.int64(7)], opset=17, onesided=onesided)
        attempt("DFT", [x, np.int64(16)], opset=17, onesided=onesided)
    attempt("DFT", [z], opset=17, inverse=1)
    attempt("DFT", [z], opset=17, axis=2)
    signal = R.standard_normal((2, 40, 1)).astype(dtype)
    for onesided in [0, 1]:
        attempt("STFT", [signal, np.int64(5), R.random(10).astype(dtype)], opset=17, onesided=onesided)
        attempt("STFT", [signal, np.int64(3), None, np.int64(8)], opset=17, onesided=onesided)
for op in ["HannWindow", "HammingWindow", "BlackmanWindow"]:
    for periodic in [0, 1]:
        case(op, [np.int64(9)], opset=17, periodic=periodic)
case("HannWindow", [np.int32(9)], opset=17, output_datatype=TensorProto.DOUBLE)
case("MelWeightMatrix", [np.int64(8), np.int64(64), np.int64(8000), np.float32(100), np.float32(3500)], opset=17)
case("MelWeightMatrix", [np.int64(20), np.int64(16), np.int64(8000), np.float32(0), np.float32(4000)], opset=17)
# Losses; those of labels alone are functions, that ONNX Runtime composes.
labels = R.integers(0, 5, (3,))
for reduction in ["none", "sum", "mean"]:
    case("NegativeLogLikelihoodLoss", [f(3, 5), labels], reduction=reduction)
    case("NegativeLogLikelihoodLoss", [f(3, 5), labels, np.abs(f(5))], reduction=reduction, ignore_index=int(labels[0]))
    case("SoftmaxCrossEntropyLoss", [f(3, 5), labels], outputs=2, reduction=reduction)
    case("SoftmaxCrossEntropyLoss", [f(3, 5, 2), R.integers(0, 5, (3, 2)), np.abs(f(5))], outputs=2, reduction=reduction)
