//! Block formats against their definitions, written in f64 and over lists of all numbers of a format.
#![allow(missing_docs)]

use proptest::prelude::*;
use shiftwise_kernels::block::bfp::{self, Bfp, Method};
use shiftwise_kernels::block::mx::{self, Element, Mx};
use shiftwise_kernels::block::{Axis, Rounding};
use shiftwise_kernels::with_portable;

const ROUNDINGS: [Rounding; 3] = [Rounding::HalfAway, Rounding::HalfUp, Rounding::HalfEven];
const ELEMENTS: [Element; 6] =
    [Element::Fp8E5M2, Element::Fp8E4M3, Element::Fp6E3M2, Element::Fp6E2M3, Element::Fp4E2M1, Element::Int8];

fn round(v: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::HalfAway => v.round(),
        Rounding::HalfUp => (v + 0.5).floor(),
        Rounding::HalfEven => v.round_ties_even(),
    }
}

/// The exponent field of the largest finite element, minus the bias.
fn largest_exponent(block: &[f32]) -> i32 {
    let finite = block.iter().filter(|v| v.is_finite());
    let largest = finite.fold(0.0_f32, |m, v| m.max(v.abs()));
    if largest < f32::MIN_POSITIVE { -127 } else { f64::from(largest).log2().floor() as i32 }
}

fn define_bfp(block: &[f32], format: &Bfp) -> Vec<f32> {
    let m = format.mantissa_bits as i32;
    let top = 2.0_f64.powi(m);
    let mantissa = |x: f32, e: i32| round(f64::from(x) / 2.0_f64.powi(e - m + 1), format.rounding);
    let mut shared = largest_exponent(block);
    let mut result = Vec::new();
    match format.method {
        Method::Plain => {
            for &x in block {
                result.push(mantissa(x, shared).clamp(1.0 - top, top - 1.0) * 2.0_f64.powi(shared - m + 1));
            }
        }
        Method::Compiler => {
            let beyond = |x: &&f32| x.is_finite() && !(-top..top).contains(&mantissa(**x, shared));
            shared += i32::from(block.iter().any(|x| beyond(&x)));
            for &x in block {
                let y = mantissa(x, shared).clamp(-top, top - 1.0) * 2.0_f64.powi(shared - m + 1);
                let largest = 2.0_f64.powi(128) - 2.0_f64.powi(shared - m + 1);
                result.push(y.clamp(-largest, largest));
            }
        }
        Method::Microexponents { part, shift_bits } => {
            for part in block.chunks(part) {
                let shift = (shared - largest_exponent(part)).min((1 << shift_bits) - 1);
                for &x in part {
                    let x = if x.abs() < f32::MIN_POSITIVE { 0.0 } else { x };
                    let e = shared - shift;
                    result.push(mantissa(x, e).clamp(1.0 - top, top - 1.0) * 2.0_f64.powi(e - m + 1));
                }
            }
        }
    }
    result.iter().zip(block).map(|(y, x)| if x.is_finite() { *y as f32 } else { *x }).collect()
}

/// The non-negative numbers of a format in ascending order, the even ones at even places; and the exponent of the
/// largest. Subnormals have the exponent of the smallest normal number.
fn numbers(element: Element) -> (Vec<f64>, i32) {
    let (exponent_bits, mantissa_bits, largest, emax) = match element {
        Element::Fp8E5M2 => (5, 2, 57344.0, 15),
        Element::Fp8E4M3 => (4, 3, 448.0, 8),
        Element::Fp6E3M2 => (3, 2, 28.0, 4),
        Element::Fp6E2M3 => (2, 3, 7.5, 2),
        Element::Fp4E2M1 => (2, 1, 6.0, 2),
        Element::Int8 => return ((0..=128).map(|i| f64::from(i) / 64.0).collect(), 0),
    };
    let bias = (1 << (exponent_bits - 1)) - 1;
    let value = |code: i32| {
        let (e, m) = (code >> mantissa_bits, code & ((1 << mantissa_bits) - 1));
        let fraction = f64::from(m) / f64::from(1 << mantissa_bits);
        if e == 0 { fraction * 2.0_f64.powi(1 - bias) } else { (1.0 + fraction) * 2.0_f64.powi(e - bias) }
    };
    let codes = 0..1 << (exponent_bits + mantissa_bits);
    (codes.map(value).filter(|v| *v <= largest).collect(), emax)
}

