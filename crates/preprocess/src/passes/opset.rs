//! The model's operator set is raised.

use shiftwise_engine::Engine;
use shiftwise_graph::{Model, Note, PassReport, infer_shapes};

use super::name;
use crate::PreprocessError;
use crate::opset::{NEWEST, OLDEST, convert};

/// Writes the model for operator set `to`, whether for its own sake or because `why`. Where one node cannot be converted, the whole
/// model is left as it is, and the report names the node.
///
/// Fails for an operator set that is older than the model's, or is not converted to.
pub(crate) fn convert_opset(
    model: &mut Model,
    to: i64,
    why: &str,
    engine: &dyn Engine,
) -> Result<PassReport, PreprocessError> {
    let mut report = PassReport::new(name::CONVERT_OPSET);
    let from = model.opset();
    if to < from {
        return Err(PreprocessError::OpsetDown { has: from, asked: to });
    }
    if !(OLDEST..=NEWEST).contains(&to) {
        return Err(PreprocessError::OpsetRange { asked: to, oldest: OLDEST, newest: NEWEST });
    }
    if to == from {
        return Ok(report);
    }
    infer_shapes(model);
    match convert(model, to) {
        Ok((converted, changed)) => match lost(model, &converted, engine) {
            None => {
                converted.graph.check(name::CONVERT_OPSET)?;
                *model = converted;
                let what = format!("from opset {from} to {to}{why}: {changed} nodes are written differently");
                report.applied.push(Note { node: "graph".into(), what });
            }
            Some(note) => report.refused.push(note),
        },
        Err(note) => report.refused.push(note),
    }
    Ok(report)
}

/// A node that the engine computed before and does not compute any more.
fn lost(before: &Model, after: &Model, engine: &dyn Engine) -> Option<Note> {
    let (old, new) = (engine.unsupported(before), engine.unsupported(after));
    if new.len() <= old.len() {
        return None;
    }
    let known = |node: &shiftwise_engine::Unsupported| old.iter().any(|o| o.to_string() == node.to_string());
    new.iter().find(|node| !known(node)).map(|node| Note { node: "graph".into(), what: node.to_string() })
}
