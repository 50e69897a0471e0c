//! Conditionals: what both branches agree on.

use super::context::{Ctx, Stop, contradiction};
use super::data::Elem;
use super::infer::{Scope, graph};
use super::options::Env;
use super::report::{ShapeIssueKind, ShapeReport};
use crate::{Dim, Graph, TensorType};

/// Infers an If node; a condition that is known selects its branch.
pub(super) fn branches(
    ctx: &mut Ctx,
    scope: &Scope,
    env: &Env,
    report: &mut ShapeReport,
) -> Result<(), Stop> {
    let condition = ctx.value(0).and_then(|d| d.elems.first().and_then(Elem::int));
    let mut results = Vec::new();
    for (name, body) in ctx.node.subgraphs() {
        let taken = match name {
            "then_branch" => condition != Some(0),
            "else_branch" => condition.is_none_or(|c| c == 0),
            _ => false,
        };
        if taken {
            results.push(outputs(ctx, name, body, scope, env, report)?);
        }
    }
    let Some(first) = results.pop() else { return contradiction("it has no branches") };
    let mut types = first;
    for other in results {
        for (a, b) in types.iter_mut().zip(other) {
            *a = common(a.take(), b);
        }
    }
    for (i, ty) in types.into_iter().enumerate() {
        if let Some(ty) = ty {
            ctx.set(i, ty.dtype, ty.shape);
        }
    }
    ctx.note("its branches give different or unknown shapes");
    Ok(())
}

fn outputs(
    ctx: &Ctx,
    name: &str,
    body: &Graph,
    scope: &Scope,
    env: &Env,
    report: &mut ShapeReport,
) -> Result<Vec<Option<TensorType>>, Stop> {
    if body.outputs().len() != ctx.types.len() {
        return contradiction(format!(
            "its {name} has {} outputs but it has {}",
            body.outputs().len(),
            ctx.types.len()
        ));
    }
    // What is unknown inside matters only as far as it reaches the outputs; contradictions matter anyway.
    let mut inner = ShapeReport::default();
    let inside = graph(body, env, Some(scope), &mut inner);
    for issue in inner.issues.into_iter().filter(|i| i.kind == ShapeIssueKind::Contradiction) {
        report.push(issue.kind, format!("{}, {name}: {}", ctx.node.label(), issue.node), issue.reason);
    }
    Ok(body.outputs().iter().map(|v| inside.get(&v.name).and_then(|f| f.ty)).collect())
}

/// What holds whichever branch runs.
fn common(a: Option<TensorType>, b: Option<TensorType>) -> Option<TensorType> {
    let (a, b) = (a?, b?);
    if a.dtype != b.dtype {
        return None;
    }
    let shape = match (a.shape, b.shape) {
        (Some(x), Some(y)) if x.len() == y.len() => {
            Some(x.into_iter().zip(y).map(|(x, y)| if x == y { x } else { Dim::Unknown }).collect())
        }
        _ => None,
    };
    Some(TensorType { dtype: a.dtype, shape })
}
