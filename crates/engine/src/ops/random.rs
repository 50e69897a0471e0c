//! Random numbers.
//!
//! They come from a generator of our own (SplitMix64), started from the attribute `seed` and the node's name: every
//! run gives the same numbers, which differ from those of other engines.

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use shiftwise_graph::{DataType, Value};

use super::{Cx, Op, cast};
use crate::args::{Kernel, Outcome, results};
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[
    Op::any("RandomNormal", generate),
    Op::any("RandomNormalLike", generate),
    Op::any("RandomUniform", generate),
    Op::any("RandomUniformLike", generate),
    Op::any("Bernoulli", bernoulli),
    Op::any("Multinomial", multinomial),
];

/// SplitMix64.
struct Generator(u64);

impl Generator {
    fn new(cx: Cx<'_>) -> Self {
        let seed = cx.node.float("seed").map_or(0, f32::to_bits);
        // FNV-1a of the name, so that nodes without a seed differ.
        let label = cx.node.label();
        let hash = label
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        Self(hash ^ (u64::from(seed) << 17))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.0;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal, after Box and Muller.
    fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * libm::log(a)).sqrt() * libm::cos(std::f64::consts::TAU * b)
    }
}

/// Floats of a type.
fn floats(dtype: DataType, shape: &[usize], mut f: impl FnMut() -> f64) -> Outcome<Value> {
    let elements: Vec<f64> = (0..count(shape)?).map(|_| f()).collect();
    let a = ArrayD::from_shape_vec(IxDyn(shape), elements).map_err(|e| e.to_string())?;
    Ok(match dtype {
        DataType::Float => Value::F32(a.mapv(|v| v as f32)),
        DataType::Double => Value::F64(a),
        DataType::Float16 => Value::F16(a.mapv(f16::from_f64)),
        DataType::Bfloat16 => Value::Bf16(a.mapv(bf16::from_f64)),
        other => return Err(format!("random numbers of {other} are not defined")),
    })
}

fn generate(cx: Cx<'_>) -> Outcome<Kernel> {
    let normal = cx.node.op_type.starts_with("RandomNormal");
    let like = cx.node.op_type.ends_with("Like");
    let shape = if like { None } else { Some(cx.sizes("shape", 0)?.ok_or("it has no attribute shape")?) };
    let dtype = cx.dtype("dtype")?;
    let (a, b) = if normal {
        (cx.float_or("mean", 0.0), cx.float_or("scale", 1.0))
    } else {
        (cx.float_or("low", 0.0), cx.float_or("high", 1.0))
    };
    let (a, b) = (f64::from(a), f64::from(b));
    let start = Generator::new(cx).0;
    Ok(Box::new(move |args, _| {
        let mut generator = Generator(start);
        let (shape, default) = match &shape {
            Some(shape) => (shape.as_slice(), DataType::Float),
            None => (args.value(0)?.shape(), args.value(0)?.dtype()),
        };
        let result = floats(dtype.unwrap_or(default), shape, || {
            if normal { a + b * generator.normal() } else { a + (b - a) * generator.uniform() }
        });
        Ok(results![result?])
    }))
}

/// Each element is 1 with the probability that the input says.
fn bernoulli(cx: Cx<'_>) -> Outcome<Kernel> {
    let dtype = cx.dtype("dtype")?;
    let start = Generator::new(cx).0;
    Ok(Box::new(move |args, ws| {
        let x = args.value(0)?;
        let mut generator = Generator(start);
        let wide = cast::cast(x, DataType::Double, ws)?;
        let Value::F64(p) = &wide else { return Err("its input is not floats".into()) };
        let drawn = Value::F64(p.mapv(|p| if generator.uniform() < p { 1.0 } else { 0.0 }));
        Ok(results![cast::cast(&drawn, dtype.unwrap_or(x.dtype()), ws)?])
    }))
}

/// Draws classes from rows of unnormalised log-probabilities.
fn multinomial(cx: Cx<'_>) -> Outcome<Kernel> {
    let samples = match cx.node.int("sample_size") {
        None => 1,
        Some(_) => cx.positive("sample_size")?,
    };
    let dtype = cx.dtype("dtype")?.unwrap_or(DataType::Int32);
    let start = Generator::new(cx).0;
    Ok(Box::new(move |args, ws| {
        let x = cast::cast(args.value(0)?, DataType::Double, ws)?;
        let (Value::F64(a), &[rows, classes]) = (&x, x.shape()) else {
            return Err(format!("its input of shape {:?} is not a matrix", x.shape()));
        };
        let mut generator = Generator(start);
        let mut out = Vec::with_capacity(count(&[rows, samples])?);
        for row in crate::scalar::slice(a).chunks_exact(classes.max(1)) {
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = row.iter().map(|v| libm::exp(v - top)).collect();
            let total: f64 = weights.iter().sum();
            for _ in 0..samples {
                let mut left = generator.uniform() * total;
                let class = weights.iter().position(|w| {
                    left -= w;
                    left < 0.0
                });
                out.push(class.unwrap_or(classes.saturating_sub(1)) as i64);
            }
        }
        let drawn = crate::scalar::value(&[rows, samples], out)?;
        Ok(results![cast::cast(&drawn, dtype, ws)?])
    }))
}

#[cfg(test)]
mod tests {
    use super::Generator;

    #[test]
    fn moments_are_those_of_the_distribution() {
        let mut g = Generator(7);
        let n = 20_000;
        let (mut sum, mut squares, mut uniform) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let v = g.normal();
            sum += v;
            squares += v * v;
            uniform += g.uniform();
        }
        let n = f64::from(n);
        assert!(
            (sum / n).abs() < 0.03 && (squares / n - 1.0).abs() < 0.05 && (uniform / n - 0.5).abs() < 0.01
        );
    }
}
