"""Elementwise operators, reductions and casts on every type: oracle/ops_math.py FOLDER"""

import numpy as np
from attempt import attempt
from case import R, case, f, i64
from onnx import TensorProto

INTS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
FLOATS = [np.float32, np.float64, np.float16]


def some(dtype, *shape, low=-9, high=10):
    """Values of a type, small enough that half precision has them."""
    if np.dtype(dtype).kind == "f":
        return (R.standard_normal(shape) * 3).astype(dtype)
    return R.integers(0 if np.dtype(dtype).kind == "u" else low, high, shape).astype(dtype)


# Functions of one element.
UNARY = ["Abs", "Neg", "Sign", "Sin", "Cos", "Tan", "Atan", "Sinh", "Asinh", "Cosh", "Floor", "Ceil", "Round", "Exp", "Tanh",
         "Erf", "Sigmoid", "Softplus", "Softsign", "Elu", "Selu", "Celu", "HardSigmoid", "ThresholdedRelu", "Relu", "LeakyRelu",
         "Shrink", "Reciprocal", "HardSwish"]
for op in UNARY:
    for dtype in FLOATS:
        attempt(op, [some(dtype, 3, 17)], opset=17)
for op in ["Abs", "Neg", "Sign", "Relu"]:
    for dtype in INTS:
        attempt(op, [some(dtype, 3, 17)], opset=17)
for dtype in [np.float32, np.float64, np.float16]:
    inside = R.uniform(-0.99, 0.99, (3, 7)).astype(dtype)
    for op in ["Asin", "Acos", "Atanh"]:
        attempt(op, [inside])
    attempt("Acosh", [inside + dtype(2)])
    attempt("Log", [inside + dtype(2)])
    attempt("Sqrt", [inside + dtype(2)])
    attempt("Mish", [some(dtype, 5, 7)], opset=18)
    attempt("Gelu", [some(dtype, 5, 7)], opset=20)
    attempt("Gelu", [some(dtype, 5, 7)], opset=20, approximate="tanh")
case("Shrink", [some(np.float32, 30)], bias=0.4, lambd=1.5)
for dtype in INTS:
    attempt("Shrink", [some(dtype, 30)], bias=1.0, lambd=3.0)
case("Selu", [f(30)], alpha=1.2, gamma=0.7)
case("Celu", [f(30)], alpha=0.4)
case("Elu", [f(30)], alpha=0.4)
case("QuickGelu", [f(3, 30)], domain="com.microsoft")
case("QuickGelu", [f(3, 30)], domain="com.microsoft", alpha=1.0)
case("Round", [np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 1e9, np.inf], np.float32)])
for dtype in FLOATS + INTS:
    attempt("Clip", [some(dtype, 40)], [dtype(2), dtype(5)], opset=13)
    attempt("Clip", [some(dtype, 40)], [dtype(2)], opset=13)
    attempt("Clip", [some(dtype, 40)], [None, dtype(5)], opset=13)
    attempt("Clip", [some(dtype, 40)], [dtype(5), dtype(2)], opset=13)
    attempt("Clip", [some(dtype, 40)], opset=13)
attempt("Clip", [some(np.float32, 40)], opset=7, min=0.5)
# Arithmetic.
for op in ["Add", "Sub", "Mul", "Div", "Min", "Max"]:
    for dtype in FLOATS + INTS:
        # ONNX Runtime compares only half of each int64 where both tensors are large, so that these are small.
        b = some(dtype, 1, 3)
        b[b == 0] = 3
        attempt(op, [some(dtype, 4, 1), b], opset=14)
    big = np.array([2**31 - 1, -(2**31), 7], np.int32)
    attempt(op, [big, np.array([-1, -1, 3], np.int32) if op != "Div" else np.array([2, 3, -3], np.int32)], opset=14)
for op in ["Sum", "Mean", "Min", "Max"]:
    attempt(op, [some(np.float64, 3, 4), some(np.float64, 4), some(np.float64, 3, 1)], opset=13)
    attempt(op, [some(np.float16, 3, 4), some(np.float16, 4), some(np.float16, 3, 1)], opset=13)
    case(op, [some(np.float32, 3, 4), some(np.float32, 1, 4)], opset=8)
