//! Values at run time: dense tensors in memory, as engines and data sets exchange them.

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};

use crate::{DataType, GraphError, Tensor};

macro_rules! values {
    ($($variant:ident, $ty:ty, $dtype:ident;)*) => {
        /// A dense tensor, row-major, with the element type as its variant.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Value {
            $($variant(ArrayD<$ty>),)*
        }

        impl Value {
            /// Element type.
            pub fn dtype(&self) -> DataType {
                match self { $(Self::$variant(_) => DataType::$dtype,)* }
            }

            /// Dimensions, outermost first.
            pub fn shape(&self) -> &[usize] {
                match self { $(Self::$variant(a) => a.shape(),)* }
            }

            /// Number of elements.
            pub fn len(&self) -> usize {
                match self { $(Self::$variant(a) => a.len(),)* }
            }

            /// The same elements under another shape; `None` when their number differs.
            pub fn reshaped(self, shape: &[usize]) -> Option<Self> {
                Some(match self {
                    $(Self::$variant(a) => Self::$variant(standard(a).into_shape_with_order(IxDyn(shape)).ok()?),)*
                })
            }

            /// The same elements with their axes in another order: axis i is axis `order[i]` of this one. Panics where that is no
            /// order of the axes.
            #[must_use]
            pub fn permuted(self, order: &[usize]) -> Self {
                match self {
                    $(Self::$variant(a) => Self::$variant(standard(a.permuted_axes(IxDyn(order)))),)*
                }
            }

            /// Little-endian bytes, row-major.
            pub fn to_bytes(&self) -> Vec<u8> {
                match self { $(Self::$variant(a) => {
                    let mut bytes = Vec::with_capacity(a.len() * size_of::<$ty>());
                    for v in a {
                        Element::push(*v, &mut bytes);
                    }
                    bytes
                })* }
            }

            /// A value with the content of a constant tensor.
            ///
            /// Fails for element types that have no run-time form (strings, complex, 8-bit floats, 4-bit integers).
            pub fn from_tensor(tensor: &Tensor) -> Result<Self, GraphError> {
                let unsupported = || GraphError::malformed(
                    format!("a {} tensor", tensor.dtype()), "values of this type cannot be computed with");
                let raw = tensor.raw().ok_or_else(unsupported)?;
                Ok(match tensor.dtype() {
                    $(DataType::$dtype => {
                        let elements: Vec<$ty> = raw
                            .chunks_exact(size_of::<$ty>())
                            .map(<$ty as Element>::from_le)
                            .collect();
                        let array = ArrayD::from_shape_vec(IxDyn(tensor.dims()), elements)
                            .map_err(|e| GraphError::malformed("a tensor", e.to_string()))?;
                        Self::$variant(array)
                    })*
                    _ => return Err(unsupported()),
                })
            }
        }

        $(impl From<ArrayD<$ty>> for Value {
            fn from(array: ArrayD<$ty>) -> Self {
                Self::$variant(standard(array))
            }
        })*
    };
}

values! {
    F32, f32, Float;
    F64, f64, Double;
    F16, f16, Float16;
    Bf16, bf16, Bfloat16;
    I64, i64, Int64;
    I32, i32, Int32;
    I16, i16, Int16;
    I8, i8, Int8;
    U64, u64, Uint64;
    U32, u32, Uint32;
    U16, u16, Uint16;
    U8, u8, Uint8;
    Bool, bool, Bool;
}

impl Value {
    /// A float32 value. Panics when `values` does not have the length that `shape` asks for.
    pub fn f32(shape: &[usize], values: Vec<f32>) -> Self {
        Self::F32(ArrayD::from_shape_vec(IxDyn(shape), values).expect("values fill the shape"))
    }

    /// An int64 value. Panics when `values` does not have the length that `shape` asks for.
    pub fn i64(shape: &[usize], values: Vec<i64>) -> Self {
        Self::I64(ArrayD::from_shape_vec(IxDyn(shape), values).expect("values fill the shape"))
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements of a float32 value, row-major.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match self {
            Self::F32(a) => a.as_slice(),
            _ => None,
        }
    }

    /// The elements of an int64 value, row-major.
    pub fn as_i64(&self) -> Option<&[i64]> {
        match self {
            Self::I64(a) => a.as_slice(),
            _ => None,
        }
    }

    /// A constant tensor with this content.
    pub fn to_tensor(&self) -> Result<Tensor, GraphError> {
        Tensor::from_raw(self.dtype(), self.shape().to_vec(), self.to_bytes().into())
    }
}

/// Brings an array into row-major order, which every `Value` has.
fn standard<T: Clone>(array: ArrayD<T>) -> ArrayD<T> {
    if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() }
}

/// Elements with a little-endian form.
trait Element: Sized {
    fn from_le(bytes: &[u8]) -> Self;
    fn push(self, bytes: &mut Vec<u8>);
}

macro_rules! element {
    ($($ty:ty)*) => {
        $(impl Element for $ty {
            fn from_le(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<Self>()];
                array.copy_from_slice(bytes);
                <$ty>::from_le_bytes(array)
            }

            fn push(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        })*
    };
}

element!(f32 f64 f16 bf16 i64 i32 i16 i8 u64 u32 u16 u8);

impl Element for bool {
    fn from_le(bytes: &[u8]) -> Self {
        bytes.first().is_some_and(|b| *b != 0)
    }

    fn push(self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self));
    }
}
