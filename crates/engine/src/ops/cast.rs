//! Cast.

use half::{bf16, f16};
use ndarray::ArrayD;
use shiftwise_graph::{DataType, Value};

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, results};
use crate::pool::Workspace;
use crate::scalar::{Scalar, each_type};

pub(super) const OPS: &[Op] = &[Op::any("Cast", compile), Op::any("CastLike", like)];

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let to = cx.node.int("to").ok_or("it has no attribute to")?;
    let to = i32::try_from(to).ok().and_then(DataType::from_onnx).ok_or("its attribute to is not a type")?;
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

fn is_supported(dtype: DataType) -> bool {
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

/// Conversion by value: fractions are cut off, integers wrap, zero is false.
fn cast(from: &Value, to: DataType, ws: &mut Workspace) -> Outcome<Value> {
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

fn convert<S: Number, T: Number>(from: &ArrayD<S>, ws: &mut Workspace) -> Outcome<Value> {
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

trait Number: Scalar {
    fn any(self) -> Any;
    fn of(value: Any) -> Self;
}

macro_rules! integers {
    ($($ty:ty)*) => {
        $(impl Number for $ty {
            fn any(self) -> Any {
                Any::Int(i128::from(self))
            }

            fn of(value: Any) -> Self {
                match value {
                    Any::Int(v) => v as Self,
                    // Through the widest type, so that what does not fit wraps instead of saturating.
                    Any::Float(v) => v as i64 as Self,
                }
            }
        })*
    };
}

integers!(i64 i32 i16 i8 u32 u16 u8);

impl Number for u64 {
    fn any(self) -> Any {
        Any::Int(i128::from(self))
    }

    fn of(value: Any) -> Self {
        match value {
            Any::Int(v) => v as Self,
            Any::Float(v) => v as Self,
        }
    }
}

impl Number for bool {
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
        $(impl Number for $ty {
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
    f16, |v: f16| v.to_f64(), |v: i128| f16::from_f32(v as f32), |v: f64| f16::from_f64(v);
    bf16, |v: bf16| v.to_f64(), |v: i128| bf16::from_f32(v as f32), |v: f64| bf16::from_f64(v);
}
