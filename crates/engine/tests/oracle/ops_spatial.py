"""Operator cases on images and volumes: oracle/ops_spatial.py FOLDER"""

import numpy as np
from case import R, case, f, i64

none = np.array([], np.float32)


def floats(*values):
    return np.array(values, np.float32)


# Pooling: dimensions, strides, padding.
WINDOWS = [
    ((2, 3, 11), dict(kernel_shape=[3], strides=[2], pads=[1, 1])),
    ((2, 3, 9, 10), dict(kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 2, 1])),
    ((1, 2, 7, 6, 8), dict(kernel_shape=[3, 2, 3], strides=[2, 1, 3], pads=[1, 0, 1, 2, 1, 1])),
    ((1, 2, 7, 6, 8), dict(kernel_shape=[2, 2, 2])),
]
for shape, window in WINDOWS:
    for ceil in [0, 1]:
        case("MaxPool", [f(*shape)], opset=12, outputs=2, ceil_mode=ceil, **window)
        case("MaxPool", [f(*shape)], opset=12, ceil_mode=ceil, **window)
        for include in [0, 1]:
            for opset in [11, 19, 22]:
                case("AveragePool", [f(*shape)], opset=opset, ceil_mode=ceil, count_include_pad=include, **window)
        case("LpPool", [f(*shape)], opset=18, ceil_mode=ceil, p=3, **window)
    case("LpPool", [f(*shape)], opset=11, **window)
    case("MaxPool", [f(*shape)], opset=7, **window)
    case("AveragePool", [f(*shape)], opset=7, **window)
    dilations = [2, 1, 2][: len(shape) - 2]
    case("MaxPool", [f(*shape)], opset=12, outputs=2, dilations=dilations, **window)
    case("MaxPool", [f(*shape)], opset=12, outputs=2, storage_order=1, **window)
    case("AveragePool", [f(*shape)], opset=19, dilations=dilations, **window)
    case("AveragePool", [f(*shape)], opset=19, dilations=dilations, count_include_pad=1, ceil_mode=1, **window)
    case("LpPool", [f(*shape)], opset=18, dilations=dilations, **window)
    for dtype in [np.float64, np.float16]:
        case("MaxPool", [f(*shape).astype(dtype)], opset=12, **window)
        case("MaxPool", [f(*shape).astype(dtype)], opset=12, outputs=2, **window)
    for dtype in [np.int8, np.uint8]:
        case("MaxPool", [R.integers(0, 100, shape).astype(dtype)], opset=12, **window)
    case("AveragePool", [f(*shape).astype(np.float16)], **window)
    for op in ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"]:
        case(op, [f(*shape)])
    case("GlobalLpPool", [f(*shape)], p=1)
for op in ["MaxPool", "AveragePool", "LpPool"]:
    for auto in ["SAME_UPPER", "SAME_LOWER", "VALID"]:
        case(op, [f(1, 2, 7, 6, 8)], auto_pad=auto, kernel_shape=[3, 2, 2], strides=[2, 2, 1])
    case(op, [f(0, 2, 7, 6)], kernel_shape=[3, 2])
unpooled = [f(1, 2, 2, 2), np.array([[[[5, 7], [13, 15]], [[0, 3], [8, 10]]]])]
case("MaxUnpool", unpooled, opset=11, kernel_shape=[2, 2], strides=[2, 2])
case("MaxUnpool", unpooled, [i64(1, 2, 5, 5)], opset=11, kernel_shape=[2, 2], strides=[2, 2])

