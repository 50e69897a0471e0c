//! Samples that are made up.

mod draw;

use shiftwise_artifact::Fingerprint;
use shiftwise_graph::{DataType, Value};

use self::draw::Bits;
use super::Samples;
use crate::{DataError, InputSpec, RandomSpec, Result};

/// The options, for messages.
const SHAPE: &str = "--random-shape";
const RANGE: &str = "--random-range";

#[derive(Debug)]
struct Random {
    seed: u64,
    inputs: Vec<Input>,
}

#[derive(Debug)]
struct Input {
    name: String,
    dtype: DataType,
    shape: Vec<usize>,
    /// The input, where values are drawn for what it was before, so that they are the same.
    turned: Option<InputSpec>,
    bounds: Option<[f64; 2]>,
}

pub(super) fn open(
    seed: u64,
    count: usize,
    spec: &RandomSpec,
    inputs: &[InputSpec],
) -> Result<(Vec<String>, Box<dyn Samples>)> {
    known(SHAPE, spec.shapes.keys(), inputs)?;
    known(RANGE, spec.ranges.keys(), inputs)?;
    let inputs: Vec<Input> = inputs.iter().map(|input| made(input, spec)).collect::<Result<_>>()?;
    let ids = (0..count).map(|i| format!("random#{i}")).collect();
    Ok((ids, Box::new(Random { seed, inputs })))
}

/// Checks that options name inputs of the model.
fn known<'a>(
    option: &'static str,
    names: impl Iterator<Item = &'a String>,
    inputs: &[InputSpec],
) -> Result<()> {
    for name in names {
        if inputs.iter().any(|i| i.name == *name) {
            continue;
        }
        let near = inputs
            .iter()
            .map(|i| (strsim::normalized_damerau_levenshtein(&i.name, name), &i.name))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(likeness, _)| *likeness >= 0.5);
        let names: Vec<String> = inputs.iter().map(|i| i.name.clone()).collect();
        let advice = near.map_or_else(
            || format!("the inputs are {}", crate::error::listed(&names)),
            |(_, near)| format!("did you mean {near:?}?"),
        );
        let reason = format!("the model has no such input; {advice}");
        return Err(DataError::Random { option, input: name.clone(), reason });
    }
    Ok(())
}

/// How values for an input are made.
fn made(input: &InputSpec, spec: &RandomSpec) -> Result<Input> {
    let fail = |reason: String| DataError::Unsupported { input: input.name.clone(), reason };
    if draw::values(input.dtype, &[0], None, &mut Bits::new(0, 0, "")).is_none() {
        return Err(fail(format!("there are no random values of type {}", input.dtype)));
    }
    let turned = input.before().map(|_| input.clone());
    let before = input.before();
    let drawn = before.as_ref().unwrap_or(input);
    let shape = match spec.shapes.get(&input.name) {
        Some(shape) => match (filled(drawn, shape), shape.as_slice()) {
            (Err(_), [n, h, w, c]) if turned.is_some() => {
                filled(input, shape)?;
                vec![*n, *c, *h, *w]
            }
            (filled, _) => filled?,
        },
        None => assumed(drawn)?,
    };
    let elements = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
    if elements.is_none_or(|n| n > MAX_ELEMENTS) {
        return Err(fail(format!("{shape:?} is too large")));
    }
    let own = spec.ranges.get(&input.name).copied();
    let bounds = own.or(spec.range);
    if let Some(bounds) = bounds {
        draw::check(input.dtype, bounds).map_err(|reason| {
            let own_one = format!("; give it a range of its own: {RANGE} {}=LO:HI", input.name);
            let advice = if own.is_some() { String::new() } else { own_one };
            DataError::Random { option: RANGE, input: input.name.clone(), reason: reason + &advice }
        })?;
    }
    Ok(Input { name: input.name.clone(), dtype: input.dtype, shape, turned, bounds })
}

/// No input of a network is larger; a shape beyond this is a mistake that would exhaust the memory.
const MAX_ELEMENTS: usize = 1 << 32;

/// The shape that was asked for, where the model allows it.
fn filled(input: &InputSpec, shape: &[usize]) -> Result<Vec<usize>> {
    let agrees = shape.len() == input.shape.len()
        && input.shape.iter().zip(shape).all(|(wanted, given)| wanted.is_none_or(|w| w == *given));
    let reason = if !agrees {
        format!("the model takes {}, not {shape:?}; a shape fills dimensions that are ?", input.shape_text())
    } else if shape.contains(&0) {
        format!("{shape:?} has no element")
    } else {
        return Ok(shape.to_vec());
    };
    Err(DataError::Random { option: SHAPE, input: input.name.clone(), reason })
}

/// The shape of a batch of one, where nothing else is open.
fn assumed(input: &InputSpec) -> Result<Vec<usize>> {
    let dims = input.shape.iter().enumerate();
    let shape: Option<Vec<usize>> = dims.map(|(axis, dim)| dim.or((axis == 0).then_some(1))).collect();
    shape.ok_or_else(|| {
        let axis = input.shape.iter().skip(1).position(Option::is_none).map_or(0, |i| i + 1);
        let example: Vec<String> = (0..input.shape.len())
            .map(|i| match input.shape[i] {
                Some(dim) => dim.to_string(),
                None if i == 0 => "1".to_owned(),
                None => "N".to_owned(),
            })
            .collect();
        DataError::Unsupported {
            input: input.name.clone(),
            reason: format!(
                "dimension {axis} of {} is dynamic, and random samples need a size: give one with {SHAPE} '{}={}', or fix \
                 it when the model is prepared (--fix-dim '{}[{axis}]=N'), or use real samples",
                input.shape_text(),
                input.name,
                example.join("x"),
                input.name
            ),
        }
    })
}

impl Samples for Random {
    fn load(&self, index: usize, _id: &str) -> Result<Vec<(String, Value)>> {
        self.inputs
            .iter()
            .map(|input| {
                let mut bits = Bits::new(self.seed, index, &input.name);
                let value = draw::values(input.dtype, &input.shape, input.bounds, &mut bits);
                let value = value.ok_or_else(|| DataError::Unsupported {
                    input: input.name.clone(),
                    reason: format!("there are no random values of type {}", input.dtype),
                })?;
                let value = match &input.turned {
                    Some(now) => crate::shape::arranged(value, now),
                    None => value,
                };
                Ok((input.name.clone(), value))
            })
            .collect()
    }

    fn fingerprint(&self, index: usize) -> Result<Fingerprint> {
        let values = self.load(index, "")?;
        Ok(super::joint(values.iter().map(|(name, v)| (name.as_str(), Fingerprint::of_bytes(&v.to_bytes())))))
    }
}
