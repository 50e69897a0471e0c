//! Turns decided sites into QuantizeLinear and DequantizeLinear nodes.
//!
//! The only place where Q/DQ come into being, and the only one that knows how they are called: a tensor `t` gets
//! `t_QuantizeLinear`, `t_DequantizeLinear`, `t_scale`, `t_zero_point`, and a constant `t_quantized`; their outputs end
//! in `_Output`. A graph output keeps its name on the dequantized side.

use std::collections::HashMap;

use indexmap::IndexMap;
use shiftwise_graph::{DataType, Graph, GraphError, Model, Node, NodeId, Patch, TensorType};

use crate::{Placement, QParams, QuantType, Role, TensorRecord};

/// Oldest operator set that has QuantizeLinear.
const FIRST_OPSET: i64 = 10;
/// Oldest operator set whose QuantizeLinear has 16-bit types; before, the operators of `com.microsoft` do.
const FIRST_OPSET_16_BIT: i64 = 21;
/// The domain of contributed operators.
const CONTRIBUTED: &str = "com.microsoft";
/// Initializers need not be listed as inputs since this version of the format.
const FIRST_IR: i64 = 4;

/// Parameters of one site, and how they were chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The parameters.
    pub params: QParams,
    /// The method, for the report.
    pub method: String,
}

/// Why sites cannot be emitted.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// The model's operator set has no QuantizeLinear.
    #[error(
        "insert Q/DQ: the model uses opset {0}, QuantizeLinear exists since opset 10; export it with opset 13 or later"
    )]
    Opset(i64),
    /// A site has no parameters.
    #[error("quantize {0:?}: no parameters were decided for it")]
    Undecided(String),
    /// The constant holds values that no integer can stand for.
    #[error("quantize {tensor:?}: it holds {value}; repair the model's weights")]
    NotFinite {
        /// The constant.
        tensor: String,
        /// The offending value.
        value: f32,
    },
    /// The graph cannot be edited so.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// A quantized model and what its sidecar says.
#[derive(Debug)]
pub struct Emitted {
    /// The model with Q/DQ: sorted, checked, without constants that nobody reads.
    pub model: Model,
    /// One record a site, in the order of the sites.
    pub tensors: Vec<TensorRecord>,
}

/// Inserts Q/DQ at every site of `placement`; `decisions` has an entry for each site that does not share.
pub fn emit(
    float: &Model,
    placement: &Placement,
    decisions: &IndexMap<String, Decision>,
) -> Result<Emitted, EmitError> {
    if float.opset() < FIRST_OPSET {
        return Err(EmitError::Opset(float.opset()));
    }
    let mut model = float.clone();
    if model.ir_version < FIRST_IR {
        model.ir_version = 7;
    }
    model.producer_name = "shiftwise".into();
    model.producer_version = env!("CARGO_PKG_VERSION").into();

    let places: HashMap<NodeId, usize> =
        float.graph.nodes().enumerate().map(|(i, (id, _))| (id, i)).collect();
    let contribute_16_bit = float.opset() < FIRST_OPSET_16_BIT;
    if contribute_16_bit && decisions.values().any(|d| is_16_bit(d.params.ty)) {
        model.opsets.entry(CONTRIBUTED.into()).or_insert(1);
    }
    let mut emitter = Emitter {
        graph: &float.graph,
        places,
        patch: Patch::new(),
        names: HashMap::new(),
        contribute_16_bit,
    };
    let mut tensors = Vec::with_capacity(placement.sites.len());
    // Providers name their parameters before sharers refer to them.
    for tensor in placement.sites.keys().filter(|t| placement.provider(t) == t.as_str()) {
        let decision = decisions.get(tensor).ok_or_else(|| EmitError::Undecided(tensor.clone()))?;
        emitter.parameters(tensor, &decision.params)?;
    }
    for (tensor, site) in &placement.sites {
        let provider = placement.provider(tensor);
        let decision = decisions.get(provider).ok_or_else(|| EmitError::Undecided(provider.into()))?;
        tensors.push(emitter.site(tensor, site.role, provider, decision)?);
    }
    model.graph.apply("quantize", emitter.patch)?;
    model.graph.sort();
    model.graph.check("quantize")?;
    Ok(Emitted { model, tensors })
}

