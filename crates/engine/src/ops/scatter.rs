//! Scatter, ScatterElements, ScatterND.

use half::{bf16, f16};
use shiftwise_graph::Value;

use super::{Cx, Op};
use crate::args::{Args, Ints, Kernel, Outcome, axis_of, results};
use crate::number::Number;
use crate::pool::Workspace;
use crate::scalar::{Scalar, count, each_type, slice};
use crate::strided;

pub(super) const OPS: &[Op] =
    &[Op::any("Scatter", elements), Op::any("ScatterElements", elements), Op::any("ScatterND", slices)];

#[derive(Clone, Copy, PartialEq)]
enum Reduction {
    None,
    Add,
    Mul,
    Min,
    Max,
}

fn reduction(cx: Cx<'_>) -> Outcome<Reduction> {
    Ok(match cx.text_or("reduction", "none") {
        "none" => Reduction::None,
        "add" => Reduction::Add,
        "mul" => Reduction::Mul,
        "min" => Reduction::Min,
        "max" => Reduction::Max,
        other => return Err(format!("its reduction {other:?} is not defined")),
    })
}

/// What becomes of an element that is written over.
trait Merge: Scalar {
    fn merge(self, new: Self, how: Reduction) -> Self;
}

macro_rules! numbers {
    ($($ty:ty)*) => {
        $(impl Merge for $ty {
            fn merge(self, new: Self, how: Reduction) -> Self {
                match how {
                    Reduction::None => new,
                    Reduction::Add => self.plus(new),
                    Reduction::Mul => self.times(new),
                    Reduction::Min => self.least(new),
                    Reduction::Max => self.most(new),
                }
            }
        })*
    };
}

numbers!(f32 f64 i64 i32 i16 i8 u64 u32 u16 u8);

macro_rules! halves {
    ($($ty:ty)*) => {
        $(impl Merge for $ty {
            fn merge(self, new: Self, how: Reduction) -> Self {
                match how {
                    Reduction::None => new,
                    how => Self::from_f32(self.to_f32().merge(new.to_f32(), how)),
                }
            }
        })*
    };
}

halves!(f16 bf16);

impl Merge for bool {
    fn merge(self, new: Self, how: Reduction) -> Self {
        match how {
            Reduction::None => new,
            Reduction::Add | Reduction::Max => self | new,
            Reduction::Mul | Reduction::Min => self & new,
        }
    }
}

/// Writes updates to places; `each` consecutive elements for every place.
fn write<T: Merge>(data: &mut [T], updates: &[T], places: &[usize], each: usize, how: Reduction) {
    for (place, update) in places.iter().zip(updates.chunks_exact(each.max(1))) {
        for (old, new) in data[*place..].iter_mut().zip(update) {
            *old = old.merge(*new, how);
        }
    }
}

fn updated(
    args: &mut Args<'_>,
    places: &[usize],
    each: usize,
    how: Reduction,
    ws: &mut Workspace,
) -> Outcome<Value> {
    fn go<T: Merge>(
        data: &mut ndarray::ArrayD<T>,
        args: &Args<'_>,
        places: &[usize],
        each: usize,
        how: Reduction,
    ) -> Outcome<()> {
        let updates = args.value(2)?;
        let updates = T::array_of(updates)
            .ok_or_else(|| format!("its updates are {}, unlike its data", updates.dtype()))?;
        let data = data.as_slice_mut().ok_or("its data is not dense")?;
        if updates.len() != places.len() * each {
            return Err(format!("its updates have shape {:?}, which does not fit", updates.shape()));
        }
        write(data, slice(updates), places, each, how);
        Ok(())
    }
    let mut data = args.take_or_copy(0, ws)?;
    each_type!(&mut data, a => go(a, args, places, each, how))?;
    Ok(data)
}

fn elements(cx: Cx<'_>) -> Outcome<Kernel> {
    let (axis, how) = (cx.int_or("axis", 0), reduction(cx)?);
    Ok(Box::new(move |args, ws| {
        let shape = args.value(0)?.shape();
        let axis = axis_of(axis, shape.len())?;
        let (indices, at) = (args.ints(1)?, args.value(1)?.shape());
        if at != args.value(2)?.shape() {
            return Err(format!("its indices have shape {at:?}, unlike its updates"));
        }
        let places = element_places(shape, at, &indices, axis)?;
        updated(args, &places, 1, how, ws).map(|v| results![v])
    }))
}

/// Where the element at each place of `at` stands when its place on `axis` is replaced by the index there.
pub(super) fn element_places(
    shape: &[usize],
    at: &[usize],
    indices: &Ints,
    axis: usize,
) -> Outcome<Vec<usize>> {
    let fits = at.len() == shape.len() && (0..shape.len()).all(|i| i == axis || at[i] <= shape[i]);
    if !fits {
        return Err(format!("indices of shape {at:?} do not fit data of shape {shape:?}"));
    }
    let strides = strided::strides(shape);
    let mut place = vec![0usize; at.len()];
    let mut places = Vec::with_capacity(indices.len());
    for index in indices {
        let index = axis_of(*index, shape[axis])
            .map_err(|_| format!("the index {index} is outside of an axis of {} elements", shape[axis]))?;
        let offset = (0..at.len()).map(|i| if i == axis { index } else { place[i] } * strides[i] as usize);
        places.push(offset.sum());
        for (p, n) in place.iter_mut().zip(at).rev() {
            *p += 1;
            if *p < *n {
                break;
            }
            *p = 0;
        }
    }
    Ok(places)
}

fn slices(cx: Cx<'_>) -> Outcome<Kernel> {
    let how = reduction(cx)?;
    Ok(Box::new(move |args, ws| {
        let shape = args.value(0)?.shape();
        let (indices, at) = (args.ints(1)?, args.value(1)?.shape());
        let (places, each) = slice_places(shape, at, &indices, 0)?;
        updated(args, &places, each, how, ws).map(|v| results![v])
    }))
}

/// Where the slices start that index tuples along the last axis of `at` name, and how long each is.
pub(super) fn slice_places(
    shape: &[usize],
    at: &[usize],
    indices: &Ints,
    batch_dims: usize,
) -> Outcome<(Vec<usize>, usize)> {
    let depth = *at.last().ok_or("its indices are a scalar")?;
    let fail = || format!("indices of shape {at:?} do not fit data of shape {shape:?}");
    if at.len() <= batch_dims || shape.get(..batch_dims) != at.get(..batch_dims) {
        return Err(fail());
    }
    let indexed = batch_dims.checked_add(depth).and_then(|from| shape.get(from..));
    let each = count(indexed.ok_or_else(fail)?)?;
    let strides = strided::strides(shape);
    let tuples = count(&at[..at.len() - 1])?;
    let per_batch = count(&at[batch_dims..at.len() - 1])?;
    let batch_step = count(&shape[batch_dims..])?;
    let mut places = Vec::with_capacity(tuples);
    for i in 0..tuples {
        let mut place = i / per_batch.max(1) * batch_step;
        for (k, index) in indices[i * depth..][..depth].iter().enumerate() {
            let size = shape[batch_dims + k];
            let index = axis_of(*index, size)
                .map_err(|_| format!("the index {index} is outside of an axis of {size} elements"))?;
            place += index * strides[batch_dims + k] as usize;
        }
        places.push(place);
    }
    Ok((places, each))
}
