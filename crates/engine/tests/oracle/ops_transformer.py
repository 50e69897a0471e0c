"""Normalisations, fused operators and attention: oracle/ops_transformer.py FOLDER"""

import numpy as np
from attempt import attempt
from case import R, case, f, i64

MS = {"domain": "com.microsoft"}
for axis in [-1, 1, 0]:
    shape = (2, 3, 4)[axis:] if axis >= 0 else (4,)
    case("LayerNormalization", [f(2, 3, 4), f(*shape), f(*shape)], outputs=3, axis=axis)
    case("LayerNormalization", [f(2, 3, 4), f(*shape)], axis=axis, epsilon=0.1)
    case("SimplifiedLayerNormalization", [f(2, 3, 4), f(*shape)], outputs=1, axis=axis)
attempt("LayerNormalization", [R.standard_normal((2, 3)), R.standard_normal(3), R.standard_normal(3)])
attempt("LayerNormalization", [f(2, 3, 8).astype(np.float16), f(8).astype(np.float16)], outputs=3)
attempt("LayerNormalization", [f(2, 3).astype(np.float16), f(3).astype(np.float16), f(3).astype(np.float16)])
case("LayerNormalization", [f(2, 3, 4), f(1, 4), f(3, 1)], axis=1)
case("MeanVarianceNormalization", [f(2, 3, 4, 5)], opset=13)
case("MeanVarianceNormalization", [f(2, 3, 4, 5)], opset=13, axes=[1, 3])
for skip in [(2, 3, 4), (3, 4), (1, 3, 4)]:
    case("SkipLayerNormalization", [f(2, 3, 4), f(*skip), f(4), f(4), f(4)], outputs=4, epsilon=1e-5, **MS)
    case("SkipLayerNormalization", [f(2, 3, 4), f(*skip), f(4), f(4), f(4)], **MS)
    case("SkipLayerNormalization", [f(2, 3, 4), f(*skip), f(4)], outputs=1, epsilon=0.01, **MS)
    case("SkipSimplifiedLayerNormalization", [f(2, 3, 4), f(*skip), f(4), f(4)], **MS)
    case("SkipSimplifiedLayerNormalization", [f(2, 3, 4), f(*skip), f(4)], epsilon=0.01, **MS)
case("BiasGelu", [f(3, 7), f(7)], **MS)
case("FastGelu", [f(3, 7), f(7)], **MS)
case("FastGelu", [f(3, 7)], **MS)
case("FusedMatMul", [f(2, 3, 4), f(2, 4, 5)], alpha=0.3, **MS)
case("FusedMatMul", [f(2, 4, 3), f(2, 5, 4)], transA=1, transB=1, **MS)
case("FusedMatMul", [f(2, 1, 3, 4), f(6, 5, 4)], transB=1, **MS)
for activation in ["Relu", "Sigmoid", "Tanh", "LeakyRelu"]:
    extra = {"activation_alpha": 0.3} if activation == "LeakyRelu" else {}
    case("FusedGemm", [f(3, 4), f(5, 4), f(5)], transB=1, activation=activation, **extra, **MS)
# Rotary embeddings.
angles = f(20, 4)
cos, sin = np.cos(angles), np.sin(angles)
for interleaved in [0, 1]:
    for x in [f(2, 5, 24), f(2, 3, 5, 8)]:
        positions = R.integers(0, 20, (2, 5))
        case("RotaryEmbedding", [x, positions, cos, sin], interleaved=interleaved, **MS)
        case("RotaryEmbedding", [x, i64(3), cos, sin], interleaved=interleaved, **MS)
    case("RotaryEmbedding", [f(2, 5, 36), positions, cos, sin], interleaved=interleaved, num_heads=3, rotary_embedding_dim=8, **MS)
    for x in [f(2, 5, 24), f(2, 3, 5, 8)]:
        heads = {"num_heads": 3} if x.ndim == 3 else {}
        attempt("RotaryEmbedding", [x, cos, sin, positions], opset=23, interleaved=interleaved, **heads)
        attempt("RotaryEmbedding", [x, np.cos(f(2, 5, 4)), np.sin(f(2, 5, 4))], opset=23, interleaved=interleaved, **heads)
