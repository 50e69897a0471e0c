//! Element types seen generically.

use std::sync::LazyLock;

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use shiftwise_graph::Value;

use crate::args::Outcome;
use crate::pool::{Pooled, Workspace};

/// Bytes of memory that the machine has. Larger results are refused before the allocator is asked, as it would end the program.
static MEMORY: LazyLock<usize> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    total.map_or(1 << 40, |kibibytes: usize| kibibytes.saturating_mul(1024))
});

/// An element type of values.
pub(crate) trait Scalar: Copy + Default + PartialOrd + Send + Sync + Pooled + 'static {
    fn wrap(array: ArrayD<Self>) -> Value;

    /// The array in a value of this type.
    fn array_of(value: &Value) -> Option<&ArrayD<Self>>;

    /// `len` elements of unspecified content.
    fn buffer(ws: &mut Workspace, len: usize) -> Outcome<Vec<Self>> {
        if len.checked_mul(size_of::<Self>()).is_none_or(|bytes| bytes > *MEMORY) {
            return Err(format!("no memory for {len} elements"));
        }
        Ok(ws.buffer(len))
    }
}

macro_rules! scalars {
    ($($variant:ident $ty:ty),*) => {
        $(impl Scalar for $ty {
            fn wrap(array: ArrayD<Self>) -> Value {
                Value::$variant(array)
            }

            fn array_of(value: &Value) -> Option<&ArrayD<Self>> {
                match value {
                    Value::$variant(array) => Some(array),
                    _ => None,
                }
            }
        })*
    };
}

scalars!(F32 f32, F64 f64, F16 f16, Bf16 bf16, I64 i64, I32 i32, I16 i16, I8 i8, U64 u64, U32 u32, U16 u16, U8 u8,
    Bool bool);

/// Runs a block with `$a` bound to the array inside a value, whatever its element type.
macro_rules! each_type {
    ($value:expr, $a:ident => $body:expr) => {
        match $value {
            shiftwise_graph::Value::F32($a) => $body,
            shiftwise_graph::Value::F64($a) => $body,
            shiftwise_graph::Value::F16($a) => $body,
            shiftwise_graph::Value::Bf16($a) => $body,
            shiftwise_graph::Value::I64($a) => $body,
            shiftwise_graph::Value::I32($a) => $body,
            shiftwise_graph::Value::I16($a) => $body,
            shiftwise_graph::Value::I8($a) => $body,
            shiftwise_graph::Value::U64($a) => $body,
            shiftwise_graph::Value::U32($a) => $body,
            shiftwise_graph::Value::U16($a) => $body,
            shiftwise_graph::Value::U8($a) => $body,
            shiftwise_graph::Value::Bool($a) => $body,
        }
    };
}
pub(crate) use each_type;

/// The elements, row-major. Values are always in that order.
pub(crate) fn slice<T>(array: &ArrayD<T>) -> &[T] {
    array.as_slice().expect("values are row-major")
}

/// A value of this shape.
pub(crate) fn value<T: Scalar>(shape: &[usize], elements: Vec<T>) -> Outcome<Value> {
    let count = elements.len();
    ArrayD::from_shape_vec(IxDyn(shape), elements)
        .map(T::wrap)
        .map_err(|_| format!("{count} elements do not fill the shape {shape:?}"))
}

/// Number of elements of a shape, unless it is absurd.
pub(crate) fn count(shape: &[usize]) -> Outcome<usize> {
    shape
        .iter()
        .try_fold(1usize, |n, d| n.checked_mul(*d))
        .filter(|n| *n <= *MEMORY)
        .ok_or_else(|| format!("a tensor of shape {shape:?} is too large"))
}
