//! The layers of a quantized model that can be tuned, and why others cannot.

use std::collections::{HashMap, HashSet};

use shiftwise_graph::{DataType, Graph, Model, Node, Tensor};
use shiftwise_quant::{Direction, QuantType};

use super::behind::Behind;
use super::found::{Bias, Layer, QuantizedConstant, Reading};
use super::op::LayerOp;

/// A node that is of an operator that can be tuned, but cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The node, as messages call it.
    pub node: String,
    /// Why not.
    pub reason: String,
}

/// The layers of a quantized model, in the order of its nodes, and the nodes that are none though their operators can be.
pub fn find_layers(quantized: &Model, float: &Model) -> (Vec<Layer>, Vec<Skipped>) {
    let counterparts = Counterparts::of(&float.graph);
    let (mut layers, mut skipped) = (Vec::new(), Vec::new());
    let mut read = HashSet::new();
    for (_, node) in quantized.graph.nodes() {
        if LayerOp::is_known(node) {
            match layer(quantized, float, node, &counterparts) {
                Ok(mut layer) => {
                    layer.index = layers.len();
                    // Whoever comes first chooses.
                    if let Some(integers) = &layer.input_integers
                        && !read.insert(integers.clone())
                    {
                        layer.reading = None;
                    }
                    layers.push(layer);
                }
                Err(reason) => skipped.push(Skipped { node: label(node), reason }),
            }
        }
        node.subgraphs().for_each(|(_, body)| skip_inside(body, &mut skipped));
    }
    (layers, skipped)
}

fn skip_inside(body: &Graph, skipped: &mut Vec<Skipped>) {
    for (_, node) in body.nodes() {
        if LayerOp::is_known(node) {
            skipped.push(Skipped { node: label(node), reason: "it is in the body of another node".into() });
        }
        node.subgraphs().for_each(|(_, inner)| skip_inside(inner, skipped));
    }
}

fn label(node: &Node) -> String {
    if node.name.is_empty() { node.label() } else { node.name.clone() }
}

/// Nodes of the float model by name, where only one has it.
struct Counterparts<'g> {
    by_name: HashMap<&'g str, Option<&'g Node>>,
}

impl<'g> Counterparts<'g> {
    fn of(graph: &'g Graph) -> Self {
        let mut by_name = HashMap::new();
        for (_, node) in graph.nodes() {
            by_name.entry(node.name.as_str()).and_modify(|n| *n = None).or_insert(Some(node));
        }
        Self { by_name }
    }

