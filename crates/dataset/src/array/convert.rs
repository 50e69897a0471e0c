//! Array elements to the type of an input.

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use shiftwise_graph::{DataType, Value};

use super::header::{Element, Header};

/// Row-major values of type `target` from the raw bytes of an array of shape `shape`.
///
/// Floats are rounded to the target; a finite number that would become infinite is refused. Integers and booleans are
/// converted only where nothing is lost. Floats never become integers.
pub(crate) fn value(
    bytes: &[u8],
    header: &Header,
    shape: &[usize],
    target: DataType,
) -> Result<Value, String> {
    let numbers = Numbers { bytes, element: header.element, big_endian: header.big_endian };
    match target {
        DataType::Float => build::<f32>(&numbers, shape, header.fortran),
        DataType::Double => build::<f64>(&numbers, shape, header.fortran),
        DataType::Float16 => build::<f16>(&numbers, shape, header.fortran),
        DataType::Bfloat16 => build::<bf16>(&numbers, shape, header.fortran),
        DataType::Int64 => build::<i64>(&numbers, shape, header.fortran),
        DataType::Int32 => build::<i32>(&numbers, shape, header.fortran),
        DataType::Int16 => build::<i16>(&numbers, shape, header.fortran),
        DataType::Int8 => build::<i8>(&numbers, shape, header.fortran),
        DataType::Uint64 => build::<u64>(&numbers, shape, header.fortran),
        DataType::Uint32 => build::<u32>(&numbers, shape, header.fortran),
        DataType::Uint16 => build::<u16>(&numbers, shape, header.fortran),
        DataType::Uint8 => build::<u8>(&numbers, shape, header.fortran),
        DataType::Bool => build::<bool>(&numbers, shape, header.fortran),
        other => Err(format!("inputs of type {other} cannot be filled from arrays")),
    }
}

fn build<T: Target>(numbers: &Numbers<'_>, shape: &[usize], fortran: bool) -> Result<Value, String>
where
    Value: From<ArrayD<T>>,
{
    let values = numbers.to::<T>()?;
    let array = ArrayD::from_shape_vec(IxDyn(shape).set_f(fortran), values).map_err(|e| e.to_string())?;
    Ok(array.into())
}

/// An element of an array, without loss.
#[derive(Clone, Copy, Debug)]
enum Number {
    Integer(i128),
    Float(f64),
}

/// The elements in raw form.
struct Numbers<'a> {
    bytes: &'a [u8],
    element: Element,
    big_endian: bool,
}

impl Numbers<'_> {
    fn to<T: Target>(&self) -> Result<Vec<T>, String> {
        if matches!(self.element, Element::F16 | Element::Bf16 | Element::F32 | Element::F64) && !T::FLOAT {
            return Err(format!(
                "the array is {}, the input takes {}; save it as integers",
                self.element.name(),
                T::NAME
            ));
        }
        match self.element {
            Element::Bool => self.each(|[b]: [u8; 1]| Number::Integer((b != 0).into())),
            Element::I8 => self.each(|b| Number::Integer(i8::from_le_bytes(b).into())),
            Element::I16 => self.each(|b| Number::Integer(i16::from_le_bytes(b).into())),
            Element::I32 => self.each(|b| Number::Integer(i32::from_le_bytes(b).into())),
            Element::I64 => self.each(|b| Number::Integer(i64::from_le_bytes(b).into())),
            Element::U8 => self.each(|b| Number::Integer(u8::from_le_bytes(b).into())),
            Element::U16 => self.each(|b| Number::Integer(u16::from_le_bytes(b).into())),
            Element::U32 => self.each(|b| Number::Integer(u32::from_le_bytes(b).into())),
            Element::U64 => self.each(|b| Number::Integer(u64::from_le_bytes(b).into())),
            Element::F16 => self.each(|b| Number::Float(f16::from_le_bytes(b).into())),
            Element::Bf16 => self.each(|b| Number::Float(bf16::from_le_bytes(b).into())),
            Element::F32 => self.each(|b| Number::Float(f32::from_le_bytes(b).into())),
            Element::F64 => self.each(|b| Number::Float(f64::from_le_bytes(b))),
        }
    }

    /// Converts every element; `of` takes little-endian bytes.
    fn each<T: Target, const N: usize>(&self, of: impl Fn([u8; N]) -> Number) -> Result<Vec<T>, String> {
        let (chunks, _) = self.bytes.as_chunks::<N>();
        chunks
            .iter()
            .map(|chunk| {
                let mut chunk = *chunk;
                if self.big_endian {
                    chunk.reverse();
                }
                let number = of(chunk);
                T::of(number).ok_or_else(|| match number {
                    Number::Integer(v) => format!("{v} ({}) does not fit {}", self.element.name(), T::NAME),
                    Number::Float(v) => format!("{v:e} ({}) does not fit {}", self.element.name(), T::NAME),
                })
            })
            .collect()
    }
}

