//! Custom quantization operators rewritten to standard ones, so that any engine runs any format.
//!
//! Quantizers of AMD write operators of the domains `com.amd.quark` and, earlier, `com.vai.quantize`. Where standard
//! operators compute the same bits, they take the place of such a node. The block formats have no standard form: their
//! nodes stay, under their present name and domain, and engines compute them with this workspace's kernels.
//!
//! Every tensor of the model keeps its name; tensors that a rewrite adds have names of their own.

mod emit;
mod half;
mod linear;
mod others;
mod scope;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::OnceCell;

use shiftwise_graph::{Attribute, Graph, Model, Node, NodeId, Patch};

use crate::ops::MICROSOFT;
use crate::ops::block::QUARK;
use crate::{Unsupported, Watch};
use emit::{Emit, Names};
pub(crate) use half::widen;
use scope::Scope;

/// Domain of the same operators in Vitis AI, before Quark.
const VITIS: &str = "com.vai.quantize";

/// Replaces the node that an [`Emit`] is about, or says why it cannot be.
type Rewrite = fn(&Scope<'_>, &mut Emit<'_>) -> Result<(), String>;

/// The operators, by domain and name.
const REWRITES: &[(&str, &str, Rewrite)] = &[
    (QUARK, "BFPQuantizeDequantize", others::bfp),
    (QUARK, "ExtendedDequantizeLinear", linear::dequantize),
    (QUARK, "ExtendedInstanceNormalization", others::instance_norm),
    (QUARK, "ExtendedLSTM", others::lstm),
    (QUARK, "ExtendedQuantizeLinear", linear::quantize),
    (QUARK, "MXQuantizeDequantize", others::mx),
    (VITIS, "BFPFixNeuron", others::bfp),
    (VITIS, "FixNeuron", others::fix_neuron),
    (VITIS, "MXFixNeuron", others::mx),
    (VITIS, "VitisDequantizeLinear", linear::dequantize),
    (VITIS, "VitisInstanceNormalization", others::instance_norm),
    (VITIS, "VitisQuantizeLinear", linear::quantize),
];

/// The model without custom quantization operators but for block formats, and every node that has no equivalent and is
/// left as it is. A model without such operators is not copied.
///
/// An engine looks for unsupported nodes in the result and says of them what [`explain`] says; it watches what [`watch`]
/// gives.
pub(crate) fn lower(model: &Model) -> (Cow<'_, Model>, Vec<Unsupported>) {
    if !has_custom(&model.graph) {
        return (Cow::Borrowed(model), Vec::new());
    }
    let inferred = OnceCell::new();
    let mut pass = Pass { names: Names::of(&model.graph), domains: Vec::new(), refused: Vec::new() };
    let scope = Scope { model, graph: &model.graph, outer: None, inferred: &inferred };
    let graph = pass.graph(&scope);
    let Pass { mut domains, refused, .. } = pass;
    domains.retain(|d| !model.opsets.contains_key(*d));
    if graph.is_none() && domains.is_empty() {
        return (Cow::Borrowed(model), refused);
    }
    let mut lowered = model.clone();
    if let Some(graph) = graph {
        lowered.graph = graph;
    }
    for domain in domains {
        lowered.opsets.insert(domain.into(), 1);
    }
    (Cow::Owned(lowered), refused)
}

/// `found`, which an engine said of the lowered model, with the reasons of `refused` where there are such.
pub(crate) fn explain(mut found: Vec<Unsupported>, refused: Vec<Unsupported>) -> Vec<Unsupported> {
    for reason in refused {
        match found.iter_mut().find(|u| u.node == reason.node && u.op == reason.op) {
            Some(u) => *u = reason,
            None => found.push(reason),
        }
    }
    found
}

