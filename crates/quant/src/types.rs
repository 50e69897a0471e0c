//! Integer types that tensors are quantized to.

use std::fmt;

use serde::{Deserialize, Serialize};
use shiftwise_graph::DataType;

/// An integer type of quantized tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuantType {
    /// Unsigned, 8 bits.
    Uint8,
    /// Signed, 8 bits.
    Int8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
}

impl QuantType {
    /// Everything that the type can hold: what QuantizeLinear saturates to.
    pub fn full_range(self) -> (i64, i64) {
        match self {
            Self::Uint8 => (0, 255),
            Self::Int8 => (-128, 127),
            Self::Uint16 => (0, 65_535),
            Self::Int16 => (-32_768, 32_767),
            Self::Int32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        }
    }

    /// The range that symmetric scales are computed for and that stored weights keep to: signed types give up their
    /// lowest value, so that negation stays within the range.
    pub fn symmetric_range(self) -> (i64, i64) {
        let (lo, hi) = self.full_range();
        if self.is_signed() { (-hi, hi) } else { (lo, hi) }
    }

    /// Whether the type has negative values.
    pub fn is_signed(self) -> bool {
        matches!(self, Self::Int8 | Self::Int16 | Self::Int32)
    }

    /// Zero point of a symmetric quantization: 0 for signed types, the middle for unsigned ones.
    pub fn symmetric_zero_point(self) -> i64 {
        match self {
            Self::Uint8 => 128,
            Self::Uint16 => 32_768,
            _ => 0,
        }
    }

    /// The element type of a tensor that holds such integers.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Uint8 => DataType::Uint8,
            Self::Int8 => DataType::Int8,
            Self::Uint16 => DataType::Uint16,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
        }
    }

    /// The type whose integers a tensor of this element type holds.
    pub fn from_data_type(dtype: DataType) -> Option<Self> {
        Some(match dtype {
            DataType::Uint8 => Self::Uint8,
            DataType::Int8 => Self::Int8,
            DataType::Uint16 => Self::Uint16,
            DataType::Int16 => Self::Int16,
            DataType::Int32 => Self::Int32,
            _ => return None,
        })
    }
}

impl fmt::Display for QuantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.data_type().fmt(f)
    }
}
