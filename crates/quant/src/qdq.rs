//! The quantization that a model says: its Q/DQ nodes, their scales, and which position belongs to which side of a node.
//!
//! For any model, whoever wrote it. Scales are constants; several nodes which refer to one constant share one scale, and move
//! together.

use std::collections::HashMap;

use shiftwise_graph::{DataType, Graph, Node, NodeId, Patch, Tensor};

use crate::npu::Positions;
use crate::{PlacementOptions, Position, QuantType, fused_activation};

/// A scale of a [`QdqView`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScaleId(usize);

impl ScaleId {
    pub(crate) fn new(index: usize) -> Self {
        Self(index)
    }

    /// Place among the scales of the view.
    pub fn index(self) -> usize {
        self.0
    }
}

/// A constant that Q/DQ nodes refer to as their scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The initializer, or the output of the Constant node.
    pub name: String,
    /// The tensors that are quantized with it, as reports call them, each once.
    pub tensors: Vec<String>,
    values: Vec<f32>,
}

impl Scale {
    /// The value, where there is one for the whole tensor.
    pub fn value(&self) -> Option<f32> {
        match self.values[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// Number of values: 1, or the channels.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value at all.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Fraction bits, where there is one value and it is a power of two.
    pub fn position(&self) -> Option<Position> {
        Position::of(self.value()?)
    }
}

/// Whether a node quantizes or dequantizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// QuantizeLinear.
    Quantize,
    /// DequantizeLinear.
    Dequantize,
}

impl Direction {
    /// What a node does, by the names of the standard, of contributed and of custom operators.
    pub fn of(node: &Node) -> Option<Self> {
        let known =
            matches!(node.domain.as_str(), "" | "com.microsoft" | "com.amd.quark" | "com.vai.quantize");
        let stem = node.op_type.strip_prefix("Extended").or(node.op_type.strip_prefix("Vitis"));
        match stem.unwrap_or(&node.op_type) {
            "QuantizeLinear" if known => Some(Self::Quantize),
            "DequantizeLinear" if known => Some(Self::Dequantize),
            _ => None,
        }
    }
}

/// A Q or DQ node.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantizer {
    /// The node.
    pub node: NodeId,
    /// What it does.
    pub direction: Direction,
    /// Its scale; `None` where the model computes it at run time.
    pub scale: Option<ScaleId>,
    /// The tensor that it quantizes, as reports call it: without what quantizers append to names.
    pub tensor: String,
}

/// A constant that a model stores as integers.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedConstant<'g> {
    /// The DQ node that reads it.
    pub dequantizer: NodeId,
    /// The initializer, or the output of the Constant node.
    pub name: &'g str,
    /// The integers.
    pub integers: &'g Tensor,
    /// Their type; `None` for types that are not known here.
    pub ty: Option<QuantType>,
    /// The scale.
    pub scale: ScaleId,
    /// The integer that stands for zero; `None` where channels have their own.
    pub zero_point: Option<i64>,
}

/// Why a position cannot be written into a model.
#[derive(Debug, thiserror::Error)]
#[error("move scale {name:?}: {reason}")]
pub struct ScaleError {
    /// The constant.
    pub name: String,
    /// What is in the way.
    pub reason: &'static str,
}

/// The Q/DQ nodes of a graph. Those inside of subgraphs are not seen.
pub struct QdqView<'g> {
    graph: &'g Graph,
    scales: Vec<Scale>,
    quantizers: Vec<Quantizer>,
    by_node: HashMap<NodeId, usize>,
    fusion: PlacementOptions,
}

impl<'g> QdqView<'g> {
    /// Reads the Q/DQ nodes of a graph.
    pub fn of(graph: &'g Graph) -> Self {
        let mut view = Self {
            graph,
            scales: Vec::new(),
            quantizers: Vec::new(),
            by_node: HashMap::new(),
            fusion: PlacementOptions::default(),
        };
        let mut ids = HashMap::new();
        for (node_id, node) in graph.nodes() {
            let Some(direction) = Direction::of(node) else { continue };
            let tensor = view.tensor_name(node);
            let scale = node.input(1).and_then(|name| view.intern(name, &mut ids));
            if let Some(id) = scale {
                let tensors = &mut view.scales[id.0].tensors;
                if !tensors.contains(&tensor) {
                    tensors.push(tensor.clone());
                }
            }
            view.by_node.insert(node_id, view.quantizers.len());
            view.quantizers.push(Quantizer { node: node_id, direction, scale, tensor });
        }
        view
    }

