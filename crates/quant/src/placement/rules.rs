//! What each operator asks for.

use shiftwise_graph::{Graph, Model, Node};

use super::{Placement, PlacementOptions, Role, is_float};

/// Lets one node ask for its sites.
pub(super) fn visit(placement: &mut Placement, model: &Model, node: &Node, options: &PlacementOptions) {
    let graph = &model.graph;
    let mut ask = Ask { placement, graph, node };
    let force = options.force_quantize_no_input_check;
    match node.op_type.as_str() {
        "Conv" | "ConvTranspose" | "Gemm" => ask.weighted(options.quantize_bias),
        "MatMul" => ask.everything(),
        "Relu" | "Clip" => {
            if ask.input_has_site() {
                ask.input(0);
                ask.output(0);
            }
        }
        "Resize" if model.opset() < 11 => {}
        "MaxPool" if model.opset() < 12 => {}
        "Reshape" | "Transpose" | "Squeeze" | "Unsqueeze" | "Resize" | "MaxPool" => ask.passes_on(force),
        "Gather" => ask.passes_on(force || ask.constant(0)),
        "Split" => ask.passes_on(true),
        "Where" => {
            ask.input(1);
            ask.input(2);
            ask.output(0);
        }
        "InstanceNormalization" => ask.weighted(options.quantize_bias),
        "LayerNormalization" => {
            if force || ask.input_has_site() {
                ask.weighted(options.quantize_bias);
            }
        }
        "HardSigmoid" if !is_dpu_hard_sigmoid(node) => {}
        _ => ask.everything(),
    }
}

/// HardSigmoid(x) = clip(x / 6 + 1/2, 0, 1) is the one that the hardware computes.
fn is_dpu_hard_sigmoid(node: &Node) -> bool {
    let near = |value: f32, wanted: f32| (value - wanted).abs() <= 1e-6;
    near(node.float("alpha").unwrap_or(0.2), 1.0 / 6.0) && near(node.float("beta").unwrap_or(0.5), 0.5)
}

struct Ask<'a> {
    placement: &'a mut Placement,
    graph: &'a Graph,
    node: &'a Node,
}

impl Ask<'_> {
    fn tensor(&mut self, tensor: &str) {
        if !is_float(self.graph, tensor) {
            return;
        }
        let role = if self.graph.initializer(tensor).is_some() { Role::Weight } else { Role::Activation };
        self.placement.ask(tensor, role, self.node);
    }

    fn input(&mut self, index: usize) {
        if let Some(tensor) = self.node.input(index) {
            self.tensor(tensor);
        }
    }

    fn output(&mut self, index: usize) {
        if let Some(tensor) = self.node.output(index) {
            self.tensor(tensor);
        }
    }

    fn everything(&mut self) {
        for index in 0..self.node.inputs.len() {
            self.input(index);
        }
        for index in 0..self.node.outputs.len() {
            self.output(index);
        }
    }

    /// Input, weight, bias, output. A bias that is not a constant stays float: there is nothing to store.
    fn weighted(&mut self, quantize_bias: bool) {
        self.input(0);
        self.input(1);
        let bias =
            self.node.input(2).filter(|b| self.graph.initializer(b).is_some() && is_float(self.graph, b));
        if let Some(bias) = bias.filter(|_| quantize_bias) {
            self.placement.ask(bias, Role::Bias, self.node);
        }
        self.output(0);
    }

    /// Operators that move values without changing them: their outputs have the parameters of the input.
    fn passes_on(&mut self, force: bool) {
        let Some(input) = self.node.input(0) else { return };
        if force {
            self.tensor(input);
        }
        if !self.placement.has(input) {
            return;
        }
        for output in self.node.outputs.iter().filter(|o| !o.is_empty() && is_float(self.graph, o)) {
            self.placement.ask_shared(output, input, self.node);
        }
    }

    fn input_has_site(&self) -> bool {
        self.node.input(0).is_some_and(|t| self.placement.has(t))
    }

    fn constant(&self, index: usize) -> bool {
        self.node.input(index).is_some_and(|t| self.graph.initializer(t).is_some() && is_float(self.graph, t))
    }
}
