//! Activations with their slopes, and the squared error behind them.

use shiftwise_kernels::math;

use crate::layer::Activation;

use super::Refused;
use super::simd::{Kernel, LANES, dispatch, sum};

/// The activation of a layer.
#[derive(Clone, Debug)]
pub(super) struct Functions {
    function: Function,
    /// Slopes of the channels of a PRelu that has several.
    slopes: Vec<f32>,
    /// The quantization of what is behind it, where that is part of the training.
    pub(super) output: Option<OutputGrid>,
}

/// The values that the quantization of a layer's output leaves: multiples of a scale from one to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputGrid {
    scale: f32,
    range: (f32, f32),
}

/// What is behind an output channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    function: Function,
    output: Option<OutputGrid>,
}

/// The activation of an output channel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Function {
    Identity,
    Leaky(f32),
    Clip(f32, f32),
    Sigmoid,
    Tanh,
    Gelu,
    GeluTanh,
}

impl Functions {
    /// For a layer with so many output channels, which are axis 1 of its output or not.
    pub(super) fn new(activation: &Activation, channels: usize, axis_1: bool) -> Result<Self, Refused> {
        let mut slopes = Vec::new();
        let function = match activation {
            Activation::None => Function::Identity,
            Activation::Relu => Function::Leaky(0.0),
            Activation::LeakyRelu(slope) => Function::Leaky(*slope),
            Activation::PRelu(all) => match all[..] {
                [slope] => Function::Leaky(slope),
                _ if axis_1 && all.len() == channels => {
                    slopes.clone_from(all);
                    Function::Leaky(0.0)
                }
                _ => {
                    return Err(Refused::Activation(
                        "its slopes are not those of the layer's output channels",
                    ));
                }
            },
            Activation::Clip(lo, hi) => Function::Clip(*lo, *hi),
            Activation::Sigmoid => Function::Sigmoid,
            Activation::Tanh => Function::Tanh,
            Activation::Gelu(false) => Function::Gelu,
            Activation::Gelu(true) => Function::GeluTanh,
            Activation::Softmax(_) => {
                return Err(Refused::Activation("a softmax makes every output depend on all others"));
            }
        };
        let finite = match function {
            Function::Leaky(slope) => slope.is_finite() && slopes.iter().all(|s| s.is_finite()),
            Function::Clip(lo, hi) => lo <= hi,
            _ => true,
        };
        if !finite {
            return Err(Refused::Activation("its slopes or limits are not finite, or the limits cross"));
        }
        Ok(Self { function, slopes, output: None })
    }

    pub(super) fn of(&self, channel: usize) -> Channel {
        let function = self.slopes.get(channel).map_or(self.function, |&slope| Function::Leaky(slope));
        Channel { function, output: self.output }
    }
}

impl OutputGrid {
    /// For integers from `range.0` to `range.1` with this scale and zero point. None where that is no grid.
    pub fn new(scale: f32, zero_point: i64, range: (i64, i64)) -> Option<Self> {
        let range = ((range.0 - zero_point) as f32, (range.1 - zero_point) as f32);
        (scale > 0.0 && scale.is_finite() && range.0 < range.1).then_some(Self { scale, range })
    }

    /// The nearest value there is; its slope is taken for 1 within the range, and is 0 outside.
    #[inline(always)]
    fn through(self, (value, slope): (f32, f32)) -> (f32, f32) {
        let q = (value / self.scale).round_ties_even();
        let cut = q.max(self.range.0).min(self.range.1);
        (cut * self.scale, if cut == q { slope } else { 0.0 })
    }
}

impl Channel {
    /// Puts the value of the activation in place of the argument.
    pub(super) fn apply(self, z: &mut [f32]) {
        self.function.visit(Apply { z });
    }

    /// With `d = act(z + bias) − target`, `act` with the quantization behind it: puts `factor · d · act'(z + bias)` in place of `z`;
    /// gives the sums of `d²` and of what it puts.
    pub(super) fn backward(self, bias: f32, z: &mut [f32], target: &[f32], factor: f32) -> [f32; 2] {
        let backward = Backward { bias, z, target, factor };
        match self.output {
            None => self.function.visit(backward),
            Some(grid) => self.function.visit(Quantized { backward, grid }),
        }
    }
}

impl Function {
    fn visit<J: Job>(self, job: J) -> J::Output {
        match self {
            Self::Identity => dispatch(With { job, f: |z: f32| (z, 1.0) }),
            Self::Leaky(slope) => {
                let f = move |z: f32| if z > 0.0 { (z, 1.0) } else { (slope * z, slope) };
                dispatch(With { job, f })
            }
            Self::Clip(lo, hi) => {
                let slope = move |z: f32| if z >= lo && z <= hi { 1.0 } else { 0.0 };
                dispatch(With { job, f: move |z: f32| (z.max(lo).min(hi), slope(z)) })
            }
            Self::Sigmoid => dispatch(With { job, f: sigmoid }),
            Self::Tanh => dispatch(With { job, f: tanh }),
            Self::Gelu => dispatch(With { job, f: gelu }),
            Self::GeluTanh => dispatch(With { job, f: gelu_tanh }),
        }
    }
}

#[inline(always)]
fn sigmoid(z: f32) -> (f32, f32) {
    let y = math::sigmoid(z);
    (y, y * (1.0 - y))
}