/// What is to be watched in a lowered model: never a tensor that only the rewrites added.
pub(crate) fn watch<'w>(model: &Model, lowered: &Model, watch: &'w Watch) -> Cow<'w, Watch> {
    if *watch != Watch::All || std::ptr::eq(model, lowered) {
        return Cow::Borrowed(watch);
    }
    let nodes = model.graph.nodes().filter(|(_, n)| !n.is("Constant"));
    let outputs = nodes.flat_map(|(_, n)| n.outputs.iter().filter(|o| !o.is_empty()).cloned());
    Cow::Owned(Watch::Named(outputs.collect()))
}

/// Whether a node is one of these operators.
pub(crate) fn is_custom(node: &Node) -> bool {
    rewrite_of(node).is_some()
}

fn rewrite_of(node: &Node) -> Option<Rewrite> {
    let found = REWRITES.iter().find(|(domain, op, _)| node.op_type == *op && node.domain == *domain);
    found.map(|(.., rewrite)| *rewrite)
}

/// The same, unless the name is that of a function of the model.
fn rewrite_in(scope: &Scope<'_>, node: &Node) -> Option<Rewrite> {
    let is_function = scope.model.functions.iter().any(|f| f.name == node.op_type && f.domain == node.domain);
    rewrite_of(node).filter(|_| !is_function)
}

fn has_custom(graph: &Graph) -> bool {
    graph.nodes().any(|(_, n)| is_custom(n) || n.subgraphs().any(|(_, g)| has_custom(g)))
}

/// One run over a model.
struct Pass {
    names: Names,
    /// Domains that the nodes of the result need.
    domains: Vec<&'static str>,
    refused: Vec<Unsupported>,
}

impl Pass {
    /// The graph of a scope, rewritten; `None` when it stays as it is.
    fn graph(&mut self, scope: &Scope<'_>) -> Option<Graph> {
        let mut result = None;
        for (id, node) in scope.graph.nodes() {
            let patch = if let Some(rewrite) = rewrite_in(scope, node) {
                match self.node(scope, id, node, rewrite) {
                    Ok(patch) => patch,
                    Err(why) => {
                        self.refuse(node, why);
                        continue;
                    }
                }
            } else {
                self.bodies(scope, id, node)
            };
            if patch.is_empty() {
                continue;
            }
            let graph = result.get_or_insert_with(|| scope.graph.clone());
            if let Err(e) = graph.apply("the replacement of custom operators", patch) {
                self.refuse(node, e.to_string());
            }
        }
        if let Some(graph) = &mut result {
            graph.sort();
        }
        result
    }

    fn node(
        &mut self,
        scope: &Scope<'_>,
        id: NodeId,
        node: &Node,
        rewrite: Rewrite,
    ) -> Result<Patch, String> {
        let mut emit = Emit::new(id, node, &mut self.names);
        rewrite(scope, &mut emit)?;
        let (patch, domains) = emit.done();
        self.domains.extend(domains);
        Ok(patch)
    }

    fn bodies(&mut self, scope: &Scope<'_>, id: NodeId, node: &Node) -> Patch {
        let mut patch = Patch::new();
        for (name, body) in node.subgraphs() {
            let inner = Scope { graph: body, outer: Some(scope), ..*scope };
            if let Some(body) = self.graph(&inner) {
                patch.set_attribute(id, name, Attribute::Graph(Box::new(body)));
            }
        }
        patch
    }

    fn refuse(&mut self, node: &Node, why: String) {
        let op = format!("{}.{}", node.domain, node.op_type);
        self.refused.push(Unsupported { node: node.label(), op, why });
    }
}

/// The lowest version of the standard operators that a rewrite needs.
fn needs_opset(model: &Model, least: i64, what: &str) -> Result<(), String> {
    let opset = model.opset();
    if opset >= least {
        Ok(())
    } else {
        Err(format!("{what} needs opset {least}, and the model has {opset}: convert the model"))
    }
}

/// Where a Q/DQ node of this integer width stands, and whether it may have an axis there.
fn linear_domain(model: &Model, wide: bool, one_scale: bool) -> &'static str {
    let opset = model.opset();
    let standard = if wide { opset >= 21 } else { opset >= 13 || (opset >= 10 && one_scale) };
    if standard { "" } else { MICROSOFT }
}
