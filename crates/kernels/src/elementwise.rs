//! Functions of one element, out of place and in place.

use crate::isa::{at_least, at_most, leaky, select};
use crate::math;

/// Marks functions of one element.
trait Unary: Copy {
    fn apply(self, x: f32) -> f32;
}

#[inline(always)]
fn map_body<F: Unary>(f: F, x: &[f32], out: &mut [f32]) {
    for (o, &x) in out.iter_mut().zip(x) {
        *o = f.apply(x);
    }
}

#[inline(always)]
fn map_in_place_body<F: Unary>(f: F, x: &mut [f32]) {
    for v in x {
        *v = f.apply(*v);
    }
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident $({ $($(#[$field_doc:meta])* $field:ident),+ })? ($x:ident) = $value:expr;)*) => {
        /// A function of one element. NaN gives NaN.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum UnaryOp {
            $($(#[$doc])* $name $({ $($(#[$field_doc])* $field: f32),+ })?,)*
        }

        mod ops {
            $(
                #[derive(Clone, Copy)]
                pub(super) struct $name { $($(pub(super) $field: f32),+)? }
            )*
        }

        $(
            impl Unary for ops::$name {
                #[inline(always)]
                fn apply(self, $x: f32) -> f32 {
                    $(let Self { $($field),+ } = self;)?
                    $value
                }
            }
        )*

        /// `out[i] = f(x[i])`. Panics when the lengths differ.
        pub fn map(f: UnaryOp, x: &[f32], out: &mut [f32]) {
            assert_eq!(x.len(), out.len(), "mapped values");
            match f {
                $(UnaryOp::$name $({ $($field),+ })? => {
                    dispatch! { fn kernel(f: ops::$name, x: &[f32], out: &mut [f32]) => map_body, wide }
                    kernel(ops::$name { $($($field),+)? }, x, out);
                })*
            }
        }

        /// `x[i] = f(x[i])`.
        pub fn map_in_place(f: UnaryOp, x: &mut [f32]) {
            match f {
                $(UnaryOp::$name $({ $($field),+ })? => {
                    dispatch! { fn kernel(f: ops::$name, x: &mut [f32]) => map_in_place_body, wide }
                    kernel(ops::$name { $($($field),+)? }, x);
                })*
            }
        }
    };
}

functions! {
    /// `max(x, 0)`
    Relu(x) = at_least(x, 0.0);
    /// `x` where positive, else `alpha · x`
    LeakyRelu {
        /// Slope below zero.
        alpha
    }(x) = leaky(x, alpha);
    /// `x` where positive, else `alpha · (eˣ − 1)`
    Elu {
        /// Limit below zero, negated.
        alpha
    }(x) = at_least(x, 0.0) + alpha * (math::exp(at_most(x, 0.0)) - 1.0);
    /// `x` where above `alpha`, else 0
    ThresholdedRelu {
        /// The threshold.
        alpha
    }(x) = select(x <= alpha, 0.0, x);
    /// `min(max(x, min), max)`
    Clip {
        /// Lower limit.
        min,
        /// Upper limit; wins where it is below the lower.
        max
    }(x) = at_most(at_least(x, min), max);
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid(x) = math::sigmoid(x);
    /// `clamp(alpha · x + beta, 0, 1)`
    HardSigmoid {
        /// Slope.
        alpha,
        /// Value at zero.
        beta
    }(x) = at_most(at_least(alpha * x + beta, 0.0), 1.0);
    /// `x · clamp(x / 6 + 1/2, 0, 1)`
    HardSwish(x) = x * at_most(at_least(x * (1.0 / 6.0) + 0.5, 0.0), 1.0);
    /// `x · sigmoid(x)`, Swish
    Silu(x) = x * math::sigmoid(x);
    /// `x · tanh(ln(1 + eˣ))`
    Mish(x) = mish(x);
    /// Hyperbolic tangent
    Tanh(x) = math::tanh(x);
    /// `x / 2 · (1 + erf(x / √2))`
    Gelu(x) = 0.5 * x * (1.0 + math::erf(x * std::f32::consts::FRAC_1_SQRT_2));
    /// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`
    GeluTanh(x) = 0.5 * x * (1.0 + math::tanh(0.797_884_6 * (x + 0.044_715 * x * x * x)));
    /// The error function
    Erf(x) = math::erf(x);
    /// `eˣ`
    Exp(x) = math::exp(x);
    /// Natural logarithm
    Log(x) = x.ln();
    /// Square root
    Sqrt(x) = x.sqrt();
    /// `1 / x`
    Reciprocal(x) = 1.0 / x;
    /// `|x|`
    Abs(x) = x.abs();
    /// `−x`
    Neg(x) = -x;
    /// `−1`, `0` or `1`
    Sign(x) = select(x > 0.0, 1.0, select(x < 0.0, -1.0, x));
    /// The next integer below
    Floor(x) = x.floor();
    /// The next integer above
    Ceil(x) = x.ceil();
    /// The nearest integer, halves to even
    Round(x) = x.round_ties_even();
    /// `x / (1 + |x|)`
    Softsign(x) = x / (1.0 + x.abs());
    /// `ln(1 + eˣ)`
    Softplus(x) = at_least(x, 0.0) + (-x.abs()).exp().ln_1p();
}

/// With `n = eˣ`: `tanh(ln(1 + n)) = (n² + 2n) / (n² + 2n + 2)`, which is 1 beyond the clamp.
#[inline(always)]
fn mish(x: f32) -> f32 {
    let n = math::exp(at_most(x, 20.0));
    let t = n * (n + 2.0);
    x * (t / (t + 2.0))
}
