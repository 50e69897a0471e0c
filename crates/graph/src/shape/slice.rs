//! Operators that take tensors apart along an axis, or join them.

use super::context::{Ctx, Stop, contradiction, unknown};
use super::data::{Data, Elem};
use super::dims;
use super::registry::Family;
use crate::Dim;

pub(super) const OPS: Family = &[("Concat", concat), ("Pad", pad), ("Slice", slice), ("Split", split)];

/// Start, first position beyond the end, and number of elements of a slice over `n` elements.
fn clamp(n: i64, start: i64, end: i64, step: i64) -> (i64, i64) {
    let absolute = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let start = absolute(start).clamp(if step > 0 { 0 } else { low }, high);
    let end = absolute(end).clamp(low, high);
    let span = if step > 0 { end - start } else { start - end };
    let step = step.unsigned_abs();
    let count = if span <= 0 { 0 } else { (span as u64).div_ceil(step) as i64 };
    (start, count)
}

/// The extent of one sliced axis; `None` for an end that is not known.
fn sliced(
    dim: &Dim,
    start: Option<&Elem>,
    end: Option<&Elem>,
    step: Option<i64>,
    int_max: i64,
) -> Result<Dim, Stop> {
    let (Some(start), Some(end), Some(step)) = (start, end, step) else { return Ok(Dim::Unknown) };
    if step == 0 {
        return contradiction("it has a step of 0");
    }
    let all = step == 1 && *start == Elem::Int(0);
    match (dim, start, end) {
        (Dim::Known(n), Elem::Int(start), Elem::Int(end)) => match i64::try_from(*n) {
            Ok(n) => dims::known(clamp(n, *start, *end, step).1),
            Err(_) => contradiction("an extent overflows"),
        },
        // What says "to the end" for any extent keeps the name.
        (Dim::Symbol(_), _, Elem::Int(end)) if all && *end >= int_max => Ok(dim.clone()),
        (Dim::Symbol(name), _, Elem::Symbol(end)) if all && name == end => Ok(dim.clone()),
        (Dim::Symbol(_), Elem::Int(-1), Elem::Int(end)) if step == -1 && *end <= i64::from(i32::MIN) => {
            Ok(dim.clone())
        }
        // The last few of an extent that is at least as long is what exporters mean, but nothing promises it.
        _ => Ok(Dim::Unknown),
    }
}

fn slice(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let x = ctx.dims(0)?;
    let attribute =
        |name: &str| ctx.node.ints(name).map(|v| v.iter().map(|n| Elem::Int(*n)).collect::<Vec<_>>());
    let from_input = |input: usize| ctx.value(input).map(|d| d.elems.clone());
    let old = ctx.opset < 10;
    let starts = if old { attribute("starts") } else { from_input(1) };
    let ends = if old { attribute("ends") } else { from_input(2) };
    let count = starts.as_ref().or(ends.as_ref()).map(Vec::len);
    let axes = match (old, ctx.has(3)) {
        (true, _) => {
            ctx.node.ints("axes").map(<[i64]>::to_vec).or_else(|| count.map(|c| (0..c as i64).collect()))
        }
        (false, true) => ctx.ints(3),
        (false, false) => count.map(|c| (0..c as i64).collect()),
    };
    let steps = if !old && ctx.has(4) { ctx.ints(4) } else { count.map(|c| vec![1; c]) };
    let Some(axes) = axes else {
        ctx.set(0, dtype, Some(vec![Dim::Unknown; x.len()]));
        return unknown("which axes it slices is computed at run time");
    };
    let axes = dims::axes(&axes, x.len())?;
    let lengths = [starts.as_ref().map(Vec::len), ends.as_ref().map(Vec::len), steps.as_ref().map(Vec::len)];
    if lengths.into_iter().flatten().any(|n| n != axes.len()) {
        return contradiction("its starts, ends, axes and steps differ in number");
    }
    let mut out = x.clone();
    for (i, axis) in axes.iter().enumerate() {
        let (start, end) = (starts.as_ref().and_then(|s| s.get(i)), ends.as_ref().and_then(|e| e.get(i)));
        out[*axis] = sliced(
            &x[*axis],
            start,
            end,
            steps.as_ref().and_then(|s| s.get(i).copied()),
            ctx.env.options.int_max,
        )?;
    }
    if out.contains(&Dim::Unknown) {
        ctx.note(format!("where it slices {} is not known before the run", dims::list(&[&x])));
    }
    ctx.done(dtype, out)?;
    let data = content(ctx, starts.as_deref(), ends.as_deref(), steps.as_deref());
    ctx.follow(data);
    Ok(())
}