fn define_mx(block: &[f32], format: &Mx) -> Vec<f32> {
    let (numbers, emax) = numbers(format.element);
    let scale = 2.0_f64.powi(largest_exponent(block) - emax);
    let nearest = |x: f32| {
        let v = f64::from(x.abs()) / scale;
        let up = numbers.partition_point(|n| *n < v);
        if up == numbers.len() {
            return numbers[up - 1];
        }
        if numbers[up] == v {
            return v;
        }
        let (below, above) = (numbers[up - 1], numbers[up]);
        let to_above = match format.rounding {
            _ if v - below != above - v => v - below > above - v,
            Rounding::HalfAway => true,
            Rounding::HalfUp => x > 0.0,
            Rounding::HalfEven => up % 2 == 0,
        };
        if to_above { above } else { below }
    };
    let largest = if format.element == Element::Int8 { 127.0 / 64.0 } else { f64::INFINITY };
    let quantize = |x: &f32| {
        if !x.is_finite() {
            return *x;
        }
        let y = if *x < 0.0 { -nearest(*x) } else { nearest(*x).min(largest) };
        let y = (y * scale) as f32;
        // The one case: −2 of the largest scale.
        if y == f32::NEG_INFINITY { -(largest * scale) as f32 } else { y }
    };
    block.iter().map(quantize).collect()
}

/// Applies a definition of one block to all blocks of a tensor.
fn blockwise(x: &[f32], axis: Axis, block: usize, define: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
    let mut result = vec![0.0; x.len()];
    for slab in (0..x.len()).step_by((axis.along * axis.inner).max(1)) {
        for inner in 0..axis.inner {
            for start in (0..axis.along).step_by(block) {
                let places: Vec<usize> =
                    (start..axis.along.min(start + block)).map(|i| slab + i * axis.inner + inner).collect();
                let elements: Vec<f32> = places.iter().map(|p| x[*p]).collect();
                for (p, y) in places.into_iter().zip(define(&elements)) {
                    result[p] = y;
                }
            }
        }
    }
    result
}

/// The same bits, but for the payloads of NaN and the signs of zeros.
fn same(got: &[f32], want: &[f32], x: &[f32]) -> Result<(), TestCaseError> {
    for ((g, w), x) in got.iter().zip(want).zip(x) {
        prop_assert!(g == w || (g.is_nan() && w.is_nan()), "{x:e} gives {g:e}, not {w:e}, of {x:?}");
        prop_assert!(g.is_nan() || g.is_sign_negative() == x.is_sign_negative(), "the sign of {x}");
    }
    Ok(())
}

fn element() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -8.0_f32..8.0,
        6 => (-512..512_i32).prop_map(|k| k as f32 / 64.0),
        2 => any::<u32>().prop_map(f32::from_bits),
        1 => prop::sample::select(vec![0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN]),
        1 => (0..1_u32 << 24).prop_map(f32::from_bits),
    ]
}

/// A tensor of one magnitude, seen along an axis.
fn tensor() -> impl Strategy<Value = (Vec<f32>, Axis)> {
    let axis = (1..3_usize, 1..40_usize, prop_oneof![Just(1_usize), 1..20_usize], -150..130_i32);
    axis.prop_flat_map(|(outer, along, inner, e)| {
        let scaled = (element(), any::<bool>())
            .prop_map(move |(x, scale)| if scale { (f64::from(x) * 2.0_f64.powi(e)) as f32 } else { x });
        (prop::collection::vec(scaled, outer * along * inner), Just(Axis { along, inner }))
    })
}

fn method() -> impl Strategy<Value = (Method, usize)> {
    prop_oneof![
        (1..40_usize).prop_map(|b| (Method::Plain, b)),
        (1..40_usize).prop_map(|b| (Method::Compiler, b)),
        (1..5_usize, 1..10_usize, 1..4_u32)
            .prop_map(|(part, n, shift_bits)| (Method::Microexponents { part, shift_bits }, part * n)),
    ]
}

