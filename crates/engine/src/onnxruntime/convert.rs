//! Values between this workspace and ONNX Runtime.

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use ort::session::SessionInputValue;
use ort::value::{DynValue, TensorElementType, TensorRef, ValueType};
use shiftwise_graph::{DataType, Dim, TensorType, Value};

macro_rules! types {
    ($($variant:ident, $ty:ty, $dtype:ident, $element:ident;)*) => {
        /// The element type of the same name; `None` for those that have no [`Value`].
        pub(super) fn dtype(element: TensorElementType) -> Option<DataType> {
            match element {
                $(TensorElementType::$element => Some(DataType::$dtype),)*
                _ => None,
            }
        }

        /// A value as an input of a session, without a copy.
        pub(super) fn input(value: &Value) -> Result<SessionInputValue<'_>, String> {
            let shape: Vec<usize> = value.shape().to_vec();
            match value {
                $(Value::$variant(array) => {
                    let elements = array.as_slice().ok_or("it is not in row-major order")?;
                    let tensor = TensorRef::from_array_view((shape, elements)).map_err(|e| e.to_string())?;
                    Ok(tensor.into())
                })*
            }
        }

        /// A copy of what a session made.
        pub(super) fn output(value: &DynValue) -> Result<Value, String> {
            let ValueType::Tensor { ty, .. } = value.dtype() else {
                return Err(format!("it is not a tensor, but {}", value.dtype()));
            };
            match ty {
                $(TensorElementType::$element => {
                    let (shape, elements) = value.try_extract_tensor::<$ty>().map_err(|e| e.to_string())?;
                    let shape: Vec<usize> = shape.iter().map(|d| usize::try_from(*d).unwrap_or(0)).collect();
                    let array = ArrayD::from_shape_vec(IxDyn(&shape), elements.to_vec()).map_err(|e| e.to_string())?;
                    Ok(Value::from(array))
                })*
                other => Err(format!("a tensor of {other} has no form outside of the engine")),
            }
        }
    };
}

types! {
    F32, f32, Float, Float32;
    F64, f64, Double, Float64;
    F16, f16, Float16, Float16;
    Bf16, bf16, Bfloat16, Bfloat16;
    I64, i64, Int64, Int64;
    I32, i32, Int32, Int32;
    I16, i16, Int16, Int16;
    I8, i8, Int8, Int8;
    U64, u64, Uint64, Uint64;
    U32, u32, Uint32, Uint32;
    U16, u16, Uint16, Uint16;
    U8, u8, Uint8, Uint8;
    Bool, bool, Bool, Bool;
}

/// What ONNX Runtime knows of a tensor; `None` for what is no tensor, or has no [`Value`].
pub(super) fn tensor_type(ty: &ValueType) -> Option<TensorType> {
    let ValueType::Tensor { ty, shape, .. } = ty else { return None };
    // An unknown rank looks like a scalar here, so a shape without dimensions says nothing.
    let dims = || shape.iter().map(|d| usize::try_from(*d).map_or(Dim::Unknown, Dim::Known)).collect();
    Some(TensorType { dtype: dtype(*ty)?, shape: (!shape.is_empty()).then(dims) })
}
