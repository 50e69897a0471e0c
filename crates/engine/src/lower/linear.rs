//! Linear quantization with one scale or one for each place along an axis, which by default is the first.
//!
//! Quantization of integers is `q = clip(round_half_even(x / s) + z)` over the full range of the type, where NaN gives
//! the lowest integer; dequantization is `float(q − z) · s`, the difference exact. For float16, scale and zero point
//! are ignored both ways: values are limited to ±65504 and rounded. For bfloat16, quantization rounds `x / s + z` half
//! to even (which may give an infinity), and dequantization is `(float(q) − z) · s`.

use shiftwise_graph::{DataType, Node, Tensor};

use super::emit::{Emit, op};
use super::scope::Scope;
use super::{linear_domain, needs_opset};

pub(super) fn quantize(scope: &Scope<'_>, emit: &mut Emit<'_>) -> Result<(), String> {
    let (x, scale) = (emit.input(0)?, emit.input(1)?);
    let zero = emit.node.input(2);
    let dtype = match zero {
        Some(zero) => dtype_of(scope, zero, "zero point")?,
        None => DataType::Uint8,
    };
    match dtype {
        DataType::Int8 | DataType::Uint8 | DataType::Int16 | DataType::Uint16 => {
            standard(scope, emit, "QuantizeLinear", dtype, zero);
        }
        DataType::Int32 => wide_quantize(scope, emit, dtype, i32::MIN.into(), i32::MAX.into())?,
        DataType::Uint32 => wide_quantize(scope, emit, dtype, 0.0, u32::MAX.into())?,
        DataType::Float16 => {
            let limited = clip(scope, emit, x, -65504.0, 65504.0);
            let limited = emit.step("limited", limited);
            emit.last(cast(&limited, DataType::Float16));
        }
        DataType::Bfloat16 => {
            needs_opset(scope.model, 13, "a cast to bfloat16")?;
            let mut v = x.to_string();
            if scope.constant(scale).and_then(Tensor::scalar_f32) != Some(1.0) {
                let scale = placed(scope, emit, scale, "scale", x, DataType::Float)?;
                v = emit.step("quotient", op("Div", &[&v, &scale]));
            }
            if let Some(zero) = zero {
                let zero = placed(scope, emit, zero, "zero", x, DataType::Float)?;
                v = emit.step("shifted", op("Add", &[&v, &zero]));
            }
            emit.last(cast(&v, dtype));
        }
        other => return Err(format!("its zero point is {other}, to which it does not quantize")),
    }
    Ok(())
}

pub(super) fn dequantize(scope: &Scope<'_>, emit: &mut Emit<'_>) -> Result<(), String> {
    let (q, scale) = (emit.input(0)?, emit.input(1)?);
    let zero = emit.node.input(2);
    let dtype = match zero {
        Some(zero) => dtype_of(scope, zero, "zero point")?,
        None => dtype_of(scope, q, "input")?,
    };
    // Standard operators have no zero point of 32 bits.
    let is_zero = |zero: &str| {
        let constant = scope.constant(zero).and_then(Tensor::to_i64);
        constant.is_some_and(|z| z.iter().all(|z| *z == 0))
    };
    match dtype {
        DataType::Int8 | DataType::Uint8 | DataType::Int16 | DataType::Uint16 => {
            standard(scope, emit, "DequantizeLinear", dtype, zero);
        }
        DataType::Int32 if zero.is_none_or(is_zero) => standard(scope, emit, "DequantizeLinear", dtype, None),
        DataType::Int32 | DataType::Uint32 => {
            let mut v = emit.step("integer", cast(q, DataType::Int64));
            if let Some(zero) = zero {
                let zero = placed(scope, emit, zero, "zero", q, DataType::Int64)?;
                v = emit.step("difference", op("Sub", &[&v, &zero]));
            }
            let v = emit.step("steps", cast(&v, DataType::Float));
            let scale = placed(scope, emit, scale, "scale", q, DataType::Float)?;
            emit.last(op("Mul", &[&v, &scale]));
        }
        DataType::Float16 => emit.last(cast(q, DataType::Float)),
        DataType::Bfloat16 => {
            needs_opset(scope.model, 13, "a cast from bfloat16")?;
            let one = scope.constant(scale).and_then(Tensor::scalar_f32) == Some(1.0);
            let none = zero.is_none_or(|z| scope.constant(z).and_then(Tensor::scalar_f32) == Some(0.0));
            // Then nothing is left to compute, not even a rounding or the sign of a zero.
            if one && none {
                emit.last(cast(q, DataType::Float));
                return Ok(());
            }
            let mut v = emit.step("widened", cast(q, DataType::Float));
            if let Some(zero) = zero {
                let zero = placed(scope, emit, zero, "zero", q, DataType::Float)?;
                v = emit.step("difference", op("Sub", &[&v, &zero]));
            }
            let scale = placed(scope, emit, scale, "scale", q, DataType::Float)?;
            emit.last(op("Mul", &[&v, &scale]));
        }
        other => return Err(format!("it does not dequantize {other}")),
    }
    Ok(())
}

fn dtype_of(scope: &Scope<'_>, tensor: &str, what: &str) -> Result<DataType, String> {
    scope.dtype(tensor).ok_or_else(|| {
        format!(
            "the element type of its {what} {tensor:?} is not known: declare it in the model's value_info"
        )
    })
}