proptest! {
    #[test]
    fn bfp_is_as_defined(
        (x, axis) in tensor(),
        (method, block) in method(),
        mantissa_bits in 2..16_u32,
        rounding in prop::sample::select(ROUNDINGS.to_vec()),
    ) {
        let format = Bfp { method, mantissa_bits, block, rounding, from_bf16: false };
        let mut got = x.clone();
        bfp::fake_quantize(&mut got, axis, &format);
        same(&got, &blockwise(&x, axis, block, |b| define_bfp(b, &format)), &x)?;
        let mut portable = x.clone();
        with_portable(|| bfp::fake_quantize(&mut portable, axis, &format));
        same(&portable, &got, &x)?;
        let mut rounded = x.clone();
        shiftwise_kernels::block::round_bf16(&mut rounded);
        let mut via = x.clone();
        bfp::fake_quantize(&mut via, axis, &Bfp { from_bf16: true, ..format });
        bfp::fake_quantize(&mut rounded, axis, &format);
        same(&via, &rounded, &x)?;
    }

    #[test]
    fn mx_is_as_defined(
        (x, axis) in tensor(),
        block in 1..40_usize,
        element in prop::sample::select(ELEMENTS.to_vec()),
        rounding in prop::sample::select(ROUNDINGS.to_vec()),
    ) {
        let format = Mx { element, block, rounding };
        let mut got = x.clone();
        mx::fake_quantize(&mut got, axis, &format);
        same(&got, &blockwise(&x, axis, block, |b| define_mx(b, &format)), &x)?;
        let mut portable = x.clone();
        with_portable(|| mx::fake_quantize(&mut portable, axis, &format));
        same(&portable, &got, &x)?;
    }

    #[test]
    fn quantizing_twice_changes_nothing_more(
        (x, axis) in tensor(),
        block in 1..40_usize,
        mantissa_bits in 2..16_u32,
        element in prop::sample::select(ELEMENTS.to_vec()),
        rounding in prop::sample::select(ROUNDINGS.to_vec()),
    ) {
        // Where a block's largest exponent may rise, a second pass may round to coarser steps: not there.
        let plain = Bfp { method: Method::Plain, mantissa_bits, block, rounding, from_bf16: false };
        let mut once = x.clone();
        bfp::fake_quantize(&mut once, axis, &plain);
        let mut twice = once.clone();
        bfp::fake_quantize(&mut twice, axis, &plain);
        same(&twice, &once, &once)?;
        // Saturation keeps elements below the next power of two, but for the −2 of int8.
        if element != Element::Int8 {
            let format = Mx { element, block, rounding };
            let mut once = x.clone();
            mx::fake_quantize(&mut once, axis, &format);
            let mut twice = once.clone();
            mx::fake_quantize(&mut twice, axis, &format);
            same(&twice, &once, &once)?;
        }
    }

    #[test]
    fn the_error_is_at_most_half_a_step(
        x in prop::collection::vec(-8.0_f32..8.0, 1..64),
        mantissa_bits in 2..16_u32,
        rounding in prop::sample::select(ROUNDINGS.to_vec()),
    ) {
        let format = Bfp { method: Method::Compiler, mantissa_bits, block: 64, rounding, from_bf16: false };
        let mut y = x.clone();
        bfp::fake_quantize(&mut y, Axis { along: x.len(), inner: 1 }, &format);
        // One binade more where the block grew.
        let step = 2.0_f32.powi(largest_exponent(&x) + 2 - mantissa_bits as i32);
        for (x, y) in x.iter().zip(&y) {
            prop_assert!((x - y).abs() <= step / 2.0, "{x} gives {y}");
        }
    }
}

#[test]
fn every_number_of_an_element_format_stands() {
    for element in ELEMENTS {
        let (numbers, _) = numbers(element);
        let signed = numbers.iter().flat_map(|v| [*v as f32, -*v as f32]);
        // 2 is no int8 element, and −2 would raise the exponent of its block.
        let x: Vec<f32> = signed.filter(|v| element != Element::Int8 || v.abs() < 2.0).collect();
        for rounding in ROUNDINGS {
            let mut y = x.clone();
            mx::fake_quantize(
                &mut y,
                Axis { along: x.len(), inner: 1 },
                &Mx { element, block: x.len(), rounding },
            );
            assert_eq!(y, x, "{element:?}");
        }
    }
}