struct Emitter<'g> {
    graph: &'g Graph,
    places: HashMap<NodeId, usize>,
    patch: Patch,
    /// Scale and zero point initializers by provider.
    names: HashMap<String, (String, String)>,
    /// Whether Q/DQ of 16-bit types are contributed operators.
    contribute_16_bit: bool,
}

fn is_16_bit(ty: QuantType) -> bool {
    matches!(ty, QuantType::Uint16 | QuantType::Int16)
}

impl Emitter<'_> {
    fn parameters(&mut self, tensor: &str, params: &QParams) -> Result<(), EmitError> {
        let scale = self.graph.fresh_name(&format!("{tensor}_scale"));
        let zero_point = self.graph.fresh_name(&format!("{tensor}_zero_point"));
        self.patch.set_initializer(&scale, params.scale_tensor());
        self.patch.set_initializer(&zero_point, params.zero_point_tensor()?);
        self.names.insert(tensor.into(), (scale, zero_point));
        Ok(())
    }

    fn site(
        &mut self,
        tensor: &str,
        role: Role,
        provider: &str,
        decision: &Decision,
    ) -> Result<TensorRecord, EmitError> {
        let (scale_name, zero_point_name) =
            self.names.get(provider).cloned().ok_or_else(|| EmitError::Undecided(provider.into()))?;
        let params = decision.params;
        let mut record = TensorRecord {
            tensor: tensor.into(),
            role,
            float_source: None,
            quantized: None,
            scale_name,
            zero_point_name,
            ty: params.ty,
            scale: params.scale,
            zero_point: params.zero_point,
            position: params.position(),
            method: decision.method.clone(),
            shares: (provider != tensor).then(|| provider.into()),
        };
        match role {
            Role::Activation => self.activation(&record),
            Role::Weight | Role::Bias => {
                record.quantized = Some(self.constant(&record)?);
                record.float_source = Some(tensor.into());
            }
        }
        Ok(record)
    }

    fn activation(&mut self, record: &TensorRecord) {
        let t = record.tensor.as_str();
        let shape = self.graph.tensor_type(t).and_then(|ty| ty.shape);
        let quantized = self.graph.fresh_name(&format!("{t}_QuantizeLinear_Output"));
        let is_output = self.graph.is_output(t);
        let (source, result) = match self.graph.producer(t).filter(|_| is_output) {
            Some((id, producer)) => {
                let source = self.graph.fresh_name(&format!("{t}_QuantizeLinear_Input"));
                if let Some(index) = producer.outputs.iter().position(|o| o == t) {
                    self.patch.set_output(id, index, &source);
                }
                self.patch.set_type(&source, TensorType { dtype: DataType::Float, shape: shape.clone() });
                (source, t.to_string())
            }
            None => (t.to_string(), self.graph.fresh_name(&format!("{t}_DequantizeLinear_Output"))),
        };
        let parameters = [record.scale_name.as_str(), record.zero_point_name.as_str()];
        let q = Node {
            domain: self.domain(record.ty),
            ..Node::new(
                "QuantizeLinear",
                &format!("{t}_QuantizeLinear"),
                &[&source, parameters[0], parameters[1]],
                &[&quantized],
            )
        };
        self.redirect(t, &result);
        self.insert(t, q);
        self.insert(t, self.dequantize(record, &quantized, &result));
        self.patch.set_type(&quantized, TensorType { dtype: record.ty.data_type(), shape: shape.clone() });
        self.patch.set_type(&result, TensorType { dtype: DataType::Float, shape });
    }

    fn constant(&mut self, record: &TensorRecord) -> Result<String, EmitError> {
        let t = record.tensor.as_str();
        let tensor = self.graph.initializer(t).ok_or_else(|| EmitError::Undecided(t.into()))?;
        let values = tensor.to_f32().ok_or_else(|| EmitError::Undecided(t.into()))?;
        if let Some(value) = values.iter().find(|v| !v.is_finite()) {
            return Err(EmitError::NotFinite { tensor: t.into(), value: *value });
        }
        let quantized = self.graph.fresh_name(&format!("{t}_quantized"));
        let result = self.graph.fresh_name(&format!("{t}_DequantizeLinear_Output"));
        self.patch.set_initializer(&quantized, record.params().quantize_tensor(&values, tensor.dims())?);
        self.redirect(t, &result);
        self.insert(t, self.dequantize(record, &quantized, &result));
        self.patch.set_type(&result, TensorType::fixed(DataType::Float, tensor.dims()));
        let still_read = self.graph.is_output(t) || self.graph.uses(t).iter().any(|u| u.input.is_none());
        if !still_read {
            self.patch.remove_initializer(t);
        }
        Ok(quantized)
    }

    fn dequantize(&self, record: &TensorRecord, quantized: &str, result: &str) -> Node {
        Node {
            domain: self.domain(record.ty),
            ..Node::new(
                "DequantizeLinear",
                &format!("{}_DequantizeLinear", record.tensor),
                &[quantized, &record.scale_name, &record.zero_point_name],
                &[result],
            )
        }
    }

    fn domain(&self, ty: QuantType) -> String {
        if self.contribute_16_bit && is_16_bit(ty) { CONTRIBUTED.into() } else { String::new() }
    }

    fn redirect(&mut self, from: &str, to: &str) {
        if from != to {
            self.patch.redirect(from, to);
        }
    }

    /// Inserts a node before the first reader of `tensor`, or at the end where nobody reads it.
    fn insert(&mut self, tensor: &str, node: Node) {
        let first = self.graph.uses(tensor).iter().map(|u| u.node).min_by_key(|id| self.places.get(id));
        match first {
            Some(anchor) => self.patch.insert_before(anchor, node),
            None => self.patch.insert(node),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PlacementOptions, QuantType};
    use shiftwise_graph::{Builder, Tensor};

    #[test]
    fn names_of_nodes_parameters_and_graph_outputs() {
        let model = Builder::new()
            .input("x", &[1, 1, 2, 2])
            .constant("w", Tensor::f32(&[1, 1, 1, 1], &[0.75]))
            .node("Conv", &["x", "w"], &["y"])
            .build(&[("y", &[1, 1, 2, 2])], 13);
        let placement = Placement::of(&model, &PlacementOptions::default()).unwrap();
        let at = |ty, scale| Decision {
            params: QParams { ty, scale, zero_point: i64::from(ty == QuantType::Uint8) * 128 },
            method: "test".into(),
        };
        let decisions = IndexMap::from([
            ("x".to_string(), at(QuantType::Uint8, 0.25)),
            ("w".to_string(), at(QuantType::Int8, 0.125)),
            ("y".to_string(), at(QuantType::Uint8, 0.5)),
        ]);
        let emitted = emit(&model, &placement, &decisions).unwrap();
        let nodes: Vec<String> = emitted
            .model
            .graph
            .nodes()
            .map(|(_, n)| format!("{} {:?} -> {:?}", n.name, n.inputs, n.outputs))
            .collect();
        assert_eq!(
            nodes,
            [
                r#"x_QuantizeLinear ["x", "x_scale", "x_zero_point"] -> ["x_QuantizeLinear_Output"]"#,
                r#"x_DequantizeLinear ["x_QuantizeLinear_Output", "x_scale", "x_zero_point"] -> ["x_DequantizeLinear_Output"]"#,
                r#"w_DequantizeLinear ["w_quantized", "w_scale", "w_zero_point"] -> ["w_DequantizeLinear_Output"]"#,
                r#"y ["x_DequantizeLinear_Output", "w_DequantizeLinear_Output"] -> ["y_QuantizeLinear_Input"]"#,
                r#"y_QuantizeLinear ["y_QuantizeLinear_Input", "y_scale", "y_zero_point"] -> ["y_QuantizeLinear_Output"]"#,
                r#"y_DequantizeLinear ["y_QuantizeLinear_Output", "y_scale", "y_zero_point"] -> ["y"]"#,
            ]
        );
        assert_eq!(emitted.model.graph.initializer("w_quantized").unwrap().to_i64(), Some(vec![6]));
        assert!(emitted.model.graph.initializer("w").is_none());
        let y = emitted.tensors.iter().find(|t| t.tensor == "y").unwrap();
        assert_eq!(y.position.map(crate::Position::get), Some(1));
    }
}
