//! Least-squares rounding of one layer, from its samples to its constants.

use shiftwise_graph::{Graph, Tensor};
use shiftwise_quant::{Position, QParams, QuantType};

use crate::config::Algorithm;
use crate::constants::{Stored, around, bias_constant, integers, scale_like};
use crate::frontier::{Bias, Layer};
use crate::layer::Op;
use crate::least_squares::{Problem, Scales, Search};
use crate::limits::Limits;
use crate::present::Present;
use crate::tuned::{Constant, LayerReport, Outcome, Share};

/// With more weights of an output than this share of the positions, the pull towards the float weights grows with them.
const CROWDED: f64 = 1.0 / 16.0;
/// How far the position of weights may move.
const FARTHEST: i32 = 6;
/// The pull of a layer with as many weights of an output as positions.
const PULL: f64 = 0.1;

/// What is found for a layer.
pub(crate) struct Found {
    /// Weights and bias; empty where the layer stays as it is.
    pub(crate) constants: Vec<Constant>,
    /// A float bias, by its name.
    pub(crate) float_bias: Option<(String, Tensor)>,
    pub(crate) report: LayerReport,
    /// The new scale of what the layer reads: its name, the constant and what it means.
    pub(crate) input: Option<(String, Tensor, QParams)>,
}

impl Found {
    /// The layer as it was.
    pub(crate) fn nothing(report: LayerReport) -> Self {
        Self { constants: Vec::new(), float_bias: None, report, input: None }
    }

    /// Constants of the model that are replaced, by name.
    pub(crate) fn replaced(&self) -> Vec<(String, Tensor)> {
        let mut all = Vec::new();
        for Constant { integers, tensor, scale: (name, scale), .. } in &self.constants {
            all.push((integers.clone(), tensor.clone()));
            all.extend(scale.iter().map(|scale| (name.clone(), scale.clone())));
        }
        all.extend(self.float_bias.clone());
        all.extend(self.input.iter().map(|(name, scale, _)| (name.clone(), scale.clone())));
        all
    }

    /// What the new integers mean: by the names of integers, and for what is read by the name of the scale.
    pub(crate) fn params(&self) -> Vec<(String, QParams)> {
        let constants = self.constants.iter().map(|c| (c.integers.clone(), c.params));
        constants.chain(self.input.iter().map(|(name, _, params)| (name.clone(), *params))).collect()
    }

    /// The layer as it was, for a reason.
    pub(crate) fn rejected(self, reason: String) -> Self {
        let report = LayerReport {
            outcome: Outcome::Kept,
            reason: Some(reason),
            method: None,
            after: self.report.before,
            changed: 0,
            moved: None,
            input_moved: None,
            ..self.report
        };
        Self::nothing(report)
    }
}

