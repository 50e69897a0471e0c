//! Groups, outputs and inputs of a layer, and where its weights lie.

use crate::layer::Op;

use super::Untunable;

/// A layer as `groups` products of a matrix `[outputs, inputs]` with a vector.
///
/// Inputs of a convolution are its taps, channel by channel. Output `o` of group `g` is channel `g · outputs + o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Groups.
    pub groups: usize,
    /// Outputs of a group.
    pub outputs: usize,
    /// Inputs of an output.
    pub inputs: usize,
    order: WeightOrder,
}

/// How the weights of the operator lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WeightOrder {
    /// `[group, output, input]`.
    Outputs,
    /// `[group, input / taps, output, taps]`.
    Inputs { taps: usize },
}

impl Geometry {
    /// The geometry of an operator with weights of these dimensions.
    pub fn new(op: &Op, x_dims: &[usize], w_dims: &[usize]) -> Result<Self, Untunable> {
        let fail = |why| Untunable::Shape { x: x_dims.to_vec(), w: w_dims.to_vec(), why };
        if w_dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n == 0) {
            return Err(fail("the weights have no elements, or too many"));
        }
        match *op {
            Op::Conv(window) | Op::ConvTranspose(window, _) => {
                let [first, second, ref spatial @ ..] = *w_dims else {
                    return Err(fail("the weights have too few dimensions"));
                };
                let kernel: usize = match spatial {
                    [w] if window.kernel == [1, *w] => *w,
                    [h, w] if window.kernel == [*h, *w] => h * w,
                    _ => return Err(fail("the weights are not those of the kernel")),
                };
                if window.groups == 0 || !first.is_multiple_of(window.groups) {
                    return Err(fail("the groups do not divide the weights"));
                }
                let of_group = first / window.groups;
                Ok(match op {
                    Op::Conv(_) => Self {
                        groups: window.groups,
                        outputs: of_group,
                        inputs: second * kernel,
                        order: WeightOrder::Outputs,
                    },
                    _ => Self {
                        groups: window.groups,
                        outputs: second,
                        inputs: of_group * kernel,
                        order: WeightOrder::Inputs { taps: kernel },
                    },
                })
            }
            Op::Gemm { .. } | Op::MatMul => {
                let [first, second] = *w_dims else { return Err(fail("the weights are no matrix")) };
                Ok(if matches!(op, Op::Gemm { transposed: true, .. }) {
                    Self { groups: 1, outputs: first, inputs: second, order: WeightOrder::Outputs }
                } else {
                    Self { groups: 1, outputs: second, inputs: first, order: WeightOrder::Inputs { taps: 1 } }
                })
            }
            Op::InstanceNormalization { .. } | Op::LayerNormalization { .. } => Err(Untunable::Operator),
        }
    }

    /// Output channels of all groups.
    pub fn channels(&self) -> usize {
        self.groups * self.outputs
    }

    /// Elements of the weights.
    pub fn weight_len(&self) -> usize {
        self.channels() * self.inputs
    }

    /// Weights as the operator has them, in the order `[group, output, input]`.
    pub fn to_rows<T: Copy>(&self, weights: &[T]) -> Vec<T> {
        assert_eq!(weights.len(), self.weight_len(), "weights of the layer");
        self.places().map(|at| weights[at]).collect()
    }

    /// Weights in the order `[group, output, input]`, as the operator has them.
    pub fn from_rows<T: Copy + Default>(&self, rows: &[T]) -> Vec<T> {
        assert_eq!(rows.len(), self.weight_len(), "weights of the layer");
        let mut weights = vec![T::default(); rows.len()];
        for (at, &value) in self.places().zip(rows) {
            weights[at] = value;
        }
        weights
    }

    /// Where the operator has the weights that are `[group, output, input]`, one after the other.
    fn places(&self) -> impl Iterator<Item = usize> {
        let Self { outputs, inputs, order, .. } = *self;
        (0..self.weight_len()).map(move |i| match order {
            WeightOrder::Outputs => i,
            WeightOrder::Inputs { taps } => {
                let (group, output, input) = (i / inputs / outputs, i / inputs % outputs, i % inputs);
                let (channel, tap) = (input / taps, input % taps);
                ((group * (inputs / taps) + channel) * outputs + output) * taps + tap
            }
        })
    }
}
