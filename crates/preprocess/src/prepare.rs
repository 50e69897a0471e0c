//! The whole work on a model in memory.

use shiftwise_engine::Engine;
use shiftwise_graph::{Model, ShapeIssueKind, infer_shapes, run_rule};

use crate::passes::{
    self, ConstantFolding, Constants, FoldBatchNorm, RemoveIdentity, dead_code, unused_constants,
};
use crate::report::Rewrites;
use crate::{PreprocessConfig, PreprocessError};

/// The first IR version in which constants need not be inputs too.
const CONSTANTS_ARE_NO_INPUTS: i64 = 4;

/// A model, and what was done to it.
#[derive(Debug)]
pub struct Prepared {
    /// The model.
    pub model: Model,
    /// What was done and declined.
    pub rewrites: Rewrites,
}

/// Rewrites a float model into the reference for all that follows. The order:
///
/// 1. the model's own functions are inlined, as no pass looks into them, then checks, so that nothing is refused after work
///    was done;
/// 2. Constant nodes become initializers: every other pass looks for constants there;
/// 3. dimensions are fixed, and shapes inferred from them: without, shape arithmetic is not constant;
/// 4. constants are folded and identities removed in turns, with shapes inferred between them, until nothing changes:
///    each uncovers work for the others;
/// 5. nodes that became unused go, so that none counts as a second reader when
/// 6. batch normalizations are folded, which also needs identities between them and their convolutions gone;
/// 7. constants that nobody reads any more go, and shapes are inferred for later stages.
///
/// Fails for models that cannot be processed, before they are changed, and for passes that break the graph.
pub fn prepare(
    mut model: Model,
    config: &PreprocessConfig,
    engine: &dyn Engine,
) -> Result<Prepared, PreprocessError> {
    let nodes_before = model.graph.node_count();
    let inlined = passes::inline_functions(&mut model)?;
    let warnings = passes::check_model(&model, engine)?;
    let mut rewrites = Rewrites { nodes_before, warnings, ..Rewrites::default() };
    rewrites.add(inlined);
    model.ir_version = model.ir_version.max(CONSTANTS_ARE_NO_INPUTS);

    rewrites.add(passes::fix_dimensions(&mut model, &config.fix_dim, &config.fix_shapes)?);
    passes::check_inputs(&model)?;
    if config.optimize_model {
        rewrites.add(run_rule(&mut model, &mut Constants)?);
        simplify(&mut model, config, engine, &mut rewrites)?;
        rewrites.add(dead_code(&mut model)?);
        if config.fold_batch_norm {
            rewrites.add(run_rule(&mut model, &mut FoldBatchNorm)?);
        }
        rewrites.add(unused_constants(&mut model)?);
    }
    rewrites.shapes = infer_shapes(&mut model);
    let contradictions = rewrites.shapes.issues.iter().filter(|i| i.kind == ShapeIssueKind::Contradiction);
    rewrites
        .warnings
        .extend(contradictions.map(|i| format!("shapes at {} do not fit: {}", i.node, i.reason)));
    rewrites.nodes_after = model.graph.node_count();
    Ok(Prepared { model, rewrites })
}

/// Each round removes a node, or is the last.
fn simplify(
    model: &mut Model,
    config: &PreprocessConfig,
    engine: &dyn Engine,
    rewrites: &mut Rewrites,
) -> Result<(), PreprocessError> {
    loop {
        infer_shapes(model);
        let mut changed = false;
        if config.constant_folding {
            let report = run_rule(model, &mut ConstantFolding { engine })?;
            changed |= report.changed();
            rewrites.add(report);
        }
        if config.remove_identity {
            let report = run_rule(model, &mut RemoveIdentity)?;
            changed |= report.changed();
            rewrites.add(report);
        }
        if !changed {
            return Ok(());
        }
    }
}