# Convolutions without kernel_shape, of three dimensions, and transposed ones.
case("Conv", [f(2, 4, 6, 7, 5), f(6, 4, 3, 2, 3), f(6)], strides=[2, 1, 1], pads=[1, 0, 1, 1, 1, 1])
case("Conv", [f(2, 4, 6, 7, 5), f(6, 2, 2, 2, 2)], group=2, dilations=[2, 1, 3])
case("Conv", [f(1, 4, 6, 7, 5), f(4, 1, 3, 3, 3), f(4)], group=4, pads=[1] * 6)
case("Conv", [f(0, 4, 6, 7), f(4, 4, 3, 3)])
case("Conv", [f(1, 2, 9), f(3, 2, 3)], opset=22, auto_pad="SAME_LOWER", strides=[2])
case("Conv", [f(1, 2, 9, 8).astype(np.float16), f(3, 2, 3, 3).astype(np.float16)])
for auto in ["SAME_UPPER", "SAME_LOWER", "VALID"]:
    case("Conv", [f(1, 3, 6, 7, 5), f(2, 3, 2, 3, 2)], auto_pad=auto, strides=[2, 2, 1])
    case("ConvTranspose", [f(1, 3, 4, 3, 3), f(3, 2, 2, 3, 2)], auto_pad=auto, strides=[2, 2, 1])
    case("ConvTranspose", [f(1, 3, 7), f(3, 2, 4)], auto_pad=auto, strides=[2])
case("ConvTranspose", [f(2, 4, 3, 4, 5), f(4, 3, 3, 2, 3), f(3)], strides=[2, 1, 2], pads=[1, 0, 1, 0, 1, 1],
     output_padding=[1, 0, 1])
case("ConvTranspose", [f(2, 4, 3, 4, 5), f(4, 3, 2, 2, 2), f(6)], group=2, dilations=[2, 1, 1])
case("ConvTranspose", [f(1, 2, 5, 6), f(2, 3, 3, 3)], strides=[2, 2], output_shape=[9, 11], output_padding=[1, 1])
case("ConvTranspose", [f(1, 2, 5), f(2, 3, 3)], strides=[2], output_shape=[10], auto_pad="SAME_UPPER")
for opset in [7, 11, 22]:
    case("ConvTranspose", [f(1, 2, 5, 6), f(2, 3, 2, 2)], opset=opset, strides=[2, 2])

# Resizing.
MODES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
for scale in [(1, 1, 2, 2), (1, 1, 0.6, 1.7), (1, 1, 3, 0.5)]:
    scales = floats(*scale)
    for coordinate in MODES:
        for exclude in [0, 1]:
            case("Resize", [f(2, 3, 7, 8)], [none, scales], opset=13, mode="cubic", exclude_outside=exclude,
                 coordinate_transformation_mode=coordinate)
        case("Resize", [f(2, 3, 7, 8)], [none, scales], opset=11, mode="cubic", cubic_coeff_a=-0.5,
             coordinate_transformation_mode=coordinate)
        for mode in ["linear", "cubic"]:
            for exclude in [0, 1]:
                if mode == "cubic" or not exclude:
                    case("Resize", [f(2, 3, 7, 8)], [none, scales], opset=18, mode=mode, antialias=1,
                         exclude_outside=exclude, coordinate_transformation_mode=coordinate)
    for mode in ["linear", "cubic"]:
        case("Resize", [f(2, 3, 7, 8)], [none, scales], opset=19, mode=mode, coordinate_transformation_mode="half_pixel_symmetric")
        case("Resize", [f(2, 3, 7, 8)], [none, scales], opset=19, mode=mode, antialias=1,
             coordinate_transformation_mode="half_pixel_symmetric")
    for nearest in ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]:
        case("Resize", [f(2, 3, 7, 8)], [none, scales], opset=12, mode="nearest", nearest_mode=nearest,
             coordinate_transformation_mode="tf_half_pixel_for_nn")
        case("Resize", [f(2, 3, 7, 8)], [none, scales], opset=19, mode="nearest", nearest_mode=nearest,
             coordinate_transformation_mode="half_pixel_symmetric")