special = np.array([np.nan, 1, -np.inf, np.inf], np.float32)
for op in ["Min", "Max"]:
    case(op, [special, special[::-1].copy()], opset=13)
for base in [np.float32, np.float64, np.int32, np.int64]:
    for power in [np.float32, np.float64, np.int32, np.int64]:
        values = np.abs(some(base, 3, 4)) + base(1)
        attempt("Pow", [values, np.array([0, 1, 2, 3], power)], opset=15)
case("Pow", [some(np.float32, 7)], [np.float32(0.5)], opset=15)
for dtype in INTS:
    b = some(dtype, 40)
    b[b == 0] = 3
    attempt("Mod", [some(dtype, 40), b])
    attempt("Mod", [some(dtype, 40), b], fmod=1)
for dtype in FLOATS:
    attempt("Mod", [some(dtype, 40), np.full(40, 0.75, dtype)], fmod=1)
for dtype in [np.uint8, np.uint16, np.uint32, np.uint64]:
    for direction in ["LEFT", "RIGHT"]:
        attempt("BitShift", [some(dtype, 3, 4), np.arange(4).astype(dtype)], direction=direction)
for dtype in INTS:
    for op in ["BitwiseAnd", "BitwiseOr", "BitwiseXor"]:
        attempt(op, [some(dtype, 3, 4), some(dtype, 4)], opset=18)
    attempt("BitwiseNot", [some(dtype, 3, 4)], opset=18)
for dtype in [np.float32, np.float64, np.float16]:
    attempt("PRelu", [some(dtype, 2, 3, 4), some(dtype, 3, 1)], opset=16)
# Comparisons and choices.
for op in ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]:
    for dtype in FLOATS + INTS:
        attempt(op, [some(dtype, 3, 4).round(), some(dtype, 4).round()], opset=19)
case("Equal", [np.array([True, False]), np.array([True, True])], opset=19)
for dtype in FLOATS + INTS:
    attempt("Where", [R.random((2, 1)) > 0.5, some(dtype, 2, 3), some(dtype, 3)], opset=16)
for dtype in FLOATS:
    attempt("IsNaN", [special.astype(dtype)], opset=20)
    attempt("IsInf", [special.astype(dtype)], opset=20, detect_positive=0)
# Casts, with what does not fit.
wide = np.array([-3e9, -300.7, -1.5, -0.5, 0.0, 0.3, 200.9, 300.2, 70000.0, 3e9, 5e9], np.float64)
odd = np.array([np.nan, np.inf, -np.inf, 1e30], np.float64)
TYPES = ["FLOAT", "DOUBLE", "FLOAT16", "INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64", "BOOL"]
for to in TYPES:
    with np.errstate(all="ignore"):
        for dtype in [np.float32, np.float64]:
            # Of what does not fit, ONNX Runtime makes something else in its vectors than beside them.
            case("Cast", [(wide[1:10] if to == "UINT32" else wide).astype(dtype)], opset=19, to=getattr(TensorProto, to))
            if to not in ("UINT32", "UINT64"):
                case("Cast", [odd.astype(dtype)], opset=19, to=getattr(TensorProto, to))
        case("Cast", [wide[1:8].astype(np.float16)], opset=19, to=getattr(TensorProto, to))
    for dtype in INTS:
        info = np.iinfo(dtype)
        case("Cast", [np.array([info.min, info.max, 0, 1, 77], dtype)], opset=19, to=getattr(TensorProto, to))
case("CastLike", [wide.astype(np.float32), np.zeros(1, np.int32)], opset=19)
# Reductions.
REDUCTIONS = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
              "ReduceLogSum", "ReduceLogSumExp"]
