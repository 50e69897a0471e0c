//! Constant tensors: an element type, dimensions and little-endian bytes, mostly borrowed from a map.

use bytes::Bytes;

use crate::{DataType, GraphError, proto};

/// The payload of a [`Tensor`].
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Elements in ONNX's raw encoding: little-endian, row-major, sub-byte types packed low nibble first.
    Raw(Bytes),
    /// Elements of a string tensor.
    Strings(Vec<Bytes>),
}

/// A constant tensor. Cloning is cheap: the bytes are shared.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    dtype: DataType,
    dims: Vec<usize>,
    data: TensorData,
}

impl Tensor {
    /// A tensor over raw bytes.
    ///
    /// Fails when the number of bytes is not what the type and the dimensions ask for.
    pub fn from_raw(dtype: DataType, dims: Vec<usize>, bytes: Bytes) -> Result<Self, GraphError> {
        let wanted = element_count(&dims).and_then(|n| dtype.bytes_for(n));
        if wanted != Some(bytes.len()) {
            return Err(GraphError::malformed(
                format!("a {dtype} tensor of shape {dims:?}"),
                match wanted {
                    Some(w) => format!("it needs {w} bytes but has {}", bytes.len()),
                    None => "its size overflows or its type has no raw encoding".into(),
                },
            ));
        }
        Ok(Self { dtype, dims, data: TensorData::Raw(bytes) })
    }

