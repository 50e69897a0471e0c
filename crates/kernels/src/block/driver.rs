//! The sweep over blocks that all formats share.

use super::Axis;
use crate::isa::select;
use crate::math::ROUND;

/// A rounding mode as a type, so that loops are compiled for each.
pub(super) trait Round: Copy {
    /// Rounds to an integer; `|v| <= 2²²`.
    fn round(v: f32) -> f32;
}

#[derive(Clone, Copy)]
pub(super) struct HalfAway;
#[derive(Clone, Copy)]
pub(super) struct HalfUp;
#[derive(Clone, Copy)]
pub(super) struct HalfEven;

impl Round for HalfEven {
    #[inline(always)]
    fn round(v: f32) -> f32 {
        (v + ROUND) - ROUND
    }
}

impl Round for HalfUp {
    #[inline(always)]
    fn round(v: f32) -> f32 {
        let even = HalfEven::round(v);
        even + select(v - even == 0.5, 1.0, 0.0)
    }
}

impl Round for HalfAway {
    #[inline(always)]
    fn round(v: f32) -> f32 {
        let even = HalfEven::round(v);
        even + select(v - even == 0.5_f32.copysign(v), 1.0_f32.copysign(v), 0.0)
    }
}

/// A block format. Exponents are biased ones, as float32 stores them.
pub(super) trait Format: Copy {
    /// Whether a block's exponent may grow by one after a look at its elements.
    const GROWS: bool = false;
    /// Whether parts of a block have exponents of their own.
    const PARTS: bool = false;

    /// The step, and the largest result or another bound, of elements in a block (and a part) with these exponents.
    fn shared(self, block: u32, part: u32) -> (f32, f32);

    /// Whether an element asks for a larger exponent.
    #[inline(always)]
    fn overflows(self, _x: f32, _step: f32) -> bool {
        false
    }

    /// Quantizes one finite element.
    fn element(self, x: f32, step: f32, bound: f32) -> f32;
}

/// Lengths of blocks and of their parts, in elements along the axis.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) block: usize,
    pub(super) part: usize,
}

const EXPONENT: u32 = 0x7f80_0000;

/// The biased exponent of a finite number; 0 for others.
#[inline(always)]
fn exponent(x: f32) -> u32 {
    let bits = x.to_bits() & EXPONENT;
    if bits == EXPONENT { 0 } else { bits >> 23 }
}

#[inline(always)]
fn element<F: Format>(format: F, x: f32, step: f32, bound: f32) -> f32 {
    let y = format.element(x, step, bound).copysign(x);
    select(x.to_bits() & EXPONENT == EXPONENT, x, y)
}

/// Quantizes a whole tensor. The caller has made sure that `x` consists of whole slabs of `along × inner`.
#[inline(always)]
pub(super) fn sweep<F: Format>(format: F, x: &mut [f32], axis: Axis, sizes: Sizes) {
    if x.is_empty() {
        return;
    }
    let mut lanes = Lanes::new(if axis.inner == 1 { 0 } else { axis.inner });
    for slab in x.chunks_exact_mut(axis.along * axis.inner) {
        for block in slab.chunks_mut(sizes.block.saturating_mul(axis.inner)) {
            if axis.inner == 1 {
                contiguous(format, block, sizes.part);
            } else {
                lanes.block(format, block, sizes.part);
            }
        }
    }
}

/// A block whose elements are neighbours.
#[inline(always)]
fn contiguous<F: Format>(format: F, block: &mut [f32], part: usize) {
    let largest = |x: &[f32]| x.iter().fold(0, |e, &v| e.max(exponent(v)));
    let mut shared = largest(block);
    if F::GROWS {
        let (step, _) = format.shared(shared, shared);
        shared += u32::from(block.iter().any(|&v| v.is_finite() && format.overflows(v, step)));
    }
    for part in block.chunks_mut(part) {
        let own = if F::PARTS { largest(part) } else { shared };
        let (step, bound) = format.shared(shared, own);
        for v in part {
            *v = element(format, *v, step, bound);
        }
    }
}

/// What the blocks that lie side by side have in common, a lane each.
struct Lanes {
    shared: Vec<u32>,
    own: Vec<u32>,
    step: Vec<f32>,
    bound: Vec<f32>,
}

impl Lanes {
    fn new(width: usize) -> Self {
        Self { shared: vec![0; width], own: vec![0; width], step: vec![0.0; width], bound: vec![0.0; width] }
    }

    /// `block` holds a row of one element for each lane, for each place along the axis.
    #[inline(always)]
    fn block<F: Format>(&mut self, format: F, block: &mut [f32], part: usize) {
        let width = self.shared.len();
        largest(block, &mut self.shared);
        if F::GROWS {
            for (step, &e) in self.step.iter_mut().zip(&self.shared) {
                (*step, _) = format.shared(e, e);
            }
            self.own.fill(0);
            for row in block.chunks_exact(width) {
                for ((grows, &v), &step) in self.own.iter_mut().zip(row).zip(&self.step) {
                    *grows |= u32::from(v.is_finite() && format.overflows(v, step));
                }
            }
            self.shared.iter_mut().zip(&self.own).for_each(|(e, grows)| *e += grows);
        }
        for part in block.chunks_mut(part.saturating_mul(width)) {
            if F::PARTS {
                largest(part, &mut self.own);
            } else {
                self.own.copy_from_slice(&self.shared);
            }
            let exponents = self.shared.iter().zip(&self.own);
            for ((step, bound), (&e, &own)) in self.step.iter_mut().zip(&mut self.bound).zip(exponents) {
                (*step, *bound) = format.shared(e, own);
            }
            for row in part.chunks_exact_mut(width) {
                for ((v, &step), &bound) in row.iter_mut().zip(&self.step).zip(&self.bound) {
                    *v = element(format, *v, step, bound);
                }
            }
        }
    }
}

/// The largest exponent of each lane.
#[inline(always)]
fn largest(rows: &[f32], exponents: &mut [u32]) {
    exponents.fill(0);
    for row in rows.chunks_exact(exponents.len()) {
        for (e, &v) in exponents.iter_mut().zip(row) {
            *e = (*e).max(exponent(v));
        }
    }
}

/// Runs `sweep` for a format that is generic over its rounding mode.
macro_rules! sweep_with {
    ($rounding:expr, $x:expr, $axis:expr, $sizes:expr, |$r:ident| $format:expr, $of:ident) => {{
        macro_rules! with {
            ($mode:ident) => {{
                type $r = $crate::block::driver::$mode;
                dispatch! {
                    fn kernel(
                        format: $of<$r>,
                        x: &mut [f32],
                        axis: $crate::block::Axis,
                        sizes: $crate::block::driver::Sizes,
                    ) => $crate::block::driver::sweep, wide
                }
                kernel($format, $x, $axis, $sizes);
            }};
        }
        match $rounding {
            $crate::block::Rounding::HalfAway => with!(HalfAway),
            $crate::block::Rounding::HalfUp => with!(HalfUp),
            $crate::block::Rounding::HalfEven => with!(HalfEven),
        }
    }};
}
pub(super) use sweep_with;

/// Panics when `x` does not consist of whole slabs, or a length is zero.
pub(super) fn check(x: &[f32], axis: Axis, sizes: Sizes) {
    assert!(sizes.block > 0 && sizes.part > 0, "blocks have elements");
    if !x.is_empty() {
        let slab = axis.along.checked_mul(axis.inner).expect("a slab fits memory");
        assert!(slab > 0 && x.len().is_multiple_of(slab), "elements fill the axis");
    }
}