for mode in ["nearest", "linear", "cubic"]:
    for sizes in [(1, 2, 3, 5), (1, 2, 9, 4), (1, 2, 1, 1)]:
        for roi in [(0, 0, 0.2, 0.1, 1, 1, 0.7, 0.8), (0, 0, -0.3, 0.4, 1, 1, 1.2, 1.4)]:
            case("Resize", [f(1, 2, 6, 7)], [floats(*roi), None, i64(*sizes)], opset=13, mode=mode,
                 coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=3.5)
    case("Resize", [f(1, 2, 6, 7)], [floats(0, 0, 0.2, 0.1, 1, 1, 0.7, 0.8), floats(1, 1, 1.5, 3)], opset=13, mode=mode,
         coordinate_transformation_mode="tf_crop_and_resize")
    case("Resize", [f(1, 2, 6, 7)], [floats(0.2, 0.1, 0.7, 0.8), None, i64(4, 3)], opset=18, mode=mode, axes=[2, 3],
         coordinate_transformation_mode="tf_crop_and_resize")
    for policy in ["not_larger", "not_smaller"]:
        for sizes in [(9, 12), (3, 5)]:
            case("Resize", [f(1, 2, 6, 7)], [None, None, i64(*sizes)], opset=18, mode=mode, axes=[2, 3],
                 keep_aspect_ratio_policy=policy)
    case("Resize", [f(6, 7)], [none, floats(1.7, 0.8)], opset=11, mode=mode)
case("Resize", [f(6)], [none, floats(1.7)], opset=11, mode="nearest")
for mode in ["nearest", "linear"]:
    case("Resize", [f(1, 2, 4, 5, 6)], [none, floats(1, 1, 2, 0.7, 1.5)], opset=13, mode=mode)
    case("Resize", [f(4, 5, 6)], [none, floats(2, 0.7, 1.5)], opset=13, mode=mode)
    case("Resize", [f(1, 4, 5, 3)], [none, floats(1, 2, 1.6, 1)], opset=13, mode=mode)
    for dtype, low in [(np.uint8, 0), (np.int8, -128), (np.int32, -5000)]:
        x = R.integers(low, 127, (2, 3, 6, 7)).astype(dtype)
        for scales in [(1, 1, 2, 2), (1, 1, 1.7, 0.6)]:
            case("Resize", [x], [none, floats(*scales)], opset=13, mode=mode)
            case("Resize", [x], [floats(*scales)], opset=10, mode=mode)
        case("Resize", [x], [none, floats(1, 1.3, 1.6, 1)], opset=13, mode=mode)
for dtype, low in [(np.uint8, 0), (np.int32, -5000)]:
    for mode in ["linear", "cubic"]:
        for scales in [(1, 1, 2, 2), (1, 1, 0.4, 0.6), (1, 1, 1.7, 0.6)]:
            case("Resize", [R.integers(low, 255, (2, 3, 9, 11)).astype(dtype)], [none, floats(*scales)], opset=18, mode=mode,
                 antialias=1)
case("Resize", [f(1, 2, 6, 7)], [none, floats(1, 1, 1.1, 1.05)], opset=13, mode="linear")
case("Resize", [f(1, 4, 5, 3)], [none, floats(1, 0.4, 0.6, 1)], opset=18, mode="linear", antialias=1)
case("Resize", [f(1, 2, 6, 7).astype(np.float16)], [none, floats(1, 1, 1.7, 0.6)], opset=13, mode="linear")
for mode in ["nearest", "linear"]:
    case("Upsample", [f(1, 2, 3, 4)], opset=7, mode=mode, scales=[1.0, 1.0, 2.0, 3.0])
    case("Upsample", [f(3, 4)], [floats(1.5, 2.6)], opset=9, mode=mode)
case("Upsample", [R.integers(0, 99, (1, 2, 3, 4)).astype(np.uint8)], [floats(1, 1, 2, 2)], opset=9, mode="nearest")

# Sampling at places.
grids = [((1, 2, 5, 6), (1, 4, 3, 2)), ((2, 3, 4, 5, 3), (2, 3, 2, 4, 3))]
for padding in ["zeros", "border", "reflection"]:
    for align in [0, 1]:
        for shape, grid in grids:
            for mode in ["nearest", "linear", "cubic"]:
                if len(shape) == 5 and mode == "cubic":
                    continue
                for scale in [1.2, 4.0]:
                    places = R.uniform(-scale, scale, grid).astype(np.float32)
                    case("GridSample", [f(*shape), places], opset=20, mode=mode, padding_mode=padding, align_corners=align)
                    if len(shape) == 4:
                        old = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}[mode]
                        case("GridSample", [f(*shape), places], opset=16, mode=old, padding_mode=padding, align_corners=align)
