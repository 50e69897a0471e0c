//! NonMaxSuppression.

use shiftwise_graph::Value;

use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, Results, results};
use crate::scalar::{Scalar, slice, value};

pub(super) const OPS: &[Op] = &[Op::float("NonMaxSuppression", compile)];

/// Corners of a box, ordered.
#[derive(Clone, Copy)]
struct Corners {
    x: [f32; 2],
    y: [f32; 2],
}

impl Corners {
    fn new(v: &[f32], center: bool) -> Self {
        let order = |a: f32, b: f32| [a.min(b), a.max(b)];
        if center {
            let (w, h) = (v[2] / 2.0, v[3] / 2.0);
            Self { x: [v[0] - w, v[0] + w], y: [v[1] - h, v[1] + h] }
        } else {
            Self { x: order(v[1], v[3]), y: order(v[0], v[2]) }
        }
    }

    fn area(self) -> f32 {
        (self.x[1] - self.x[0]) * (self.y[1] - self.y[0])
    }

    /// Whether the overlap is a larger part of the union than `limit`.
    fn overlaps(self, other: Self, limit: f32) -> bool {
        let side = |a: [f32; 2], b: [f32; 2]| a[1].min(b[1]) - a[0].max(b[0]);
        let (w, h) = (side(self.x, other.x), side(self.y, other.y));
        if w <= 0.0 || h <= 0.0 {
            return false;
        }
        let (overlap, a, b) = (w * h, self.area(), other.area());
        let union = a + b - overlap;
        a > 0.0 && b > 0.0 && union > 0.0 && overlap / union > limit
    }
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let center = match cx.int_or("center_point_box", 0) {
        0 => false,
        1 => true,
        other => return Err(format!("its center_point_box is {other}; 0 and 1 are defined")),
    };
    Ok(Box::new(move |args, ws| {
        let selected = run(center, args)?;
        let mut out = i64::buffer(ws, selected.len() * 3)?;
        out.as_chunks_mut::<3>().0.copy_from_slice(&selected);
        Ok::<Results, String>(results![value(&[selected.len(), 3], out)?])
    }))
}

/// Image, class and box of everything that is kept.
fn run(center: bool, args: &Args<'_>) -> Outcome<Vec<[i64; 3]>> {
    let ((boxes, box_shape), (scores, score_shape)) = (args.f32(0)?, args.f32(1)?);
    let (&[images, n, 4], &[score_images, classes, score_n]) = (box_shape, score_shape) else {
        return Err(format!("boxes of shape {box_shape:?} do not fit scores of shape {score_shape:?}"));
    };
    if images != score_images || n != score_n {
        return Err(format!("boxes of shape {box_shape:?} do not fit scores of shape {score_shape:?}"));
    }
    let most = args.optional_ints(2)?.and_then(|v| v.first().copied()).unwrap_or(0);
    let most = usize::try_from(most).unwrap_or(0);
    let single = |i: usize| match args.get(i) {
        None => Ok(None),
        Some(Value::F32(a)) => Ok(slice(a).first().copied()),
        Some(other) => Err(format!("input {i} is {}, where float is needed", other.dtype())),
    };
    let limit = single(3)?.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&limit) {
        return Err(format!("its iou_threshold is {limit}; it must lie between 0 and 1"));
    }
    let least = single(4)?;
    let mut selected = Vec::new();
    for image in 0..images {
        let boxes: Vec<Corners> = boxes[image * n * 4..][..n * 4]
            .as_chunks::<4>()
            .0
            .iter()
            .map(|v| Corners::new(v, center))
            .collect();
        for class in 0..classes {
            let scores = &scores[(image * classes + class) * n..][..n];
            let mut order: Vec<usize> = (0..n).filter(|i| least.is_none_or(|t| scores[*i] > t)).collect();
            // The sort is stable: of equal scores the first box comes first.
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            let mut kept: Vec<usize> = Vec::new();
            for i in order {
                if kept.len() >= most {
                    break;
                }
                if !kept.iter().any(|k| boxes[i].overlaps(boxes[*k], limit)) {
                    kept.push(i);
                    selected.push([image as i64, class as i64, i as i64]);
                }
            }
        }
    }
    Ok(selected)
}
