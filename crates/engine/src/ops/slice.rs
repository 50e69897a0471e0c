//! Slice: attributes before opset 10, inputs since.

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, Shape, axis_of, results};
use crate::scalar::{Scalar, count, each_type, slice, value};
use crate::strided;
use shiftwise_graph::Value;
use smallvec::{SmallVec, smallvec};

pub(super) const OPS: &[Op] = &[Op::any("Slice", compile)];

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    if cx.opset < 10 {
        let starts = cx.ints("starts").ok_or("it has no attribute starts")?;
        let ends = cx.ints("ends").ok_or("it has no attribute ends")?;
        let axes = cx.ints("axes");
        return Ok(Box::new(move |args, ws| {
            let cuts = Cuts::new(args.value(0)?.shape(), &starts, &ends, axes.as_deref(), None)?;
            each_type!(args.value(0)?, a => cuts.apply(slice(a), ws)).map(|v| results![v])
        }));
    }
    Ok(Box::new(|args, ws| {
        let (starts, ends) = (args.ints(1)?, args.ints(2)?);
        let (axes, steps) = (args.optional_ints(3)?, args.optional_ints(4)?);
        let cuts = Cuts::new(args.value(0)?.shape(), &starts, &ends, axes.as_deref(), steps.as_deref())?;
        each_type!(args.value(0)?, a => cuts.apply(slice(a), ws)).map(|v| results![v])
    }))
}

/// Where the elements of the result lie.
struct Cuts {
    start: usize,
    shape: Shape,
    strides: strided::Strides,
}

impl Cuts {
    fn new(
        shape: &[usize],
        starts: &[i64],
        ends: &[i64],
        axes: Option<&[i64]>,
        steps: Option<&[i64]>,
    ) -> Outcome<Self> {
        let n = starts.len();
        if ends.len() != n || axes.is_some_and(|a| a.len() != n) || steps.is_some_and(|s| s.len() != n) {
            return Err("its starts, ends, axes and steps are not of the same length".into());
        }
        let mut cuts = Self { start: 0, shape: Shape::from_slice(shape), strides: strided::strides(shape) };
        let mut seen: SmallVec<[bool; 8]> = smallvec![false; shape.len()];
        for i in 0..n {
            let axis = axis_of(axes.map_or(i as i64, |a| a[i]), shape.len())?;
            if std::mem::replace(&mut seen[axis], true) {
                return Err(format!("it cuts axis {axis} twice"));
            }
            let step = steps.map_or(1, |s| s[i]);
            if step == 0 {
                return Err("one of its steps is zero".into());
            }
            let size = shape[axis] as i64;
            let from_end = |v: i64| if v < 0 { v.saturating_add(size) } else { v };
            let (lo, hi) = if step > 0 { (0, size) } else { (-1, size - 1) };
            let (first, last) =
                (from_end(starts[i]).clamp(lo.max(0), hi.max(0)), from_end(ends[i]).clamp(lo, hi));
            let span = if step > 0 { last - first } else { first - last };
            let taken =
                if span <= 0 || size == 0 { 0 } else { (span as u64).div_ceil(step.unsigned_abs()) as usize };
            cuts.shape[axis] = taken;
            if taken > 0 {
                cuts.start += first as usize * cuts.strides[axis] as usize;
            }
            // With one element the step is never taken, and may be huge.
            cuts.strides[axis] *= if taken > 1 { step as isize } else { 1 };
        }
        Ok(cuts)
    }

    fn apply<T: Scalar>(&self, from: &[T], ws: &mut crate::pool::Workspace) -> Outcome<Value> {
        let mut out = T::buffer(ws, count(&self.shape)?)?;
        strided::copy(from, self.start, &self.shape, &self.strides, &mut out);
        value(&self.shape, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Workspace;

    fn cut(n: usize, start: i64, end: i64, step: i64) -> Vec<i64> {
        let from: Vec<i64> = (0..n as i64).collect();
        let cuts = Cuts::new(&[n], &[start], &[end], None, Some(&[step])).unwrap();
        cuts.apply(&from, &mut Workspace::default()).unwrap().as_i64().unwrap().to_vec()
    }

    #[test]
    fn limits_are_clamped_like_those_of_python() {
        assert_eq!(cut(5, 1, 1000, 1), [1, 2, 3, 4]);
        assert_eq!(cut(5, -2, i64::MAX, 1), [3, 4]);
        assert_eq!(cut(5, -1, i64::MIN, -1), [4, 3, 2, 1, 0]);
        assert_eq!(cut(5, 100, 0, -2), [4, 2]);
        assert_eq!(cut(5, 3, 3, 1), [0i64; 0]);
        assert_eq!(cut(5, 0, 5, i64::MAX), [0]);
        assert_eq!(cut(0, 0, 5, 1), [0i64; 0]);
        assert_eq!(cut(5, 4, -6, -3), [4, 1]);
    }
}