for op in REDUCTIONS:
    # ONNX Runtime takes exponentials of integers in integers.
    for dtype in FLOATS + ([] if op == "ReduceLogSumExp" else INTS):
        x = some(dtype, 2, 3, 4, low=1, high=5)
        if op == "ReduceLogSum":
            x = np.abs(x) + dtype(1)
        attempt(op, [x], [i64(0, 2)], opset=18)
        attempt(op, [x], [i64(-2)], opset=18, keepdims=0)
        attempt(op, [x], [i64()], opset=18, noop_with_empty_axes=1)
        attempt(op, [x], opset=18, noop_with_empty_axes=1)
        attempt(op, [x], opset=18, keepdims=0)
        if op == "ReduceSum":
            attempt(op, [x], opset=11, axes=[1])
        else:
            attempt(op, [x], opset=11, axes=[-1, 0])
    case(op, [np.zeros((2, 0, 4), np.float32)], [i64(0)], opset=18)
    case(op, [np.array(2.5, np.float32)], opset=18)
for op in ["ReduceMax", "ReduceMin"]:
    case(op, [R.random((3, 4)) > 0.5], [i64(1)], opset=20)
for op in ["ArgMax", "ArgMin"]:
    for dtype in FLOATS + INTS:
        for last in [0, 1]:
            attempt(op, [some(dtype, 3, 5, 4, high=3).round()], opset=13, axis=1, select_last_index=last)
    case(op, [f(3, 4)], opset=11)
for dtype in FLOATS + INTS:
    attempt("CumSum", [some(dtype, 3, 4)], [np.int64(1)], opset=14)
    attempt("CumSum", [some(dtype, 3, 4)], [np.int32(-2)], opset=14, exclusive=1, reverse=1)
for dtype in FLOATS + INTS:
    for largest in [0, 1]:
        attempt("TopK", [some(dtype, 4, 9).round()], [i64(5)], opset=11, outputs=2, largest=largest)
case("TopK", [f(4, 9)], opset=9, outputs=2, k=3, axis=0)
case("TopK", [f(4, 9)], [i64(3)], opset=10, outputs=2, axis=1)
case("TopK", [f(4, 9)], [i64(9)], opset=11, outputs=2)
case("TopK", [f(4, 9)], [i64(0)], opset=11, outputs=2)
for op in ["Softmax", "LogSoftmax", "Hardmax"]:
    for dtype in FLOATS:
        attempt(op, [some(dtype, 3, 4, 5)], opset=13, axis=1)
        attempt(op, [some(dtype, 3, 4, 5)], opset=11, axis=1)
        attempt(op, [some(dtype, 3, 4, 5)], opset=11)
# Matrices of every type.
for dtype in [np.float64, np.float16, np.int32, np.int64, np.uint32, np.uint64]:
    attempt("MatMul", [some(dtype, 2, 1, 3, 4), some(dtype, 5, 4, 6)], opset=13)
    attempt("MatMul", [some(dtype, 4), some(dtype, 2, 4, 6)], opset=13)
    attempt("Gemm", [some(dtype, 4, 3), some(dtype, 5, 4), some(dtype, 3, 1)], opset=13, transA=1, transB=1, alpha=2.0, beta=3.0)
case("Gemm", [f(3, 4), f(4, 5), f(3, 5)], opset=7)
case("Gemm", [f(3, 4), f(4, 5), f(1)], opset=9, beta=0.0)
case("MatMul", [f(3, 0), f(0, 4)])
for dtype in [np.float32, np.float64, np.int32, np.int64]:
    for equation, shapes in [
        ("bhid,bhjd->bhij", [(2, 3, 4, 5), (2, 3, 6, 5)]), ("...ij,...jk->...ik", [(2, 1, 3, 4), (1, 5, 4, 2)]),
        ("ii->i", [(4, 4)]), ("ij->", [(3, 4)]), ("ij->ji", [(3, 4)]), ("i,j->ij", [(3,), (4,)]), ("ij,jk", [(3, 4), (4, 2)]),
        ("abc,cd,def->abf", [(2, 3, 4), (4, 5), (5, 2, 3)]), (" b i j , b j k -> b i k ", [(2, 3, 4), (2, 4, 5)]),
        ("bi,bi->b", [(3, 4), (3, 4)]), ("...ii->...i", [(2, 4, 4)]), ("i...->...", [(3, 2, 2)]), ("ij,ij,ij->", [(3, 4)] * 3),
    ]:
        attempt("Einsum", [some(dtype, *s) for s in shapes], equation=equation)