    /// The scale of this name; `None` where it is no constant.
    fn intern(&mut self, name: &'g str, ids: &mut HashMap<&'g str, ScaleId>) -> Option<ScaleId> {
        if let Some(id) = ids.get(name) {
            return Some(*id);
        }
        let values = constant(self.graph, name)?.to_f32()?;
        let id = ScaleId(self.scales.len());
        self.scales.push(Scale { name: name.into(), tensors: Vec::new(), values });
        ids.insert(name, id);
        Some(id)
    }

    /// The graph.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// All scales, in graph order of the nodes that use them first.
    pub fn scales(&self) -> impl Iterator<Item = (ScaleId, &Scale)> {
        self.scales.iter().enumerate().map(|(i, s)| (ScaleId(i), s))
    }

    /// One of the scales. Panics for the identity of another view's scale.
    pub fn scale(&self, id: ScaleId) -> &Scale {
        &self.scales[id.0]
    }

    /// All Q and DQ nodes, in graph order.
    pub fn quantizers(&self) -> &[Quantizer] {
        &self.quantizers
    }

    /// What a Q or DQ node does; `None` for other nodes.
    pub fn quantizer(&self, node: NodeId) -> Option<&Quantizer> {
        self.by_node.get(&node).and_then(|i| self.quantizers.get(*i))
    }

    /// Fraction bits of every scale. For a scale that has none (see [`Scale::position`]) a number that means nothing.
    pub fn positions(&self) -> Positions {
        Positions::new(self.scales.iter().map(|s| s.position().unwrap_or(Position::new(0))).collect())
    }

