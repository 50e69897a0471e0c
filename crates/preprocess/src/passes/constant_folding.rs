//! What depends on constants only is computed now.

use indexmap::IndexMap;
use shiftwise_engine::{Engine, Flow, PrepareOptions};
use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule, Tensor, ValueInfo, ValueType};

use super::name;

/// Results up to this size are always folded.
const SMALL: usize = 16 << 20;

/// Evaluates nodes whose inputs are all constants by running them once through an engine, and Shape and Size of tensors
/// whose dimensions are all known. Results become initializers under the names of the outputs.
///
/// A result that is large, and larger than what it is computed from, would only blow up the file; its size must be known
/// before it is computed. Random operators give other values on every run. Both are left alone, with the reason.
pub struct ConstantFolding<'a> {
    /// What evaluates.
    pub engine: &'a dyn Engine,
}

impl Rule for ConstantFolding<'_> {
    fn name(&self) -> &'static str {
        name::CONSTANT_FOLDING
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        if let Some(tensor) = static_shape(graph, node) {
            return replaced(id, node, vec![tensor], "the shape of its input is known");
        }
        let constant = |input: &String| input.is_empty() || graph.initializer(input).is_some();
        if node.is("Constant") || !node.inputs.iter().all(constant) || node.subgraphs().next().is_some() {
            return Outcome::NoMatch;
        }
        if let Err(reason) = foldable(graph, node) {
            return Outcome::Refused(reason);
        }
        match evaluate(self.engine, model, node) {
            Ok(tensors) => replaced(id, node, tensors, "its inputs are constants"),
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

/// The node's outputs as initializers.
fn replaced(id: NodeId, node: &Node, tensors: Vec<Tensor>, why: &str) -> Outcome {
    let mut patch = Patch::new();
    patch.remove(id);
    for (output, tensor) in node.outputs.iter().filter(|o| !o.is_empty()).zip(tensors) {
        patch.set_initializer(output, tensor).forget_type(output);
    }
    Outcome::rewrite(patch, why)
}

/// The result of Shape or Size, where every dimension that it says is known.
fn static_shape(graph: &Graph, node: &Node) -> Option<Tensor> {
    if !node.is("Shape") && !node.is("Size") {
        return None;
    }
    let dims = graph.tensor_type(node.input(0)?)?.shape?;
    if node.is("Size") {
        let count = dims.iter().try_fold(1i64, |n, d| n.checked_mul(i64::try_from(d.known()?).ok()?))?;
        return Some(Tensor::i64(&[], &[count]));
    }
    let rank = dims.len() as i64;
    let bound = |v: i64| if v < 0 { v.saturating_add(rank) } else { v }.clamp(0, rank) as usize;
    let (start, end) = (bound(node.int("start").unwrap_or(0)), bound(node.int("end").unwrap_or(rank)));
    let part = dims.get(start..end.max(start))?;
    let extents = part.iter().map(|d| i64::try_from(d.known()?).ok()).collect::<Option<Vec<i64>>>()?;
    Some(Tensor::i64(&[extents.len()], &extents))
}

/// Whether evaluating is deterministic, wanted, and bounded.
fn foldable(graph: &Graph, node: &Node) -> Result<(), String> {
    let op = node.op_type.as_str();
    if op.starts_with("Random") || matches!(op, "Multinomial" | "Bernoulli") {
        return Err("its result is random".into());
    }
    if op == "Dropout" && node.input(2).is_some() {
        return Err("its result may be random".into());
    }
    if op == "DequantizeLinear" {
        return Err("it is how quantized constants are stored".into());
    }
    let bytes = |t: &Tensor| t.data().len();
    let read: usize = node.inputs.iter().filter_map(|i| graph.initializer(i)).map(bytes).sum();
    let mut made = 0usize;
    for output in node.outputs.iter().filter(|o| !o.is_empty()) {
        let ty = graph.tensor_type(output);
        let size = ty.and_then(|ty| {
            let count = ty.fixed_dims()?.into_iter().try_fold(1usize, usize::checked_mul)?;
            ty.dtype.bytes_for(count)
        });
        let Some(size) = size else { return Err(format!("the size of {output:?} is not known beforehand")) };
        made = made.saturating_add(size);
    }
    if made > SMALL.max(read) {
        return Err(format!(
            "its result would take {made} bytes, more than the {read} that it is computed from"
        ));
    }
    Ok(())
}

/// Runs the node alone.
fn evaluate(engine: &dyn Engine, model: &Model, node: &Node) -> Result<Vec<Tensor>, String> {
    let mut initializers = IndexMap::new();
    for input in node.inputs.iter().filter(|i| !i.is_empty()) {
        let tensor = model.graph.initializer(input).ok_or_else(|| format!("{input:?} is not constant"))?;
        initializers.insert(input.clone(), tensor.clone());
    }
    let named = node.outputs.iter().filter(|o| !o.is_empty());
    let outputs = named.map(|o| ValueInfo { name: o.clone(), ty: ValueType::Other(None) }).collect();
    let graph = Graph::new("constant", Vec::new(), outputs, initializers, vec![node.clone()]);
    let alone = Model { opsets: model.opsets.clone(), ..Model::new(graph, model.opset()) };
    let session = engine.prepare(&alone, &PrepareOptions::default()).map_err(|e| e.to_string())?;
    let values = session.run(&[], &mut |_, _| Flow::Continue).map_err(|e| e.to_string())?;
    values.iter().map(|v| v.to_tensor().map_err(|e| e.to_string())).collect()
}
