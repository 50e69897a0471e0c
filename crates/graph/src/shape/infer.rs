//! The walk over a graph.

use std::collections::HashMap;
use std::rc::Rc;

use indexmap::IndexMap;

use super::context::{Ctx, Fact, Stop};
use super::data::Data;
use super::options::Env;
use super::report::{ShapeIssueKind, ShapeReport};
use super::{complete, control, declared, registry};
use crate::{Dim, Graph, Node, TensorType, ValueType};

/// Operator sets of the model.
pub(super) type Opsets = IndexMap<String, i64>;

/// What is known about the tensors of a graph and of the graphs around it.
pub(super) struct Scope<'a> {
    graph: &'a Graph,
    parent: Option<&'a Scope<'a>>,
    facts: HashMap<&'a str, Fact>,
}

impl Scope<'_> {
    pub(super) fn get(&self, tensor: &str) -> Option<Fact> {
        if let Some(fact) = self.facts.get(tensor) {
            return Some(fact.clone());
        }
        if let Some(t) = self.graph.initializer(tensor) {
            let ty = TensorType::fixed(t.dtype(), t.dims());
            return Some(Fact { ty: Some(ty), data: Data::of(t).map(Rc::new), cause: None });
        }
        self.parent?.get(tensor)
    }
}

/// Infers every tensor of `graph`.
pub(super) fn graph<'a>(
    graph: &'a Graph,
    env: &Env,
    parent: Option<&'a Scope<'a>>,
    report: &mut ShapeReport,
) -> Scope<'a> {
    let mut scope = Scope { graph, parent, facts: HashMap::new() };
    for input in graph.inputs() {
        let ty = input.ty.tensor().cloned();
        let cause = (!ty.as_ref().is_some_and(complete)).then(|| {
            let reason = match &ty {
                None => "no tensor type is declared".to_string(),
                Some(t) => format!("the declared type {t} leaves extents open"),
            };
            report.push(ShapeIssueKind::Unknown, format!("input {:?}", input.name), reason)
        });
        scope.facts.insert(&input.name, Fact { ty, data: None, cause });
    }
    let outputs: HashMap<&str, &ValueType> =
        graph.outputs().iter().map(|v| (v.name.as_str(), &v.ty)).collect();
    for (_, node) in graph.nodes() {
        let facts = visit(node, &scope, env, &outputs, report);
        for (name, fact) in node.outputs.iter().zip(facts).filter(|(n, _)| !n.is_empty()) {
            scope.facts.insert(name, fact);
        }
    }
    scope
}

/// Infers the outputs of one node.
fn visit(
    node: &Node,
    scope: &Scope,
    env: &Env,
    outputs: &HashMap<&str, &ValueType>,
    report: &mut ShapeReport,
) -> Vec<Fact> {
    let inputs: Vec<Option<Fact>> = node
        .inputs
        .iter()
        .map(|name| (!name.is_empty()).then(|| scope.get(name).unwrap_or_default()))
        .collect();
    let inherited = inputs.iter().flatten().find_map(|f| f.cause);
    let count = node.outputs.len();
    let mut ctx = Ctx {
        node,
        env,
        opset: env.opsets.get(&node.domain).copied().unwrap_or(0),
        inputs,
        types: vec![None; count],
        data: vec![None; count],
        note: None,
    };
    let outcome = if node.is("If") {
        control::branches(&mut ctx, scope, env, report)
    } else {
        let known = registry::find(&node.domain, &node.op_type);
        if known.is_none() && env.options.guess_output_rank {
            guess(&mut ctx);
        }
        let unknown = || Err(Stop::Unknown("shape inference does not know this operator".into()));
        known.map_or_else(unknown, |infer| infer(&mut ctx))
    };
    let mut cause = inherited;
    let mut reason = ctx.note.take();
    match outcome {
        Ok(()) | Err(Stop::Input) => {}
        Err(Stop::Unknown(why)) => reason = Some(why),
        Err(Stop::Contradiction(why)) => {
            cause = Some(report.push(ShapeIssueKind::Contradiction, node.label(), why));
        }
    }
    let followed = env.options.follow_contents || node.is("Constant");
    let mut facts = Vec::with_capacity(count);
    let found = ctx.types.into_iter().zip(ctx.data);
    for (name, (inferred, data)) in node.outputs.iter().zip(found) {
        if name.is_empty() {
            facts.push(Fact::default());
            continue;
        }
        let declared = outputs
            .get(name.as_str())
            .and_then(|t| t.tensor())
            .or_else(|| scope.graph.types.get(name).and_then(ValueType::tensor));
        let (ty, conflict) = declared::join(inferred, declared);
        if let (true, Some(ty), Some(declared)) = (conflict, &ty, declared) {
            let reason = format!("its output {name:?} is declared as {declared} but is {ty}");
            report.push(ShapeIssueKind::Contradiction, node.label(), reason);
        }
        let open = !ty.as_ref().is_some_and(complete);
        if open && cause.is_none() {
            let why = reason.take().unwrap_or_else(|| match &ty {
                Some(ty) => format!("extents of its output {name:?}, {ty}, are computed from named ones"),
                None => format!("the type of its output {name:?} is not known"),
            });
            cause = Some(report.push(ShapeIssueKind::Unknown, node.label(), why));
        }
        let data = data.filter(|_| followed).map(Rc::new);
        facts.push(Fact { ty, data, cause: cause.filter(|_| open) });
    }
    facts
}

/// Gives every output the element type and the rank of the first input.
fn guess(ctx: &mut Ctx) {
    let Ok(first) = ctx.ty(0).cloned() else { return };
    let shape = first.shape.map(|dims| vec![Dim::Unknown; dims.len()]);
    for output in 0..ctx.types.len() {
        ctx.set(output, first.dtype, shape.clone());
    }
}
