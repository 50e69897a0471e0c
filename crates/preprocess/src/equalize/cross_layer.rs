//! Cross-layer equalization: equal ranges on both sides of a channel.

use std::collections::BTreeMap;

use shiftwise_graph::{GraphError, Model, NodeId, Note, PassReport, Patch};

use super::append_bias::append_bias;
use super::between::homogeneous;
use super::layer::{Layer, Side};
use super::patterns::Patterns;
use crate::passes::name;

/// Sweeps without progress that end adaptive equalization.
const STAGNANT: u32 = 20;
/// The least change of the difference that is progress.
const PROGRESS: f64 = 1e-9;

/// How layers are equalized.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CrossLayer {
    /// Sweeps over all pairs and triples; below 0, as many as change anything.
    pub(crate) steps: i64,
    /// A sweep that changes weights by no more is the last; the sum over layers of the mean change.
    pub(crate) least_difference: f64,
    /// Whether biases count in the range of a channel.
    pub(crate) append_bias: bool,
    /// Channels whose two ranges together are below it stay as they are.
    pub(crate) threshold: Option<f32>,
}

/// Layers to equalize, by their nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    Pair(NodeId, NodeId),
    /// The second is depthwise.
    Triple(NodeId, NodeId, NodeId),
}

/// Equalizes pairs of layers with only positively homogeneous operators between them, and convolutions around a depthwise
/// one, in execution order of their first layers. Per channel, with r0 the largest magnitude among the weights that make it (and its bias, see
/// [`append_bias`]) and r1 that among the weights that read it,
///
/// ```text
/// s = r1 / √(r0·r1),    W0 ← s·W0,   b0 ← s·b0,   W1 ← W1/s
/// ```
///
/// so that both ranges become √(r0·r1). For a triple of convolution, depthwise and convolution, with g = ∛(r0·r1·r2), s12 = r0/g, s23 = g/r2:
/// W0, b0 ← /s12; W1 ← ·s12/s23, b1 ← /s23; W2 ← ·s23.
///
/// Fails only where the graph was inconsistent before.
pub(crate) fn cross_layer(model: &mut Model, config: &CrossLayer) -> Result<PassReport, GraphError> {
    let mut report = PassReport::new(name::CROSS_LAYER_EQUALIZATION);
    let Patterns { mut layers, pairs, declined } = Patterns::find(&model.graph, homogeneous);
    report.refused = declined;
    let next: BTreeMap<NodeId, NodeId> = pairs.iter().map(|p| (p.head, p.tail)).collect();
    let patterns: Vec<Pattern> = pairs
        .iter()
        .flat_map(|p| {
            let end = next.get(&p.tail).copied();
            let triple = end.filter(|end| {
                let plain =
                    |id: &NodeId| layers.get(id).is_some_and(|l| l.is_convolution() && !l.is_depthwise());
                plain(&p.head) && plain(end) && layers.get(&p.tail).is_some_and(Layer::is_depthwise)
            });
            let triple = triple.map(|end| Pattern::Triple(p.head, p.tail, end));
            [Some(Pattern::Pair(p.head, p.tail)), triple].into_iter().flatten()
        })
        .collect();

    let (mut difference, mut stagnant, mut step) = (f64::INFINITY, 0, 0);
    while (config.steps < 0 || step < config.steps)
        && difference > config.least_difference
        && stagnant < STAGNANT
    {
        let before: Vec<Vec<f32>> = layers.values().map(|l| l.weight.clone()).collect();
        for pattern in &patterns {
            equalize(&mut layers, *pattern, config);
        }
        let changes = layers.values().zip(&before).map(|(l, before)| mean_change(&l.weight, before));
        let changed: f64 = changes.sum();
        if (changed - difference).abs() > PROGRESS {
            (difference, stagnant) = (changed, 0);
        } else {
            stagnant += 1;
        }
        step += 1;
    }

    let mut patch = Patch::new();
    for (id, layer) in layers {
        if layer.is_scaled() {
            let reader = next
                .get(&id)
                .and_then(|tail| model.graph.node(*tail))
                .map_or_else(String::new, shiftwise_graph::Node::label);
            report
                .applied
                .push(Note { node: layer.label.clone(), what: format!("{}, for {reader}", layer.span()) });
        }
        layer.write(&model.graph, &mut patch);
    }
    model.graph.apply(name::CROSS_LAYER_EQUALIZATION, patch)?;
    model.graph.check(name::CROSS_LAYER_EQUALIZATION)?;
    Ok(report)
}

fn equalize(layers: &mut BTreeMap<NodeId, Layer>, pattern: Pattern, config: &CrossLayer) -> Option<()> {
    match pattern {
        Pattern::Pair(head, tail) => {
            let scales = pair(layers.get(&head)?, layers.get(&tail)?, config);
            let inverse: Vec<f32> = scales.iter().map(|s| 1.0 / s).collect();
            layers.get_mut(&head)?.scale_outputs(&scales);
            layers.get_mut(&tail)?.scale_inputs(&inverse);
        }
        Pattern::Triple(head, middle, tail) => {
            let (s12, s23) = triple(layers.get(&head)?, layers.get(&middle)?, layers.get(&tail)?);
            layers.get_mut(&head)?.rescale(Side::Output, |w, c| w / s12[c], |b, c| b / s12[c]);
            let ratio = |c: usize| s12[c] / s23[c];
            layers.get_mut(&middle)?.rescale(Side::Output, |w, c| w * ratio(c), |b, c| b / s23[c]);
            layers.get_mut(&tail)?.scale_inputs(&s23);
        }
    }
    Some(())
}

/// The factor of each channel between two layers.
fn pair(head: &Layer, tail: &Layer, config: &CrossLayer) -> Vec<f32> {
    let mut made = head.largest(Side::Output);
    if let Some(bias) = head.bias.as_ref().filter(|_| config.append_bias) {
        let mut rows = vec![Vec::new(); bias.len()];
        for (channel, run) in head.runs(Side::Output) {
            rows[channel].extend_from_slice(run);
        }
        for (range, b) in made.iter_mut().zip(append_bias(&rows, bias)) {
            *range = range.max(b);
        }
    }
    let scale = |(r0, r1): (f32, f32)| {
        let s = r1 / (r0 * r1).sqrt();
        let small = config.threshold.is_some_and(|least| r0 + r1 < least);
        if small { 1.0 } else { usable(s) }
    };
    made.into_iter().zip(tail.largest(Side::Input)).map(scale).collect()
}

/// The two factors of each channel of a depthwise layer between two others.
fn triple(head: &Layer, middle: &Layer, tail: &Layer) -> (Vec<f32>, Vec<f32>) {
    let ranges = head.largest(Side::Output).into_iter().zip(middle.largest(Side::Output));
    ranges
        .zip(tail.largest(Side::Input))
        .map(|((r0, r1), r2)| {
            let mean = (r0 * r1 * r2).powf(1.0 / 3.0);
            (usable(r0 / mean), usable(mean / r2))
        })
        .unzip()
}

/// A factor, or 1 where there is none: ranges of zero, and products that float32 cannot hold.
fn usable(factor: f32) -> f32 {
    if factor.is_finite() && factor > 0.0 { factor } else { 1.0 }
}

fn mean_change(after: &[f32], before: &[f32]) -> f64 {
    let sum: f64 = after.iter().zip(before).map(|(a, b)| f64::from((a - b).abs())).sum();
    sum / after.len().max(1) as f64
}
