//! Types of values: element type and shape, where known.

use std::fmt;

use crate::{DataType, proto};

/// One dimension of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dim {
    /// A known extent.
    Known(usize),
    /// An extent that has a name in the model, equal wherever the name stands.
    Symbol(String),
    /// Nothing is known.
    Unknown,
}

impl Dim {
    /// The extent, where it is known.
    pub fn known(&self) -> Option<usize> {
        match self {
            Self::Known(n) => Some(*n),
            _ => None,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(n) => write!(f, "{n}"),
            Self::Symbol(s) => f.write_str(s),
            Self::Unknown => f.write_str("?"),
        }
    }
}

/// Element type and shape of a tensor; a shape of `None` means that even the rank is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorType {
    /// Element type.
    pub dtype: DataType,
    /// Dimensions, outermost first.
    pub shape: Option<Vec<Dim>>,
}

impl TensorType {
    /// A type with a fully known shape.
    pub fn fixed(dtype: DataType, dims: &[usize]) -> Self {
        Self { dtype, shape: Some(dims.iter().map(|d| Dim::Known(*d)).collect()) }
    }

    /// The dimensions, when every one is known.
    pub fn fixed_dims(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().map(Dim::known).collect()
    }

    /// Number of dimensions, when known.
    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dtype)?;
        match &self.shape {
            None => f.write_str("[…]"),
            Some(dims) => {
                let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", dims.join(","))
            }
        }
    }
}

/// What the model declares about a value: a tensor, or something else that is carried through untouched.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueType {
    /// A dense tensor.
    Tensor(TensorType),
    /// A sequence, map, optional or sparse tensor, or an undeclared type.
    Other(Option<proto::TypeProto>),
}

impl ValueType {
    /// The tensor type, if it is one.
    pub fn tensor(&self) -> Option<&TensorType> {
        match self {
            Self::Tensor(t) => Some(t),
            Self::Other(_) => None,
        }
    }

    pub(crate) fn from_proto(message: Option<&proto::TypeProto>) -> Self {
        let tensor = message.and_then(|m| match &m.value {
            Some(proto::TypeValue::TensorType(t)) => Some(t),
            _ => None,
        });
        match tensor.and_then(|t| Some((DataType::from_onnx(t.elem_type)?, t))) {
            None => Self::Other(message.cloned()),
            Some((dtype, t)) => Self::Tensor(TensorType {
                dtype,
                shape: t.shape.as_ref().map(|s| s.dim.iter().map(dim_from_proto).collect()),
            }),
        }
    }

    pub(crate) fn to_proto(&self) -> Option<proto::TypeProto> {
        match self {
            Self::Other(message) => message.clone(),
            Self::Tensor(t) => Some(proto::TypeProto {
                value: Some(proto::TypeValue::TensorType(proto::TensorTypeProto {
                    elem_type: t.dtype as i32,
                    shape: t
                        .shape
                        .as_ref()
                        .map(|dims| proto::TensorShapeProto { dim: dims.iter().map(dim_to_proto).collect() }),
                })),
                denotation: String::new(),
            }),
        }
    }
}

fn dim_from_proto(message: &proto::DimensionProto) -> Dim {
    match &message.value {
        Some(proto::DimensionValue::DimValue(v)) => usize::try_from(*v).map_or(Dim::Unknown, Dim::Known),
        Some(proto::DimensionValue::DimParam(s)) if !s.is_empty() => Dim::Symbol(s.clone()),
        _ => Dim::Unknown,
    }
}

fn dim_to_proto(dim: &Dim) -> proto::DimensionProto {
    let value = match dim {
        Dim::Known(n) => Some(proto::DimensionValue::DimValue(*n as i64)),
        Dim::Symbol(s) => Some(proto::DimensionValue::DimParam(s.clone())),
        Dim::Unknown => None,
    };
    proto::DimensionProto { value, denotation: String::new() }
}

/// A named value at the boundary of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueInfo {
    /// Name of the tensor.
    pub name: String,
    /// Its type.
    pub ty: ValueType,
}

impl ValueInfo {
    /// A float32 value with known dimensions.
    pub fn f32(name: &str, dims: &[usize]) -> Self {
        Self { name: name.into(), ty: ValueType::Tensor(TensorType::fixed(DataType::Float, dims)) }
    }
}