fn content(ctx: &Ctx, starts: Option<&[Elem]>, ends: Option<&[Elem]>, steps: Option<&[i64]>) -> Option<Data> {
    let data = ctx.value(0).filter(|d| !d.scalar)?;
    let ([Elem::Int(start)], [Elem::Int(end)], [step]) = (starts?, ends?, steps?) else { return None };
    let (start, count) = clamp(data.elems.len() as i64, *start, *end, *step);
    let elems = (0..count).map(|i| data.elems.get(usize::try_from(start + i * step).ok()?).cloned());
    Some(Data::list(elems.collect::<Option<_>>()?))
}

fn concat(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let shapes = (0..ctx.inputs.len()).map(|i| ctx.dims(i)).collect::<Result<Vec<_>, _>>()?;
    let Some(axis) = ctx.node.int("axis") else { return contradiction("its axis is missing") };
    if shapes.is_empty() {
        return contradiction("it joins nothing");
    }
    let axis = dims::axis(axis, shapes[0].len())?;
    let mut out = shapes[0].clone();
    for shape in &shapes[1..] {
        if shape.len() != out.len() {
            return contradiction(format!("it joins {} of different ranks", dims::list(&[&out, shape])));
        }
        for (i, dim) in shape.iter().enumerate() {
            out[i] = if i == axis {
                match (&out[i], dim) {
                    (a, Dim::Known(n)) => match i64::try_from(*n) {
                        Ok(n) => dims::add(a, n)?,
                        Err(_) => return contradiction("an extent overflows"),
                    },
                    (Dim::Known(0), d) => d.clone(),
                    _ => Dim::Unknown,
                }
            } else {
                ctx.env.meet(&out[i], dim);
                match dims::merge(&out[i], dim) {
                    Some(merged) => merged,
                    None => {
                        return contradiction(format!(
                            "it joins {} at axis {axis}",
                            dims::list(&[&out, shape])
                        ));
                    }
                }
            };
        }
    }
    if out.contains(&Dim::Unknown) {
        ctx.note("the sum of the joined extents has no name");
    }
    ctx.done(dtype, out)?;
    let parts: Option<Vec<_>> = (0..ctx.inputs.len()).map(|i| ctx.value(i).filter(|d| !d.scalar)).collect();
    ctx.follow(parts.map(|p| Data::list(p.iter().flat_map(|d| d.elems.iter().cloned()).collect())));
    Ok(())
}

