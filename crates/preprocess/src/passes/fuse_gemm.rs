//! Products of matrices with a sum behind them, and with transposed operands, become Gemm.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule, Tensor};

use super::name;

/// Makes one Gemm of a product of matrices and what belongs to it:
///
/// ```text
/// A·B + C          MatMul, Add               ⇒  Gemm(A, B, C)
/// (α·A·B) + C      Gemm without C, Add, Sum  ⇒  Gemm(A, B, C)
/// A·B              MatMul before a BatchNormalization or Sub, which needs a bias to fold into  ⇒  Gemm(A, B)
/// ```
///
/// Operands must be matrices, and C must not make the result larger. No number changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct FuseGemm;

impl Rule for FuseGemm {
    fn name(&self) -> &'static str {
        name::FUSE_GEMM
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        if node.is("MatMul") {
            return before_bias(graph, id, node);
        }
        let is_sum = node.is("Add") || (node.is("Sum") && node.inputs.len() == 2);
        let (Some(a), Some(b), true) = (node.input(0), node.input(1), is_sum) else {
            return Outcome::NoMatch;
        };
        let is_product = |n: &Node| n.is("MatMul") && node.is("Add") || n.is("Gemm") && n.input(2).is_none();
        let mut reason = None;
        for (product, addend) in [(a, b), (b, a)] {
            let Some((before, layer)) = graph.producer(product).filter(|(_, n)| is_product(n)) else {
                continue;
            };
            match fuse(graph, (id, node), (before, layer), product, addend) {
                Ok(patch) => return Outcome::rewrite(patch, format!("fused with {}", layer.label())),
                Err(why) => reason = Some(format!("{}: {why}", layer.label())),
            }
        }
        reason.map_or(Outcome::NoMatch, Outcome::Refused)
    }
}

fn fuse(
    graph: &Graph,
    (id, sum): (NodeId, &Node),
    (before, layer): (NodeId, &Node),
    product: &str,
    addend: &str,
) -> Result<Patch, String> {
    if product == addend {
        return Err("it is added to itself".into());
    }
    graph.sole_consumer(product).map_err(|shared| shared.to_string())?;
    let [rows, columns] = matrix(graph, layer, product)?;
    let ty = graph.tensor_type(addend).and_then(|ty| ty.shape);
    let dims = ty.ok_or_else(|| format!("the shape of {addend:?} is not known"))?;
    // 1 broadcasts; anything else must be the extent that the product has.
    let fits = |of: Option<&shiftwise_graph::Dim>, to: &shiftwise_graph::Dim| {
        of.is_none_or(|d| d.known() == Some(1) || (d == to && *d != shiftwise_graph::Dim::Unknown))
    };
    let from_end = |i: usize| dims.len().checked_sub(i).and_then(|i| dims.get(i));
    if dims.len() > 2 || !fits(from_end(1), &columns) || !fits(from_end(2), &rows) {
        let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
        return Err(format!("{addend:?} of shape [{}] may make the result larger", dims.join(",")));
    }
    let y = sum.output(0).ok_or("its output has no name")?;
    let mut patch = Patch::new();
    let mut inputs: Vec<&str> = layer.inputs.iter().take(2).map(String::as_str).collect();
    inputs.push(addend);
    // At the place of the sum: the addend may be made after the product.
    let mut gemm = Node::new("Gemm", &layer.name, &inputs, &[y]);
    gemm.attributes.clone_from(&layer.attributes);
    gemm.attributes.shift_remove("beta");
    patch.remove(before).replace(id, gemm).forget_type(product);
    bias_of_one_row(graph, &mut patch, addend);
    Ok(patch)
}

/// A bias of shape [1, N] is one of shape [N], which is how biases are written.
fn bias_of_one_row(graph: &Graph, patch: &mut Patch, addend: &str) {
    let row = graph.initializer(addend).filter(|t| matches!(t.dims(), [1, _]));
    if let Some(flat) = row.and_then(|t| t.reshaped(vec![*t.dims().last()?]))
        && graph.uses(addend).len() == 1
        && !graph.is_output(addend)
    {
        patch.set_initializer(addend, flat);
    }
}

/// Extents of the result of a product, where its operands are matrices of float.
fn matrix(graph: &Graph, layer: &Node, product: &str) -> Result<[shiftwise_graph::Dim; 2], String> {
    for operand in layer.inputs.iter().take(2) {
        let ty = graph.tensor_type(operand).ok_or_else(|| format!("the type of {operand:?} is not known"))?;
        let rank = ty.rank().ok_or_else(|| format!("the rank of {operand:?} is not known"))?;
        if rank != 2 {
            return Err(format!("{operand:?} has rank {rank}, but Gemm multiplies matrices"));
        }
        if !ty.dtype.is_float() {
            return Err(format!("{operand:?} is {}, not float", ty.dtype));
        }
    }
    let shape = graph.tensor_type(product).and_then(|ty| ty.shape);
    match shape.as_deref() {
        Some([rows, columns]) => Ok([rows.clone(), columns.clone()]),
        _ => Err(format!("the shape of {product:?} is not known")),
    }
}

/// A MatMul that lacks a bias for what follows.
fn before_bias(graph: &Graph, id: NodeId, node: &Node) -> Outcome {
    let Some(y) = node.output(0) else { return Outcome::NoMatch };
    let Ok((_, reader)) = graph.sole_consumer(y) else { return Outcome::NoMatch };
    let constant = |input: usize| reader.input(input).and_then(|t| graph.initializer(t));
    let of_channels = |t: &Tensor| t.dims().iter().rev().skip(1).all(|d| *d == 1);
    let wants_bias = reader.is("BatchNormalization")
        || reader.is("Sub") && [0, 1].into_iter().filter_map(constant).any(of_channels);
    let has_weight = node.input(1).is_some_and(|w| graph.initializer(w).is_some());
    if !wants_bias || !has_weight {
        return Outcome::NoMatch;
    }
    match matrix(graph, node, y) {
        Ok(_) => {
            let inputs: Vec<&str> = node.inputs.iter().map(String::as_str).collect();
            let mut patch = Patch::new();
            patch.replace(id, Node::new("Gemm", &node.name, &inputs, &[y]));
            Outcome::rewrite(patch, format!("it can have a bias now, for {}", reader.label()))
        }
        Err(reason) => Outcome::Refused(reason),
    }
}