case("GridSample", [f(1, 1, 1, 1), R.uniform(-2, 2, (1, 3, 3, 2)).astype(np.float32)], opset=16, padding_mode="reflection")
ties = np.stack(np.meshgrid(np.linspace(-1.25, 1.25, 11), np.linspace(-1.25, 1.25, 11)), -1)[None].astype(np.float32)
for align in [0, 1]:
    case("GridSample", [f(1, 2, 5, 5), ties], opset=16, mode="nearest", align_corners=align)
for align in [0, 1]:
    case("AffineGrid", [f(2, 2, 3)], [i64(2, 3, 4, 5)], opset=20, align_corners=align)
    case("AffineGrid", [f(2, 3, 4)], [i64(2, 3, 4, 5, 3)], opset=20, align_corners=align)
    case("AffineGrid", [f(1, 2, 3).astype(np.float64)], [i64(1, 3, 4, 5)], opset=20, align_corners=align)
case("AffineGrid", [f(1, 2, 3)], [i64(1, 1, 1, 3)], opset=20)
# Padding and cropping.
for sizes in [(4, 9), (7, 5), (2, 2), (3, 8)]:
    case("CenterCropPad", [f(5, 6)], [i64(*sizes)], opset=18)
    case("CenterCropPad", [np.arange(60).reshape(5, 2, 6)], [i64(*sizes)], opset=18, axes=[-1, 0])
for dtype in [np.float64, np.float16, np.int64, np.int32, np.int8, np.uint8, np.bool_]:
    for mode in ["constant", "edge", "reflect", "wrap"]:
        x = R.integers(0, 100, (4, 5)).astype(dtype)
        case("Pad", [x], [i64(1, 2, 3, 1)], opset=19, mode=mode)
    case("Pad", [x], [i64(1, 2, 3, 1), np.array(1, dtype)], opset=13)
case("Pad", [f(4, 5).astype(np.float64)], opset=10, pads=[1, 2, 3, 1], value=2.5)
for mode in ["constant", "edge", "reflect", "wrap"]:
    case("Pad", [f(2, 4, 5)], [i64(1, -1, 2, 2), None, i64(-1, 1)], opset=21, mode=mode)
    case("Pad", [f(5, 6)], [i64(-1, 2, 2, -2)], opset=19, mode=mode)
case("Pad", [f(0, 3)], [i64(1, 1, 2, 0), np.float32(4)], opset=13)
case("Pad", [f(3)], [i64(7, 8)], opset=19, mode="wrap")
# Boxes.
for n, classes in [(20, 1), (40, 3)]:
    corners = R.uniform(0, 10, (2, n, 4)).astype(np.float32)
    scores = R.random((2, classes, n)).astype(np.float32).round(1)
    for center in [0, 1]:
        case("NonMaxSuppression", [corners, scores], [i64(7), np.float32(0.3), np.float32(0.2)], opset=11, center_point_box=center)
        case("NonMaxSuppression", [corners, scores], [i64(100), np.float32(0.1)], opset=10, center_point_box=center)
    case("NonMaxSuppression", [corners, scores], opset=11)
    case("NonMaxSuppression", [corners, scores], [i64(3)], opset=11)
