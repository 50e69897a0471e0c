//! Random values of a type within bounds.

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use shiftwise_artifact::Fingerprint;
use shiftwise_graph::{DataType, Value};

/// Whole numbers beyond this are not all float64 numbers, so that a bound could be another than the one that was meant.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Checks that a type has values within bounds.
pub(super) fn check(dtype: DataType, [low, high]: [f64; 2]) -> Result<(), String> {
    if !low.is_finite() || !high.is_finite() {
        return Err(format!("{low}:{high} is not a range of finite numbers"));
    }
    if low > high {
        return Err(format!("{low}:{high} is empty; give the lower end first"));
    }
    let integers = |least: i128, most: i128| {
        if low.fract() != 0.0 || high.fract() != 0.0 {
            return Err(format!("it takes {dtype}, and {low}:{high} has a bound that is no integer"));
        }
        if low.abs() > EXACT || high.abs() > EXACT {
            return Err(format!("bounds beyond {EXACT} are not supported"));
        }
        if (low as i128) < least || (high as i128) > most {
            return Err(format!("it takes {dtype}, which holds {least} to {most}, not {low}:{high}"));
        }
        Ok(())
    };
    let floats = |round: &dyn Fn(f64) -> f64, largest: f64| {
        let (least, most) = (round(low), round(high));
        if !least.is_finite() || !most.is_finite() {
            return Err(format!(
                "it takes {dtype}, which holds {:e} to {largest:e}, not {low:e}:{high:e}",
                -largest
            ));
        }
        if low < high && least == most {
            return Err(format!("it takes {dtype}, in which {low} and {high} are the same number"));
        }
        Ok(())
    };
    match dtype {
        DataType::Float => floats(&|v| f64::from(v as f32), f32::MAX.into()),
        DataType::Double => floats(&|v| v, f64::MAX),
        DataType::Float16 => floats(&|v| f16::from_f64(v).into(), f16::MAX.into()),
        DataType::Bfloat16 => floats(&|v| bf16::from_f64(v).into(), bf16::MAX.into()),
        DataType::Int64 => integers(i64::MIN.into(), i64::MAX.into()),
        DataType::Int32 => integers(i32::MIN.into(), i32::MAX.into()),
        DataType::Int16 => integers(i16::MIN.into(), i16::MAX.into()),
        DataType::Int8 => integers(i8::MIN.into(), i8::MAX.into()),
        DataType::Uint64 => integers(0, u64::MAX.into()),
        DataType::Uint32 => integers(0, u32::MAX.into()),
        DataType::Uint16 => integers(0, u16::MAX.into()),
        DataType::Uint8 => integers(0, u8::MAX.into()),
        DataType::Bool => integers(0, 1),
        _ => Err(format!("there are no random values of type {dtype}")),
    }
}

/// Values of a type; `None` where it has no run-time form. Bounds must have passed [`check`]; without them floats are uniform
/// in \[0, 1), integers in {0, 1}.
pub(super) fn values(
    dtype: DataType,
    shape: &[usize],
    bounds: Option<[f64; 2]>,
    bits: &mut Bits,
) -> Option<Value> {
    // As many bits as the mantissa holds, so that nothing rounds up to 1.
    macro_rules! floats {
        ($mantissa:literal, $of:expr, $back:expr, $below:expr) => {
            match bounds {
                None => fill(shape, bits, |b| $of(unit(b, $mantissa))),
                Some(bounds) => fill(shape, bits, between(bounds, $of, $back, $below)),
            }
        };
    }
    // The high bits of a product: 0..=span with equal chances.
    let whole = bounds.filter(|_| !dtype.is_float());
    let (least, span) = whole.map_or((0, 2), |[low, high]| (low as i128, high as i128 - low as i128 + 1));
    let integer = |b: u64| least + ((u128::from(b) * span.unsigned_abs()) >> 64) as i128;
    Some(match dtype {
        DataType::Float => floats!(24, |v| v as f32, f64::from, f32::next_down),
        DataType::Double => floats!(53, |v| v, |v| v, f64::next_down),
        DataType::Float16 => {
            floats!(11, f16::from_f64, f64::from, |v: f16| f16::from_bits(next_down(v.to_bits())))
        }
        DataType::Bfloat16 => {
            floats!(8, bf16::from_f64, f64::from, |v: bf16| bf16::from_bits(next_down(v.to_bits())))
        }
        DataType::Int64 => fill(shape, bits, |b| integer(b) as i64),
        DataType::Int32 => fill(shape, bits, |b| integer(b) as i32),
        DataType::Int16 => fill(shape, bits, |b| integer(b) as i16),
        DataType::Int8 => fill(shape, bits, |b| integer(b) as i8),
        DataType::Uint64 => fill(shape, bits, |b| integer(b) as u64),
        DataType::Uint32 => fill(shape, bits, |b| integer(b) as u32),
        DataType::Uint16 => fill(shape, bits, |b| integer(b) as u16),
        DataType::Uint8 => fill(shape, bits, |b| integer(b) as u8),
        DataType::Bool => fill(shape, bits, |b| integer(b) == 1),
        _ => return None,
    })
}