#[test]
fn elements_beyond_the_largest_saturate() {
    let saturated = |element, x: &[f32]| {
        let mut y = x.to_vec();
        let format = Mx { element, block: 32, rounding: Rounding::HalfEven };
        mx::fake_quantize(&mut y, Axis { along: x.len(), inner: 1 }, &format);
        y
    };
    assert_eq!(saturated(Element::Fp8E4M3, &[511.0, -511.0, 1.0]), [448.0, -448.0, 1.0]);
    assert_eq!(saturated(Element::Fp8E5M2, &[65535.0, -65535.0]), [57344.0, -57344.0]);
    assert_eq!(saturated(Element::Fp6E3M2, &[31.0, -31.0]), [28.0, -28.0]);
    assert_eq!(saturated(Element::Fp6E2M3, &[7.9, -7.9]), [7.5, -7.5]);
    assert_eq!(saturated(Element::Fp4E2M1, &[7.9, -7.9, 2.5, 3.5, 0.25]), [6.0, -6.0, 2.0, 4.0, 0.0]);
    assert_eq!(saturated(Element::Int8, &[1.999, -1.999]), [1.984_375, -2.0]);
}

#[test]
fn bfp16_by_hand() {
    // E = 1, m = 7: steps of 2^(1 − 6) = 1/32, up to 127/32.
    let x = [3.99, -3.99, 1.0 / 64.0, -1.0 / 64.0, 3.0 / 64.0, -3.0 / 64.0, f32::NAN, f32::INFINITY];
    let along = x.len();
    let quantized = |method, rounding| {
        let mut y = x.to_vec();
        let format = Bfp { method, mantissa_bits: 7, block: 8, rounding, from_bf16: false };
        bfp::fake_quantize(&mut y, Axis { along, inner: 1 }, &format);
        assert!(y[6].is_nan() && y[7] == f32::INFINITY);
        y[..6].iter().map(|v| v * 32.0).collect::<Vec<_>>()
    };
    assert_eq!(quantized(Method::Plain, Rounding::HalfAway), [127.0, -127.0, 1.0, -1.0, 2.0, -2.0]);
    assert_eq!(quantized(Method::Plain, Rounding::HalfUp), [127.0, -127.0, 1.0, 0.0, 2.0, -1.0]);
    assert_eq!(quantized(Method::Plain, Rounding::HalfEven), [127.0, -127.0, 0.0, 0.0, 2.0, -2.0]);
    // 3.99 rounds to 128 steps, so the block goes over to steps of 1/16.
    assert_eq!(quantized(Method::Compiler, Rounding::HalfEven), [128.0, -128.0, 0.0, 0.0, 2.0, -2.0]);
}

#[test]
fn a_block_of_subnormals_grows_too() {
    // E = −127, m = 2: steps of 2^−128. 3.95 of them round to 4, beyond the largest mantissa, so steps double.
    for axis in [Axis { along: 1, inner: 1 }, Axis { along: 1, inner: 3 }] {
        let mut y = vec![1.161_007e-38; axis.inner];
        let format = Bfp {
            method: Method::Compiler,
            mantissa_bits: 2,
            block: 1,
            rounding: Rounding::HalfUp,
            from_bf16: false,
        };
        bfp::fake_quantize(&mut y, axis, &format);
        assert_eq!(y, vec![f32::MIN_POSITIVE; axis.inner]);
    }
}

#[test]
fn microexponents_by_hand() {
    // m = 4: steps of 2^(1 − 3) = 1/4; the second pair, two binades below, lowers its own by one, to 1/8.
    let mut y = [3.0, 0.3, 0.7, 0.3, 1.5, 0.19, 1e-40, 0.0];
    let format = Bfp {
        method: Method::Microexponents { part: 2, shift_bits: 1 },
        mantissa_bits: 4,
        block: 8,
        rounding: Rounding::HalfEven,
        from_bf16: false,
    };
    bfp::fake_quantize(&mut y, Axis { along: 8, inner: 1 }, &format);
    assert_eq!(y, [3.0, 0.25, 0.75, 0.25, 1.5, 0.25, 0.0, 0.0]);
}
