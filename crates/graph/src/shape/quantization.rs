//! Quantize and dequantize operators, standard and custom ones.

use super::context::{Ctx, Stop, contradiction};
use super::registry::{Family, Infer};
use super::unary::same;
use crate::DataType;

pub(super) const OPS: Family = &[
    ("DequantizeLinear", dequantize),
    ("DynamicQuantizeLinear", dynamic_quantize),
    ("QuantizeLinear", quantize),
];

/// Custom operators: domain, operator, function.
pub(super) const CUSTOM: &[(&str, &str, Infer)] = &[
    ("com.amd.quark", "BFPQuantizeDequantize", same),
    ("com.amd.quark", "ExtendedDequantizeLinear", dequantize),
    ("com.amd.quark", "ExtendedInstanceNormalization", same),
    ("com.amd.quark", "ExtendedQuantizeLinear", quantize),
    ("com.amd.quark", "MXQuantizeDequantize", same),
    ("com.microsoft", "DequantizeLinear", dequantize),
    ("com.microsoft", "Gelu", same),
    ("com.microsoft", "QuantizeLinear", quantize),
    ("com.vai.quantize", "BFPFixNeuron", same),
    ("com.vai.quantize", "FixNeuron", same),
    ("com.vai.quantize", "MXFixNeuron", same),
    ("com.vai.quantize", "VitisDequantizeLinear", dequantize),
    ("com.vai.quantize", "VitisInstanceNormalization", same),
    ("com.vai.quantize", "VitisQuantizeLinear", quantize),
];

/// The element type that the attribute `output_dtype` names, if it names one.
fn output_dtype(ctx: &Ctx) -> Result<Option<DataType>, Stop> {
    match ctx.node.int("output_dtype") {
        None | Some(0) => Ok(None),
        Some(n) => match i32::try_from(n).ok().and_then(DataType::from_onnx) {
            Some(dtype) => Ok(Some(dtype)),
            None => contradiction(format!("output_dtype {n} is not an element type")),
        },
    }
}

/// The type of the zero point, else `output_dtype`, else uint8.
fn quantize(ctx: &mut Ctx) -> Result<(), Stop> {
    let asked = output_dtype(ctx)?;
    let dtype = if ctx.has(2) { ctx.dtype(2)? } else { asked.unwrap_or(DataType::Uint8) };
    if let Some(asked) = asked.filter(|a| *a != dtype) {
        return contradiction(format!("its zero point is {dtype} but output_dtype asks for {asked}"));
    }
    ctx.set(0, dtype, None);
    let shape = ctx.ty(0)?.shape.clone();
    ctx.set(0, dtype, shape);
    Ok(())
}

/// The type of the scale, which is float32 in all but the newest operator sets.
fn dequantize(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = match output_dtype(ctx)? {
        Some(dtype) => dtype,
        None => ctx.dtype(1).unwrap_or(DataType::Float),
    };
    ctx.set(0, dtype, None);
    let shape = ctx.ty(0)?.shape.clone();
    ctx.set(0, dtype, shape);
    Ok(())
}

fn dynamic_quantize(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.set(1, DataType::Float, Some(Vec::new()));
    ctx.set(2, DataType::Uint8, Some(Vec::new()));
    ctx.set(0, DataType::Uint8, None);
    let shape = ctx.ty(0)?.shape.clone();
    ctx.set(0, DataType::Uint8, shape);
    Ok(())
}
