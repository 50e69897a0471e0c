//! Arithmetic seen generically, with the results that ONNX Runtime gives: integers wrap, floats follow IEEE 754.

use shiftwise_kernels::matmul::{MatRef, matmul};

use crate::scalar::Scalar;

/// An element type with arithmetic.
pub(crate) trait Number: Scalar {
    const ZERO: Self;
    const ONE: Self;
    /// Whether it is a float type.
    const FLOAT: bool;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// The quotient; `None` for an integer divided by zero.
    fn over(self, other: Self) -> Option<Self>;
    /// What is left of a division, with the sign of `self`; `None` for an integer divided by zero.
    fn rest(self, other: Self) -> Option<Self>;
    fn absolute(self) -> Self;
    fn negated(self) -> Self;
    /// −1, 0 or 1; NaN stays.
    fn sign(self) -> Self;
    fn is_nan(self) -> bool;
    fn real(self) -> f64;
    /// The nearest value of this type; integers are cut off.
    fn of(real: f64) -> Self;

    /// `out = a b` of row-major matrices, where there is a kernel for this type; `[k, n]` is the shape of the right one.
    fn product(_a: &[Self], _b: &[Self], _right: [usize; 2], _out: &mut [Self]) -> bool {
        false
    }

    /// The smaller one, NaN where either is.
    fn least(self, other: Self) -> Self {
        if self.is_nan() || self < other { self } else { other }
    }

    /// The larger one, NaN where either is.
    fn most(self, other: Self) -> Self {
        if self.is_nan() || self > other { self } else { other }
    }
}

macro_rules! floats {
    ($($ty:ty { $($product:tt)* })*) => {
        $(impl Number for $ty {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const FLOAT: bool = true;

            fn plus(self, other: Self) -> Self {
                self + other
            }

            fn minus(self, other: Self) -> Self {
                self - other
            }

            fn times(self, other: Self) -> Self {
                self * other
            }

            fn over(self, other: Self) -> Option<Self> {
                Some(self / other)
            }

            fn rest(self, other: Self) -> Option<Self> {
                Some(self % other)
            }

            fn absolute(self) -> Self {
                self.abs()
            }

            fn negated(self) -> Self {
                -self
            }

            fn sign(self) -> Self {
                if self > 0.0 {
                    1.0
                } else if self < 0.0 {
                    -1.0
                } else {
                    self
                }
            }

            fn is_nan(self) -> bool {
                <$ty>::is_nan(self)
            }

            fn real(self) -> f64 {
                f64::from(self)
            }

            #[allow(clippy::unnecessary_cast, reason = "one of the types is f64")]
            fn of(real: f64) -> Self {
                real as Self
            }

            $($product)*
        })*
    };
}

macro_rules! integers {
    ($($ty:ty, $absolute:expr, $sign:expr;)*) => {
        $(impl Number for $ty {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const FLOAT: bool = false;

            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }

            fn over(self, other: Self) -> Option<Self> {
                (other != 0).then(|| self.wrapping_div(other))
            }

            fn rest(self, other: Self) -> Option<Self> {
                (other != 0).then(|| self.wrapping_rem(other))
            }

            fn absolute(self) -> Self {
                $absolute(self)
            }

            fn negated(self) -> Self {
                self.wrapping_neg()
            }

            fn sign(self) -> Self {
                $sign(self)
            }

            fn is_nan(self) -> bool {
                false
            }

            fn real(self) -> f64 {
                self as f64
            }

            fn of(real: f64) -> Self {
                real as Self
            }
        })*
    };
}

floats! {
    f32 {
        fn product(a: &[Self], b: &[Self], [k, n]: [usize; 2], out: &mut [Self]) -> bool {
            let Some(m) = out.len().checked_div(n) else { return false };
            if k > 0 {
                matmul(m, k, n, MatRef::row_major(a, k), MatRef::row_major(b, n), out, 1.0, 0.0);
            }
            k > 0
        }
    }
    f64 {}
}
integers! {
    i64, i64::wrapping_abs, i64::signum;
    i32, i32::wrapping_abs, i32::signum;
    i16, i16::wrapping_abs, i16::signum;
    i8, i8::wrapping_abs, i8::signum;
    u64, std::convert::identity, |v: u64| u64::from(v > 0);
    u32, std::convert::identity, |v: u32| u32::from(v > 0);
    u16, std::convert::identity, |v: u16| u16::from(v > 0);
    u8, std::convert::identity, |v: u8| u8::from(v > 0);
}

/// Runs a block, which gives an outcome, with `$a` bound to the array inside a value of numbers; halves and booleans
/// are refused.
macro_rules! each_number {
    ($value:expr, $a:ident => $body:expr) => {
        match $value {
            shiftwise_graph::Value::F32($a) => $body,
            shiftwise_graph::Value::F64($a) => $body,
            shiftwise_graph::Value::I64($a) => $body,
            shiftwise_graph::Value::I32($a) => $body,
            shiftwise_graph::Value::I16($a) => $body,
            shiftwise_graph::Value::I8($a) => $body,
            shiftwise_graph::Value::U64($a) => $body,
            shiftwise_graph::Value::U32($a) => $body,
            shiftwise_graph::Value::U16($a) => $body,
            shiftwise_graph::Value::U8($a) => $body,
            other => Err(format!("values of {} are not supported", other.dtype())),
        }
    };
}
pub(crate) use each_number;

/// The same with two values, which must be of one type.
macro_rules! both_numbers {
    ($x:expr, $y:expr, $a:ident, $b:ident => $body:expr) => {
        crate::number::both_numbers!(@ $x, $y, $a, $b => $body; F32 F64 I64 I32 I16 I8 U64 U32 U16 U8)
    };
    (@ $x:expr, $y:expr, $a:ident, $b:ident => $body:expr; $($variant:ident)*) => {
        match ($x, $y) {
            $((shiftwise_graph::Value::$variant($a), shiftwise_graph::Value::$variant($b)) => $body,)*
            (x, y) => Err(format!("values of {} and {} cannot be combined", x.dtype(), y.dtype())),
        }
    };
}
pub(crate) use both_numbers;

/// Runs a block, which gives an outcome, with `$a` bound to the array inside a float32 or float64 value.
macro_rules! each_real {
    ($value:expr, $a:ident => $body:expr) => {
        match $value {
            shiftwise_graph::Value::F32($a) => $body,
            shiftwise_graph::Value::F64($a) => $body,
            other => Err(format!("values of {} are not supported", other.dtype())),
        }
    };
}
pub(crate) use each_real;