    /// The constants that are stored as integers, in graph order of the DQ nodes that read them.
    pub fn constants(&self) -> impl Iterator<Item = QuantizedConstant<'g>> {
        self.quantizers.iter().filter(|q| q.direction == Direction::Dequantize).filter_map(|q| {
            let node = self.graph.node(q.node)?;
            let name = node.input(0)?;
            let integers = self.graph.constant(name)?;
            let zero_point = match node.input(2) {
                None => Some(0),
                Some(zero) => self.graph.constant(zero).and_then(Tensor::scalar_i64),
            };
            let ty = QuantType::from_data_type(integers.dtype());
            Some(QuantizedConstant { dequantizer: q.node, name, integers, ty, scale: q.scale?, zero_point })
        })
    }

    /// Tensor and scale of an input: those of the Q/DQ node that makes it. A pooling that computes averages looks through the
    /// Pad in front of it.
    pub fn input_scale(&self, node: NodeId, index: usize) -> Option<(String, ScaleId)> {
        let reader = self.graph.node(node)?;
        let (made_by, producer) = self.graph.producer(reader.input(index)?)?;
        if let Some(found) = self.found(made_by) {
            return Some(found);
        }
        let pooled = index == 0 && (reader.is("AveragePool") || reader.is("GlobalAveragePool"));
        if !pooled || !producer.is("Pad") {
            return None;
        }
        let (before, _) = self.graph.producer(producer.input(0)?)?;
        self.found(before)
    }

    /// Tensor and scale of the first output: those of the Q node that reads it. Without one, of the Q node behind the one node that the
    /// hardware computes together with this one: an activation, or the constant factor that corrects an average or a HardSigmoid.
    pub fn output_scale(&self, node: NodeId) -> Option<(String, ScaleId)> {
        let producer = self.graph.node(node)?;
        let output = producer.output(0)?;
        if let Some(found) = self.quantized(output) {
            return Some(found);
        }
        if let Some((_, activation)) = fused_activation(self.graph, output, &self.fusion) {
            return self.quantized(activation.output(0)?);
        }
        let corrected = ["AveragePool", "GlobalAveragePool", "HardSigmoid"].iter().any(|op| producer.is(op));
        let (_, factor) = self.graph.sole_consumer(output).ok().filter(|(_, n)| corrected && n.is("Mul"))?;
        let constant = factor.inputs.iter().any(|i| constant(self.graph, i).is_some());
        if constant { self.quantized(factor.output(0)?) } else { None }
    }

    /// The edit that gives a scale another position.
    pub fn move_scale(&self, id: ScaleId, position: Position, patch: &mut Patch) -> Result<(), ScaleError> {
        let name = &self.scale(id).name;
        let fail = |reason| ScaleError { name: name.clone(), reason };
        let old = constant(self.graph, name).ok_or_else(|| fail("it is no constant"))?;
        if old.dtype() != DataType::Float {
            return Err(fail("it is not float32; convert the model to float32 scales first"));
        }
        let q_or_dq_only =
            self.graph.uses(name).iter().all(|u| u.input == Some(1) && self.by_node.contains_key(&u.node));
        if !q_or_dq_only {
            return Err(fail(
                "it is read as something other than a scale, too; give it a constant of its own",
            ));
        }
        let new = Tensor::f32(old.dims(), &[position.scale()]);
        if self.graph.initializer(name).is_some() {
            patch.set_initializer(name.as_str(), new);
        } else if let Some((node, constant)) = self.graph.producer(name) {
            for attribute in constant.attributes.keys().filter(|a| *a != "value") {
                patch.remove_attribute(node, attribute);
            }
            patch.set_attribute(node, "value", new);
        }
        Ok(())
    }

    fn found(&self, node: NodeId) -> Option<(String, ScaleId)> {
        let quantizer = self.quantizer(node)?;
        Some((quantizer.tensor.clone(), quantizer.scale?))
    }

    fn quantized(&self, tensor: &str) -> Option<(String, ScaleId)> {
        self.graph.uses(tensor).iter().filter(|u| u.input == Some(0)).find_map(|u| self.found(u.node))
    }

    /// What a Q or DQ node quantizes: the input of the Q, or the constant; without suffixes that quantizers append.
    fn tensor_name(&self, node: &Node) -> String {
        let input = node.input(0).unwrap_or("");
        let quantized =
            self.graph.producer(input).filter(|(_, n)| Direction::of(n) == Some(Direction::Quantize));
        let source = match (Direction::of(node), quantized) {
            (Some(Direction::Dequantize), Some((_, q))) => q.input(0).unwrap_or(input),
            _ => input,
        };
        let bare = source.strip_suffix("_QuantizeLinear_Input").or_else(|| source.strip_suffix("_quantized"));
        bare.filter(|b| !b.is_empty()).unwrap_or(source).into()
    }
}

