//! A layer's constants, to be scaled by channel.

use shiftwise_graph::{DataType, Graph, Node, NodeId, Patch, Tensor};
use shiftwise_quant::WeightLayout;

/// Which channels of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Those that the weights multiply.
    Input,
    /// Those that they make.
    Output,
}

/// The weights and bias of a Conv or Gemm, as float32.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    id: NodeId,
    convolution: bool,
    /// As messages call it.
    pub(super) label: String,
    pub(super) layout: WeightLayout,
    pub(super) weight: Vec<f32>,
    pub(super) bias: Option<Vec<f32>>,
    /// What became of each output channel so far.
    pub(super) factors: Vec<f64>,
    changed: bool,
}

impl Layer {
    /// Reads a layer; fails with what makes it unfit: constants that are computed or not float32, and channels that cannot be
    /// told apart.
    pub(super) fn of(graph: &Graph, id: NodeId, node: &Node) -> Result<Self, String> {
        let label = node.label();
        let constant = |index: usize| {
            let name = node.input(index).ok_or_else(|| format!("{label} has no weight"))?;
            let tensor = graph.initializer(name);
            let tensor = tensor.ok_or_else(|| format!("{name:?} of {label} is not constant"))?;
            if tensor.dtype() != DataType::Float {
                return Err(format!("{name:?} of {label} is {}, not float32", tensor.dtype()));
            }
            let values = tensor.to_f32().ok_or_else(|| format!("{name:?} of {label} cannot be read"))?;
            Ok((tensor.dims().to_vec(), values))
        };
        let (dims, weight) = constant(1)?;
        let layout = WeightLayout::of(node, &dims)
            .filter(|layout| !node.is("Conv") || layout.groups() == 1 || dims[1] == 1)
            .ok_or_else(|| format!("{label} has groups of several channels, or a transposed input"))?;
        if node.is("Conv") && layout.groups() > 1 && layout.inputs() != layout.outputs() {
            return Err(format!("{label} makes several channels of one"));
        }
        let bias = node.input(2).map(|_| constant(2)).transpose()?;
        let bias = match bias {
            Some((dims, _))
                if dims.last() != Some(&layout.outputs())
                    || dims.iter().product::<usize>() != layout.outputs() =>
            {
                return Err(format!("the bias of {label} is not one number for each channel"));
            }
            bias => bias.map(|(_, values)| values),
        };
        let factors = vec![1.0; layout.outputs()];
        Ok(Self { id, convolution: node.is("Conv"), label, layout, weight, bias, factors, changed: false })
    }

    /// Whether it is a convolution, and not a matrix product.
    pub(super) fn is_convolution(&self) -> bool {
        self.convolution
    }

    /// Whether each channel is made of one channel alone.
    pub(super) fn is_depthwise(&self) -> bool {
        self.layout.groups() > 1
    }

    /// How many channels there are on a side.
    pub(super) fn channels(&self, side: Side) -> usize {
        match side {
            Side::Input => self.layout.inputs(),
            Side::Output => self.layout.outputs(),
        }
    }

    /// The weights in runs that belong to one channel of a side: the channel, and the run.
    pub(super) fn runs(&self, side: Side) -> impl Iterator<Item = (usize, &[f32])> {
        let channels = self.layout.runs().map(move |run| channel(side, run));
        channels.zip(self.weight.chunks(self.layout.taps().max(1)))
    }

    /// The largest magnitude among the weights of each channel.
    pub(super) fn largest(&self, side: Side) -> Vec<f32> {
        let mut largest = vec![0f32; self.channels(side)];
        for (channel, run) in self.runs(side) {
            largest[channel] = run.iter().fold(largest[channel], |m, w| m.max(w.abs()));
        }
        largest
    }

    /// Changes the weights of each channel of a side, and on the output side the biases; both get the channel too.
    pub(super) fn rescale(
        &mut self,
        side: Side,
        weight: impl Fn(f32, usize) -> f32,
        bias: impl Fn(f32, usize) -> f32,
    ) {
        let taps = self.layout.taps().max(1);
        for (run, weights) in self.layout.runs().zip(self.weight.chunks_mut(taps)) {
            let channel = channel(side, run);
            for w in weights {
                *w = weight(*w, channel);
            }
        }
        if side == Side::Output {
            self.bias.iter_mut().flatten().enumerate().for_each(|(c, b)| *b = bias(*b, c));
            self.factors.iter_mut().enumerate().for_each(|(c, f)| *f *= f64::from(bias(1.0, c)));
        }
        self.changed = true;
    }

    /// Multiplies what makes each output channel.
    pub(super) fn scale_outputs(&mut self, factors: &[f32]) {
        self.rescale(Side::Output, |w, c| w * factors[c], |b, c| b * factors[c]);
    }

    /// Multiplies what reads each input channel.
    pub(super) fn scale_inputs(&mut self, factors: &[f32]) {
        self.rescale(Side::Input, |w, c| w * factors[c], |b, _| b);
    }

    /// Whether anything was scaled, other than by 1.
    pub(super) fn is_scaled(&self) -> bool {
        self.factors.iter().any(|f| *f != 1.0)
    }

    /// Between which factors the output channels lie, for the report.
    pub(super) fn span(&self) -> String {
        let (least, most) =
            self.factors.iter().fold((f64::INFINITY, 0f64), |(l, m), f| (l.min(*f), m.max(*f)));
        format!("its {} output channels are scaled by {least:.3} to {most:.3}", self.factors.len())
    }

    /// Writes the constants where they were, or, where others read them too, under names of their own.
    pub(super) fn write(self, graph: &Graph, patch: &mut Patch) {
        let Some(node) = graph.node(self.id).filter(|_| self.changed) else { return };
        let constants = [(1, Some(self.weight)), (2, self.bias)];
        for (input, values) in constants.into_iter().filter_map(|(i, v)| Some((i, v?))) {
            let Some(name) = node.input(input) else { continue };
            let Some(dims) = graph.initializer(name).map(Tensor::dims) else { continue };
            let tensor = Tensor::f32(dims, &values);
            if graph.uses(name).len() == 1 && !graph.is_output(name) {
                patch.set_initializer(name, tensor);
            } else {
                let own = graph.fresh_name(&format!("{name}_of_{}", node.output(0).unwrap_or_default()));
                patch.set_input(self.id, input, own.as_str()).set_initializer(own, tensor);
            }
        }
    }
}

fn channel(side: Side, (input, output): (usize, usize)) -> usize {
    match side {
        Side::Input => input,
        Side::Output => output,
    }
}