fn split(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    let outputs = ctx.types.len();
    for i in 0..outputs {
        ctx.set(i, dtype, None);
    }
    let x = ctx.dims(0)?;
    let axis = dims::axis(ctx.node.int("axis").unwrap_or(0), x.len())?;
    let sizes: Vec<Dim> = match ctx.ints_from("split", 1) {
        Ok(Some(sizes)) if sizes.len() == outputs => {
            sizes.iter().map(|s| dims::known(*s)).collect::<Result<_, _>>()?
        }
        Ok(Some(sizes)) => {
            return contradiction(format!("it has {} sizes for {outputs} outputs", sizes.len()));
        }
        Ok(None) => match x[axis].known() {
            Some(n) => {
                let chunk = n.div_ceil(outputs.max(1));
                (0..outputs).map(|i| Dim::Known(n.saturating_sub(chunk * i).min(chunk))).collect()
            }
            None if outputs == 1 => vec![x[axis].clone()],
            None => vec![Dim::Unknown; outputs],
        },
        Err(_) => vec![Dim::Unknown; outputs],
    };
    let sum: Option<usize> = sizes.iter().map(Dim::known).sum();
    if let (Some(n), Some(sum)) = (x[axis].known(), sum)
        && n != sum
    {
        return contradiction(format!("its sizes add up to {sum} but axis {axis} has {n}"));
    }
    if sizes.contains(&Dim::Unknown) {
        ctx.note("the sizes of its parts are not known before the run");
    }
    let content = ctx.value(0).filter(|d| !d.scalar);
    let mut at = 0usize;
    for (i, size) in sizes.into_iter().enumerate() {
        if let (Some(data), Some(n)) = (&content, size.known()) {
            ctx.data[i] = data.elems.get(at..at.saturating_add(n)).map(|e| Data::list(e.to_vec()));
            at = at.saturating_add(n);
        }
        let mut out = x.clone();
        out[axis] = size;
        ctx.set(i, dtype, Some(out));
    }
    Ok(())
}

fn pad(ctx: &mut Ctx) -> Result<(), Stop> {
    let dtype = ctx.dtype(0)?;
    ctx.set(0, dtype, None);
    let x = ctx.dims(0)?;
    let axes = if ctx.has(3) {
        let Some(list) = ctx.ints(3) else {
            ctx.set(0, dtype, Some(vec![Dim::Unknown; x.len()]));
            return unknown("which axes it pads is computed at run time");
        };
        dims::axes(&list, x.len())?
    } else {
        (0..x.len()).collect()
    };
    let pads: Vec<Elem> = if ctx.opset < 11 {
        ctx.node.ints("pads").unwrap_or_default().iter().map(|v| Elem::Int(*v)).collect()
    } else {
        match ctx.value(1) {
            Some(data) => data.elems.clone(),
            None => vec![Elem::Unknown; 2 * axes.len()],
        }
    };
    if pads.len() != 2 * axes.len() {
        return contradiction(format!("it has {} pads for {} axes", pads.len(), axes.len()));
    }
    let mut out = x.clone();
    for (i, axis) in axes.iter().enumerate() {
        out[*axis] = match (&pads[i], &pads[i + axes.len()]) {
            (Elem::Int(a), Elem::Int(b)) => match a.checked_add(*b) {
                Some(sum) => dims::add(&x[*axis], sum)?,
                None => return contradiction("its padding overflows"),
            },
            _ => Dim::Unknown,
        };
    }
    if out.contains(&Dim::Unknown) {
        ctx.note(format!("how far it pads {} has no name", dims::list(&[&x])));
    }
    ctx.done(dtype, out)
}

#[cfg(test)]
mod tests {
    use super::clamp;

    /// Against the definition: walk and count.
    #[test]
    fn clamped_slices_are_what_walking_gives() {
        for n in 0..5i64 {
            for start in -7..7 {
                for end in -7..7 {
                    for step in [-3, -2, -1, 1, 2, 3] {
                        let absolute = |v: i64| if v < 0 { v + n } else { v };
                        let mut at = if step > 0 {
                            absolute(start).clamp(0, n)
                        } else {
                            absolute(start).clamp(-1, n - 1)
                        };
                        let stop =
                            if step > 0 { absolute(end).clamp(0, n) } else { absolute(end).clamp(-1, n - 1) };
                        let mut count = 0;
                        while if step > 0 { at < stop } else { at > stop } {
                            count += 1;
                            at += step;
                        }
                        assert_eq!(clamp(n, start, end, step).1, count, "{n} {start} {end} {step}");
                    }
                }
            }
        }
    }
}
