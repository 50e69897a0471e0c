//! Constant channels of a model's operators, found in the statistics and absorbed.

use shiftwise_artifact::stats::{Stats, TensorView};
use shiftwise_graph::{Graph, Model, Node, NodeId, Patch, Tensor};
use shiftwise_quant::{
    ChannelRange, Operator, Placement, Role, WeightLayout, absorb_constant_channels, input_channel_axis,
};
use shiftwise_stage::Failure;

use crate::Decisions;
use crate::config::QuantizeConfig;
use crate::report::AbsorbedIn;

/// Moves what constant channels contribute into biases, in every operator with quantized weights.
pub(crate) fn absorb(
    model: &mut Model,
    placement: &Placement,
    stats: &Stats,
    decisions: &Decisions,
    config: &QuantizeConfig,
) -> Result<Vec<AbsorbedIn>, Failure> {
    let mut report = Vec::new();
    if !config.absorb_constant_channels {
        return Ok(report);
    }
    let view = View { placement, stats, decisions };
    let ids: Vec<NodeId> = model.graph.nodes().map(|(id, _)| id).collect();
    for id in ids {
        let Some(node) = model.graph.node(id) else { continue };
        let label = node.label();
        let Some((patch, channels)) =
            view.operator(&model.graph, id, node, config.constant_channel_threshold)
        else {
            continue;
        };
        report.push(AbsorbedIn { node: label, channels });
        model.graph.apply("absorb constant channels", patch)?;
    }
    model.graph.sort();
    model.graph.check("absorb constant channels")?;
    Ok(report)
}

struct View<'a> {
    placement: &'a Placement,
    stats: &'a Stats,
    decisions: &'a Decisions,
}

impl View<'_> {
    fn operator(
        &self,
        graph: &Graph,
        id: NodeId,
        node: &Node,
        threshold: f32,
    ) -> Option<(Patch, Vec<shiftwise_quant::Absorbed>)> {
        let weight_name = node.input(1)?;
        if self.placement.sites.get(weight_name)?.role != Role::Weight || !has_plain_bias(node) {
            return None;
        }
        let weight = graph.initializer(weight_name)?;
        let layout = WeightLayout::of(node, weight.dims())?;
        let bias = node.input(2).map(|b| graph.initializer(b));
        let mut bias_values = match bias {
            Some(tensor) => tensor?.to_f32()?,
            None => vec![0.0; layout.outputs()],
        };
        if bias_values.len() != layout.outputs() {
            return None;
        }
        let input = self.channels(graph, node.input(0)?, node, layout.inputs());
        let output = self.channels(graph, &behind_activation(graph, node)?, node, layout.outputs());
        let operator = Operator {
            layout,
            padded: sees_zeros(node),
            input: input.as_ref().map(|(c, step)| (c.as_slice(), *step)),
            output: output.as_ref().map(|(c, step)| (c.as_slice(), *step)),
            threshold,
        };
        let mut values = weight.to_f32()?;
        let absorbed = absorb_constant_channels(&mut values, &mut bias_values, &operator);
        if absorbed.is_empty() {
            return None;
        }
        let mut patch = Patch::new();
        write(&mut patch, graph, id, 1, weight_name, Tensor::f32(weight.dims(), &values));
        let bias_name = node
            .input(2)
            .map_or_else(|| graph.fresh_name(&format!("{weight_name}_bias")), ToString::to_string);
        if node.input(2).is_some() || bias_values.iter().any(|b| *b != 0.0) {
            write(&mut patch, graph, id, 2, &bias_name, Tensor::f32(&[bias_values.len()], &bias_values));
        }
        Some((patch, absorbed))
    }

    /// Ranges of the channels of a tensor, and the step of its scale.
    fn channels(
        &self,
        graph: &Graph,
        tensor: &str,
        node: &Node,
        count: usize,
    ) -> Option<(Vec<ChannelRange>, f32)> {
        let view: TensorView<'_> = self.stats.tensor(tensor)?;
        let rank = graph.tensor_type(tensor)?.rank()?;
        let axis = input_channel_axis(node, rank)?;
        if view.channels() != count || view.spec().channel_axis != Some(axis as u32) || view.nan_count() > 0 {
            return None;
        }
        let step = self.decisions.get(self.placement.provider(tensor))?.params.scale;
        let ranges = view.channel_mins().iter().zip(view.channel_maxs());
        Some((ranges.map(|(min, max)| ChannelRange { min: *min, max: *max }).collect(), step))
    }
}

/// Whether what is added to the bias arrives unchanged at the output.
fn has_plain_bias(node: &Node) -> bool {
    let one = |name: &str| node.float(name).is_none_or(|v| v == 1.0);
    node.is("Conv") || node.is("ConvTranspose") || (node.is("Gemm") && one("alpha") && one("beta"))
}

/// Whether some outputs see fewer taps than others: zero padding, and the edges of transposed convolutions.
fn sees_zeros(node: &Node) -> bool {
    let padded = node.ints("pads").is_some_and(|p| p.iter().any(|p| *p != 0));
    let automatic = node.text("auto_pad").is_some_and(|a| a.starts_with("SAME"));
    node.is("ConvTranspose") || padded || automatic
}

/// The tensor behind the Relu or Clip that alone reads the output, or the output itself.
fn behind_activation(graph: &Graph, node: &Node) -> Option<String> {
    let output = node.output(0)?;
    Some(match graph.sole_consumer(output) {
        Ok((_, next)) if next.is("Relu") || next.is("Clip") => next.output(0)?.to_owned(),
        _ => output.to_owned(),
    })
}

/// Replaces a constant for one node; others that read it keep the old one.
fn write(patch: &mut Patch, graph: &Graph, id: NodeId, input: usize, name: &str, tensor: Tensor) {
    let shared =
        graph.uses(name).iter().any(|u| u.node != id || u.input != Some(input)) || graph.is_output(name);
    let name = if shared { graph.fresh_name(name) } else { name.to_owned() };
    patch.set_input(id, input, &name);
    patch.set_initializer(name, tensor);
}
