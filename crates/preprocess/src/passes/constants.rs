//! Constant nodes become initializers.

use bytes::Bytes;
use shiftwise_graph::{Attribute, DataType, Model, Node, NodeId, Outcome, Patch, Rule, Tensor};

use super::name;
use super::operand::gone;

/// Turns each Constant node into an initializer under the name of its output, so that every later pass finds constants in
/// one place. The values are those of the attribute, bit by bit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Constants;

impl Rule for Constants {
    fn name(&self) -> &'static str {
        name::CONSTANTS
    }

    fn visit(&mut self, _: &Model, id: NodeId, node: &Node) -> Outcome {
        if !node.is("Constant") {
            return Outcome::NoMatch;
        }
        let Some(output) = node.output(0) else {
            return Outcome::Refused("its output has no name".into());
        };
        match tensor(node) {
            Ok(tensor) => {
                let mut patch = Patch::new();
                patch.remove(id).set_initializer(output, tensor);
                Outcome::rewrite(patch, format!("{output:?} is an initializer now"))
            }
            Err(reason) => Outcome::Refused(reason),
        }
    }

    fn ensures(&self, _: &Model, node: &Node) -> Result<(), String> {
        gone(node, "Constant")
    }
}

fn tensor(node: &Node) -> Result<Tensor, String> {
    let mut attributes = node.attributes.iter();
    let (Some((name, value)), None) = (attributes.next(), attributes.next()) else {
        return Err(format!("it has {} attributes instead of one", node.attributes.len()));
    };
    let raw = |dtype, dims: Vec<usize>, bytes: Vec<u8>| {
        Tensor::from_raw(dtype, dims, Bytes::from(bytes)).map_err(|e| e.to_string())
    };
    match (name.as_str(), value) {
        ("value", Attribute::Tensor(tensor)) => Ok(tensor.clone()),
        ("value_float", Attribute::Float(v)) => raw(DataType::Float, Vec::new(), v.to_le_bytes().to_vec()),
        ("value_int", Attribute::Int(v)) => raw(DataType::Int64, Vec::new(), v.to_le_bytes().to_vec()),
        ("value_floats", Attribute::Floats(v)) => {
            raw(DataType::Float, vec![v.len()], v.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
        ("value_ints", Attribute::Ints(v)) => {
            raw(DataType::Int64, vec![v.len()], v.iter().flat_map(|v| v.to_le_bytes()).collect())
        }
        _ => Err(format!("its attribute {name:?} has no dense numbers")),
    }
}
