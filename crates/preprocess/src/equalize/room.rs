//! How far each channel between two layers may be scaled.

use shiftwise_artifact::stats::{Stats, TensorView};
use shiftwise_graph::Model;
use shiftwise_quant::input_channel_axis;

use super::patterns::Pair;
use crate::passes::clip_bounds;

/// How far below a bound a channel that is scaled stays on the samples: others may go beyond what was seen.
const HEADROOM: f32 = 2.0;

/// What calibration saw of one channel, and how far it may be scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Channel {
    /// Smallest and largest value of what the second layer reads.
    pub(super) range: (f32, f32),
    /// Mean square of what the second layer reads.
    pub(super) energy: f64,
    /// The largest factor with which every activation in between still does what it did.
    pub(super) most: f32,
    /// The smallest such factor.
    pub(super) least: f32,
}

impl Channel {
    /// A channel that never varies: its weights are absorbed into a bias later.
    pub(super) fn is_constant(&self) -> bool {
        self.range.0 >= self.range.1
    }
}

/// The channels between the layers of a pair. A channel that stays within the bounds of a Clip may be scaled until it comes within
/// [`HEADROOM`] of one; one that reaches a bound other than zero keeps its scale.
///
/// Fails with the tensor that the statistics do not have channel by channel.
pub(super) fn room(
    model: &Model,
    stats: &Stats,
    pair: &Pair,
    channels: usize,
) -> Result<Vec<Channel>, String> {
    let graph = &model.graph;
    let tail = graph.node(pair.tail).ok_or("its reader is gone")?;
    let read = tail.input(0).unwrap_or_default();
    let rank = graph.tensor_type(read).and_then(|ty| ty.rank());
    let axis = rank.and_then(|rank| input_channel_axis(tail, rank));
    let view = channels_of(stats, read, axis, channels)?;
    let mut found: Vec<Channel> = (0..channels)
        .map(|c| Channel {
            range: (view.channel_mins()[c], view.channel_maxs()[c]),
            energy: view.channel_mean_sq(c).unwrap_or(0.0),
            most: f32::INFINITY,
            least: 0.0,
        })
        .collect();
    for node in pair.between.iter().filter_map(|id| graph.node(*id)).filter(|n| n.is("Clip")) {
        let (lo, hi) = clip_bounds(graph, node)?;
        if lo > 0.0 || hi < 0.0 {
            return Err(format!("{} does not let zero pass", node.label()));
        }
        // Its output tells as much as its input: a value at a bound was there or beyond.
        let clipped = channels_of(stats, node.output(0).unwrap_or_default(), Some(1), channels)?;
        for (c, channel) in found.iter_mut().enumerate() {
            let (min, max) = (clipped.channel_mins()[c], clipped.channel_maxs()[c]);
            if (max >= hi && hi > 0.0) || (min <= lo && lo < 0.0) {
                (channel.least, channel.most) = (1.0, 1.0);
                continue;
            }
            // A bound of zero stays zero, whatever the factor.
            for (value, bound) in [(max, hi), (min, lo)] {
                if value != 0.0 && bound != 0.0 && value.signum() == bound.signum() {
                    channel.most = channel.most.min((bound / value / HEADROOM).max(1.0));
                }
            }
        }
    }
    Ok(found)
}

/// The statistics of a tensor, channel by channel.
///
/// Fails where there are none of these channels.
pub(super) fn channels_of<'a>(
    stats: &'a Stats,
    tensor: &str,
    axis: Option<usize>,
    channels: usize,
) -> Result<TensorView<'a>, String> {
    let view = stats.tensor(tensor).filter(|v| {
        v.channels() == channels && v.spec().channel_axis.map(|a| a as usize) == axis && v.nan_count() == 0
    });
    view.ok_or_else(|| {
        format!("the statistics do not have the {channels} channels of {tensor:?}: collect them with --all")
    })
}
