//! Which tensors of a float graph are quantized, decided as data before anything is changed.
//!
//! Nodes are visited in graph order; each asks for Q/DQ on some of its inputs and outputs by the rule of its operator
//! (`rules`). Then Q/DQ that would stand between an operator and the activation that the hardware fuses into it is
//! dropped (`fused`). The result is a list of sites, which the quantizer gives parameters to and emits.

mod fused;
mod rules;
mod select;

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use shiftwise_graph::{DataType, Graph, Model, Node};

pub use fused::fused_activation;
pub use select::{SelectError, default_op_types};

/// Which nodes are quantized, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlacementOptions {
    /// Operators to quantize; empty for the default list of CNN operators.
    pub op_types_to_quantize: Vec<String>,
    /// Operators on top of the list.
    pub extra_op_types_to_quantize: Vec<String>,
    /// Nodes to quantize, by name, `*` glob or `^` regular expression-like pattern; empty for all.
    pub nodes_to_quantize: Vec<String>,
    /// Nodes to leave in float, in the same forms.
    pub nodes_to_exclude: Vec<String>,
    /// Quantize operators that only pass values on even where nothing before them is quantized.
    pub force_quantize_no_input_check: bool,
    /// Quantize biases.
    pub quantize_bias: bool,
    /// Drop Q/DQ between an operator and the Relu behind it.
    pub remove_qdq_conv_relu: bool,
    /// Drop Q/DQ between an operator and the Clip to [0, 6] or [0, 1] behind it.
    pub remove_qdq_conv_clip: bool,
    /// Drop Q/DQ between an operator and the LeakyRelu behind it.
    pub remove_qdq_conv_leaky_relu: bool,
    /// Drop Q/DQ between an operator and the PRelu behind it.
    pub remove_qdq_conv_prelu: bool,
}

impl Default for PlacementOptions {
    /// The XINT8 preset.
    fn default() -> Self {
        Self {
            op_types_to_quantize: Vec::new(),
            extra_op_types_to_quantize: Vec::new(),
            nodes_to_quantize: Vec::new(),
            nodes_to_exclude: Vec::new(),
            force_quantize_no_input_check: true,
            quantize_bias: true,
            remove_qdq_conv_relu: true,
            remove_qdq_conv_clip: true,
            remove_qdq_conv_leaky_relu: true,
            remove_qdq_conv_prelu: true,
        }
    }
}

/// What a quantized tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Computed at run time.
    Activation,
    /// A constant operand.
    Weight,
    /// The bias of a convolution or matrix product.
    Bias,
}

/// A tensor that gets Q/DQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// What it is.
    pub role: Role,
    /// The tensor whose parameters it uses, for operators that only move values.
    pub shares: Option<String>,
    /// The node that asked first, as messages call it.
    pub asked_by: String,
}

/// Where Q/DQ go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// Sites by tensor, in the order of asking.
    pub sites: IndexMap<String, Site>,
    /// Tensors that take the range of another one: what a Relu or Clip cuts off needs no codes.
    pub range_of: BTreeMap<String, String>,
    /// Tensors whose range is known without statistics: outputs of Softmax lie in [0, 1].
    pub known_range: BTreeMap<String, (f32, f32)>,
    /// Tensors that lost their site to a fused activation.
    pub fused: BTreeSet<String>,
}

impl Placement {
    /// Decides the sites of a model.
    ///
    /// Fails when a pattern of `nodes_to_quantize` or `nodes_to_exclude` matches no node, or an operator type of the
    /// options stands nowhere in the graph.
    pub fn of(model: &Model, options: &PlacementOptions) -> Result<Self, SelectError> {
        let selection = select::Selection::of(model, options)?;
        let mut placement = Self::default();
        for (_, node) in model.graph.nodes().filter(|(id, _)| selection.contains(*id)) {
            rules::visit(&mut placement, model, node, options);
        }
        placement.adopt_ranges(model, &selection);
        fused::drop_fused(&mut placement, &model.graph, options);
        Ok(placement)
    }

    /// The tensor whose parameters `tensor` has in the end.
    pub fn provider<'a>(&'a self, tensor: &'a str) -> &'a str {
        let mut current = tensor;
        // A chain of shares has at most one link a site.
        for _ in 0..=self.sites.len() {
            match self.sites.get(current).and_then(|s| s.shares.as_deref()) {
                Some(next) if self.sites.contains_key(next) => current = next,
                _ => break,
            }
        }
        current
    }

    /// Activations whose statistics the quantizer will ask for: those with a site, those whose range another takes, and
    /// what flows into and out of operators with weights.
    pub fn wanted_statistics(&self, graph: &Graph) -> BTreeSet<String> {
        let mut wanted: BTreeSet<String> = self
            .sites
            .iter()
            .filter(|(_, s)| s.role == Role::Activation)
            .map(|(t, _)| t.clone())
            .chain(self.range_of.values().cloned())
            .collect();
        for (_, node) in graph.nodes() {
            let weighted =
                node.input(1).is_some_and(|w| self.sites.get(w).is_some_and(|s| s.role == Role::Weight));
            if weighted {
                wanted.extend(node.input(0).filter(|x| graph.constant(x).is_none()).map(ToString::to_string));
            }
        }
        wanted
    }

    fn ask(&mut self, tensor: &str, role: Role, node: &Node) {
        self.sites.entry(tensor.into()).or_insert_with(|| Site {
            role,
            shares: None,
            asked_by: node.label(),
        });
    }

    fn ask_shared(&mut self, tensor: &str, provider: &str, node: &Node) {
        self.sites.entry(tensor.into()).or_insert_with(|| Site {
            role: Role::Activation,
            shares: Some(provider.into()),
            asked_by: node.label(),
        });
    }

    fn has(&self, tensor: &str) -> bool {
        self.sites.contains_key(tensor)
    }

    /// The input of a quantized Relu or Clip takes the range of its output where nobody else reads it; Softmax is known
    /// to lie in [0, 1].
    fn adopt_ranges(&mut self, model: &Model, selection: &select::Selection) {
        for (id, node) in model.graph.nodes() {
            let (Some(input), Some(output)) = (node.input(0), node.output(0)) else { continue };
            if !selection.contains(id) {
                continue;
            }
            if (node.is("Relu") || node.is("Clip")) && model.graph.sole_consumer(input).is_ok() {
                self.range_of.insert(input.into(), output.into());
            }
            if node.is("Softmax") {
                self.known_range.insert(output.into(), (0.0, 1.0));
            }
        }
    }
}

/// Whether a tensor is float32 or float16, as far as is known.
fn is_float(graph: &Graph, tensor: &str) -> bool {
    graph.tensor_type(tensor).is_some_and(|t| matches!(t.dtype, DataType::Float | DataType::Float16))
}

#[cfg(test)]
mod tests;