fn fill<T>(shape: &[usize], bits: &mut Bits, of: impl Fn(u64) -> T) -> Value
where
    Value: From<ArrayD<T>>,
{
    ArrayD::from_shape_simple_fn(IxDyn(shape), || of(bits.next())).into()
}

/// A multiple of 2^-mantissa in \[0, 1).
fn unit(bits: u64, mantissa: u32) -> f64 {
    (bits >> (64 - mantissa)) as f64 / (1_u64 << mantissa) as f64
}

/// From bits to low..high, or to `low` where both are equal. What rounds up to `high` becomes the number below it.
fn between<T: Copy>(
    [low, high]: [f64; 2],
    of: impl Fn(f64) -> T,
    back: impl Fn(T) -> f64,
    below: impl Fn(T) -> T,
) -> impl Fn(u64) -> T {
    let (low, high) = (back(of(low)), back(of(high)));
    move |b| {
        let u = unit(b, 53);
        // Not low + (high - low) * u, whose difference may overflow.
        let value = of((low * (1.0 - u) + high * u).max(low));
        if low < high && back(value) >= high { below(of(high)) } else { value }
    }
}

/// The bits of the next lower number of a 16-bit float format; for finite numbers.
fn next_down(bits: u16) -> u16 {
    match bits {
        0 | 0x8000 => 0x8001,
        1..0x8000 => bits - 1,
        _ => bits + 1,
    }
}

/// The SplitMix64 generator: a counter with a mixing function, the same on every machine.
pub(super) struct Bits(u64);

impl Bits {
    pub(super) fn new(seed: u64, index: usize, name: &str) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPES: [DataType; 13] = [
        DataType::Float,
        DataType::Double,
        DataType::Float16,
        DataType::Bfloat16,
        DataType::Int64,
        DataType::Int32,
        DataType::Int16,
        DataType::Int8,
        DataType::Uint64,
        DataType::Uint32,
        DataType::Uint16,
        DataType::Uint8,
        DataType::Bool,
    ];

    /// The elements as float64, exact within the bounds that are allowed.
    fn elements(value: &Value) -> Vec<f64> {
        match value {
            Value::F32(a) => a.iter().map(|v| f64::from(*v)).collect(),
            Value::F64(a) => a.iter().copied().collect(),
            Value::F16(a) => a.iter().map(|v| f64::from(*v)).collect(),
            Value::Bf16(a) => a.iter().map(|v| f64::from(*v)).collect(),
            Value::I64(a) => a.iter().map(|v| *v as f64).collect(),
            Value::I32(a) => a.iter().map(|v| f64::from(*v)).collect(),
            Value::I16(a) => a.iter().map(|v| f64::from(*v)).collect(),
            Value::I8(a) => a.iter().map(|v| f64::from(*v)).collect(),
            Value::U64(a) => a.iter().map(|v| *v as f64).collect(),
            Value::U32(a) => a.iter().map(|v| f64::from(*v)).collect(),
            Value::U16(a) => a.iter().map(|v| f64::from(*v)).collect(),
            Value::U8(a) => a.iter().map(|v| f64::from(*v)).collect(),
            Value::Bool(a) => a.iter().map(|v| f64::from(u8::from(*v))).collect(),
        }
    }

