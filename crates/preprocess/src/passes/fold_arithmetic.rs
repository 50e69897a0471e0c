//! Sums and products with constants go into the weights beside them.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Rule, Tensor};

use super::affine::Affine;
use super::edit::Edit;
use super::layer::{floats, fold_after, fold_before, input_channels, is_layer, output_channels};
use super::name;

/// Folds Mul, Div, Add and Sub with a constant into the Conv, ConvTranspose, Gemm or MatMul before or after them. Per channel c,
///
/// ```text
/// behind:  y = s·(W·u + b) + t     ⇒     y = (s·W)·u + (s·b + t)
/// before:  y = W·(s·u + t) + b     ⇒     y = (W·s)·u + (b + Σ W·t)
/// ```
///
/// where x·k has s = k, x/k has s = 1/k, x + k has t = k, x − k has t = −k, and k − x has s = −1, t = k; in float64, rounded once
/// to float32. A shift before a layer is folded only where no zeros are padded between. The constant must be one number, or one
/// for each channel, and must not broadcast anything else.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoldArithmetic;

impl Rule for FoldArithmetic {
    fn name(&self) -> &'static str {
        name::FOLD_ARITHMETIC
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let Some(step) = Step::of(graph, node) else { return Outcome::NoMatch };
        let mut reasons = Vec::new();
        if let Some((before, layer)) = graph.producer(step.x).filter(|(_, n)| is_layer(n)) {
            let mut edit = Edit::new(graph);
            match into_producer(&mut edit, &step, before, layer) {
                Ok(()) => {
                    edit.patch.set_output(before, 0, step.y).remove(id).forget_type(step.x);
                    return Outcome::rewrite(edit.patch, format!("folded into {}", layer.label()));
                }
                Err(reason) => reasons.push(format!("{}: {reason}", layer.label())),
            }
        }
        let reader = graph.uses(step.y).iter().find_map(|u| {
            let node = graph.node(u.node).filter(|n| is_layer(n) && u.input == Some(0))?;
            Some((u.node, node))
        });
        if let Some((after, layer)) = reader {
            let mut edit = Edit::new(graph);
            match into_consumer(&mut edit, &step, after, layer) {
                Ok(()) => {
                    edit.patch.set_input(after, 0, step.x).remove(id).forget_type(step.y);
                    return Outcome::rewrite(edit.patch, format!("folded into {}", layer.label()));
                }
                Err(reason) => reasons.push(format!("{}: {reason}", layer.label())),
            }
        }
        if reasons.is_empty() { Outcome::NoMatch } else { Outcome::Refused(reasons.join("; ")) }
    }
}

/// y = x ∘ k.
struct Step<'a> {
    node: &'a Node,
    x: &'a str,
    y: &'a str,
    constant: &'a Tensor,
    /// Whether the constant is the first operand.
    reversed: bool,
}

impl<'a> Step<'a> {
    /// `None` where there is not one constant operand and one that is computed, or the constant is divided.
    fn of(graph: &'a Graph, node: &'a Node) -> Option<Self> {
        if !["Mul", "Div", "Add", "Sub"].iter().any(|op| node.is(op)) {
            return None;
        }
        let (a, b, y) = (node.input(0)?, node.input(1)?, node.output(0)?);
        let (x, constant, reversed) = match (graph.initializer(a), graph.initializer(b)) {
            (None, Some(constant)) => (a, constant, false),
            (Some(constant), None) if !node.is("Div") => (b, constant, true),
            _ => return None,
        };
        Some(Self { node, x, y, constant, reversed })
    }

    /// The constant as scale and shift for `channels` channels on `axis` of x, which has `rank` axes; `axis` counts from the end.
    fn affine(&self, channels: usize, axis: usize, rank: Option<usize>) -> Result<Affine, String> {
        let dims = self.constant.dims();
        let k = floats(self.constant).map_err(|reason| format!("the constant {reason}"))?;
        if dims.len() > 1 && rank.is_none_or(|rank| rank < dims.len()) {
            return Err(format!("the constant of shape {dims:?} may add axes"));
        }
        if dims.len() == 1 && rank == Some(0) {
            return Err("the constant adds an axis".into());
        }
        let alone = |(i, d): (usize, &usize)| *d == 1 || (dims.len() - i == axis && *d == channels);
        if !dims.iter().enumerate().all(alone) {
            return Err(format!(
                "the constant of shape {dims:?} is not one number for each of {channels} channels"
            ));
        }
        let k = if k.len() == 1 { vec![k[0]; channels] } else { k };
        let (ones, zeros) = (vec![1.0; channels], vec![0.0; channels]);
        Ok(match self.node.op_type.as_str() {
            "Mul" => Affine::new(k, zeros),
            "Div" if k.contains(&0.0) => return Err("it divides by 0".into()),
            "Div" => Affine::new(k.iter().map(|k| 1.0 / k).collect(), zeros),
            "Add" => Affine::new(ones, k),
            _ if self.reversed => Affine::new(vec![-1.0; channels], k),
            _ => Affine::new(ones, k.iter().map(|k| -k).collect()),
        })
    }
}

fn rank(graph: &Graph, tensor: &str) -> Option<usize> {
    graph.tensor_type(tensor)?.rank()
}

/// Which axis of a layer's input or output has the channels, counted from the end, where the last is 1.
fn channel_axis(graph: &Graph, layer: &Node) -> Result<usize, String> {
    if layer.is("Gemm") || layer.is("MatMul") {
        return Ok(1);
    }
    // The axes of the weights are as many as those of input and output.
    let weight = layer.input(1).and_then(|w| graph.initializer(w)).ok_or("its weight is not constant")?;
    weight.dims().len().checked_sub(1).ok_or_else(|| "its weight has no axes".into())
}

fn into_producer(edit: &mut Edit, step: &Step, id: NodeId, layer: &Node) -> Result<(), String> {
    let graph = edit.graph;
    graph.sole_consumer(step.x).map_err(|shared| shared.to_string())?;
    let channels = output_channels(graph, layer)?;
    let affine = step.affine(channels, channel_axis(graph, layer)?, rank(graph, step.x))?;
    fold_after(edit, id, layer, &affine)
}

fn into_consumer(edit: &mut Edit, step: &Step, id: NodeId, layer: &Node) -> Result<(), String> {
    let graph = edit.graph;
    graph.sole_consumer(step.y).map_err(|shared| shared.to_string())?;
    let channels = input_channels(graph, layer)?;
    let axis = channel_axis(graph, layer)?;
    let affine = step.affine(channels, axis, rank(graph, step.x))?;
    let shape = graph.tensor_type(step.x).and_then(|ty| ty.shape);
    let extent = shape.as_ref().and_then(|dims| dims.get(dims.len().checked_sub(axis)?)?.known());
    if step.constant.len() > 1 && extent != Some(channels) {
        return Err(format!("{:?} is not known to have {channels} channels", step.x));
    }
    fold_before(edit, id, layer, &affine)
}
