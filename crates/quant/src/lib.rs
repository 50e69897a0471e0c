//! The mathematics of quantization: types, scales and zero points, positions, calibration methods over histograms, the
//! treatment of weights, where Q/DQ go, and error metrics.
//!
//! Everything here is a pure function of tensors, statistics and options. This crate never runs a graph, never reads or
//! writes files, and must never change a scale without the integers that belong to it.

mod absorb;
pub mod calibration;
mod emit;
mod layout;
mod metrics;
pub mod minmse;
pub mod npu;
mod params;
mod placement;
mod qdq;
mod record;
mod types;
mod weights;

pub use absorb::{Absorbed, ChannelRange, Operator, Side, absorb_constant_channels};
pub use emit::{Decision, EmitError, Emitted, emit};
pub use layout::{WeightLayout, input_channel_axis};
pub use metrics::{Comparison, Metrics};
pub use params::{Position, QParams};
pub use placement::{
    Placement, PlacementOptions, Role, SelectError, Site, default_op_types, fused_activation,
};
pub use qdq::{Direction, QdqView, QuantizedConstant, Quantizer, Scale, ScaleError, ScaleId};
pub use record::{FLOAT_FILE, TENSORS_FILE, TensorRecord};
pub use types::QuantType;
pub use weights::{WeightScaleError, by_output_error};
