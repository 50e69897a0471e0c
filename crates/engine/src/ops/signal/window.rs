//! HannWindow, HammingWindow, BlackmanWindow, MelWeightMatrix.

use shiftwise_graph::{DataType, Value};

use crate::args::{Args, Kernel, Outcome, results};
use crate::number::{Number, each_number};
use crate::ops::{Cx, Op, cast};

pub(in crate::ops) const OPS: &[Op] = &[
    Op::any("HannWindow", window),
    Op::any("HammingWindow", window),
    Op::any("BlackmanWindow", window),
    Op::any("MelWeightMatrix", mel),
];

/// The single number at an input.
pub(super) fn number(args: &Args<'_>, index: usize) -> Outcome<f64> {
    let v = each_number!(args.value(index)?, a => Ok::<_, String>(a.first().map(|v| v.real())))?;
    v.ok_or_else(|| format!("its input {index} is empty"))
}

fn size(args: &Args<'_>, index: usize) -> Outcome<usize> {
    let v = number(args, index)?;
    if (0.0..=1e8).contains(&v) {
        Ok(v as usize)
    } else {
        Err(format!("its input {index} is {v}, not a size"))
    }
}

/// `a0 − a1 cos(2πn/N) + a2 cos(4πn/N)`, with `N` the size, or one less where the window is symmetric.
fn window(cx: Cx<'_>) -> Outcome<Kernel> {
    let periodic = cx.flag("periodic", true);
    let dtype = cx.dtype("output_datatype")?.unwrap_or(DataType::Float);
    let [a0, a1, a2] = match cx.node.op_type.as_str() {
        "HannWindow" => [0.5, 0.5, 0.0],
        "HammingWindow" => [25.0 / 46.0, 1.0 - 25.0 / 46.0, 0.0],
        _ => [0.42, 0.5, 0.08],
    };
    Ok(Box::new(move |args, ws| {
        let n = size(args, 0)?;
        let period = if periodic { n } else { n.saturating_sub(1).max(1) } as f64;
        let angle = |i: usize| std::f64::consts::TAU * i as f64 / period;
        let elements: Vec<f64> =
            (0..n).map(|i| a0 - a1 * libm::cos(angle(i)) + a2 * libm::cos(2.0 * angle(i))).collect();
        let window = crate::scalar::value(&[n], elements)?;
        Ok(results![cast::cast(&window, dtype, ws)?])
    }))
}

/// Triangles on the mel scale: `[bins of the spectrum, mel bins]`.
fn mel(cx: Cx<'_>) -> Outcome<Kernel> {
    let dtype = cx.dtype("output_datatype")?.unwrap_or(DataType::Float);
    Ok(Box::new(move |args, ws| {
        let (bins, length, rate) = (size(args, 0)?, size(args, 1)?, number(args, 2)?);
        let (low, high) = (number(args, 3)?, number(args, 4)?);
        let to_mel = |hz: f64| 2595.0 * libm::log10(1.0 + hz / 700.0);
        let (low, high) = (to_mel(low), to_mel(high));
        let step = (high - low) / (bins + 2) as f64;
        let spectrum = length / 2 + 1;
        // Edges in bins of the spectrum.
        let edges: Vec<i64> = (0..bins + 2)
            .map(|i| {
                let hz = 700.0 * (libm::pow(10.0, (low + i as f64 * step) / 2595.0) - 1.0);
                ((length as f64 + 1.0) * hz / rate).floor() as i64
            })
            .collect();
        if edges.iter().any(|e| *e < 0 || *e > spectrum as i64) {
            return Err("its frequencies lie beyond the spectrum".into());
        }
        let mut out = vec![0.0f64; crate::scalar::count(&[spectrum, bins])?];
        for i in 0..bins {
            let (lower, centre, upper) = (edges[i], edges[i + 1], edges[i + 2]);
            let mut set = |j: i64, v: f64| {
                if let Some(o) = out.get_mut(j as usize * bins + i) {
                    *o = v;
                }
            };
            let rise = centre - lower;
            if rise == 0 {
                set(centre, 1.0);
            } else {
                (lower..=centre).for_each(|j| set(j, (j - lower) as f64 / rise as f64));
            }
            let fall = upper - centre;
            if fall > 0 {
                (centre..upper).for_each(|j| set(j, (upper - j) as f64 / fall as f64));
            }
        }
        let matrix: Value = crate::scalar::value(&[spectrum, bins], out)?;
        Ok(results![cast::cast(&matrix, dtype, ws)?])
    }))
}