/// QuantizeLinear or DequantizeLinear of the standard, or of ONNX Runtime's domain where the standard does not yet know
/// the type or the axis.
fn standard(scope: &Scope<'_>, emit: &mut Emit<'_>, name: &str, dtype: DataType, zero: Option<&str>) {
    let node = emit.node;
    let one_scale = node.input(1).and_then(|s| scope.len(s)) == Some(1);
    let wide = matches!(dtype, DataType::Int16 | DataType::Uint16);
    let domain = linear_domain(scope.model, wide, one_scale);
    let mut inputs = vec![node.input(0).unwrap_or_default(), node.input(1).unwrap_or_default()];
    inputs.extend(zero);
    let mut result = Node { domain: domain.into(), ..op(name, &inputs) };
    if !one_scale {
        // The standard's default is 1.
        result = result.with("axis", node.int("axis").unwrap_or(0));
    }
    emit.uses(domain);
    emit.last(result);
}

/// Quantization to 32 bits: in float32 up to the rounded quotient, and then in double, where the sum is exact wherever
/// it is not clipped. Not in int64, of which ONNX Runtime 1.31 compares only the lower halves in Min, Max and Clip.
fn wide_quantize(
    scope: &Scope<'_>,
    emit: &mut Emit<'_>,
    dtype: DataType,
    lo: f64,
    hi: f64,
) -> Result<(), String> {
    needs_opset(scope.model, 11, "quantization to 32 bits")?;
    let x = emit.input(0)?;
    let scale = placed(scope, emit, emit.input(1)?, "scale", x, DataType::Float)?;
    let quotient = emit.step("quotient", op("Div", &[x, &scale]));
    let rounded = emit.step("rounded", op("Round", &[&quotient]));
    let nan = emit.step("nan", op("IsNaN", &[&rounded]));
    let lowest = emit.constant("lowest", Tensor::f32(&[], &[f32::NEG_INFINITY]));
    let number = emit.step("number", op("Where", &[&nan, &lowest, &rounded]));
    let mut q = emit.step("widened", cast(&number, DataType::Double));
    if let Some(zero) = emit.node.input(2) {
        let zero = placed(scope, emit, zero, "zero", x, DataType::Double)?;
        q = emit.step("shifted", op("Add", &[&q, &zero]));
    }
    let lo = emit.constant("min", double(lo)?);
    let hi = emit.constant("max", double(hi)?);
    let q = emit.step("at_least", op("Max", &[&q, &lo]));
    let q = emit.step("at_most", op("Min", &[&q, &hi]));
    emit.last(cast(&q, dtype));
    Ok(())
}

fn double(value: f64) -> Result<Tensor, String> {
    let bytes = value.to_le_bytes().to_vec();
    Tensor::from_raw(DataType::Double, Vec::new(), bytes.into()).map_err(|e| e.to_string())
}

/// A scale or zero point as `dtype`, of a shape that broadcasts to `x` along the node's axis.
fn placed(
    scope: &Scope<'_>,
    emit: &mut Emit<'_>,
    tensor: &str,
    what: &str,
    x: &str,
    dtype: DataType,
) -> Result<String, String> {
    let mut name = tensor.to_string();
    let len = scope.len(tensor).ok_or_else(|| {
        format!("the shape of its {what} {tensor:?} is not known: declare it in value_info")
    })?;
    let shape = if len == 1 { Vec::new() } else { channel_shape(scope, emit.node, x)? };
    if scope.rank(tensor) != Some(shape.len()) {
        let dims = emit.constant("shape", Tensor::i64(&[shape.len()], &shape));
        name = emit.step(what, op("Reshape", &[&name, &dims]));
    }
    if scope.dtype(tensor) != Some(dtype) {
        name = emit.step(what, cast(&name, dtype));
    }
    Ok(name)
}

/// The shape, to be given to Reshape, of a list with one element for each place along the axis.
fn channel_shape(scope: &Scope<'_>, node: &Node, x: &str) -> Result<Vec<i64>, String> {
    let axis = node.int("axis").unwrap_or(0);
    let rank = scope.rank(x);
    let behind = if axis < 0 {
        Some(axis.unsigned_abs() as usize - 1)
    } else {
        rank.map(|r| r as i64 - 1 - axis).and_then(|n| usize::try_from(n).ok())
    };
    match (behind, rank) {
        (Some(behind), r) if r.is_none_or(|r| behind < r) && behind < 64 => {
            let mut shape = vec![-1];
            shape.resize(behind + 1, 1);
            Ok(shape)
        }
        (_, Some(rank)) => {
            Err(format!("its axis {axis} does not exist in {x:?}, which has {rank} dimensions"))
        }
        _ => Err(format!(
            "the number of dimensions of {x:?} is not known, so neither is its axis {axis} from the end: declare \
             the shape in value_info"
        )),
    }
}

/// Clip as the operator set writes it; outputs come later.
pub(super) fn clip(scope: &Scope<'_>, emit: &mut Emit<'_>, x: &str, lo: f32, hi: f32) -> Node {
    if scope.model.opset() < 11 {
        return op("Clip", &[x]).with("min", lo).with("max", hi);
    }
    let min = emit.constant("low", Tensor::f32(&[], &[lo]));
    let max = emit.constant("high", Tensor::f32(&[], &[hi]));
    op("Clip", &[x, &min, &max])
}

pub(super) fn cast(x: &str, to: DataType) -> Node {
    op("Cast", &[x]).with("to", to as i64)
}
