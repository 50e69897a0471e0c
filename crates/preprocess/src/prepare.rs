//! The whole work on a model in memory.

use shiftwise_artifact::stats::Stats;
use shiftwise_engine::Engine;
use shiftwise_graph::{Model, Rule, ShapeIssueKind, ShapeReport, infer_shapes_with, known_shapes, run_rule};

use crate::equalize::{self, ReplaceClip6Relu};
use crate::passes::{
    self, BatchNormToConv, ConstantFolding, Constants, CopyShared, FoldArithmetic, FoldBatchNorm, FoldPad,
    FuseActivations, FuseGelu, FuseGemm, FuseInstanceNorm, FuseL2Norm, FuseLayerNorm, InlineBranches,
    MergeArithmetic, MergeCasts, MergeClips, MergeDuplicates, MergeReshapes, MergeTransposes,
    ReduceMeanToPool, RemoveIdentity, ResolveReshapes, SplitPool, SplitToSlice, TransposedGemm,
    channels_last, dead_code, unused_constants,
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
/// 2. dimensions are fixed, and merged if that is wanted: without, shape arithmetic is not constant;
/// 3. Constant nodes become initializers: every other pass looks for constants there;
/// 4. [`convert`](Work::convert): what the model is written in, before its operators are looked at; also where nothing else is
///    to be rewritten;
/// 5. [`simplify`](Work::simplify): in turns, with shapes inferred between them, until nothing changes: each uncovers work for
///    the others;
/// 6. nodes that became unused go, so that none counts as a second reader in what follows;
/// 7. [`fuse`](Work::fuse): decomposed operators are found before folding takes their parts;
/// 8. [`fold`](Work::fold): constants of one operator into the weights of another, until nothing changes;
/// 9. [`equalize`](Work::equalize): weights between channels, once they are final;
/// 10. [`adapt`](Work::adapt): operators as the hardware has them, after folding, which makes some unnecessary;
/// 11. constants that nobody reads any more go, what is still shared is copied if that is wanted, and shapes are inferred for later
///     stages.
///
/// Options skip steps: conversions are done without rewrites, too, and shapes are inferred without both.
///
/// Fails for models that cannot be processed, before they are changed, and for passes that break the graph.
pub fn prepare(
    model: Model,
    config: &PreprocessConfig,
    engine: &dyn Engine,
) -> Result<Prepared, PreprocessError> {
    prepare_with(model, config, engine, None)
}

/// As [`prepare`], with statistics that were collected on this very model, which range-safe equalization goes by.
///
/// Fails as [`prepare`].
pub fn prepare_with(
    mut model: Model,
    config: &PreprocessConfig,
    engine: &dyn Engine,
    stats: Option<&Stats>,
) -> Result<Prepared, PreprocessError> {
    let nodes_before = model.graph.node_count();
    let inlined = passes::inline_functions(&mut model)?;
    let warnings = passes::check_model(&model, engine)?;
    let mut rewrites = Rewrites { nodes_before, warnings, ..Rewrites::default() };
    rewrites.add(inlined);
    model.ir_version = model.ir_version.max(CONSTANTS_ARE_NO_INPUTS);
    rewrites.add(passes::fix_dimensions(&mut model, &config.fix_dim, &config.fix_shapes)?);
    if config.auto_merge && !config.skip_symbolic_shape {
        rewrites.add(passes::merge_dimensions(&mut model, &config.shapes())?);
    }
    passes::check_inputs(&model)?;

    let mut work = Work { model, rewrites, config, engine };
    let edits = config.edits() || stats.is_some();
    work.apply(edits, &mut Constants)?;
    if !config.skip_preprocess {
        work.convert()?;
    }
    if config.rewrites() {
        work.simplify()?;
        let unused = dead_code(&mut work.model)?;
        work.rewrites.add(unused);
        work.fuse()?;
        work.fold()?;
    }
    work.equalize(stats)?;
    if config.adapts() {
        work.adapt()?;
    }
    if edits {
        let unused = unused_constants(&mut work.model)?;
        work.rewrites.add(unused);
    }
    if !config.skip_preprocess {
        work.copy()?;
    }
    Ok(work.finish())
}

/// A model on its way through the passes.
struct Work<'a> {
    model: Model,
    rewrites: Rewrites,
    config: &'a PreprocessConfig,
    engine: &'a dyn Engine,
}

