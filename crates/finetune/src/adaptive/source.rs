//! What output positions read, for products and for normalisations.

use shiftwise_kernels::norm::{instance_norm, layer_norm};

use crate::layer::Op;
use crate::least_squares::{Geometry, Patches, Untunable};

/// A layer as `groups` products of a matrix `[outputs, inputs]` with a vector. A normalisation is one group for each of its
/// weights, with one input: the normalised value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) channels: usize,
}

impl Shape {
    /// Inputs of all groups.
    pub(super) fn all_inputs(&self) -> usize {
        self.channels / self.outputs * self.inputs
    }
}

/// Where positions find what they read.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Product(Patches),
    Norm(Norm),
}

#[derive(Clone, Debug)]
pub(super) struct Norm {
    channels: usize,
    /// Elements of a sample.
    len: usize,
    /// Elements that follow each other in a channel.
    plane: usize,
    epsilon: f32,
    /// Whether planes are normalised, and not all channels of a position.
    instance: bool,
}

impl Source {
    pub(super) fn new(op: &Op, x_dims: &[usize], w_dims: &[usize]) -> Result<Self, Untunable> {
        let fail = |why| Untunable::Shape { x: x_dims.to_vec(), w: w_dims.to_vec(), why };
        let count = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let len = count(x_dims).filter(|&n| n > 0).ok_or_else(|| fail("the input is empty or too large"))?;
        match *op {
            Op::InstanceNormalization { epsilon } => {
                let [_, channels, ref plane @ ..] = *x_dims else {
                    return Err(fail("the input has no channels"));
                };
                if w_dims != [channels] {
                    return Err(fail("there is not one weight for each channel"));
                }
                let plane = count(plane).unwrap_or(0);
                Ok(Self::Norm(Norm { channels, len, plane, epsilon, instance: true }))
            }
            Op::LayerNormalization { epsilon, axis } => {
                let elements = x_dims.get(axis..).filter(|d| !d.is_empty()).and_then(count);
                let elements = elements.ok_or_else(|| fail("the input has no such axis"))?;
                if count(w_dims) != Some(elements) {
                    return Err(fail("there is not one weight for each element that is averaged over"));
                }
                Ok(Self::Norm(Norm { channels: elements, len, plane: 1, epsilon, instance: false }))
            }
            _ => Ok(Self::Product(Patches::new(op, x_dims, w_dims)?)),
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Product(patches) => {
                let Geometry { outputs, inputs, .. } = *patches.geometry();
                Shape { outputs, inputs, channels: patches.geometry().channels() }
            }
            Self::Norm(norm) => Shape { outputs: 1, inputs: 1, channels: norm.channels },
        }
    }

    /// Positions of a sample.
    pub(super) fn positions(&self) -> usize {
        match self {
            Self::Product(patches) => patches.positions(),
            Self::Norm(norm) => norm.len / norm.channels,
        }
    }

    /// Elements of a sample's input and of its output.
    pub(super) fn lens(&self) -> [usize; 2] {
        match self {
            Self::Product(patches) => [patches.x_len(), patches.y_len()],
            Self::Norm(norm) => [norm.len, norm.len],
        }
    }

    /// What a sample's positions are gathered from: its input, normalised where the layer does so.
    pub(super) fn prepare<'a>(&self, x: &'a [f32]) -> std::borrow::Cow<'a, [f32]> {
        let Self::Norm(norm) = self else { return x.into() };
        let (ones, zeros) = (vec![1.0; norm.channels], vec![0.0; norm.channels]);
        let mut out = vec![0.0; x.len()];
        if norm.instance {
            instance_norm(x, norm.plane, &ones, &zeros, norm.epsilon, &mut out);
        } else {
            layer_norm(x, &ones, None, norm.epsilon, &mut out);
        }
        out.into()
    }

    /// Input `k` (of all groups) of the `i`-th position goes to `out[k · stride + at + i]`.
    pub(super) fn gather(&self, x: &[f32], positions: &[usize], out: &mut [f32], stride: usize, at: usize) {
        match self {
            Self::Product(patches) => patches.gather(x, positions, out, stride, at),
            Self::Norm(norm) => norm.gather(x, positions, out, stride, at),
        }
    }

    /// Output channel `c` of the `i`-th position goes to `out[c · stride + at + i]`.
    pub(super) fn gather_output(
        &self,
        y: &[f32],
        positions: &[usize],
        out: &mut [f32],
        stride: usize,
        at: usize,
    ) {
        match self {
            Self::Product(patches) => patches.gather_output(y, positions, out, stride, at),
            Self::Norm(norm) => norm.gather(y, positions, out, stride, at),
        }
    }

    /// Weights as the operator has them, in the order `[group, output, input]`.
    pub(super) fn to_rows<T: Copy>(&self, weights: &[T]) -> Vec<T> {
        match self {
            Self::Product(patches) => patches.geometry().to_rows(weights),
            Self::Norm(_) => weights.to_vec(),
        }
    }

    /// Weights in the order `[group, output, input]`, as the operator has them.
    pub(super) fn to_weights<T: Copy + Default>(&self, rows: &[T]) -> Vec<T> {
        match self {
            Self::Product(patches) => patches.geometry().from_rows(rows),
            Self::Norm(_) => rows.to_vec(),
        }
    }
}

impl Norm {
    fn gather(&self, x: &[f32], positions: &[usize], out: &mut [f32], stride: usize, at: usize) {
        for (channel, row) in out.chunks_mut(stride).take(self.channels).enumerate() {
            for (value, &p) in row[at..].iter_mut().zip(positions) {
                *value = x[(p / self.plane * self.channels + channel) * self.plane + p % self.plane];
            }
        }
    }
}
