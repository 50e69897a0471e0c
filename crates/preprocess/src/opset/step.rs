//! What an adapter works with.

use bytes::Bytes;
use shiftwise_graph::{Attribute, DataType, Dim, Node, Rebuilt, Scope, Tensor};

/// Writes a node as the next operator set wants it.
pub(super) type Adapter = fn(&mut Step<'_>, Node) -> Result<(), String>;

/// One node on its way to the next operator set.
pub(super) struct Step<'s> {
    /// The graphs as they were.
    pub(super) scope: &'s Scope<'s>,
    /// For constants and names.
    pub(super) new: &'s mut Rebuilt,
    /// What stands in the place of the node.
    pub(super) nodes: Vec<Node>,
}

impl Step<'_> {
    /// Adds a node that stands in the place of the old one.
    pub(super) fn put(&mut self, node: Node) -> Result<(), String> {
        self.nodes.push(node);
        Ok(())
    }

    /// A constant of integers for one input of a node.
    pub(super) fn ints(&mut self, node: &Node, what: &str, values: &[i64]) -> String {
        self.constant(node, what, Tensor::i64(&[values.len()], values))
    }

    /// A constant for one input of a node, called after what the node makes.
    pub(super) fn constant(&mut self, node: &Node, what: &str, tensor: Tensor) -> String {
        let owner = node.outputs.iter().find(|o| !o.is_empty()).map_or("", String::as_str);
        self.new.constant(&format!("{owner}_{what}"), tensor)
    }

    /// Moves a list of integers from an attribute to an input; without the attribute nothing is done.
    pub(super) fn move_ints(&mut self, node: &mut Node, name: &str, input: usize) -> Result<(), String> {
        match node.attributes.shift_remove(name) {
            None => Ok(()),
            Some(Attribute::Ints(values)) => {
                let constant = self.ints(node, name, &values);
                set_input(node, input, constant);
                Ok(())
            }
            Some(_) => Err(format!("its attribute {name} is no list of integers")),
        }
    }

    /// A scalar of the element type of input 0.
    pub(super) fn like_input(&mut self, node: &Node, what: &str, value: f32) -> Result<String, String> {
        let name = node.input(0).unwrap_or_default();
        let ty = self.scope.tensor_type(name).map(|ty| ty.dtype);
        let bytes = match ty.ok_or_else(|| format!("the type of {name:?} is not known"))? {
            DataType::Float => value.to_le_bytes().to_vec(),
            DataType::Double => f64::from(value).to_le_bytes().to_vec(),
            DataType::Float16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
            other => return Err(format!("{name:?} is {other}")),
        };
        let dtype = ty.unwrap_or(DataType::Float);
        let tensor = Tensor::from_raw(dtype, Vec::new(), Bytes::from(bytes)).map_err(|e| e.to_string())?;
        Ok(self.constant(node, what, tensor))
    }

    /// Shape of an input, as far as it is known.
    pub(super) fn shape(&self, node: &Node, input: usize) -> Option<Vec<Dim>> {
        self.scope.tensor_type(node.input(input)?)?.shape
    }
}

/// Makes a node read `tensor`, with omitted inputs in between.
pub(super) fn set_input(node: &mut Node, input: usize, tensor: String) {
    if node.inputs.len() <= input {
        node.inputs.resize(input + 1, String::new());
    }
    node.inputs[input] = tensor;
}

/// For operators that the next operator set does not have, or whose meaning cannot be said there.
pub(super) fn refuse(_: &mut Step<'_>, node: Node) -> Result<(), String> {
    Err(format!("nothing converts {}", node.op_type))
}