    /// A float32 tensor. Panics when `values` does not have the length that `dims` asks for.
    pub fn f32(dims: &[usize], values: &[f32]) -> Self {
        Self::of(DataType::Float, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// An int64 tensor. Panics when `values` does not have the length that `dims` asks for.
    pub fn i64(dims: &[usize], values: &[i64]) -> Self {
        Self::of(DataType::Int64, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// An int32 tensor. Panics when `values` does not have the length that `dims` asks for.
    pub fn i32(dims: &[usize], values: &[i32]) -> Self {
        Self::of(DataType::Int32, dims, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// An int8 tensor. Panics when `values` does not have the length that `dims` asks for.
    pub fn i8(dims: &[usize], values: &[i8]) -> Self {
        Self::of(DataType::Int8, dims, values.iter().map(|v| *v as u8).collect())
    }

    /// A uint8 tensor. Panics when `values` does not have the length that `dims` asks for.
    pub fn u8(dims: &[usize], values: &[u8]) -> Self {
        Self::of(DataType::Uint8, dims, values.to_vec())
    }

    fn of(dtype: DataType, dims: &[usize], bytes: Vec<u8>) -> Self {
        assert_eq!(
            element_count(dims).and_then(|n| dtype.bytes_for(n)),
            Some(bytes.len()),
            "values do not fill a tensor of shape {dims:?}"
        );
        Self { dtype, dims: dims.to_vec(), data: TensorData::Raw(bytes.into()) }
    }

    /// Element type.
    pub fn dtype(&self) -> DataType {
        self.dtype
    }

    /// Dimensions; empty for a scalar.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The payload.
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The raw bytes; `None` for string tensors.
    pub fn raw(&self) -> Option<&Bytes> {
        match &self.data {
            TensorData::Raw(bytes) => Some(bytes),
            TensorData::Strings(_) => None,
        }
    }

    /// The same elements under other dimensions; `None` when their number differs.
    pub fn reshaped(&self, dims: Vec<usize>) -> Option<Self> {
        (element_count(&dims)? == self.len()).then(|| Self { dims, ..self.clone() })
    }

    /// The elements as float32, converted from float16, bfloat16 or double; `None` for other types.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let raw = self.raw()?;
        Some(match self.dtype {
            DataType::Float => elements(raw, f32::from_le_bytes),
            DataType::Double => elements(raw, f64::from_le_bytes).into_iter().map(|v| v as f32).collect(),
            DataType::Float16 => elements(raw, |b| half::f16::from_le_bytes(b).to_f32()),
            DataType::Bfloat16 => elements(raw, |b| half::bf16::from_le_bytes(b).to_f32()),
            _ => return None,
        })
    }

    /// The elements as int64, widened from any integer type or bool; `None` for other types.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        let raw = self.raw()?;
        Some(match self.dtype {
            DataType::Int64 => elements(raw, i64::from_le_bytes),
            DataType::Int32 => elements(raw, |b| i64::from(i32::from_le_bytes(b))),
            DataType::Int16 => elements(raw, |b| i64::from(i16::from_le_bytes(b))),
            DataType::Int8 => elements(raw, |b| i64::from(i8::from_le_bytes(b))),
            DataType::Uint32 => elements(raw, |b| i64::from(u32::from_le_bytes(b))),
            DataType::Uint16 => elements(raw, |b| i64::from(u16::from_le_bytes(b))),
            DataType::Uint8 | DataType::Bool => elements(raw, |b| i64::from(u8::from_le_bytes(b))),
            DataType::Uint64 => elements(raw, |b| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX)),
            _ => return None,
        })
    }

    /// The only element of a float tensor with one element.
    pub fn scalar_f32(&self) -> Option<f32> {
        if self.len() == 1 { self.to_f32()?.first().copied() } else { None }
    }

    /// The only element of an integer tensor with one element.
    pub fn scalar_i64(&self) -> Option<i64> {
        if self.len() == 1 { self.to_i64()?.first().copied() } else { None }
    }

    /// The message for this tensor with its data inline.
    pub fn to_proto(&self, name: &str) -> proto::TensorProto {
        let mut message = proto::TensorProto {
            name: name.into(),
            dims: self.dims.iter().map(|d| *d as i64).collect(),
            data_type: Some(self.dtype as i32),
            ..Default::default()
        };
        match &self.data {
            TensorData::Raw(bytes) => message.raw_data = Some(bytes.clone()),
            TensorData::Strings(strings) => message.string_data.clone_from(strings),
        }
        message
    }

    /// Reads a message whose data is inline, whichever of the typed fields holds it.
    pub fn from_proto(message: &proto::TensorProto) -> Result<Self, GraphError> {
        let what = || format!("tensor {:?}", message.name);
        let number = message.data_type.unwrap_or(0);
        let dtype = DataType::from_onnx(number)
            .ok_or_else(|| GraphError::malformed(what(), format!("its element type {number} is unknown")))?;
        let dims = dims_from_proto(&message.dims).ok_or_else(|| {
            GraphError::malformed(what(), format!("its dimensions {:?} are not valid", message.dims))
        })?;
        if dtype == DataType::String {
            if element_count(&dims) != Some(message.string_data.len()) {
                return Err(GraphError::malformed(what(), "its number of strings does not fit its shape"));
            }
            return Ok(Self { dtype, dims, data: TensorData::Strings(message.string_data.clone()) });
        }
        let bytes = match &message.raw_data {
            Some(raw) => raw.clone(),
            None => typed_bytes(dtype, message),
        };
        Self::from_raw(dtype, dims, bytes).map_err(|e| match e {
            GraphError::Malformed { reason, .. } => GraphError::malformed(what(), reason),
            other => other,
        })
    }
}

/// Dimensions of a message; `None` when one is negative or their product overflows.
pub(crate) fn dims_from_proto(dims: &[i64]) -> Option<Vec<usize>> {
    let dims = dims.iter().map(|d| usize::try_from(*d).ok()).collect::<Option<Vec<_>>>()?;
    element_count(&dims).map(|_| dims)
}

fn element_count(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))
}

fn elements<const N: usize, T>(raw: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks::<N>().0.iter().map(|chunk| convert(*chunk)).collect()
}

/// Gathers the typed repeated fields into the raw encoding. `int32_data` carries all small types.
fn typed_bytes(dtype: DataType, message: &proto::TensorProto) -> Bytes {
    let bytes: Vec<u8> = match dtype {
        DataType::Float | DataType::Complex64 => {
            message.float_data.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        DataType::Double | DataType::Complex128 => {
            message.double_data.iter().flat_map(|v| v.to_le_bytes()).collect()
        }
        DataType::Int64 => message.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DataType::Uint64 => message.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DataType::Uint32 => message.uint64_data.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect(),
        DataType::Int32 => message.int32_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DataType::Int16 | DataType::Uint16 | DataType::Float16 | DataType::Bfloat16 => {
            message.int32_data.iter().flat_map(|v| (*v as u16).to_le_bytes()).collect()
        }
        _ => message.int32_data.iter().map(|v| *v as u8).collect(),
    };
    bytes.into()
}
