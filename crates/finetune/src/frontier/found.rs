//! A layer that was found.

use shiftwise_graph::{Graph, Model, NodeId, Patch, Tensor};
use shiftwise_quant::{Direction, QParams, QuantType};

use super::FrontierError;
use super::behind::Behind;
use super::op::LayerOp;
use crate::layer::{Activation, Op};

/// A constant that a DequantizeLinear of its own turns into floats. Names are those of initializers, or of outputs of Constant nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantizedConstant {
    /// The integers.
    pub integers: String,
    /// Their scale.
    pub scale: String,
    /// The integer that stands for zero; 0 where there is none.
    pub zero_point: Option<String>,
    /// The axis of the scales, where there are several; may count from the end.
    pub axis: i64,
}

/// The bias of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bias {
    /// Stored as integers.
    Quantized(QuantizedConstant),
    /// Stored as floats.
    Float(String),
}

/// Where a layer's input is quantized by one scale, which nothing but its own Q/DQ reads, and all who read the result are operators of layers whose
/// other constants do not hang on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The input before it is quantized.
    pub tensor: String,
    /// The integers.
    pub integers: String,
    /// The scale.
    pub scale: String,
    /// The type of the integers.
    pub ty: QuantType,
    /// The integer that stands for zero.
    pub zero_point: i64,
    /// How many nodes read the result.
    pub readers: usize,
}

/// A node of a quantized model whose constants can be tuned, and its counterpart in the float model.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Place among the layers of the model.
    pub index: usize,
    /// The node, as messages call it: its name, or what it makes where it has none.
    pub node: String,
    /// Its operator.
    pub op_type: String,
    /// What it reads in the quantized model, dequantized.
    pub input: String,
    /// The integers behind [`Layer::input`]; `None` where the input is not quantized.
    pub input_integers: Option<String>,
    /// How its input is quantized, if this is the first layer that reads it and its scale may be chosen anew.
    pub reading: Option<Reading>,
    /// What it makes in the quantized model.
    pub output: String,
    /// The same behind its activation, or `output` where it has none.
    pub end: String,
    /// Its weights in the quantized model.
    pub weight: QuantizedConstant,
    /// Its bias in the quantized model.
    pub bias: Option<Bias>,
    /// What it reads in the float model.
    pub float_input: String,
    /// What it makes in the float model, before the activation.
    pub float_output: String,
    /// Its weights in the float model.
    pub float_weight: String,
    /// Its bias in the float model.
    pub float_bias: Option<String>,
    /// Whether its output, behind the activation if there is one, is quantized.
    pub is_output_quantized: bool,
    pub(super) op: LayerOp,
    pub(super) behind: Option<Behind>,
}

impl Layer {
    /// The operator on an input of these dimensions.
    ///
    /// # Errors
    /// Dimensions that do not fit.
    pub fn op(&self, x_dims: &[usize]) -> Result<Op, String> {
        self.op.resolve(x_dims)
    }

    /// The activation on outputs of these dimensions.
    ///
    /// # Errors
    /// An activation whose axes or slopes are not such that [`Activation`] can say them.
    pub fn activation(&self, y_dims: &[usize]) -> Result<Activation, String> {
        self.behind.as_ref().map_or(Ok(Activation::None), |behind| behind.resolve(y_dims.len()))
    }

    /// Scale and zero point of the QuantizeLinear behind the layer's activation, and the type of its integers, where there is one with a
    /// single scale.
    pub fn output_params(&self, graph: &Graph) -> Option<QParams> {
        let mut behind = graph.consumers(&self.end);
        let (_, node) = behind.find(|(_, n)| Direction::of(n) == Some(Direction::Quantize))?;
        let scale = graph.constant(node.input(1)?)?.scalar_f32()?;
        let (ty, zero_point) = match node.input(2) {
            None => (QuantType::Uint8, 0),
            Some(name) => {
                let zero = graph.constant(name)?;
                (QuantType::from_data_type(zero.dtype())?, *zero.to_i64()?.first()?)
            }
        };
        Some(QParams { ty, scale, zero_point })
    }

    /// Puts constants of this layer into a quantized model, by their names.
    ///
    /// # Errors
    /// A name that is no constant of this layer alone, or a tensor of another type or shape. Then nothing is changed.
    pub fn give(&self, model: &mut Model, constants: &[(String, Tensor)]) -> Result<(), FrontierError> {
        let mut patch = Patch::new();
        for (name, tensor) in constants {
            self.replace(&model.graph, name, tensor.clone(), &mut patch).map_err(|reason| {
                FrontierError::Constant { layer: self.node.clone(), constant: name.clone(), reason }
            })?;
        }
        model.graph.apply("finetune", patch).map_err(FrontierError::Graph)
    }

    /// The tensor of the quantized model that a walk hands over: the input, before it is quantized where that is still to be chosen.
    pub fn shown(&self) -> &str {
        self.reading.as_ref().map_or(&self.input, |reading| &reading.tensor)
    }

    /// Adds to `patch` that a constant of this layer alone becomes `tensor`.
    fn replace(&self, graph: &Graph, name: &str, tensor: Tensor, patch: &mut Patch) -> Result<(), String> {
        let old = graph.constant(name).ok_or("the model has no such constant")?;
        if (old.dtype(), old.dims()) != (tensor.dtype(), tensor.dims()) {
            return Err(format!(
                "it is a {} tensor of shape {:?}, not {} of shape {:?}",
                old.dtype(),
                old.dims(),
                tensor.dtype(),
                tensor.dims()
            ));
        }
        if *old == tensor {
            return Ok(());
        }
        let own = self.readers(graph);
        if graph.is_output(name)
            || graph.uses(name).is_empty()
            || graph.uses(name).iter().any(|u| !own.contains(&u.node))
        {
            return Err("it is read elsewhere, too, and cannot be changed for this layer alone".into());
        }
        if graph.initializer(name).is_some() {
            patch.set_initializer(name, tensor);
        } else if let Some((node, constant)) = graph.producer(name) {
            for attribute in constant.attributes.keys().filter(|a| *a != "value") {
                patch.remove_attribute(node, attribute);
            }
            patch.set_attribute(node, "value", tensor);
        }
        Ok(())
    }

    /// The node, the DequantizeLinear nodes of its constants, and the Q/DQ of its input if that is its to choose.
    fn readers(&self, graph: &Graph) -> Vec<NodeId> {
        let Some((id, node)) = graph.producer(&self.output) else { return Vec::new() };
        let dequantizers = node.inputs.iter().skip(1).filter_map(|name| Some(graph.producer(name)?.0));
        let of_input = self.reading.iter().flat_map(|reading| {
            let quantizer = graph.producer(&reading.integers).map(|(id, _)| id);
            quantizer.into_iter().chain(graph.consumers(&reading.integers).map(|(id, _)| id))
        });
        dequantizers.chain(of_input).chain([id]).collect()
    }
}