    /// The node of the same name; for nodes without a name of their own the one that makes the same tensor.
    fn find(&self, float: &'g Graph, node: &Node) -> Option<&'g Node> {
        if !node.name.is_empty()
            && let Some(Some(found)) = self.by_name.get(node.name.as_str())
        {
            return Some(found);
        }
        // The output of a node that makes an output of the graph is renamed when Q/DQ come behind it.
        let output = node.output(0)?;
        let maker =
            float.producer(output).or_else(|| float.producer(output.strip_suffix("_QuantizeLinear_Input")?));
        maker.map(|(_, found)| found)
    }
}

fn layer<'g>(
    quantized: &'g Model,
    float: &'g Model,
    node: &'g Node,
    counterparts: &Counterparts<'g>,
) -> Result<Layer, String> {
    let graph = &quantized.graph;
    let output = node.output(0).ok_or("nothing reads its output")?;
    if node.outputs.iter().skip(1).any(|o| !o.is_empty()) {
        return Err("it has several outputs".into());
    }
    let input = node.input(0).ok_or("it has no input")?;
    let (weight, integers) = quantized_constant(graph, node, 1, "weights")?;
    let op = LayerOp::parse(node, integers.dims())?;
    if is_constant(graph, input) {
        return Err("its input is a constant".into());
    }
    let dequantizer = graph.producer(input).filter(|(_, n)| Direction::of(n) == Some(Direction::Dequantize));
    let input_integers = dequantizer.and_then(|(_, n)| n.input(0)).map(str::to_string);
    let bias = match node.input(2) {
        None => None,
        Some(name) if graph.constant(name).is_some_and(|t| t.dtype().is_float()) => {
            sole(graph, name, "bias")?;
            Some(Bias::Float(name.into()))
        }
        Some(_) => Some(Bias::Quantized(quantized_constant(graph, node, 2, "bias")?.0)),
    };

    let twin = counterparts.find(&float.graph, node).ok_or("the float model has no node of its name")?;
    if (&twin.op_type, &twin.domain) != (&node.op_type, &node.domain) {
        return Err(format!("it is a {} node in the float model", twin.op_type));
    }
    let float_constant = |index: usize, what: &str| {
        let name = twin.input(index).ok_or_else(|| format!("it has no {what} in the float model"))?;
        let tensor = float.graph.constant(name).filter(|t| t.dtype().is_float());
        Ok::<_, String>((
            name,
            tensor.ok_or_else(|| format!("its {what} in the float model are no constant"))?,
        ))
    };
    let same_dims = |what: &str, ours: &[usize], theirs: &[usize]| {
        let differ = || Err(format!("its {what} have shape {ours:?}, but {theirs:?} in the float model"));
        if ours == theirs { Ok(()) } else { differ() }
    };
    let (float_weight, tensor) = float_constant(1, "weights")?;
    same_dims("weights", integers.dims(), tensor.dims())?;
    if LayerOp::parse(twin, tensor.dims())? != op {
        return Err("its attributes differ from those in the float model".into());
    }
    let float_bias = match &bias {
        None if twin.input(2).is_some() => return Err("it has no bias, but one in the float model".into()),
        None => None,
        Some(bias) => {
            let (name, theirs) = float_constant(2, "bias")?;
            let (Bias::Float(ours) | Bias::Quantized(QuantizedConstant { integers: ours, .. })) = bias;
            same_dims("bias", graph.constant(ours).map_or(&[], Tensor::dims), theirs.dims())?;
            Some(name.to_string())
        }
    };
    let float_input = twin.input(0).filter(|name| !is_constant(&float.graph, name));
    let float_input = float_input.ok_or("its input is a constant in the float model")?;
    let float_output = twin.output(0).ok_or("nothing reads its output in the float model")?;

    let (behind, last) = behind(quantized, float, output, float_output);
    let is_output_quantized =
        graph.consumers(last).any(|(_, n)| Direction::of(n) == Some(Direction::Quantize));
    Ok(Layer {
        index: 0,
        node: label(node),
        op_type: node.op_type.clone(),
        input: input.into(),
        input_integers,
        reading: reading(graph, input),
        output: output.into(),
        end: last.into(),
        weight,
        bias,
        float_input: float_input.into(),
        float_output: float_output.into(),
        float_weight: float_weight.into(),
        float_bias,
        is_output_quantized,
        op,
        behind,
    })
}

