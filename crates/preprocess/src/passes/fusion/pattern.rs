//! Recognising nodes from the last one backwards.

use shiftwise_graph::{DataType, Graph, Node, NodeId, Patch};

/// The nodes of a pattern, as far as they are recognised.
pub(super) struct Matcher<'g> {
    pub(super) graph: &'g Graph,
    nodes: Vec<NodeId>,
}

impl<'g> Matcher<'g> {
    pub(super) fn new(graph: &'g Graph, last: NodeId) -> Self {
        Self { graph, nodes: vec![last] }
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Tries an alternative; nodes of one that fails are forgotten.
    pub(super) fn attempt<T>(&mut self, alternative: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mark = self.nodes.len();
        let result = alternative(self);
        if result.is_none() {
            self.nodes.truncate(mark);
        }
        result
    }

    /// Makes a node part of the pattern.
    pub(super) fn take(&mut self, id: NodeId) {
        if !self.nodes.contains(&id) {
            self.nodes.push(id);
        }
    }

    /// The node of this operator that makes `tensor`, which becomes part of the pattern.
    pub(super) fn made(&mut self, tensor: &str, op: &str) -> Option<&'g Node> {
        let (id, node) = self.graph.producer(self.wide(tensor)).filter(|(_, n)| n.is(op))?;
        self.take(id);
        Some(node)
    }

    /// The tensor behind casts between float32 and float64, which become part of the pattern.
    pub(super) fn wide<'t>(&mut self, tensor: &'t str) -> &'t str
    where
        'g: 't,
    {
        let mut tensor = tensor;
        while let Some((id, node)) = self.graph.producer(tensor).filter(|(_, n)| n.is("Cast")) {
            let Some(input) = node.input(0) else { break };
            let is_wide = |t: DataType| matches!(t, DataType::Float | DataType::Double);
            let to = node.int("to").and_then(|t| DataType::from_onnx(i32::try_from(t).ok()?));
            let from = self.graph.tensor_type(input).map(|t| t.dtype);
            if !to.is_some_and(is_wide) || !from.is_some_and(is_wide) {
                break;
            }
            self.take(id);
            tensor = input;
        }
        tensor
    }

    /// The one number that a constant holds.
    pub(super) fn number(&self, tensor: &str) -> Option<f32> {
        let constant = self.graph.constant(tensor)?;
        if constant.len() == 1 { constant.to_f32()?.first().copied() } else { None }
    }

    /// The first operand and the number, where one of two operands is a number.
    pub(super) fn with_number(&self, node: &'g Node) -> Option<(&'g str, f32)> {
        operands(node).into_iter().flatten().find_map(|(a, b)| Some((a, self.number(b)?)))
    }

    /// Why the nodes cannot be replaced by others that make `output`: somebody else reads a value between them.
    pub(super) fn closed(&self, output: &str) -> Result<(), String> {
        for tensor in self.inside(output) {
            if self.graph.is_output(tensor) {
                return Err(format!("{tensor:?} inside of it is an output of the graph"));
            }
            for user in self.graph.uses(tensor) {
                if user.input.is_none() {
                    return Err(format!("{tensor:?} inside of it is captured by a subgraph"));
                }
                if !self.nodes.contains(&user.node) {
                    let reader = self.graph.node(user.node).map_or_else(String::new, Node::label);
                    return Err(format!("{tensor:?} inside of it is read by {reader} too"));
                }
            }
        }
        Ok(())
    }

    fn inside(&self, output: &str) -> impl Iterator<Item = &'g str> {
        let nodes = self.nodes.iter().filter_map(|id| self.graph.node(*id));
        let output = output.to_owned();
        let made = nodes.flat_map(|n| &n.outputs).map(String::as_str);
        made.filter(move |t| !t.is_empty() && *t != output).collect::<Vec<_>>().into_iter()
    }

    /// A patch that removes the nodes; what makes `output` is to be inserted.
    pub(super) fn removal(&self, output: &str) -> Patch {
        let mut patch = Patch::new();
        for id in &self.nodes {
            patch.remove(*id);
        }
        for tensor in self.inside(output) {
            patch.forget_type(tensor);
        }
        patch
    }
}

/// Both orders of two operands.
pub(super) fn operands(node: &Node) -> Option<[(&str, &str); 2]> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    Some([(a, b), (b, a)])
}

/// Whether two numbers are the same up to what printing to five digits loses.
pub(super) fn near(value: f32, wanted: f64) -> bool {
    (f64::from(value) - wanted).abs() <= 2e-5 * wanted.abs()
}

/// Integers of an attribute, or of a constant input where there is none.
pub(super) fn ints(graph: &Graph, node: &Node, name: &str, input: usize) -> Option<Vec<i64>> {
    match node.ints(name) {
        Some(values) => Some(values.to_vec()),
        None => graph.constant(node.input(input)?)?.to_i64(),
    }
}

/// Fails where a tensor is not float32.
pub(super) fn float32(graph: &Graph, tensor: &str) -> Result<(), String> {
    match graph.tensor_type(tensor).map(|t| t.dtype) {
        Some(DataType::Float) => Ok(()),
        Some(dtype @ (DataType::Float16 | DataType::Bfloat16)) => {
            Err(format!("{tensor:?} is {dtype}, not float32: set convert_fp16_to_fp32 = true"))
        }
        Some(dtype) => Err(format!("{tensor:?} is {dtype}, not float32")),
        None => Err(format!("the type of {tensor:?} is not known")),
    }
}
