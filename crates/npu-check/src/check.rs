//! What does not hold in a model.

use std::collections::{BTreeMap, BTreeSet};

use shiftwise_graph::{Graph, Model, Tensor};
use shiftwise_quant::npu::{constraints, violations};
use shiftwise_quant::{Direction, QdqView, ScaleId, TensorRecord};
use shiftwise_stage::Failure;

use crate::finding::{Finding, number};
use crate::{NpuCheckConfig, Sidecar};

/// Every limit that does not hold, and every scale that cannot be a position.
///
/// Fails when the model has no Q/DQ nodes at all.
pub fn check(model: &Model, config: &NpuCheckConfig) -> Result<Vec<Finding>, Failure> {
    let view = QdqView::of(&model.graph);
    if view.quantizers().is_empty() {
        return Err(Failure::input(
            "find quantization: the model has no QuantizeLinear or DequantizeLinear nodes",
        )
        .with_help("quantize it first: shiftwise-quantize"));
    }
    let hidden = hidden(&model.graph);
    if hidden > 0 {
        tracing::warn!("{hidden} Q/DQ nodes inside of subgraphs (If, Loop, Scan) are not checked");
    }
    if !config.npu_limitation_check {
        return Ok(Vec::new());
    }
    let found = constraints(&view, &config.target());
    let mut findings: Vec<Finding> =
        violations(&found, &view.positions()).into_iter().map(Finding::from).collect();
    findings.extend(scales(&view));
    Ok(findings)
}

/// Number of Q/DQ nodes in subgraphs.
fn hidden(graph: &Graph) -> usize {
    let count = |g: &Graph| g.nodes().filter(|(_, n)| Direction::of(n).is_some()).count();
    graph.nodes().flat_map(|(_, n)| n.subgraphs()).map(|(_, g)| count(g) + hidden(g)).sum()
}

/// Scales that are no positions.
fn scales(view: &QdqView<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for quantizer in view.quantizers() {
        let Some(node) = view.graph().node(quantizer.node) else { continue };
        let tensor = quantizer.tensor.as_str();
        let Some(id) = quantizer.scale else {
            let scale = node.input(1).unwrap_or("");
            let what = format!("constants behind the scale {scale:?}");
            findings.push(Finding::about(tensor, "constant_scale", what, 0.into(), "1", None).at(node));
            continue;
        };
        let scale = view.scale(id);
        if scale.position().is_some() || !seen.insert(id) {
            continue;
        }
        let finding = match scale.value() {
            Some(value) => {
                Finding::about(tensor, "power_of_two", "scale", number(value), "a power of two", None)
            }
            None => {
                Finding::about(tensor, "per_tensor", "scales of the tensor", scale.len().into(), "1", None)
            }
        };
        findings.push(finding.at(node));
    }
    findings
}

/// Where a `quantized` artifact contradicts itself: the sidecar against the model, and the integers against what the
/// float tensors give under their parameters.
pub fn check_artifact(model: &Model, sidecar: &Sidecar, float: Option<&Model>) -> Vec<Finding> {
    let view = QdqView::of(&model.graph);
    let by_name: BTreeMap<&str, ScaleId> = view.scales().map(|(id, s)| (s.name.as_str(), id)).collect();
    let mut findings = Vec::new();
    for record in sidecar.records() {
        let scale = by_name.get(record.scale_name.as_str()).map(|id| view.scale(*id));
        findings.extend(parameters(record, scale.and_then(shiftwise_quant::Scale::value), &model.graph));
        findings.extend(integers(record, &model.graph, float));
    }
    let known: BTreeSet<&str> = sidecar.records().iter().map(|r| r.scale_name.as_str()).collect();
    for (id, scale) in view.scales().filter(|(_, s)| !known.contains(s.name.as_str())) {
        let what = format!("entries for the scale {:?} in the list of tensors", scale.name);
        let position = view.scale(id).position().map(shiftwise_quant::Position::get);
        let tensor = scale.tensors.first().map_or("", String::as_str);
        findings.push(Finding::about(tensor, "sidecar", what, 0.into(), "at least 1", position));
    }
    findings
}

fn parameters(record: &TensorRecord, scale: Option<f32>, graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut differs = |quantity: &str, value, legal: String| {
        let position = record.position.map(shiftwise_quant::Position::get);
        findings.push(Finding::about(&record.tensor, "sidecar", quantity, value, &legal, position));
    };
    if scale != Some(record.scale) {
        let legal = scale.map_or("a scale of the model".into(), |s| s.to_string());
        differs("listed scale", number(record.scale), legal);
    }
    let zero = graph.constant(&record.zero_point_name).and_then(Tensor::scalar_i64);
    let zero = if record.zero_point_name.is_empty() { Some(0) } else { zero };
    if zero != Some(record.zero_point) {
        let legal = zero.map_or("a zero point of the model".into(), |z| z.to_string());
        differs("listed zero point", record.zero_point.into(), legal);
    }
    if record.params().position() != record.position {
        let listed = record.position.map_or(0, shiftwise_quant::Position::get);
        differs("listed position", listed.into(), format!("that of the scale {}", record.scale));
    }
    findings
}

fn integers(record: &TensorRecord, graph: &Graph, float: Option<&Model>) -> Option<Finding> {
    let position = record.position.map(shiftwise_quant::Position::get);
    let wrong = |what: &str, n: usize| {
        Some(Finding::about(&record.tensor, "integers", what, n.into(), "0", position))
    };
    let stored = graph.constant(record.quantized.as_deref()?);
    let Some(integers) = stored.filter(|t| t.dtype() == record.ty.data_type()).and_then(Tensor::to_i64)
    else {
        return wrong("missing tensors of integers of the listed type", 1);
    };
    let source = record.float_source.as_deref()?;
    let Some(values) = float.and_then(|f| f.graph.constant(source)).and_then(Tensor::to_f32) else {
        return wrong("missing float tensors", 1);
    };
    if values.len() != integers.len() {
        return wrong(
            "elements more or less than the float tensor has",
            values.len().abs_diff(integers.len()),
        );
    }
    let params = record.params();
    let different = values.iter().zip(&integers).filter(|(v, q)| params.quantize(**v) != **q).count();
    if different == 0 {
        None
    } else {
        wrong("integers that are not the float values at this scale", different)
    }
}
