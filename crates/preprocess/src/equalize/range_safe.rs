//! Range-safe equalization: channels are scaled only as far as every activation still does what it did.

use std::collections::BTreeMap;

use serde::Serialize;
use shiftwise_artifact::stats::Stats;
use shiftwise_graph::{GraphError, Model, NodeId, Note, PassReport, Patch};
use shiftwise_quant::input_channel_axis;

use super::between::homogeneous_or_pooling;
use super::layer::Side;
use super::patterns::{Pair, Patterns};
use super::room::{Channel, channels_of, room};
use super::scales::choose;
use crate::passes::name;

/// Rounds over all pairs: the factors of one change what is best for its neighbours.
const ROUNDS: usize = 2;
/// The least share of the error that must go for a layer to be touched.
const GAIN: f64 = 0.02;

/// What scaling the channels between two layers brings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Equalized {
    /// The layer that makes the channels.
    pub layer: String,
    /// The layer that reads them.
    pub reader: String,
    /// How many channels were scaled, of how many.
    pub scaled: usize,
    /// Channels.
    pub channels: usize,
    /// Smallest and largest factor.
    pub factors: (f32, f32),
    /// Estimated mean squared error of the reader's output from 8-bit rounding, before.
    pub error_before: f64,
    /// The same with these factors.
    pub error_after: f64,
}

/// Scales channels between layers by what `stats`, collected on this very model, say of them: see [`room`] for how far a channel may go and
/// [`choose`] for where it goes. Clip, Relu, PRelu, poolings and zero padding may stand in between. On the calibration samples the model computes what it did.
///
/// Fails only where the graph was inconsistent before.
pub(crate) fn range_safe(
    model: &mut Model,
    stats: &Stats,
) -> Result<(PassReport, Vec<Equalized>), GraphError> {
    let mut report = PassReport::new(name::RANGE_SAFE_EQUALIZATION);
    let passes = |graph: &shiftwise_graph::Graph, node: &shiftwise_graph::Node| {
        if node.is("Clip") { Ok(()) } else { homogeneous_or_pooling(graph, node) }
    };
    let mut found = Patterns::find(&model.graph, passes);
    report.refused.append(&mut found.declined);
    let mut spaces: Vec<(Pair, Vec<Channel>)> = Vec::new();
    let mut energies: BTreeMap<NodeId, Vec<f64>> = BTreeMap::new();
    for pair in std::mem::take(&mut found.pairs) {
        let Some((head, _)) = found.layers_of(&pair) else { continue };
        let known = room(model, stats, &pair, head.channels(Side::Output))
            .and_then(|room| Ok((room, energy(model, stats, pair.head, head.channels(Side::Input))?)));
        match known {
            Ok((channels, energy)) => {
                energies.insert(pair.head, energy);
                spaces.push((pair, channels));
            }
            Err(what) => report.refused.push(Note { node: head.label.clone(), what }),
        }
    }
    let mut brought: BTreeMap<NodeId, Equalized> = BTreeMap::new();
    for round in 0..ROUNDS {
        for (pair, channels) in &mut spaces {
            let Some((head, tail)) = found.layers_of(pair) else { continue };
            let energy = energies.get(&pair.head).map_or(&[][..], Vec::as_slice);
            let choice = choose(head, tail, energy, channels);
            let better = choice.after < choice.before * (1.0 - GAIN);
            if !better {
                continue;
            }
            let entry = brought.entry(pair.head).or_insert_with(|| Equalized {
                layer: head.label.clone(),
                reader: tail.label.clone(),
                scaled: 0,
                channels: channels.len(),
                factors: (1.0, 1.0),
                error_before: choice.before,
                error_after: choice.before,
            });
            // The reader's output may have been scaled since the first round, so that only shares compare.
            entry.error_after *= choice.after / choice.before;
            tracing::debug!(
                round,
                layer = entry.layer,
                before = choice.before,
                after = choice.after,
                "equalized"
            );
            let inverse: Vec<f32> = choice.factors.iter().map(|s| 1.0 / s).collect();
            for (channel, s) in channels.iter_mut().zip(&choice.factors) {
                channel.range = (channel.range.0 * s, channel.range.1 * s);
                channel.energy *= f64::from(*s).powi(2);
                channel.most /= s;
                channel.least /= s;
            }
            // What the reader's inputs carry, where it makes channels of its own.
            if let Some(energy) = energies.get_mut(&pair.tail) {
                energy.iter_mut().zip(&choice.factors).for_each(|(e, s)| *e *= f64::from(*s).powi(2));
            }
            found.layers.entry(pair.head).and_modify(|l| l.scale_outputs(&choice.factors));
            found.layers.entry(pair.tail).and_modify(|l| l.scale_inputs(&inverse));
        }
    }

    let mut patch = Patch::new();
    for (id, layer) in found.layers {
        if let Some(entry) = brought.get_mut(&id) {
            entry.scaled = layer.factors.iter().filter(|f| **f != 1.0).count();
            let span = layer.factors.iter().fold((f64::INFINITY, 0f64), |(l, m), f| (l.min(*f), m.max(*f)));
            entry.factors = (span.0 as f32, span.1 as f32);
            let gain = 100.0 * (1.0 - entry.error_after / entry.error_before);
            let what = format!(
                "{} of its {} channels are scaled by {:.3} to {:.3}; the rounding error of {} goes down by {gain:.0} %",
                entry.scaled, entry.channels, entry.factors.0, entry.factors.1, entry.reader
            );
            report.applied.push(Note { node: layer.label.clone(), what });
        }
        layer.write(&model.graph, &mut patch);
    }
    model.graph.apply(name::RANGE_SAFE_EQUALIZATION, patch)?;
    model.graph.check(name::RANGE_SAFE_EQUALIZATION)?;
    Ok((report, brought.into_values().collect()))
}

/// Mean squares of a layer's input channels. Channels that never vary do not count: their weights are absorbed.
///
/// Fails with the tensor that the statistics do not have channel by channel.
fn energy(model: &Model, stats: &Stats, id: NodeId, channels: usize) -> Result<Vec<f64>, String> {
    let node = model.graph.node(id).ok_or("it is gone")?;
    let input = node.input(0).unwrap_or_default();
    let rank = model.graph.tensor_type(input).and_then(|ty| ty.rank());
    let view = channels_of(stats, input, rank.and_then(|rank| input_channel_axis(node, rank)), channels)?;
    let one = |c: usize| {
        let varies = view.channel_mins()[c] < view.channel_maxs()[c];
        let mean = view.channel_mean_sq(c).filter(|_| varies);
        mean.unwrap_or(0.0)
    };
    Ok((0..channels).map(one).collect())
}
