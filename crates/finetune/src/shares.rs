//! How the layers are shared among machines, so that all end at about the same time.
//!
//! A share runs the float model up to its last layer and tunes its own. What that takes is estimated from the model and the number of samples alone, so
//! that every machine cuts at the same layers.

use std::ops::Range;

use shiftwise_graph::{Model, infer_shapes};

use crate::frontier::Layer;
use crate::least_squares::Geometry;

/// What a layer takes, in units of one multiplication of the float model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    /// To run the float model from the layer before to this one.
    pub(crate) run: f64,
    /// To tune the layer.
    pub(crate) tune: f64,
}

// Factors are those that times of layers of squeezenet1_1, resnet20 and mobilenet_v2 were fitted with.
/// A multiplication of second moments of inputs, of which half are done.
const MOMENTS: f64 = 0.5;
/// A multiplication of inputs with outputs.
const CROSS: f64 = 2.5;
/// A multiplication of the search for integers: sweeps go through the second moments row by row, again for each scale and pull.
const SEARCH: f64 = 120.0;
/// A value that a layer reads or gives.
const VALUE: f64 = 180.0;
/// A layer in any case.
const LAYER: f64 = 6e8;

/// What each layer takes, with this many samples and positions.
pub(crate) fn costs(float: &Model, layers: &[Layer], samples: usize, positions: usize) -> Vec<Cost> {
    let mut float = float.clone();
    infer_shapes(&mut float);
    let dims = |name: &str| -> Option<Vec<usize>> {
        let shape = float.graph.tensor_type(name)?.shape?;
        // An open dimension is that of the batch, mostly.
        Some(shape.iter().map(|d| d.known().unwrap_or(1)).collect())
    };
    let cost = |layer: &Layer| {
        let weights = float.graph.constant(&layer.float_weight)?.dims().to_vec();
        let x = dims(&layer.float_input)?;
        let geometry = Geometry::new(&layer.op(&x).ok()?, &x, &weights).ok()?;
        let [groups, outputs, inputs] =
            [geometry.groups, geometry.outputs, geometry.inputs].map(|n| n as f64);
        let made: usize = dims(&layer.float_output)?.iter().product();
        let each = made as f64 / (groups * outputs);
        let seen = (samples as f64 * each).min(positions as f64) * 1.25;
        Some(Cost {
            run: samples as f64 * each * groups * outputs * inputs,
            tune: groups * inputs * inputs * (MOMENTS * seen + SEARCH * outputs)
                + CROSS * groups * inputs * outputs * seen
                + VALUE * samples as f64 * (x.iter().product::<usize>() + made) as f64,
        })
    };
    let each = |layer| {
        let Cost { run, tune } = cost(layer).unwrap_or_default();
        Cost { run, tune: tune + LAYER }
    };
    layers.iter().map(each).collect()
}

/// Cuts layers into `of` runs of consecutive ones, none empty, so that the one that takes longest takes as little as can be. `of` is not more than there are layers.
pub(crate) fn cut(costs: &[Cost], of: usize) -> Vec<Range<usize>> {
    let whole = costs.iter().map(|c| c.run + c.tune).sum::<f64>();
    let (mut low, mut high) = (0.0, whole.max(f64::MIN_POSITIVE));
    let mut best = pack(costs, of, f64::INFINITY).unwrap_or_default();
    // Halved until neighbouring floats are told apart by nobody.
    for _ in 0..60 {
        let most = f64::midpoint(low, high);
        match pack(costs, of, most) {
            Some(shares) => {
                best = shares;
                high = most;
            }
            None => low = most,
        }
    }
    best
}

/// Shares none of which takes more than `most`, each as long as it may be.
fn pack(costs: &[Cost], of: usize, most: f64) -> Option<Vec<Range<usize>>> {
    let mut shares = Vec::with_capacity(of);
    let (mut start, mut run) = (0, 0.0);
    for left in (0..of).rev() {
        let (mut end, mut tune) = (start, 0.0);
        // Each of the shares that are left needs a layer.
        while end + left < costs.len() {
            let Cost { run: further, tune: more } = costs[end];
            if run + further + tune + more > most {
                break;
            }
            run += further;
            tune += more;
            end += 1;
        }
        if end == start {
            return None;
        }
        shares.push(start..end);
        start = end;
    }
    (start == costs.len()).then_some(shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn takes(costs: &[Cost], share: &Range<usize>) -> f64 {
        let run: f64 = costs[..share.end].iter().map(|c| c.run).sum();
        run + costs[share.clone()].iter().map(|c| c.tune).sum::<f64>()
    }

    fn longest(costs: &[Cost], shares: &[Range<usize>]) -> f64 {
        shares.iter().map(|share| takes(costs, share)).fold(0.0, f64::max)
    }

    /// The least that the longest share can take, by trying all cuts.
    fn least(costs: &[Cost], start: usize, of: usize) -> f64 {
        if of == 1 {
            return takes(costs, &(start..costs.len()));
        }
        let ends = start + 1..=costs.len() - (of - 1);
        ends.map(|end| takes(costs, &(start..end)).max(least(costs, end, of - 1)))
            .fold(f64::INFINITY, f64::min)
    }

    fn some() -> impl Strategy<Value = (Vec<Cost>, usize)> {
        let cost =
            (0..50_u32, 0..100_u32).prop_map(|(run, tune)| Cost { run: run.into(), tune: tune.into() });
        prop::collection::vec(cost, 1..9).prop_flat_map(|costs| {
            let count = costs.len();
            (Just(costs), 1..=count)
        })
    }

    proptest! {
        #[test]
        fn shares_tile_the_layers_and_the_longest_is_as_short_as_can_be((costs, of) in some()) {
            let shares = cut(&costs, of);
            prop_assert_eq!(shares.len(), of);
            let mut reached = 0;
            for share in &shares {
                prop_assert_eq!(share.start, reached);
                prop_assert!(!share.is_empty());
                reached = share.end;
            }
            prop_assert_eq!(reached, costs.len());
            let (ours, best) = (longest(&costs, &shares), least(&costs, 0, of));
            prop_assert!(ours <= best + 1e-6, "{} instead of {}", ours, best);
        }
    }
}