#[inline(always)]
fn tanh(z: f32) -> (f32, f32) {
    let y = math::tanh(z);
    (y, 1.0 - y * y)
}

/// `z Φ(z)` and `Φ(z) + z φ(z)`.
#[inline(always)]
fn gelu(z: f32) -> (f32, f32) {
    /// 1 / √(2π)
    const DENSITY: f32 = 0.398_942_3;
    let share = 0.5 + 0.5 * math::erf(z * std::f32::consts::FRAC_1_SQRT_2);
    (z * share, share + z * DENSITY * math::exp(-0.5 * z * z))
}

/// `½ z (1 + tanh(√(2/π) (z + 0.044715 z³)))` and its derivative.
#[inline(always)]
fn gelu_tanh(z: f32) -> (f32, f32) {
    /// √(2/π)
    const FACTOR: f32 = 0.797_884_6;
    const CUBIC: f32 = 0.044_715;
    let t = math::tanh(FACTOR * (z + CUBIC * z * z * z));
    let inner = FACTOR * (1.0 + 3.0 * CUBIC * z * z);
    (0.5 * z * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * z * (1.0 - t * t) * inner)
}

/// What is done with a function that gives value and slope.
trait Job {
    type Output;

    fn run(self, f: impl Fn(f32) -> (f32, f32) + Copy) -> Self::Output;
}

struct With<J, F> {
    job: J,
    f: F,
}

impl<J: Job, F: Fn(f32) -> (f32, f32) + Copy> Kernel for With<J, F> {
    type Output = J::Output;

    #[inline(always)]
    fn run(self) -> J::Output {
        self.job.run(self.f)
    }
}

struct Apply<'a> {
    z: &'a mut [f32],
}

impl Job for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, f: impl Fn(f32) -> (f32, f32) + Copy) {
        for z in self.z {
            *z = f(*z).0;
        }
    }
}

struct Backward<'a> {
    bias: f32,
    z: &'a mut [f32],
    target: &'a [f32],
    factor: f32,
}

impl Job for Backward<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run(self, f: impl Fn(f32) -> (f32, f32) + Copy) -> [f32; 2] {
        let Self { bias, z, target, factor } = self;
        let one = |z: &mut f32, target: f32| {
            let (value, slope) = f(*z + bias);
            let d = value - target;
            *z = factor * d * slope;
            (d * d, *z)
        };
        let (mut squares, mut slopes) = ([0.0; LANES], [0.0; LANES]);
        let ((z, z_rest), (t, t_rest)) = (z.as_chunks_mut::<LANES>(), target.as_chunks::<LANES>());
        for (z, t) in z.iter_mut().zip(t) {
            for i in 0..LANES {
                let (square, slope) = one(&mut z[i], t[i]);
                squares[i] += square;
                slopes[i] += slope;
            }
        }
        for (i, (z, &t)) in z_rest.iter_mut().zip(t_rest).enumerate() {
            let (square, slope) = one(z, t);
            squares[i] += square;
            slopes[i] += slope;
        }
        [sum(squares), sum(slopes)]
    }
}

struct Quantized<'a> {
    backward: Backward<'a>,
    grid: OutputGrid,
}

impl Job for Quantized<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run(self, f: impl Fn(f32) -> (f32, f32) + Copy) -> [f32; 2] {
        let Self { backward, grid } = self;
        backward.run(move |z| grid.through(f(z)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(grid: Option<OutputGrid>, activation: &Activation) -> (Vec<f32>, [f32; 2]) {
        let mut functions = Functions::new(activation, 1, true).unwrap();
        functions.output = grid;
        let mut z: Vec<f32> = (0..67).map(|i| i as f32 * 0.05 - 1.6).collect();
        let target: Vec<f32> = (0..67).map(|i| (i % 5) as f32 * 0.1).collect();
        let sums = functions.of(0).backward(0.1, &mut z, &target, 2.0);
        (z, sums)
    }

    #[test]
    fn a_fine_grid_behind_the_output_is_as_none() {
        for activation in
            [Activation::None, Activation::Relu, Activation::Gelu(false), Activation::Clip(-0.5, 0.6)]
        {
            let grid = OutputGrid::new(1e-5, 0, (-1_000_000, 1_000_000));
            let ((plain, plain_sums), (fine, sums)) = (behind(None, &activation), behind(grid, &activation));
            for (a, b) in plain.iter().zip(&fine).chain(plain_sums.iter().zip(&sums)) {
                assert!((a - b).abs() < 1e-3, "{activation:?}: {a} {b}");
            }
        }
    }

    #[test]
    fn a_grid_rounds_to_even_and_has_no_slope_outside() {
        let grid = OutputGrid::new(0.5, 1, (0, 4)).unwrap();
        for (z, value, slope) in [
            (0.2, 0.0, 1.0),
            (0.25, 0.0, 1.0),
            (0.75, 1.0, 1.0),
            (1.7, 1.5, 1.0),
            (2.0, 1.5, 0.0),
            (-0.9, -0.5, 0.0),
        ] {
            assert_eq!(grid.through((z, 1.0)), (value, slope), "{z}");
        }
        assert!(
            OutputGrid::new(0.0, 0, (0, 255)).is_none() && OutputGrid::new(f32::NAN, 0, (0, 255)).is_none()
        );
    }
}