/// Chooses the integers of a layer. The pull towards the float weights is made ten times as strong, up to `pulls` times, in search of a lower
/// error on held-out positions.
///
/// Fails, saying why, for a layer whose constants are not of a form that can be chosen.
pub(crate) fn least_squares(
    layer: &Layer,
    op: &Op,
    graph: &Graph,
    problem: &Problem,
    limits: &Limits,
    search: &Search,
    pulls: usize,
) -> Result<Found, String> {
    let channels = problem.geometry().channels();
    let present = Present::of(layer, op, graph, channels)?;
    let Present { weight, bias, beta, start } = &present;
    let beta = *beta;
    if weight.q.len() != problem.geometry().weight_len() {
        return Err(format!("it has {} weights, its float counterpart others", weight.q.len()));
    }
    let (lo, hi) = weight.ty.symmetric_range();
    if hi > i64::from(i16::MAX) * 2 {
        return Err(format!("weights of type {} are finer than the float weights", weight.ty));
    }
    let range = (lo as i32, hi as i32);
    let free_bias = layer.bias.is_some() && beta != 0.0;
    let at = |step: i32| candidate(layer, weight, bias.as_ref(), limits, step);
    let mut search = Search { free_bias, ..search.clone() };
    // Where samples are few for the number of weights, a stronger pull towards the float weights fits less of their noise.
    let crowding = problem.geometry().inputs as f64 / problem.counts()[0].max(1) as f64;
    if crowding > CROWDED {
        search.lambda = search.lambda.max(crowding * PULL);
    }
    let near: Vec<Scales> = [-1, 0, 1].into_iter().filter_map(at).collect();
    let mut tuned = problem.solve(start, &near, range, &search);
    // On in the direction that helped.
    for direction in [-1, 1] {
        for step in 2..=FARTHEST {
            let Some(next) = at(direction * step) else { break };
            if at(direction * (step - 1)).as_ref() != Some(&tuned.scales) {
                break;
            }
            let other = problem.solve(start, &[next], range, &search);
            if other.after.held_out < tuned.after.held_out {
                tuned = other;
            }
        }
    }
    let chosen = [tuned.scales.clone()];
    for _ in 0..pulls {
        search.lambda *= 10.0;
        let other = problem.solve(start, &chosen, range, &search);
        if other.after.held_out < tuned.after.held_out {
            tuned = other;
        } else if tuned.after.held_out < tuned.before.held_out {
            break;
        }
    }

    let moved = moved(&start.scales, &tuned.scales);
    let mut constants = Vec::new();
    let mut float_bias = None;
    let mut stored = tuned.bias.clone();
    if free_bias {
        let wanted: Vec<f32> = tuned.bias.iter().map(|b| (b / beta) as f32).collect();
        match (&layer.bias, bias) {
            (Some(Bias::Quantized(constant)), Some(old)) => {
                let at = moved.map(|(_, new)| (layer.weight.scale.as_str(), new));
                let (new, values) = bias_constant(graph, constant, old, &wanted, at, limits)?;
                stored = values.iter().map(|b| b * beta).collect();
                constants.push(new);
            }
            (Some(Bias::Float(name)), _) => {
                stored = wanted.iter().map(|b| f64::from(*b) * beta).collect();
                let dims = graph.constant(name).map(|t| t.dims().to_vec()).unwrap_or_default();
                float_bias = Some((name.clone(), Tensor::f32(&dims, &wanted)));
            }
            _ => {}
        }
    }
    let after = problem.error_of(&tuned.q, &tuned.scales, &stored);
    let better = after.held_out < tuned.before.held_out;
    let shares = |e| Share::of(e, problem.signal());
    let changed = tuned.q.iter().zip(&weight.q).filter(|(a, b)| a != b).count() as u64;
    let report = LayerReport {
        method: better.then(|| Algorithm::LeastSquares.title().into()),
        before: Some(shares(tuned.before)),
        after: Some(shares(if better { after } else { tuned.before })),
        changed: if better { changed } else { 0 },
        weights: weight.q.len() as u64,
        moved: moved.filter(|_| better),
        ..LayerReport::of(&layer.node, &layer.op_type, if better { Outcome::Tuned } else { Outcome::Kept })
    };
    if !better {
        return Ok(Found::nothing(report));
    }
    let scale = if let Scales::Single(scale) = tuned.scales { scale } else { weight.scales.of(0) };
    let tensor = integers(weight.ty, &weight.dims, &tuned.q)?;
    constants.push(Constant {
        integers: layer.weight.integers.clone(),
        params: QParams { ty: weight.ty, scale, zero_point: 0 },
        scale: (layer.weight.scale.clone(), moved.map(|_| scale_like(graph, &layer.weight.scale, scale))),
        tensor,
    });
    Ok(Found { constants, float_bias, report, input: None })
}

/// The scale so many positions finer, where the limits allow it, with the bias where it can go along; with step 0 that of the model.
fn candidate(
    layer: &Layer,
    weight: &Stored,
    bias: Option<&Stored>,
    limits: &Limits,
    step: i32,
) -> Option<Scales> {
    if step == 0 {
        return Some(weight.scales.clone());
    }
    // The scale of a 32-bit bias is the product of those of input and weights, and stays with them.
    let position = limits.position(&layer.weight.scale);
    let position = position.filter(|_| bias.is_none_or(|b| b.ty != QuantType::Int32))?;
    let moved = Position::new(position.get() + step);
    let weights = (layer.weight.scale.as_str(), moved);
    let bias = match &layer.bias {
        Some(Bias::Quantized(bias)) => limits.position(&bias.scale).map(|p| (bias.scale.as_str(), p)),
        _ => None,
    };
    let with_bias = |(name, at)| around(at).any(|at| limits.allow(&[weights, (name, at)]));
    (limits.allow(&[weights]) || bias.is_some_and(with_bias)).then(|| Scales::Single(moved.scale()))
}

fn moved(old: &Scales, new: &Scales) -> Option<(Position, Position)> {
    match (old, new) {
        (Scales::Single(old), Scales::Single(new)) if old != new => {
            Some((Position::of(*old)?, Position::of(*new)?))
        }
        _ => None,
    }
}
