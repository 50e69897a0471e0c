//! Small tensors whose elements are followed through shape arithmetic.

use crate::{DataType, Dim, Tensor};

/// Tensors with more elements are not followed: shapes are short.
pub(super) const LIMIT: usize = 1024;

/// One element.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elem {
    /// An integer or a bool.
    Int(i64),
    /// A float, as sizes and scales of resizing go through floats.
    Float(f32),
    /// The extent of a named dimension.
    Symbol(String),
    /// Depends on what is not known.
    Unknown,
}

impl Elem {
    pub(super) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(v) => Some(*v),
            _ => None,
        }
    }

    /// The element as a number, whichever kind it is.
    pub(super) fn float(&self) -> Option<f32> {
        match self {
            Self::Int(v) => Some(*v as f32),
            Self::Float(v) => Some(*v),
            _ => None,
        }
    }
}

impl From<&Dim> for Elem {
    fn from(dim: &Dim) -> Self {
        match dim {
            Dim::Known(n) => i64::try_from(*n).map_or(Self::Unknown, Self::Int),
            Dim::Symbol(s) => Self::Symbol(s.clone()),
            Dim::Unknown => Self::Unknown,
        }
    }
}

/// The content of a tensor of rank 0 or 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Data {
    /// Whether the rank is 0.
    pub(super) scalar: bool,
    pub(super) elems: Vec<Elem>,
}

impl Data {
    pub(super) fn list(elems: Vec<Elem>) -> Self {
        Self { scalar: false, elems }
    }

    /// The content of a constant, when it is small, of rank 0 or 1, and numeric.
    pub(super) fn of(tensor: &Tensor) -> Option<Self> {
        if tensor.dims().len() > 1 || tensor.len() > LIMIT {
            return None;
        }
        let elems = if tensor.dtype() == DataType::Float {
            tensor.to_f32()?.into_iter().map(Elem::Float).collect()
        } else {
            tensor.to_i64()?.into_iter().map(Elem::Int).collect()
        };
        Some(Self { scalar: tensor.dims().is_empty(), elems })
    }

    /// All elements as integers, when every one is known.
    pub(super) fn ints(&self) -> Option<Vec<i64>> {
        self.elems.iter().map(Elem::int).collect()
    }

    /// All elements as floats, when every one is known.
    pub(super) fn floats(&self) -> Option<Vec<f32>> {
        self.elems.iter().map(Elem::float).collect()
    }

    /// Elementwise combination with numpy's rules for ranks 0 and 1; `None` when the lengths do not fit.
    pub(super) fn zip(&self, other: &Self, op: impl Fn(&Elem, &Elem) -> Elem) -> Option<Self> {
        let (a, b) = (&self.elems, &other.elems);
        let elems = match (a.len(), b.len()) {
            (n, m) if n == m => a.iter().zip(b).map(|(x, y)| op(x, y)).collect(),
            (1, _) => b.iter().map(|y| op(&a[0], y)).collect(),
            (_, 1) => a.iter().map(|x| op(x, &b[0])).collect(),
            _ => return None,
        };
        Some(Self { scalar: self.scalar && other.scalar, elems })
    }
}
