//! What a quantized model's sidecar says about each tensor.

use serde::{Deserialize, Serialize};

use crate::{Position, QParams, QuantType, Role};

/// File name of the sidecar inside an artifact.
pub const TENSORS_FILE: &str = "tensors.json";

/// File name of the float model that the integers are made from, beside the quantized one.
pub const FLOAT_FILE: &str = "float.onnx";

/// One quantized tensor: where it comes from and how it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorRecord {
    /// Name of the float tensor.
    pub tensor: String,
    /// What it is.
    pub role: Role,
    /// For constants: the initializer of the float model beside this file that the integers are made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub float_source: Option<String>,
    /// For constants: the initializer that holds the integers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantized: Option<String>,
    /// Initializer that holds the scale.
    pub scale_name: String,
    /// Initializer that holds the zero point.
    pub zero_point_name: String,
    /// Type of the integers.
    #[serde(rename = "type")]
    pub ty: QuantType,
    /// The scale; written with all its digits, so that readers in double precision get the power of two that it is.
    #[serde(serialize_with = "all_digits")]
    pub scale: f32,
    /// The zero point.
    pub zero_point: i64,
    /// Fraction bits, when the scale is a power of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// How the parameters were chosen.
    pub method: String,
    /// The tensor whose parameters these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<String>,
}

impl TensorRecord {
    /// The parameters.
    pub fn params(&self) -> QParams {
        QParams { ty: self.ty, scale: self.scale, zero_point: self.zero_point }
    }

    /// Changes the parameters.
    pub fn set_params(&mut self, params: QParams) {
        self.ty = params.ty;
        self.scale = params.scale;
        self.zero_point = params.zero_point;
        self.position = params.position();
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn all_digits<S: serde::Serializer>(scale: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(f64::from(*scale))
}