/// The constant behind a tensor, in any of the forms that scales come in.
fn constant(graph: &Graph, name: &str) -> Option<Tensor> {
    if let Some(tensor) = graph.constant(name) {
        return Some(tensor.clone());
    }
    let (_, node) = graph.producer(name)?;
    if !node.is("Constant") {
        return None;
    }
    match (node.float("value_float"), node.attributes.get("value_floats")) {
        (Some(value), _) => Some(Tensor::f32(&[], &[value])),
        (_, Some(shiftwise_graph::Attribute::Floats(values))) => Some(Tensor::f32(&[values.len()], values)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shiftwise_graph::{Attribute, Builder, Model};

    /// x → Q/DQ → Pad → AveragePool → Mul(factor) → Q/DQ → Conv(w) → Relu → Q/DQ.
    fn model() -> Model {
        Builder::new()
            .input("x", &[1, 1, 4, 4])
            .constant("sx", Tensor::f32(&[], &[0.25]))
            .constant("sw", Tensor::f32(&[], &[0.5]))
            .constant("sy", Tensor::f32(&[], &[0.3]))
            .constant("zu", Tensor::u8(&[], &[128]))
            .constant("zi", Tensor::i8(&[], &[0]))
            .constant("w_quantized", Tensor::i8(&[1, 1, 1, 1], &[3]))
            .constant("pads", Tensor::i64(&[8], &[0, 0, 1, 1, 0, 0, 1, 1]))
            .constant("factor", Tensor::f32(&[], &[1.0]))
            .node_with("Constant", &[], &["sm"], &[("value_float", Attribute::Float(0.125))])
            .node("QuantizeLinear", &["x", "sx", "zu"], &["xq"])
            .node("DequantizeLinear", &["xq", "sx", "zu"], &["xd"])
            .node("Pad", &["xd", "pads"], &["p"])
            .node_with("AveragePool", &["p"], &["a"], &[("kernel_shape", vec![3, 3].into())])
            .node("Mul", &["a", "factor"], &["m"])
            .node("QuantizeLinear", &["m", "sm", "zu"], &["mq"])
            .node("DequantizeLinear", &["mq", "sm", "zu"], &["md"])
            .node("DequantizeLinear", &["w_quantized", "sw", "zi"], &["wd"])
            .node("Conv", &["md", "wd"], &["c"])
            .node("Relu", &["c"], &["r"])
            .node("QuantizeLinear", &["r", "sy", "zu"], &["rq"])
            .node("DequantizeLinear", &["rq", "sy", "zu"], &["y"])
            .build(&[("y", &[1, 1, 4, 4])], 13)
    }

    #[test]
    fn positions_are_found_through_pads_factors_and_activations() {
        let model = model();
        let view = QdqView::of(&model.graph);
        let node = |output: &str| model.graph.producer(output).unwrap().0;
        let name = |found: Option<(String, ScaleId)>| {
            found.map(|(tensor, id)| format!("{tensor} {:?}", view.scale(id).position().map(Position::get)))
        };
        assert_eq!(name(view.input_scale(node("a"), 0)).as_deref(), Some("x Some(2)"));
        assert_eq!(name(view.output_scale(node("a"))).as_deref(), Some("m Some(3)"));
        assert_eq!(name(view.input_scale(node("p"), 0)).as_deref(), Some("x Some(2)"));
        assert_eq!(name(view.output_scale(node("p"))), None);
        assert_eq!(name(view.input_scale(node("c"), 0)).as_deref(), Some("m Some(3)"));
        assert_eq!(name(view.input_scale(node("c"), 1)).as_deref(), Some("w Some(1)"));
        assert_eq!(name(view.output_scale(node("c"))).as_deref(), Some("r None"));
        assert_eq!(name(view.input_scale(node("m"), 0)), None);
        let constants: Vec<_> = view.constants().map(|c| (c.name, c.ty, c.zero_point)).collect();
        assert_eq!(constants, [("w_quantized", Some(QuantType::Int8), Some(0))]);
    }

    #[test]
    fn scales_move_in_initializers_and_constant_nodes() {
        let mut model = model();
        let mut patch = Patch::new();
        let view = QdqView::of(&model.graph);
        for (id, scale) in view.scales().filter(|(_, s)| s.name != "sw") {
            view.move_scale(id, Position::new(scale.position().map_or(9, |p| p.get() + 1)), &mut patch)
                .unwrap();
        }
        model.graph.apply("test", patch).unwrap();
        let view = QdqView::of(&model.graph);
        let found: Vec<_> =
            view.scales().map(|(_, s)| (s.name.as_str(), s.position().map(Position::get))).collect();
        assert_eq!(found, [("sx", Some(3)), ("sm", Some(4)), ("sw", Some(1)), ("sy", Some(9))]);
    }

    #[test]
    fn a_scale_that_is_also_something_else_does_not_move() {
        let model = Builder::new()
            .input("x", &[1])
            .constant("s", Tensor::f32(&[], &[0.25]))
            .constant("z", Tensor::i8(&[], &[0]))
            .node("QuantizeLinear", &["x", "s", "z"], &["q"])
            .node("DequantizeLinear", &["q", "s", "z"], &["d"])
            .node("Mul", &["d", "s"], &["y"])
            .build(&[("y", &[1])], 13);
        let view = QdqView::of(&model.graph);
        let (id, _) = view.scales().next().unwrap();
        let error = view.move_scale(id, Position::new(3), &mut Patch::new()).unwrap_err();
        assert!(error.to_string().contains("other than a scale"), "{error}");
    }
}
