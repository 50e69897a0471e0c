//! Operators on the bits of integers.

use ndarray::ArrayD;
use shiftwise_graph::Value;

use super::pairs::zipped;
use super::{Cx, Op};
use crate::args::{Kernel, Outcome, results};
use crate::pool::Workspace;
use crate::scalar::Scalar;

pub(super) const OPS: &[Op] = &[
    Op::any("BitShift", shift),
    Op::any("BitwiseAnd", combine),
    Op::any("BitwiseOr", combine),
    Op::any("BitwiseXor", combine),
    Op::any("BitwiseNot", not),
];

trait Bits: Scalar {
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn not(self) -> Self;
    /// Shifted by as many places as `by` says; by all or more, zero.
    fn shifted(self, by: Self, left: bool) -> Self;
}

macro_rules! bits {
    ($($ty:ty)*) => {
        $(impl Bits for $ty {
            fn and(self, other: Self) -> Self {
                self & other
            }

            fn or(self, other: Self) -> Self {
                self | other
            }

            fn xor(self, other: Self) -> Self {
                self ^ other
            }

            fn not(self) -> Self {
                !self
            }

            fn shifted(self, by: Self, left: bool) -> Self {
                let by = u32::try_from(by).unwrap_or(u32::MAX);
                if left { self.checked_shl(by) } else { self.checked_shr(by) }.unwrap_or(0)
            }
        })*
    };
}

bits!(i64 i32 i16 i8 u64 u32 u16 u8);

macro_rules! integers {
    ($x:expr, $y:expr, $a:ident, $b:ident => $body:expr; $($variant:ident)*) => {
        match ($x, $y) {
            $((Value::$variant($a), Value::$variant($b)) => $body,)*
            (x, y) => Err(format!("values of {} and {} cannot be combined", x.dtype(), y.dtype())),
        }
    };
}

fn shift(cx: Cx<'_>) -> Outcome<Kernel> {
    let left = match cx.text_or("direction", "") {
        "LEFT" => true,
        "RIGHT" => false,
        other => return Err(format!("its direction {other:?} is not defined")),
    };
    Ok(Box::new(move |args, ws| {
        let (a, b) = (args.value(0)?, args.value(1)?);
        integers!(a, b, x, y => zipped(x, y, ws, |a, b| a.shifted(b, left)); U64 U32 U16 U8)
            .map(|v| results![v])
    }))
}

fn combine(cx: Cx<'_>) -> Outcome<Kernel> {
    #[derive(Clone, Copy)]
    enum How {
        And,
        Or,
        Xor,
    }
    fn one<T: Bits>(x: &ArrayD<T>, y: &ArrayD<T>, how: How, ws: &mut Workspace) -> Outcome<Value> {
        match how {
            How::And => zipped(x, y, ws, T::and),
            How::Or => zipped(x, y, ws, T::or),
            How::Xor => zipped(x, y, ws, T::xor),
        }
    }
    let how = match cx.node.op_type.as_str() {
        "BitwiseAnd" => How::And,
        "BitwiseOr" => How::Or,
        _ => How::Xor,
    };
    Ok(Box::new(move |args, ws| {
        let (a, b) = (args.value(0)?, args.value(1)?);
        integers!(a, b, x, y => one(x, y, how, ws); I64 I32 I16 I8 U64 U32 U16 U8).map(|v| results![v])
    }))
}

fn not(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, _| {
        macro_rules! each {
            ($($variant:ident)*) => {
                match args.value(0)? {
                    $(Value::$variant(a) => Ok(results![Value::$variant(a.mapv(Bits::not))]),)*
                    other => Err(format!("its input is {}, not integers", other.dtype())),
                }
            };
        }
        each!(I64 I32 I16 I8 U64 U32 U16 U8)
    }))
}