impl Work<'_> {
    /// Asks one rule, if that is wanted; says whether it changed the graph.
    fn apply(&mut self, wanted: bool, rule: &mut dyn Rule) -> Result<bool, PreprocessError> {
        if !wanted {
            return Ok(false);
        }
        let report = run_rule(&mut self.model, rule)?;
        let changed = report.changed();
        self.rewrites.add(report);
        Ok(changed)
    }

    /// Types, layouts and operator sets.
    fn convert(&mut self) -> Result<(), PreprocessError> {
        if self.config.convert_opset_version != 0 {
            self.raise_opset(self.config.convert_opset_version, "")?;
        }
        if self.config.convert_fp16_to_fp32 {
            let report = passes::convert_to_float32(&mut self.model)?;
            self.rewrites.add(report);
        } else {
            self.rewrites.warnings.extend(passes::half_precision(&self.model));
        }
        if self.config.convert_nchw_to_nhwc {
            // Which outputs are images shows in their types.
            self.infer();
            let report = channels_last(&mut self.model)?;
            self.rewrites.add(report);
        }
        Ok(())
    }

    /// Converts to a newer operator set; where that is not possible, the model stays, and a warning says why.
    fn raise_opset(&mut self, to: i64, why: &str) -> Result<(), PreprocessError> {
        let report = passes::convert_opset(&mut self.model, to, why, self.engine)?;
        let declined = report.refused.iter().map(|note| {
            format!("the model stays at opset {}, not {to}: {}: {}", self.model.opset(), note.node, note.what)
        });
        self.rewrites.warnings.extend(declined);
        self.rewrites.add(report);
        Ok(())
    }

    /// Copies of constants that nodes share.
    fn copy(&mut self) -> Result<(), PreprocessError> {
        let PreprocessConfig { copy_shared_init, copy_bias_init, .. } = self.config;
        if let Some(operators) = copy_shared_init {
            self.apply(true, &mut CopyShared::initializers(operators))?;
        }
        if let Some(operators) = copy_bias_init {
            self.apply(true, &mut CopyShared::biases(operators))?;
        }
        Ok(())
    }

    /// Infers shapes for the rewrites that follow, unless that is skipped altogether.
    fn infer(&mut self) {
        if !(self.config.skip_symbolic_shape && self.config.skip_onnx_shape) {
            infer_shapes_with(&mut self.model, &self.config.shapes());
        }
    }

    /// What does nothing, what depends on constants only, and what is done in several steps or several times. Each round removes
    /// a node or shortens a chain, or is the last.
    fn simplify(&mut self) -> Result<(), PreprocessError> {
        let config = self.config;
        loop {
            self.infer();
            let mut changed =
                self.apply(config.constant_folding, &mut ConstantFolding { engine: self.engine })?;
            if self.apply(config.constant_folding, &mut InlineBranches::default())? {
                changed = true;
                self.apply(true, &mut Constants)?;
            }
            changed |= self.apply(config.remove_identity, &mut RemoveIdentity)?;
            changed |= self.apply(config.merge_chains, &mut ResolveReshapes)?;
            changed |= self.apply(config.merge_chains, &mut MergeReshapes)?;
            changed |= self.apply(config.merge_chains, &mut MergeTransposes)?;
            changed |= self.apply(config.merge_chains, &mut MergeCasts)?;
            changed |= self.apply(config.merge_chains, &mut MergeClips)?;
            changed |= self.apply(config.merge_chains, &mut MergeArithmetic)?;
            changed |= self.apply(config.merge_duplicates, &mut MergeDuplicates::default())?;
            if !changed {
                return Ok(());
            }
            // What is left of a detour must not count as a second reader.
            let unused = dead_code(&mut self.model)?;
            self.rewrites.add(unused);
        }
    }

    /// Operators that exporters wrote as several.
    fn fuse(&mut self) -> Result<(), PreprocessError> {
        let config = self.config;
        let mut changed = self.apply(config.fuse_instance_norm, &mut FuseInstanceNorm)?;
        changed |= self.apply(config.fuse_l2_norm, &mut FuseL2Norm)?;
        if config.upgrade_opset {
            let layer_norm =
                config.fuse_layer_norm.then(|| FuseLayerNorm::needed_opset(&self.model)).flatten();
            let gelu = config.fuse_gelu.then(|| FuseGelu::needed_opset(&self.model)).flatten();
            if let Some(needed) = layer_norm.max(gelu) {
                self.raise_opset(needed, ", which a fusion needs")?;
                self.infer();
            }
        }
        changed |= self.apply(config.fuse_layer_norm, &mut FuseLayerNorm)?;
        changed |= self.apply(config.fuse_gelu, &mut FuseGelu)?;
        changed |= self.apply(config.fuse_activations, &mut FuseActivations)?;
        if changed {
            if self.model.graph.nodes().any(|(_, n)| n.domain == passes::CONTRIBUTED) {
                self.model.opsets.entry(passes::CONTRIBUTED.into()).or_insert(1);
            }
            let unused = dead_code(&mut self.model)?;
            self.rewrites.add(unused);
            self.infer();
        }
        Ok(())
    }

    /// Arithmetic with constants beside an operator that has weights. Each round removes a node, or makes a Gemm of one, or is
    /// the last.
    fn fold(&mut self) -> Result<(), PreprocessError> {
        let config = self.config;
        loop {
            self.infer();
            let mut changed = self.apply(config.fuse_gemm, &mut FuseGemm)?;
            changed |= self.apply(config.fuse_gemm, &mut TransposedGemm)?;
            changed |= self.apply(config.fold_batch_norm, &mut FoldBatchNorm)?;
            changed |= self.apply(config.fold_arithmetic, &mut FoldArithmetic)?;
            changed |= self.apply(config.fold_pad, &mut FoldPad)?;
            if !changed {
                return Ok(());
            }
            let unused = dead_code(&mut self.model)?;
            self.rewrites.add(unused);
        }
    }

    /// Channels scaled in one layer and back in the next.
    fn equalize(&mut self, stats: Option<&Stats>) -> Result<(), PreprocessError> {
        let config = self.config;
        if config.replace_clip6_relu && !config.include_cle {
            let warning = "replace_clip6_relu does nothing without include_cle = true";
            self.rewrites.warnings.push(warning.into());
        }
        if config.include_cle {
            self.infer();
            let stem = equalize::stem(&mut self.model)?;
            self.rewrites.add(stem);
            if self.apply(config.replace_clip6_relu, &mut ReplaceClip6Relu)? {
                let warning =
                    "Clip(0, 6) became Relu: the model computes something else where values exceed 6";
                self.rewrites.warnings.push(warning.into());
            }
            let report = equalize::cross_layer(&mut self.model, &config.cross_layer())?;
            self.rewrites.add(report);
        }
        if let Some(stats) = stats {
            self.infer();
            let (report, equalized) = equalize::range_safe(&mut self.model, stats)?;
            self.rewrites.add(report);
            self.rewrites.equalized = equalized;
        }
        Ok(())
    }

    /// Operators as NPUs have them.
    fn adapt(&mut self) -> Result<(), PreprocessError> {
        let config = self.config;
        self.infer();
        if self.apply(config.convert_reduce_mean_to_global_avg_pool, &mut ReduceMeanToPool)? {
            self.infer();
        }
        self.apply(config.split_large_kernel_pool, &mut SplitPool)?;
        self.apply(config.convert_split_to_slice, &mut SplitToSlice)?;
        self.apply(config.convert_bn_to_conv, &mut BatchNormToConv)?;
        Ok(())
    }

    fn finish(mut self) -> Prepared {
        self.rewrites.shapes = if self.config.skip_onnx_shape {
            if !self.config.rewrites() {
                self.infer();
            }
            known_shapes(&self.model)
        } else {
            infer_shapes_with(&mut self.model, &self.config.shapes())
        };
        let ShapeReport { tensors, resolved, affected, .. } = &self.rewrites.shapes;
        if self.config.skip_onnx_shape
            && let Some(first) = affected.keys().next()
        {
            self.rewrites.warnings.push(format!(
                "shape inference was skipped, and the shapes of {} of {tensors} tensors are not known, such as {first:?}; later stages infer them for themselves",
                tensors - resolved
            ));
        }
        let issues = self.rewrites.shapes.issues.iter();
        let contradictions = issues.filter(|i| i.kind == ShapeIssueKind::Contradiction);
        self.rewrites
            .warnings
            .extend(contradictions.map(|i| format!("shapes at {} do not fit: {}", i.node, i.reason)));
        self.rewrites.recognized = passes::recognized(&self.model.graph);
        self.rewrites.nodes_after = self.model.graph.node_count();
        Prepared { model: self.model, rewrites: self.rewrites }
    }
}
