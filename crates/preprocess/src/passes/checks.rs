//! What cannot be processed is refused before any work.

use shiftwise_engine::Engine;
use shiftwise_graph::{Dim, Model, Node, ValueInfo};

use crate::{DynamicDim, PreprocessError};

/// The oldest operator set whose operators mean what later ones do.
const OLDEST_OPSET: i64 = 10;

/// Domains whose operators another engine may compute.
const KNOWN_DOMAINS: [&str; 2] = ["", "com.microsoft"];

/// Refuses models which are too old, quantized already, or have operators that nothing computes. Returns warnings.
///
/// A standard operator that `engine` cannot compute is no reason to refuse: it goes through untouched, and is warned about.
pub(crate) fn check_model(model: &Model, engine: &dyn Engine) -> Result<Vec<String>, PreprocessError> {
    match model.opset() {
        0 => return Err(PreprocessError::NoOpset),
        old if old < OLDEST_OPSET => return Err(PreprocessError::Opset(old)),
        _ => {}
    }
    if let Some((_, node)) = model.graph.nodes().find(|(_, n)| is_quantized(n)) {
        return Err(PreprocessError::Quantized(node.label()));
    }
    let is_known = |op: &str| KNOWN_DOMAINS.contains(&op.rsplit_once('.').map_or("", |(domain, _)| domain));
    let (known, nodes): (Vec<_>, Vec<_>) =
        engine.unsupported(model).into_iter().partition(|node| is_known(&node.op));
    if !nodes.is_empty() {
        return Err(PreprocessError::Unsupported { engine: engine.name(), nodes });
    }
    let warn = |node: &shiftwise_engine::Unsupported| {
        format!("{node}: it is left as it is; to run the model, --engine ort is needed")
    };
    Ok(known.iter().map(warn).collect())
}

/// Whether a node computes with quantized numbers, in whichever domain.
fn is_quantized(node: &Node) -> bool {
    let op = node.op_type.as_str();
    let ends = ["QuantizeLinear", "QuantizeDequantize", "FixNeuron"];
    ends.iter().any(|end| op.ends_with(end))
        || op.ends_with("DequantizeLinear")
        || op.starts_with("QLinear")
        || matches!(op, "ConvInteger" | "MatMulInteger")
}

/// Refuses inputs that have dynamic dimensions other than the leading one, which is the batch.
pub(crate) fn check_inputs(model: &Model) -> Result<(), PreprocessError> {
    let mut dims = Vec::new();
    for ValueInfo { name, ty } in model.graph.inputs() {
        let ty = ty.tensor().ok_or_else(|| PreprocessError::NotATensor(name.clone()))?;
        let shape = ty.shape.as_ref().ok_or_else(|| PreprocessError::NoRank(name.clone()))?;
        for (axis, dim) in shape.iter().enumerate().skip(1) {
            let symbol = match dim {
                Dim::Known(_) => continue,
                Dim::Symbol(symbol) => Some(symbol.clone()),
                Dim::Unknown => None,
            };
            dims.push(DynamicDim { input: name.clone(), axis, symbol });
        }
    }
    if dims.is_empty() { Ok(()) } else { Err(PreprocessError::Dynamic { dims }) }
}