/// An element type of an input.
trait Target: Sized {
    const NAME: &'static str;
    const FLOAT: bool = false;

    /// The number in this type; `None` where it does not fit.
    fn of(number: Number) -> Option<Self>;
}

macro_rules! integers {
    ($($ty:ty, $name:literal;)*) => {
        $(impl Target for $ty {
            const NAME: &'static str = $name;

            fn of(number: Number) -> Option<Self> {
                match number {
                    Number::Integer(v) => v.try_into().ok(),
                    Number::Float(_) => None,
                }
            }
        })*
    };
}

integers! {
    i64, "int64";
    i32, "int32";
    i16, "int16";
    i8, "int8";
    u64, "uint64";
    u32, "uint32";
    u16, "uint16";
    u8, "uint8";
}

macro_rules! floats {
    ($($ty:ty, $name:literal, $from:expr;)*) => {
        $(impl Target for $ty {
            const NAME: &'static str = $name;
            const FLOAT: bool = true;

            fn of(number: Number) -> Option<Self> {
                let from: fn(f64) -> Self = $from;
                match number {
                    // NaN compares unequal and is passed on.
                    Number::Float(v) => {
                        let rounded = from(v);
                        (rounded.is_finite() || !v.is_finite()).then_some(rounded)
                    }
                    Number::Integer(v) => {
                        let rounded = from(v as f64);
                        (rounded.is_finite() && f64::from(rounded) as i128 == v).then_some(rounded)
                    }
                }
            }
        })*
    };
}

floats! {
    f64, "float64", |v| v;
    f32, "float32", |v| v as f32;
    f16, "float16", f16::from_f64;
    bf16, "bfloat16", bf16::from_f64;
}

impl Target for bool {
    const NAME: &'static str = "bool";

    fn of(number: Number) -> Option<Self> {
        match number {
            Number::Integer(0) => Some(false),
            Number::Integer(1) => Some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(bytes: &[u8], element: Element, big_endian: bool, target: DataType) -> Result<Value, String> {
        let header = Header { element, big_endian, fortran: false, shape: vec![] };
        value(bytes, &header, &[bytes.len() / element.size()], target)
    }

    #[test]
    fn floats_round_but_do_not_overflow() {
        let bytes = 0.1_f64.to_le_bytes();
        let made = convert(&bytes, Element::F64, false, DataType::Float).unwrap();
        assert_eq!(made.as_f32().unwrap(), [0.1_f32]);
        let reason = convert(&1e300_f64.to_le_bytes(), Element::F64, false, DataType::Float).unwrap_err();
        assert!(reason.contains("1e300") && reason.contains("float32"), "{reason}");
        let made = convert(&f64::NEG_INFINITY.to_le_bytes(), Element::F64, false, DataType::Float).unwrap();
        assert_eq!(made.as_f32().unwrap(), [f32::NEG_INFINITY]);
        let made = convert(&1.5_f32.to_be_bytes(), Element::F32, true, DataType::Float16).unwrap();
        assert_eq!(made, ArrayD::from_elem(IxDyn(&[1]), f16::from_f32(1.5)).into());
    }

    #[test]
    fn integers_convert_without_loss_or_not_at_all() {
        let made = convert(&(-7_i64).to_le_bytes(), Element::I64, false, DataType::Int32).unwrap();
        assert_eq!(made, ArrayD::from_elem(IxDyn(&[1]), -7_i32).into());
        let reason = convert(&(1_i64 << 40).to_le_bytes(), Element::I64, false, DataType::Int32).unwrap_err();
        assert!(reason.contains("1099511627776"), "{reason}");
        assert!(convert(&(1_i32 << 24).to_le_bytes(), Element::I32, false, DataType::Float).is_ok());
        assert!(convert(&((1_i32 << 24) + 1).to_le_bytes(), Element::I32, false, DataType::Float).is_err());
        assert!(convert(&2_u8.to_le_bytes(), Element::U8, false, DataType::Bool).is_err());
        assert!(
            convert(&1_f32.to_le_bytes(), Element::F32, false, DataType::Int64)
                .unwrap_err()
                .contains("int64")
        );
    }
}