/// How an input is quantized, where its scale can be chosen with nothing but layers in mind.
fn reading(graph: &Graph, input: &str) -> Option<Reading> {
    let dequantizer = graph.producer(input).map(|(_, n)| n)?;
    let integers = dequantizer.input(0)?;
    let (_, quantizer) =
        graph.producer(integers).filter(|(_, n)| Direction::of(n) == Some(Direction::Quantize))?;
    let scale = quantizer.input(1).filter(|scale| dequantizer.input(1) == Some(scale))?;
    let zero_point = quantizer.input(2).filter(|zero| dequantizer.input(2) == Some(zero))?;
    graph.constant(scale)?.scalar_f32()?;
    let zero = graph.constant(zero_point)?;
    let ty = QuantType::from_data_type(zero.dtype()).filter(|ty| *ty != QuantType::Int32)?;
    let tensor = quantizer.input(0).filter(|name| !is_constant(graph, name))?;
    // The scale of a 32-bit bias is the product of those of input and weights.
    let bound = |node: &Node| {
        let stored = node.input(2).and_then(|bias| graph.producer(bias)?.1.input(0));
        stored.and_then(|name| graph.constant(name)).is_some_and(|t| t.dtype() == DataType::Int32)
    };
    let free =
        |node: &Node, made: &str| LayerOp::is_known(node) && node.input(0) == Some(made) && !bound(node);
    let mut readers = 0;
    for (_, dequantizer) in graph.consumers(integers) {
        let made =
            dequantizer.output(0).filter(|_| Direction::of(dequantizer) == Some(Direction::Dequantize))?;
        if graph.is_output(made) || !graph.consumers(made).all(|(_, n)| free(n, made)) {
            return None;
        }
        readers += graph.consumers(made).count();
    }
    (!graph.is_output(integers)).then(|| Reading {
        tensor: tensor.into(),
        integers: integers.into(),
        scale: scale.into(),
        ty,
        zero_point: zero.scalar_i64().unwrap_or(0),
        readers,
    })
}

/// The activation that alone reads a layer's output, and the tensor behind it.
fn behind<'g>(
    quantized: &'g Model,
    float: &Model,
    output: &'g str,
    float_output: &str,
) -> (Option<Behind>, &'g str) {
    let graph = &quantized.graph;
    let Ok((_, node)) = graph.sole_consumer(output) else { return (None, output) };
    let parsed = Behind::parse(graph, quantized.opset(), node, output).or_else(|| {
        // Slopes that are quantized are read from the float model.
        let (_, twin) =
            float.graph.sole_consumer(float_output).ok().filter(|(_, n)| n.op_type == node.op_type)?;
        Behind::parse(&float.graph, float.opset(), twin, float_output)
    });
    match parsed {
        Some(behind) => (Some(behind), node.output(0).unwrap_or(output)),
        None => (None, output),
    }
}

fn is_constant(graph: &Graph, tensor: &str) -> bool {
    graph.initializer(tensor).is_some() || graph.producer(tensor).is_some_and(|(_, n)| n.is("Constant"))
}

/// The constant behind the DequantizeLinear that makes an input, both of them this node's alone.
fn quantized_constant<'g>(
    graph: &'g Graph,
    node: &Node,
    index: usize,
    what: &str,
) -> Result<(QuantizedConstant, &'g Tensor), String> {
    let name = node.input(index).ok_or_else(|| format!("it has no {what}"))?;
    let fail = || format!("its {what} are not a constant behind DequantizeLinear");
    let (_, dequantizer) = graph
        .producer(name)
        .filter(|(_, n)| Direction::of(n) == Some(Direction::Dequantize))
        .ok_or_else(fail)?;
    let integers = dequantizer.input(0).ok_or_else(fail)?;
    let tensor = graph.constant(integers).ok_or_else(fail)?;
    let scale = dequantizer.input(1).filter(|scale| graph.constant(scale).is_some());
    let scale = scale.ok_or_else(|| format!("the scale of its {what} is no constant"))?;
    let zero_point = dequantizer.input(2);
    if zero_point.is_some_and(|zero| graph.constant(zero).is_none()) {
        return Err(format!("the zero point of its {what} is no constant"));
    }
    if dequantizer.int("block_size").unwrap_or(0) != 0 {
        return Err(format!("the scales of its {what} are those of blocks"));
    }
    sole(graph, name, what)?;
    sole(graph, integers, what)?;
    let constant = QuantizedConstant {
        integers: integers.into(),
        scale: scale.into(),
        zero_point: zero_point.map(str::to_string),
        axis: dequantizer.int("axis").unwrap_or(1),
    };
    Ok((constant, tensor))
}

fn sole(graph: &Graph, tensor: &str, what: &str) -> Result<(), String> {
    graph.sole_consumer(tensor).map(drop).map_err(|reason| format!("its {what} are shared: {reason}"))
}