# Normalisations.
case("LRN", [f(2, 7, 4, 5, scale=5.0)], size=3)
case("LRN", [f(2, 7, 4, 5, scale=5.0)], size=5, alpha=0.3, beta=0.6, bias=2.0)
case("LRN", [f(2, 3, 4, 5)], size=9, alpha=0.3)
case("GroupNormalization", [f(2, 6, 4, 5), f(3), f(3)], opset=18, num_groups=3)
case("GroupNormalization", [f(2, 6, 4, 5), f(6), f(6)], opset=21, num_groups=3, epsilon=1e-3)
case("GroupNormalization", [f(2, 6, 4), f(6), f(6)], opset=21, num_groups=6)
case("MeanVarianceNormalization", [f(2, 3, 4, 5)], opset=9)
case("MeanVarianceNormalization", [f(2, 3, 4, 5)], opset=13, axes=[0, 1, 2, 3])
case("MeanVarianceNormalization", [f(2, 3, 4, 5)], opset=13, axes=[-1, 1])
for shape in [(2, 3, 7), (2, 3, 4, 5, 2)]:
    case("InstanceNormalization", [f(*shape), f(3), f(3)], epsilon=1e-3)
    for opset in [7, 9, 14, 15]:
        parameters = [f(3), f(3), f(3), np.abs(f(3)) + np.float32(0.1)]
        case("BatchNormalization", [f(*shape), *parameters], opset=opset)
for opset in [7, 8]:
    case("BatchNormalization", [f(2, 3, 5), *[np.abs(f(3, 5)) + np.float32(0.1) for _ in range(4)]], opset=opset, spatial=0)
case("BatchNormalization", [f(2, 3, 7).astype(np.float64), *[p.astype(np.float64) for p in parameters]], opset=15)
for axis in [0, 1, -1]:
    case("LpNormalization", [f(2, 3, 4)], opset=22, axis=axis)
    case("LpNormalization", [f(2, 3, 4).astype(np.float64)], opset=1 + 6, axis=axis, p=1)
# Regions and columns.
corners = np.sort(R.uniform(-2, 22, (6, 2, 2)), 1).reshape(6, 4).astype(np.float32)
for opset in [10, 16]:
    for mode in ["avg", "max"]:
        for samples in [0, 2]:
            for transform in ["half_pixel", "output_half_pixel"] if opset > 10 else [None]:
                extra = dict(coordinate_transformation_mode=transform) if transform else {}
                case("RoiAlign", [f(2, 3, 9, 11), corners, R.integers(0, 2, 6)], opset=opset, mode=mode, output_height=3,
                     output_width=4, sampling_ratio=samples, spatial_scale=0.5, **extra)
    case("RoiAlign", [f(2, 3, 9, 11), corners, R.integers(0, 2, 6)], opset=opset)
rois = np.concatenate([R.integers(0, 2, (6, 1)), corners], 1).astype(np.float32)
for scale in [0.5, 0.3]:
    case("MaxRoiPool", [f(2, 3, 9, 11), rois], pooled_shape=[3, 2], spatial_scale=scale)
case("Col2Im", [f(2, 12, 6)], [i64(4, 5), i64(2, 3)], opset=18, strides=[1, 2], pads=[0, 1, 0, 0])
case("Col2Im", [f(1, 10, 15)], [i64(5, 6), i64(1, 5)], opset=18, pads=[0, 1, 0, 0], strides=[1, 1], dilations=[1, 1])
case("Col2Im", [f(1, 8, 4)], [i64(5, 5), i64(2, 2)], opset=18, dilations=[2, 3], strides=[2, 1])
case("Col2Im", [f(2, 16, 12)], [i64(3, 4, 3), i64(2, 2, 2)], opset=18)
case("Col2Im", [f(2, 6, 4)], [i64(6), i64(3)], opset=18)
for window in [dict(), dict(pads=[1, 0, 1, 2], strides=[2, 1]), dict(dilations=[2, 1], offset_group=2), dict(group=2)]:
    group, offset_group = window.get("group", 1), window.get("offset_group", 1)
    pads, strides, dilations = window.get("pads", [0] * 4), window.get("strides", [1, 1]), window.get("dilations", [1, 1])
    oh, ow = [(n + pads[a] + pads[a + 2] - dilations[a] * (k - 1) - 1) // strides[a] + 1 for a, n, k in [(0, 7, 3), (1, 8, 2)]]
    x = [f(2, 4, 7, 8), f(6, 4 // group, 3, 2), f(2, offset_group * 12, oh, ow)]
    case("DeformConv", x, opset=19, **window)
    case("DeformConv", [*x, f(6), f(2, offset_group * 6, oh, ow)], opset=22, **window)