    fn drawn(dtype: DataType, bounds: [f64; 2], n: usize) -> Vec<f64> {
        check(dtype, bounds).unwrap();
        elements(&values(dtype, &[n], Some(bounds), &mut Bits::new(7, 0, "x")).unwrap())
    }

    #[test]
    fn integers_take_both_ends_and_all_between() {
        for dtype in [DataType::Int8, DataType::Int32, DataType::Int64] {
            let mut seen: Vec<f64> = drawn(dtype, [-3.0, 2.0], 600);
            let third = seen.iter().filter(|v| **v < -1.0).count();
            assert!((150..250).contains(&third), "{third} of 600");
            seen.sort_by(f64::total_cmp);
            seen.dedup();
            assert_eq!(seen, [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0]);
        }
        assert_eq!(drawn(DataType::Bool, [1.0, 1.0], 3), [1.0; 3]);
        let all = drawn(DataType::Uint8, [0.0, 255.0], 20_000);
        assert_eq!((0..256).filter(|v| all.contains(&f64::from(*v))).count(), 256);
    }

    #[test]
    fn floats_never_reach_the_upper_end() {
        let mean = drawn(DataType::Float, [-1.0, 3.0], 4000).iter().sum::<f64>() / 4000.0;
        assert!((mean - 1.0).abs() < 0.1, "{mean}");
        // Of three bfloat16 numbers, the upper end is left out.
        for v in drawn(DataType::Bfloat16, [256.0, 260.0], 200) {
            assert!(v == 256.0 || v == 258.0, "{v}");
        }
        assert_eq!(drawn(DataType::Float16, [-0.5, -0.5], 2), [-0.5; 2]);
        assert!(drawn(DataType::Double, [-1.7e308, 1.7e308], 50).iter().all(|v| v.is_finite()));
    }

    #[test]
    fn ranges_that_a_type_does_not_hold() {
        let reason = |dtype, low, high| check(dtype, [low, high]).unwrap_err();
        assert!(reason(DataType::Uint8, -1.0, 5.0).contains("0 to 255"));
        assert!(reason(DataType::Int8, 0.0, 128.0).contains("-128 to 127"));
        assert!(reason(DataType::Int32, 0.0, 0.5).contains("no integer"));
        assert!(reason(DataType::Int64, 0.0, 1e18).contains("9007199254740992"));
        assert!(reason(DataType::Float16, 0.0, 1e5).contains("6.5504e4"));
        assert!(reason(DataType::Float16, 1.0, 1.0001).contains("same number"));
        assert!(reason(DataType::Float, 1.0, 0.0).contains("lower end first"));
        assert!(reason(DataType::Float, f64::NAN, 0.0).contains("finite"));
        assert!(reason(DataType::Int4, 0.0, 1.0).contains("int4"));
    }

    proptest! {
        #[test]
        fn values_stay_within_every_range_that_is_accepted(
            dtype in proptest::sample::select(TYPES.to_vec()),
            low in prop_oneof![-300_i32..300, any::<i32>()],
            width in prop_oneof![0_i32..300, 0..i32::MAX],
            fraction in prop_oneof![Just(1.0), Just(0.37), Just(1e-3)],
        ) {
            let bounds = [f64::from(low) * fraction, (f64::from(low) + f64::from(width)) * fraction];
            if check(dtype, bounds).is_err() {
                return Ok(());
            }
            let round = |v: f64| match dtype {
                DataType::Float => f64::from(v as f32),
                DataType::Float16 => f16::from_f64(v).into(),
                DataType::Bfloat16 => bf16::from_f64(v).into(),
                _ => v,
            };
            let (low, high) = (round(bounds[0]), round(bounds[1]));
            for v in drawn(dtype, bounds, 40) {
                prop_assert!(low <= v && v <= high, "{} in {}..{}", v, low, high);
                prop_assert!(!dtype.is_float() || low == high || v < high, "{} in {}..{}", v, low, high);
            }
        }
    }
}
