//! float16 computed in float32.
//!
//! On processors, ONNX Runtime widens what it has no float16 kernel for, and rounds only where a value leaves the graph: between
//! two widened nodes nothing is rounded. So does this pass: every float16 tensor becomes float32, but around nodes whose
//! meaning is to round (casts, and Q/DQ with a float16 scale).

use std::collections::HashSet;

use indexmap::IndexMap;
use shiftwise_graph::{Attribute, DataType, Graph, Model, Node, Tensor, ValueInfo, ValueType, infer_shapes};

const HALF: i64 = DataType::Float16 as i64;
const FLOAT: i64 = DataType::Float as i64;

/// Attributes that name the element type of a result.
const TYPES: [&str; 2] = ["dtype", "output_datatype"];

/// A model of float16 tensors, widened.
pub(crate) struct Widened {
    pub(crate) model: Model,
    /// Tensors that are float16 in the model as it was.
    pub(crate) halves: HashSet<String>,
}

/// The same model with float32 in place of float16; `None` where nothing is float16.
pub(crate) fn widen(model: &Model) -> Option<Widened> {
    if !has_half(&model.graph) {
        return None;
    }
    let mut typed = model.clone();
    infer_shapes(&mut typed);
    let mut halves = HashSet::new();
    collect(&typed.graph, &mut halves);
    let mut pass = Pass { halves, next: 0 };
    let graph = pass.graph(&model.graph);
    let halves = pass.halves;
    let wide = Model {
        graph,
        opsets: model.opsets.clone(),
        functions: model.functions.clone(),
        ..Model::new(Graph::default(), model.opset())
    };
    Some(Widened { model: wide, halves })
}

fn is_half(info: &ValueInfo) -> bool {
    info.ty.tensor().is_some_and(|t| t.dtype == DataType::Float16)
}

fn has_half(graph: &Graph) -> bool {
    graph.inputs().iter().any(is_half)
        || graph.initializers().any(|(_, t)| t.dtype() == DataType::Float16)
        || graph.nodes().any(|(_, node)| {
            node.attributes
                .values()
                .any(|a| matches!(a, Attribute::Tensor(t) if t.dtype() == DataType::Float16))
                || (node.is("Cast") && node.int("to") == Some(HALF))
                || TYPES.iter().any(|name| node.int(name) == Some(HALF))
                || node.subgraphs().any(|(_, body)| has_half(body))
        })
}

/// Names of float16 tensors, as far as types are known.
fn collect(graph: &Graph, halves: &mut HashSet<String>) {
    let half = |name: &str| graph.tensor_type(name).is_some_and(|t| t.dtype == DataType::Float16);
    halves.extend(graph.inputs().iter().filter(|v| is_half(v)).map(|v| v.name.clone()));
    let constants = graph.initializers().filter(|(_, t)| t.dtype() == DataType::Float16);
    halves.extend(constants.map(|(name, _)| name.to_string()));
    for (_, node) in graph.nodes() {
        halves.extend(node.outputs.iter().filter(|o| half(o)).cloned());
        node.subgraphs().for_each(|(_, body)| collect(body, halves));
    }
}

struct Pass {
    halves: HashSet<String>,
    /// Number of the next tensor that is added.
    next: usize,
}

impl Pass {
    fn graph(&mut self, graph: &Graph) -> Graph {
        let infos = |infos: &[ValueInfo]| infos.iter().map(wide_info).collect();
        let constants: IndexMap<String, Tensor> =
            graph.initializers().map(|(name, tensor)| (name.to_string(), wide_tensor(tensor))).collect();
        let mut nodes = Vec::with_capacity(graph.node_count());
        for (_, node) in graph.nodes() {
            self.node(node, &mut nodes);
        }
        Graph::new(&graph.name, infos(graph.inputs()), infos(graph.outputs()), constants, nodes)
    }

    fn added(&mut self, like: &str) -> String {
        self.next += 1;
        format!("{like}::float16 {}", self.next)
    }

    fn node(&mut self, node: &Node, nodes: &mut Vec<Node>) {
        let mut node = node.clone();
        for (name, attribute) in &mut node.attributes {
            match attribute {
                Attribute::Tensor(tensor) => *tensor = wide_tensor(tensor),
                Attribute::Graph(body) => **body = self.graph(body),
                Attribute::Int(v) if *v == HALF && TYPES.contains(&name.as_str()) => *v = FLOAT,
                _ => {}
            }
        }
        let half = |i: usize| node.input(i).is_some_and(|name| self.halves.contains(name));
        let is_grid = matches!(node.op_type.as_str(), "QuantizeLinear" | "DequantizeLinear");
        let rounds = (node.is("Cast") && node.int("to") == Some(HALF)) || (node.is("CastLike") && half(1));
        if is_grid && half(1) {
            self.narrow_input(&mut node, 1, nodes);
            if node.op_type == "QuantizeLinear" {
                self.narrow_input(&mut node, 0, nodes);
                nodes.push(node);
            } else {
                self.rounded(node, nodes);
            }
        } else if rounds {
            if node.is("CastLike") {
                node =
                    Node::new("Cast", &node.name, &[&node.inputs[0]], &[&node.outputs[0]]).with("to", HALF);
            }
            self.rounded(node, nodes);
        } else {
            nodes.push(node);
        }
    }

    /// Gives a node an input in float16.
    fn narrow_input(&mut self, node: &mut Node, index: usize, nodes: &mut Vec<Node>) {
        let narrow = self.added(&node.inputs[index]);
        let cast = Node::new("Cast", &node.name, &[&node.inputs[index]], &[&narrow]);
        nodes.push(cast.with("to", HALF));
        node.inputs[index] = narrow;
    }

    /// A node that makes float16, and the float32 that the others read.
    fn rounded(&mut self, mut node: Node, nodes: &mut Vec<Node>) {
        let Some(output) = node.outputs.first().cloned() else { return nodes.push(node) };
        self.halves.insert(output.clone());
        let narrow = self.added(&output);
        node.outputs[0].clone_from(&narrow);
        let widen = Node::new("Cast", &node.name, &[&narrow], &[&output]).with("to", FLOAT);
        nodes.extend([node, widen]);
    }
}

fn wide_info(info: &ValueInfo) -> ValueInfo {
    let mut info = info.clone();
    if let ValueType::Tensor(ty) = &mut info.ty
        && ty.dtype == DataType::Float16
    {
        ty.dtype = DataType::Float;
    }
    info
}

fn wide_tensor(tensor: &Tensor) -> Tensor {
    match tensor.dtype() {
        DataType::Float16 => match tensor.to_f32() {
            Some(values) => Tensor::f32(tensor.dims(), &values),
            None => tensor.clone(),
        },
        _ => tensor.clone(),
    }
}
