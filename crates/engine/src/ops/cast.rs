//! Cast and CastLike.

use half::{bf16, f16};
use ndarray::ArrayD;
use shiftwise_graph::{DataType, Value};

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, each_type};

pub(super) const OPS: &[Op] = &[Op::any("Cast", compile), Op::any("CastLike", like)];

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let to = cx.dtype("to")?.ok_or("it has no attribute to")?;
    if !is_supported(to) {
        return Err(format!("a cast to {to} is not supported"));
    }
    Ok(Box::new(move |args, ws| {
        if args.value(0)?.dtype() == to {
            return Ok(results![args.take_or_copy(0, ws)?]);
        }
        cast(args.value(0)?, to, ws).map(|v| results![v])
    }))
}

fn like(_: Cx<'_>) -> Outcome<Kernel> {
    Ok(Box::new(|args, ws| {
        let to = args.value(1)?.dtype();
        cast(args.value(0)?, to, ws).map(|v| results![v])
    }))
}

/// Whether values of this type exist.
pub(super) fn is_supported(dtype: DataType) -> bool {
    use DataType::{
        Bfloat16, Bool, Double, Float, Float16, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64,
    };
    matches!(
        dtype,
        Float
            | Double
            | Float16
            | Bfloat16
            | Int64
            | Int32
            | Int16
            | Int8
            | Uint64
            | Uint32
            | Uint16
            | Uint8
            | Bool
    )
}

/// Conversion by value: fractions are cut off, integers wrap, everything but zero is true.
///
/// A float beyond int64, and NaN, become what x86 processors make of it, as in ONNX Runtime: the smallest integer of
/// 32 bits for types up to that, of 64 bits for the wider ones, cut to the type.
pub(super) fn cast(from: &Value, to: DataType, ws: &mut Workspace) -> Outcome<Value> {
    macro_rules! to {
        ($ty:ty) => {
            each_type!(from, a => convert::<_, $ty>(a, ws))
        };
    }
    match to {
        DataType::Float => to!(f32),
        DataType::Double => to!(f64),
        DataType::Float16 => to!(f16),
        DataType::Bfloat16 => to!(bf16),
        DataType::Int64 => to!(i64),
        DataType::Int32 => to!(i32),
        DataType::Int16 => to!(i16),
        DataType::Int8 => to!(i8),
        DataType::Uint64 => to!(u64),
        DataType::Uint32 => to!(u32),
        DataType::Uint16 => to!(u16),
        DataType::Uint8 => to!(u8),
        DataType::Bool => to!(bool),
        other => Err(format!("a cast to {other} is not supported")),
    }
}

fn convert<S: Convert, T: Convert>(from: &ArrayD<S>, ws: &mut Workspace) -> Outcome<Value> {
    let mut out = T::buffer(ws, from.len())?;
    for (o, v) in out.iter_mut().zip(from) {
        *o = T::of(v.any());
    }
    crate::scalar::value(from.shape(), out)
}

/// A number on its way between types; each source keeps all of its digits.
enum Any {
    Int(i128),
    Float(f64),
}

trait Convert: Scalar {
    fn any(self) -> Any;
    fn of(value: Any) -> Self;
}

/// An integer of 32 bits, the smallest one for what does not fit.
fn narrow(v: f64) -> i32 {
    if v > -2_147_483_649.0 && v < 2_147_483_648.0 { v as i32 } else { i32::MIN }
}

/// An integer of 64 bits, the smallest one for what does not fit.
fn wide(v: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&v) { v as i64 } else { i64::MIN }
}

macro_rules! integers {
    ($($ty:ty, $of_float:expr;)*) => {
        $(impl Convert for $ty {
            fn any(self) -> Any {
                Any::Int(i128::from(self))
            }

            fn of(value: Any) -> Self {
                match value {
                    Any::Int(v) => v as Self,
                    Any::Float(v) => $of_float(v),
                }
            }
        })*
    };
}

integers! {
    i64, wide;
    i32, narrow;
    i16, |v| narrow(v) as i16;
    i8, |v| narrow(v) as i8;
    u64, |v: f64| if v >= 9_223_372_036_854_775_808.0 { v as u64 } else { wide(v) as u64 };
    u32, |v| wide(v) as u32;
    u16, |v| narrow(v) as u16;
    u8, |v| narrow(v) as u8;

}

impl Convert for bool {
    fn any(self) -> Any {
        Any::Int(i128::from(self))
    }

    fn of(value: Any) -> Self {
        match value {
            Any::Int(v) => v != 0,
            Any::Float(v) => v != 0.0,
        }
    }
}

macro_rules! floats {
    ($($ty:ty, $from:expr, $of_int:expr, $of_float:expr;)*) => {
        $(impl Convert for $ty {
            fn any(self) -> Any {
                Any::Float($from(self))
            }

            fn of(value: Any) -> Self {
                match value {
                    Any::Int(v) => $of_int(v),
                    Any::Float(v) => $of_float(v),
                }
            }
        })*
    };
}

floats! {
    f32, f64::from, |v: i128| v as f32, |v: f64| v as f32;
    f64, |v: f64| v, |v: i128| v as f64, |v: f64| v;
    f16, |v: f16| v.to_f64(), |v: i128| f16::from_f32(v as f32), |v: f64| f16::from_f32(v as f32);
    bf16, |v: bf16| v.to_f64(), |v: i128| bf16::from_f32(v as f32), |v: f64| bf16::from_f32(v as f32);
}
