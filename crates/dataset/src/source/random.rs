//! Samples that are made up.

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use shiftwise_artifact::Fingerprint;
use shiftwise_graph::{DataType, Value};

use super::Samples;
use crate::{DataError, InputSpec, Result};

/// Floats uniform in \[0, 1), integers and booleans uniform in {0, 1}.
#[derive(Debug)]
struct Random {
    seed: u64,
    inputs: Vec<(String, DataType, Vec<usize>)>,
}

pub(super) fn open(seed: u64, count: usize, inputs: &[InputSpec]) -> Result<(Vec<String>, Box<dyn Samples>)> {
    let mut shaped = Vec::new();
    for input in inputs {
        let fail = |reason: String| DataError::Unsupported { input: input.name.clone(), reason };
        let mut shape = Vec::new();
        for (axis, dim) in input.shape.iter().enumerate() {
            shape.push(match dim {
                Some(dim) => *dim,
                None if axis == 0 => 1,
                None => {
                    return Err(fail(format!(
                        "dimension {axis} of {} is dynamic, and random samples need a size: fix it when the model \
                         is prepared (--fix-dim '{}[{axis}]=N'), or use real samples",
                        input.shape_text(),
                        input.name
                    )));
                }
            });
        }
        let elements = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        if elements.is_none_or(|n| n > MAX_ELEMENTS) {
            return Err(fail(format!("{} is too large", input.shape_text())));
        }
        if random(input.dtype, &[], &mut Bits(0)).is_none() {
            return Err(fail(format!("there are no random values of type {}", input.dtype)));
        }
        shaped.push((input.name.clone(), input.dtype, shape));
    }
    let ids = (0..count).map(|i| format!("random#{i}")).collect();
    Ok((ids, Box::new(Random { seed, inputs: shaped })))
}

/// No input of a network is larger; a shape beyond this is a mistake that would exhaust the memory.
const MAX_ELEMENTS: usize = 1 << 32;

impl Samples for Random {
    fn load(&self, index: usize, _id: &str) -> Result<Vec<(String, Value)>> {
        self.inputs
            .iter()
            .map(|(name, dtype, shape)| {
                let mut bits = Bits::new(self.seed, index, name);
                let value = random(*dtype, shape, &mut bits).ok_or_else(|| DataError::Unsupported {
                    input: name.clone(),
                    reason: format!("there are no random values of type {dtype}"),
                })?;
                Ok((name.clone(), value))
            })
            .collect()
    }

    fn fingerprint(&self, index: usize) -> Result<Fingerprint> {
        let values = self.load(index, "")?;
        Ok(super::joint(values.iter().map(|(name, v)| (name.as_str(), Fingerprint::of_bytes(&v.to_bytes())))))
    }
}

/// Values of a type; `None` where it has no run-time form.
fn random(dtype: DataType, shape: &[usize], bits: &mut Bits) -> Option<Value> {
    fn fill<T>(shape: &[usize], bits: &mut Bits, of: impl Fn(u64) -> T) -> Value
    where
        Value: From<ArrayD<T>>,
    {
        ArrayD::from_shape_simple_fn(IxDyn(shape), || of(bits.next())).into()
    }
    // As many bits as the mantissa holds, so that nothing rounds up to 1.
    let unit = |b: u64, mantissa: u32| (b >> (64 - mantissa)) as f64 / (1_u64 << mantissa) as f64;
    Some(match dtype {
        DataType::Float => fill(shape, bits, |b| unit(b, 24) as f32),
        DataType::Double => fill(shape, bits, |b| unit(b, 53)),
        DataType::Float16 => fill(shape, bits, |b| f16::from_f64(unit(b, 11))),
        DataType::Bfloat16 => fill(shape, bits, |b| bf16::from_f64(unit(b, 8))),
        DataType::Int64 => fill(shape, bits, |b| (b >> 63) as i64),
        DataType::Int32 => fill(shape, bits, |b| (b >> 63) as i32),
        DataType::Int16 => fill(shape, bits, |b| (b >> 63) as i16),
        DataType::Int8 => fill(shape, bits, |b| (b >> 63) as i8),
        DataType::Uint64 => fill(shape, bits, |b| b >> 63),
        DataType::Uint32 => fill(shape, bits, |b| (b >> 63) as u32),
        DataType::Uint16 => fill(shape, bits, |b| (b >> 63) as u16),
        DataType::Uint8 => fill(shape, bits, |b| (b >> 63) as u8),
        DataType::Bool => fill(shape, bits, |b| b >> 63 == 1),
        _ => return None,
    })
}

/// The SplitMix64 generator: a counter with a mixing function, the same on every machine.
struct Bits(u64);

impl Bits {
    fn new(seed: u64, index: usize, name: &str) -> Self {
        let start = Fingerprint::of_bytes(format!("{seed} {index} {name}").as_bytes());
        Self(start.as_bytes().iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
