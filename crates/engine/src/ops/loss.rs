//! Losses: NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss.

use shiftwise_graph::Value;

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, results};
use crate::scalar::{count, value};

pub(super) const OPS: &[Op] =
    &[Op::float("NegativeLogLikelihoodLoss", compile), Op::float("SoftmaxCrossEntropyLoss", compile)];

#[derive(Clone, Copy)]
enum Reduction {
    None,
    Sum,
    Mean,
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let reduction = match cx.text_or("reduction", "mean") {
        "none" => Reduction::None,
        "sum" => Reduction::Sum,
        "mean" => Reduction::Mean,
        other => return Err(format!("its reduction {other:?} is not defined")),
    };
    let ignored = cx.node.int("ignore_index");
    let scores = cx.node.op_type == "SoftmaxCrossEntropyLoss";
    Ok(Box::new(move |args, ws| {
        let (x, shape) = args.f32(0)?;
        let &[n, classes, ref rest @ ..] = shape else {
            return Err(format!("its scores have shape {shape:?}, without an axis of classes"));
        };
        let targets = args.ints(1)?;
        let mut target_shape = vec![n];
        target_shape.extend(rest);
        if args.value(1)?.shape() != target_shape {
            return Err(format!("its labels have shape {:?}, not {target_shape:?}", args.value(1)?.shape()));
        }
        let weights = args.optional_f32(2)?;
        if weights.is_some_and(|w| w.len() != classes) {
            return Err(format!("its weights are not {classes}, one for each class"));
        }
        let inner = count(rest)?;
        let log_probabilities = if scores { logarithms(x, classes, inner) } else { x.to_vec() };
        let (mut losses, mut total) = (ws.floats(targets.len()), 0.0f64);
        for (i, (loss, target)) in losses.iter_mut().zip(&targets).enumerate() {
            if ignored == Some(*target) {
                *loss = 0.0;
                continue;
            }
            let class = usize::try_from(*target).ok().filter(|c| *c < classes);
            let class = class.ok_or_else(|| format!("the label {target} is not one of {classes} classes"))?;
            let weight = weights.map_or(1.0, |w| w[class]);
            let (sample, place) = (i / inner, i % inner);
            *loss = -log_probabilities[(sample * classes + class) * inner + place] * weight;
            total += f64::from(weight);
        }
        let sum = losses.iter().map(|v| f64::from(*v)).sum::<f64>();
        let loss = match reduction {
            Reduction::None => value(&target_shape, losses)?,
            Reduction::Sum => value(&[], vec![sum as f32])?,
            Reduction::Mean => value(&[], vec![(sum / total) as f32])?,
        };
        Ok(if scores { results![loss, Value::f32(shape, log_probabilities)] } else { results![loss] })
    }))
}

/// Log-softmax over classes that stand `inner` apart.
fn logarithms(x: &[f32], classes: usize, inner: usize) -> Vec<f32> {
    let mut out = x.to_vec();
    for block in out.chunks_exact_mut((classes * inner).max(1)) {
        for i in 0..inner {
            let column = || block[i..].iter().step_by(inner).map(|v| f64::from(*v));
            let top = column().fold(f64::NEG_INFINITY, f64::max);
            let log = column().map(|v| (v - top).exp()).sum::<f64>().ln() + top;
            block[i..].iter_mut().step_by(inner).for_each(|v| *v = (f64::from(*v) - log) as f32);
        }
    }
    out
}
