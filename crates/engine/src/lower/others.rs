//! Fused fake quantization, emulating layers, and block formats.

use shiftwise_graph::{DataType, Node, Tensor};

use super::emit::{Emit, op};
use super::linear::{cast, clip};
use super::scope::Scope;
use super::{linear_domain, needs_opset};
use crate::ops::block::{Attributes, BFP, Block, MX, QUARK};

/// FixNeuron with width `b` and position `p`: `clip(round_half_even(x · 2^p), −2^(b−1), 2^(b−1) − 1) · 2^(−p)`, as
/// QuantizeLinear and DequantizeLinear of 8 or 16 bits, whichever holds `b`. A narrower range is clipped to afterwards,
/// which is the same and puts NaN at the lowest value like everywhere else.
pub(super) fn fix_neuron(scope: &Scope<'_>, emit: &mut Emit<'_>) -> Result<(), String> {
    let width = Attributes::int(emit.node, "bit_width")?.unwrap_or(8);
    let position = Attributes::int(emit.node, "pos")?.ok_or("it has no attribute pos")?;
    if !(2..=16).contains(&width) {
        return Err(format!("its bit_width is {width}; 2 to 16 are supported"));
    }
    if !(-127..=127).contains(&position) {
        return Err(format!("its pos is {position}; -127 to 127 are supported"));
    }
    let step = 2.0_f64.powi(-position as i32) as f32;
    let wide = width > 8;
    let scale = emit.constant("scale", Tensor::f32(&[], &[step]));
    let zero = if wide {
        Tensor::from_raw(DataType::Int16, Vec::new(), vec![0; 2].into()).map_err(|e| e.to_string())?
    } else {
        Tensor::i8(&[], &[0])
    };
    let zero = emit.constant("zero_point", zero);
    let domain = linear_domain(scope.model, wide, true);
    emit.uses(domain);
    let of = |node: Node| Node { domain: domain.into(), ..node };
    let q = emit.step("quantized", of(op("QuantizeLinear", &[emit.input(0)?, &scale, &zero])));
    let dequantize = of(op("DequantizeLinear", &[&q, &scale, &zero]));
    if width == 8 || width == 16 {
        emit.last(dequantize);
        return Ok(());
    }
    let y = emit.step("dequantized", dequantize);
    let top = (1_i32 << (width - 1)) as f32;
    let clip = clip(scope, emit, &y, -top * step, (top - 1.0) * step);
    emit.last(clip);
    Ok(())
}

/// InstanceNormalization that emulates bfloat16: its inputs and its result are rounded to bfloat16, and computed in
/// float32 between.
pub(super) fn instance_norm(scope: &Scope<'_>, emit: &mut Emit<'_>) -> Result<(), String> {
    needs_opset(scope.model, 13, "a cast to bfloat16")?;
    let mut inputs = Vec::new();
    for (i, what) in ["x_bf16", "scale_bf16", "bias_bf16"].into_iter().enumerate() {
        let narrow = emit.step(what, cast(emit.input(i)?, DataType::Bfloat16));
        inputs.push(emit.step(what, cast(&narrow, DataType::Float)));
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let epsilon = emit.node.float("epsilon").unwrap_or(1e-5);
    let y = emit.step("normalized", op("InstanceNormalization", &inputs).with("epsilon", epsilon));
    let narrow = emit.step("rounded", cast(&y, DataType::Bfloat16));
    emit.last(cast(&narrow, DataType::Float));
    Ok(())
}

/// The attributes of BFPQuantizeDequantize.
const BFP_ATTRIBUTES: [&str; 9] = [
    "axis",
    "bfp_method",
    "bit_width",
    "block_size",
    "convert_to_bfloat_before_bfp",
    "rounding_mode",
    "sub_block_shift_bits",
    "sub_block_size",
    "use_compiler_version_cpu_kernel",
];

/// The attributes of LSTM.
const LSTM: [&str; 8] = [
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "hidden_size",
    "input_forget",
    "layout",
];

/// ExtendedLSTM has the inputs, outputs and attributes of LSTM, and is computed in float32 like it.
pub(super) fn lstm(_: &Scope<'_>, emit: &mut Emit<'_>) -> Result<(), String> {
    refuse_unknown(emit.node, &LSTM)?;
    let node = Node { op_type: "LSTM".into(), domain: String::new(), ..emit.node.clone() };
    emit.last(node);
    Ok(())
}

pub(super) fn bfp(_: &Scope<'_>, emit: &mut Emit<'_>) -> Result<(), String> {
    Block::bfp(emit.node)?;
    refuse_unknown(emit.node, &BFP_ATTRIBUTES)?;
    renamed(emit, BFP);
    Ok(())
}

pub(super) fn mx(_: &Scope<'_>, emit: &mut Emit<'_>) -> Result<(), String> {
    Block::mx(emit.node)?;
    refuse_unknown(emit.node, &["axis", "block_size", "element_dtype", "rounding_mode"])?;
    renamed(emit, MX);
    Ok(())
}

/// What an attribute of unknown meaning does is not known either.
fn refuse_unknown(node: &Node, known: &[&str]) -> Result<(), String> {
    match node.attributes.keys().find(|k| !known.contains(&k.as_str())) {
        Some(name) => Err(format!("its attribute {name} is not known")),
        None => Ok(()),
    }
}

/// Gives a block format its present name and domain.
fn renamed(emit: &mut Emit<'_>, name: &str) {
    emit.uses(QUARK);
    if emit.node.op_type != name || emit.node.domain != QUARK {
        let node = Node { op_type: name.into(), domain: QUARK.into(), ..emit.node.clone() };
        emit.last(node);
    }
}