attempt("RMSNormalization", [f(2, 3, 4), f(4)], opset=23)
attempt("RMSNormalization", [f(2, 3, 4), f(3, 4)], opset=23, axis=1)
# Packed weights.
for bits, block, k, n in [(4, 32, 64, 70), (4, 16, 40, 5), (8, 32, 64, 6)]:
    blocks = -(-k // block)
    q = R.integers(0, 256, (n, blocks, block * bits // 8)).astype(np.uint8)
    scales = np.abs(f(n * blocks, scale=0.1))
    zeros = R.integers(0, 256, n * -(-blocks * bits // 8)).astype(np.uint8)
    sizes = {"K": k, "N": n, "bits": bits, "block_size": block}
    attempt("MatMulNBits", [f(2, 3, k)], [q, scales], **sizes, **MS)
    attempt("MatMulNBits", [f(3, k)], [q, scales, zeros], **sizes, **MS)
# Attention.
B, S, N, D = 2, 5, 3, 4
H = N * D
for form in [{}, {"unidirectional": 1}, {"scale": 0.3}]:
    base = [f(B, S, H), f(H, 3 * H, scale=0.4), f(3 * H)]
    case("Attention", base, num_heads=N, **form, **MS)
    for mask in [np.array([5, 3], np.int32), np.array([5, 3, 1, 0], np.int32), R.integers(0, 2, (B, S)).astype(np.int32),
                 R.integers(0, 2, (B, S, S)).astype(np.int32)]:
        case("Attention", [*base, mask], num_heads=N, **form, **MS)
    past = f(2, B, N, 4, D)
    case("Attention", [*base, None, past], outputs=2, num_heads=N, **form, **MS)
    case("Attention", [*base, None, None, f(B, N, S, S)], num_heads=N, **form, **MS)
    # What ONNX Runtime hides of a sequence from another, longer one leaves out the last row.
    L = 5 if "unidirectional" in form else 7
    q, k, v = f(B, S, H), f(B, L, H), f(B, L, 2 * H)
    case("MultiHeadAttention", [q, k, v], num_heads=N, **form, **MS)
    case("MultiHeadAttention", [q, k, f(B, L, H), f(3 * H)], num_heads=N, **form, **MS)
    case("MultiHeadAttention", [q, k, v, None, np.array([L, 3], np.int32)], num_heads=N, **form, **MS)
    case("MultiHeadAttention", [q, k, v, None, R.integers(0, 2, (B, L)).astype(np.int32)], num_heads=N, **form, **MS)
    case("MultiHeadAttention", [q, k, v, None, None, f(1, N, S, L)], num_heads=N, **form, **MS)
    case("MultiHeadAttention", [q, f(B, N, L, D), f(B, N, L, D)], num_heads=N, **form, **MS)
    case("MultiHeadAttention", [q, f(B, S, H), f(B, S, H), None, None, None, f(B, N, 4, D), f(B, N, 4, D)], outputs=3,
         num_heads=N, **form, **MS)
for form in [{}, {"is_causal": 1}, {"scale": 0.3}, {"softcap": 2.0}]:
    q, k, v = f(B, 4, S, D), f(B, 2, 6, D), f(B, 2, 6, 5)
    attempt("Attention", [q, k, v], opset=23, **form)
    attempt("Attention", [q, k, v, f(S, 6)], opset=23, **form)
    attempt("Attention", [q, k, v, R.random((B, 1, S, 6)) > 0.3], opset=23, **form)
    attempt("Attention", [f(B, S, 12), f(B, 6, 12), f(B, 6, 12)], opset=23, q_num_heads=3, kv_num_heads=3, **form)
    attempt("Attention", [q, k, v, None, f(B, 2, 3, D), f(B, 2, 3, 5)], outputs=3, opset=23, **form)
# Embeddings.
ids, segments = R.integers(0, 9, (2, 5)).astype(np.int32), R.integers(0, 2, (2, 5)).astype(np.int32)
tables = [f(9, 8), f(6, 8), f(2, 8), f(8), f(8)]
mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
case("EmbedLayerNormalization", [ids, segments, *tables, mask], outputs=2, **MS)
case("EmbedLayerNormalization", [ids, None, tables[0], tables[1], None, tables[3], tables[4]], outputs=2, **MS)
