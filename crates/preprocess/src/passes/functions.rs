//! Inlining of a model's own functions.

use shiftwise_graph::{GraphError, Model, Note, PassReport};

use super::name;

/// Replaces every call of a function that the model defines by the nodes of the function, and drops the functions.
///
/// Fails when a function calls itself or is written for another operator set than the model.
pub(crate) fn inline_functions(model: &mut Model) -> Result<PassReport, GraphError> {
    let mut report = PassReport::new(name::INLINE_FUNCTIONS);
    if let Some(inlined) = model.without_functions()? {
        let functions = std::mem::take(&mut model.functions);
        *model = inlined;
        report.applied = functions
            .iter()
            .map(|f| Note { node: format!("function {:?}", f.name), what: "its calls are its nodes".into() })
            .collect();
    }
    Ok(report)
}
