//! Normalisations.

use crate::isa::{at_least, at_most};
use crate::pool::sum;

#[inline(always)]
fn affine_body(x: &[f32], scale: f32, shift: f32, out: &mut [f32]) {
    for (o, &v) in out.iter_mut().zip(x) {
        *o = v * scale + shift;
    }
}

dispatch! { fn affine(x: &[f32], scale: f32, shift: f32, out: &mut [f32]) => affine_body }

/// Batch normalisation with fixed statistics: `x · scale[c] + shift[c]` over planes of `pixels` elements, where the
/// channel of plane `i` is `i mod scale.len()`. See [`batch_norm_affine`] for the factors.
///
/// Panics when a length contradicts the others.
pub fn per_channel_affine(x: &[f32], pixels: usize, scale: &[f32], shift: &[f32], out: &mut [f32]) {
    assert_eq!(scale.len(), shift.len(), "factors of a channel");
    assert_eq!(x.len(), out.len(), "normalised values");
    if x.is_empty() {
        return;
    }
    assert!(x.len().is_multiple_of(pixels * scale.len()), "planes of {pixels} pixels");
    for (i, (x, out)) in x.chunks_exact(pixels).zip(out.chunks_exact_mut(pixels)).enumerate() {
        affine(x, scale[i % scale.len()], shift[i % scale.len()], out);
    }
}

#[inline(always)]
fn affine_planes_body(
    x: &mut [f32],
    pixels: usize,
    scale: &[f32],
    shift: &[f32],
    limits: Option<(f32, f32)>,
) {
    let (lo, hi) = limits.unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
    for (image, factors) in x.chunks_exact_mut(pixels).zip(scale.iter().zip(shift).cycle()) {
        let (&scale, &shift) = factors;
        for v in image {
            *v = at_most(at_least(*v * scale + shift, lo), hi);
        }
    }
}

dispatch! {
    fn affine_planes(x: &mut [f32], pixels: usize, scale: &[f32], shift: &[f32], limits: Option<(f32, f32)>)
        => affine_planes_body, wide
}

/// As [`per_channel_affine`], in place, then clamped to `limits`: the bits of doing one after the other.
///
/// Panics when a length contradicts the others.
pub fn per_channel_affine_in_place(
    x: &mut [f32],
    pixels: usize,
    scale: &[f32],
    shift: &[f32],
    limits: Option<(f32, f32)>,
) {
    assert_eq!(scale.len(), shift.len(), "factors of a channel");
    if x.is_empty() {
        return;
    }
    assert!(x.len().is_multiple_of(pixels * scale.len()), "planes of {pixels} pixels");
    affine_planes(x, pixels, scale, shift, limits);
}

/// The factors of a batch normalisation, `scale = gamma / √(variance + epsilon)` and `shift = beta − mean · scale`, computed
/// in f64; `parameters` are gamma, beta, mean and variance.
///
/// Panics when the lengths differ.
pub fn batch_norm_affine(parameters: [&[f32]; 4], epsilon: f32, scale: &mut [f32], shift: &mut [f32]) {
    let [gamma, beta, mean, variance] = parameters;
    assert!(parameters.iter().all(|p| p.len() == scale.len()), "parameters of a channel");
    assert_eq!(scale.len(), shift.len(), "factors of a channel");
    for (c, (scale, shift)) in scale.iter_mut().zip(shift).enumerate() {
        let factor = f64::from(gamma[c]) / (f64::from(variance[c]) + f64::from(epsilon)).sqrt();
        (*scale, *shift) = (factor as f32, (f64::from(beta[c]) - f64::from(mean[c]) * factor) as f32);
    }
}

#[inline(always)]
fn standardise_body(row: &[f32], epsilon: f32, out: &mut [f32]) {
    let mean = sum(row) / row.len() as f32;
    for (o, &v) in out.iter_mut().zip(row) {
        *o = v - mean;
    }
    let mut lanes = [0.0; 16];
    let (chunks, tail) = out.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += v * v;
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(tail) {
        *lane += v * v;
    }
    let variance = crate::softmax::sum_lanes(lanes) / row.len() as f32;
    let factor = 1.0 / (variance + epsilon).sqrt();
    for o in out {
        *o *= factor;
    }
}

#[inline(always)]
fn layer_body(x: &[f32], gamma: &[f32], beta: Option<&[f32]>, epsilon: f32, out: &mut [f32]) {
    for (row, out) in x.chunks_exact(gamma.len()).zip(out.chunks_exact_mut(gamma.len())) {
        standardise_body(row, epsilon, out);
        match beta {
            Some(beta) => {
                for ((o, &g), &b) in out.iter_mut().zip(gamma).zip(beta) {
                    *o = *o * g + b;
                }
            }
            None => out.iter_mut().zip(gamma).for_each(|(o, &g)| *o *= g),
        }
    }
}

#[inline(always)]
fn instance_body(x: &[f32], pixels: usize, gamma: &[f32], beta: &[f32], epsilon: f32, out: &mut [f32]) {
    for (i, (row, out)) in x.chunks_exact(pixels).zip(out.chunks_exact_mut(pixels)).enumerate() {
        let (g, b) = (gamma[i % gamma.len()], beta[i % gamma.len()]);
        standardise_body(row, epsilon, out);
        for o in out {
            *o = *o * g + b;
        }
    }
}

dispatch! {
    fn layer_rows(x: &[f32], gamma: &[f32], beta: Option<&[f32]>, epsilon: f32, out: &mut [f32]) => layer_body
}
dispatch! {
    fn instance_planes(x: &[f32], pixels: usize, gamma: &[f32], beta: &[f32], epsilon: f32, out: &mut [f32])
        => instance_body
}

/// `(x − mean) / √(variance + epsilon) · gamma + beta` over each row of `gamma.len()` elements.
///
/// Panics when a length contradicts the others.
pub fn layer_norm(x: &[f32], gamma: &[f32], beta: Option<&[f32]>, epsilon: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "normalised values");
    assert!(beta.is_none_or(|b| b.len() == gamma.len()), "parameters of a column");
    if !x.is_empty() {
        assert!(x.len().is_multiple_of(gamma.len()), "rows of {} columns", gamma.len());
        layer_rows(x, gamma, beta, epsilon, out);
    }
}

/// As [`layer_norm`], over each plane of `pixels` elements, with one `gamma` and `beta` for each channel.
///
/// Panics when a length contradicts the others.
pub fn instance_norm(x: &[f32], pixels: usize, gamma: &[f32], beta: &[f32], epsilon: f32, out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "normalised values");
    assert_eq!(gamma.len(), beta.len(), "parameters of a channel");
    if !x.is_empty() {
        assert!(x.len().is_multiple_of(pixels * gamma.len()), "planes of {pixels} pixels");
        instance_planes(x, pixels, gamma, beta, epsilon, out);
    }
}
