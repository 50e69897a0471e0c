//! AdaRound and AdaQuant of one layer, from its samples to its constants.

use shiftwise_graph::{Graph, Tensor};
use shiftwise_quant::QParams;

use crate::adaptive::{AdaOptions, Begin, FreeBias, Problem};
use crate::config::Algorithm;
use crate::constants::{integers, scale_like};
use crate::frontier::{Bias, Layer};
use crate::layer::Op;
use crate::least_squares::{Scales, Start};
use crate::present::Present;
use crate::round::Found;
use crate::tuned::{Constant, LayerReport, Outcome, Share};

/// A layer and its constants in the float model.
pub(crate) struct Twin<'a> {
    pub(crate) layer: &'a Layer,
    pub(crate) op: &'a Op,
    pub(crate) weights: &'a [f32],
    pub(crate) bias: Option<Vec<f32>>,
}

/// Trains a layer, from what the model has or, where that is nearer on held-out positions, from what was found `first`.
///
/// Fails, saying why, for a layer that cannot be trained.
pub(crate) fn adapt(
    twin: &Twin<'_>,
    graph: &Graph,
    problem: &Problem,
    algorithm: Algorithm,
    options: &AdaOptions,
    first: Option<&Found>,
) -> Result<Found, String> {
    let Twin { layer, op, .. } = *twin;
    let present = Present::of(layer, op, graph, problem.channels())?;
    let error = |start: &Start| problem.error_of(&start.q, &start.scales, &start.bias);
    if present.start.q.len() != twin.weights.len() {
        return Err(format!("it has {} weights, its float counterpart others", present.start.q.len()));
    }
    let before = error(&present.start);
    let first = first.filter(|found| found.report.outcome == Outcome::Tuned);
    let first = first.map(|found| (found, present.with(layer, found)));
    let first = first.filter(|(_, there)| error(&there.start).held_out < before.held_out);
    let from = first.as_ref().map_or(&present, |(_, there)| there);

    let begin = if first.is_some() { Begin::Integers } else { Begin::Start };
    let options = AdaOptions { begin, ..options.clone() };
    let range = range(from);
    let tuned = if algorithm == Algorithm::AdaQuant {
        let bias = free_bias(twin, from, first.is_some());
        problem.adaquant(&from.start, twin.weights, range, bias.as_ref(), &options)
    } else {
        problem.adaround(&from.start, twin.weights, range, &options)
    };
    let tuned = tuned.map_err(|e| e.to_string())?;

    let mut constants = first.as_ref().map(|(found, _)| found.constants.clone()).unwrap_or_default();
    let mut float_bias = first.as_ref().and_then(|(found, _)| found.float_bias.clone());
    let trained = tuned.q != from.start.q || tuned.bias != from.start.bias;
    let mut stored = from.start.bias.clone();
    if tuned.bias != from.start.bias {
        (stored, float_bias) = store_bias(twin, graph, from, &tuned.bias, &mut constants)?;
    }
    let after = problem.error_of(&tuned.q, &tuned.scales, &stored);
    let better = after.held_out < before.held_out;
    let share = |e| Share::of(e, problem.signal());
    let changed = tuned.q.iter().zip(&present.start.q).filter(|(a, b)| a != b).count() as u64;
    let mut report = LayerReport {
        before: Some(share(before)),
        after: Some(share(before)),
        weights: tuned.q.len() as u64,
        iterations: Some(tuned.iterations as u64),
        ..LayerReport::of(&layer.node, &layer.op_type, Outcome::Kept)
    };
    if !better {
        return Ok(Found::nothing(report));
    }
    report.outcome = Outcome::Tuned;
    report.after = Some(share(after));
    report.changed = changed;
    report.moved = first.as_ref().and_then(|(found, _)| found.report.moved);
    report.method = Some(match (&first, trained) {
        (Some(_), true) => format!("{} and {}", Algorithm::LeastSquares.title(), algorithm.title()),
        (Some(_), false) => Algorithm::LeastSquares.title().into(),
        (None, _) => algorithm.title().into(),
    });
    let (ty, scale) = (from.weight.ty, tuned.scales.of(0));
    let moved = tuned.scales != present.start.scales;
    let weights = Constant {
        integers: layer.weight.integers.clone(),
        params: QParams { ty, scale, zero_point: 0 },
        scale: (layer.weight.scale.clone(), moved.then(|| scale_like(graph, &layer.weight.scale, scale))),
        tensor: integers(ty, &from.weight.dims, &tuned.q)?,
    };
    put(&mut constants, weights);
    Ok(Found { constants, float_bias, report, input: None })
}

