//! Makes the integers of constants again, for scales that moved.

use std::collections::BTreeMap;

use serde::Serialize;
use shiftwise_graph::{Graph, Model, Patch, Tensor};
use shiftwise_quant::{Position, QParams, QdqView, QuantizedConstant, ScaleId};
use shiftwise_stage::Failure;

use crate::Sidecar;

/// What integers were made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The float tensor.
    Float,
    /// The integers that were there before, as there is no float tensor: what they had lost stays lost, and is rounded again.
    Integers,
}

/// A constant whose integers were made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requantized {
    /// The tensor.
    pub tensor: String,
    /// The constant that holds the integers.
    pub quantized: String,
    /// From what.
    pub source: Source,
    /// Position before.
    pub old: Position,
    /// Position after.
    pub new: Position,
}

/// Adds new integers for every constant whose scale is among `moved` (old and new position) to the patch.
///
/// Fails where a float tensor that the list of tensors names is missing, or integers are of an unknown type.
pub(crate) fn requantize(
    view: &QdqView<'_>,
    moved: &BTreeMap<ScaleId, (Position, Position)>,
    sidecar: &mut Sidecar,
    float: Option<&Model>,
    patch: &mut Patch,
) -> Result<Vec<Requantized>, Failure> {
    let mut done: BTreeMap<(String, ScaleId), String> = BTreeMap::new();
    let mut list = Vec::new();
    for constant in view.constants() {
        let Some((old, new)) = moved.get(&constant.scale).copied() else { continue };
        let key = (constant.name.to_owned(), constant.scale);
        if let Some(name) = done.get(&key) {
            patch.set_input(constant.dequantizer, 0, name.as_str());
            continue;
        }
        let record = sidecar.records().iter().position(|r| r.quantized.as_deref() == Some(constant.name));
        let listed = record.and_then(|i| sidecar.records()[i].float_source.clone());
        let (values, source) = match &listed {
            Some(name) => (float_values(name, &constant, float)?, Source::Float),
            None => (dequantized(&constant, old)?, Source::Integers),
        };
        let params = QParams { scale: new.scale(), ..params(&constant, old)? };
        let tensor = params.quantize_tensor(&values, constant.integers.dims())?;
        let name = place(view, &constant, tensor, patch);
        if let Some(index) = record.filter(|_| name != constant.name) {
            let record = &sidecar.records()[index];
            if record.scale_name == view.scale(constant.scale).name {
                let record =
                    shiftwise_quant::TensorRecord { quantized: Some(name.clone()), ..record.clone() };
                sidecar.update(index, record)?;
            }
        }
        let dequantizer = view.quantizer(constant.dequantizer);
        list.push(Requantized {
            tensor: dequantizer.map_or_else(|| constant.name.to_owned(), |q| q.tensor.clone()),
            quantized: name.clone(),
            source,
            old,
            new,
        });
        done.insert(key, name);
    }
    Ok(list)
}

fn float_values(
    name: &str,
    constant: &QuantizedConstant<'_>,
    float: Option<&Model>,
) -> Result<Vec<f32>, Failure> {
    let fail = |reason: &str| {
        Failure::input(format!("quantize {:?} again: its float tensor {name:?} {reason}", constant.name))
            .with_help("run shiftwise-quantize again, with --force")
    };
    let float = float.ok_or_else(|| fail("is missing, as the artifact has no float model"))?;
    let tensor = float.graph.constant(name).ok_or_else(|| fail("is not in the float model"))?;
    if tensor.dims() != constant.integers.dims() {
        return Err(fail("has another shape"));
    }
    tensor.to_f32().ok_or_else(|| fail("does not hold floats"))
}

/// The parameters that the integers have.
fn params(constant: &QuantizedConstant<'_>, old: Position) -> Result<QParams, Failure> {
    let fail = |reason: &str| Failure::input(format!("quantize {:?} again: {reason}", constant.name));
    let ty = constant
        .ty
        .ok_or_else(|| fail(&format!("integers of type {} are not supported", constant.integers.dtype())))?;
    let zero_point = constant.zero_point.ok_or_else(|| fail("its zero point is not one constant"))?;
    Ok(QParams { ty, scale: old.scale(), zero_point })
}

fn dequantized(constant: &QuantizedConstant<'_>, old: Position) -> Result<Vec<f32>, Failure> {
    let params = params(constant, old)?;
    let integers = constant.integers.to_i64().unwrap_or_default();
    Ok(integers.into_iter().map(|q| params.dequantize(q)).collect())
}

/// Puts new integers in the place of the old ones, or into a constant of their own where the old ones are also read
/// elsewhere; gives its name.
fn place(view: &QdqView<'_>, constant: &QuantizedConstant<'_>, tensor: Tensor, patch: &mut Patch) -> String {
    let graph: &Graph = view.graph();
    let alone = !graph.is_output(constant.name)
        && graph.uses(constant.name).iter().all(|u| {
            u.input == Some(0) && view.quantizer(u.node).is_some_and(|q| q.scale == Some(constant.scale))
        });
    if alone && graph.initializer(constant.name).is_some() {
        patch.set_initializer(constant.name, tensor);
        return constant.name.into();
    }
    if let (true, Some((node, _))) = (alone, graph.producer(constant.name)) {
        patch.set_attribute(node, "value", tensor);
        return constant.name.into();
    }
    // Several scales may need a constant of their own.
    let name = graph.fresh_name(&format!("{}_{}", constant.name, constant.scale.index()));
    patch.set_initializer(name.as_str(), tensor);
    patch.set_input(constant.dequantizer, 0, name.as_str());
    name
}