/// The bias as the model is to have it: integers go to `constants`; gives what is added to each channel, and a float bias.
#[allow(clippy::type_complexity)]
fn store_bias(
    twin: &Twin<'_>,
    graph: &Graph,
    from: &Present,
    wanted: &[f64],
    constants: &mut Vec<Constant>,
) -> Result<(Vec<f64>, Option<(String, Tensor)>), String> {
    let wanted = wanted.iter().map(|b| b / from.beta);
    match (&twin.layer.bias, &from.bias) {
        (Some(Bias::Quantized(constant)), Some(old)) => {
            let (lo, hi) = old.ty.symmetric_range();
            let nearest = |(i, b): (usize, f64)| {
                let q = (b / f64::from(old.scales.of(i))).round_ties_even();
                q.clamp(lo as f64, hi as f64) as i32
            };
            let q: Vec<i32> = wanted.enumerate().map(nearest).collect();
            let params = QParams { ty: old.ty, scale: old.scales.of(0), zero_point: 0 };
            let tensor = integers(old.ty, &old.dims, &q)?;
            let before = constants.iter().find(|c| c.integers == constant.integers);
            let scale = before.map_or_else(|| (constant.scale.clone(), None), |c| c.scale.clone());
            put(constants, Constant { integers: constant.integers.clone(), params, scale, tensor });
            let value = |(i, q): (usize, &i32)| f64::from(*q) * f64::from(old.scales.of(i)) * from.beta;
            Ok((q.iter().enumerate().map(value).collect(), None))
        }
        (Some(Bias::Float(name)), _) => {
            let values: Vec<f32> = wanted.map(|b| b as f32).collect();
            let dims = graph.constant(name).map(|t| t.dims().to_vec()).unwrap_or_default();
            let stored = values.iter().map(|b| f64::from(*b) * from.beta).collect();
            Ok((stored, Some((name.clone(), Tensor::f32(&dims, &values)))))
        }
        _ => Err("it has no bias to be changed".into()),
    }
}

/// Takes the place of the constant of the same integers.
fn put(constants: &mut Vec<Constant>, constant: Constant) {
    constants.retain(|c| c.integers != constant.integers);
    constants.push(constant);
}

/// The bias that AdaQuant may train: from the float model's on, or from that of `from`. None where the operator does not add it as it is.
fn free_bias(twin: &Twin<'_>, from: &Present, stays: bool) -> Option<FreeBias> {
    twin.layer.bias.as_ref().filter(|_| from.beta > 0.0)?;
    let float = match &twin.bias {
        Some(float) if !stays => float.iter().map(|b| f64::from(*b) * from.beta).collect(),
        _ => from.start.bias.clone(),
    };
    let grid = from.bias.as_ref().map(|bias| {
        let scales = match &bias.scales {
            Scales::Single(scale) => Scales::Single(scale * from.beta as f32),
            Scales::PerOutput(all) => {
                Scales::PerOutput(all.iter().map(|scale| scale * from.beta as f32).collect())
            }
        };
        let (lo, hi) = bias.ty.symmetric_range();
        (scales, (lo as i32, hi as i32))
    });
    Some(FreeBias { float, grid })
}

/// The integers that weights may have: those of their type around 0, and what they have already.
fn range(from: &Present) -> (i32, i32) {
    let (lo, hi) = from.weight.ty.symmetric_range();
    let q = from.start.q.iter().copied();
    q.fold((lo as i32, hi as i32), |(lo, hi), q| (lo.min(q), hi.max(q)))
}
