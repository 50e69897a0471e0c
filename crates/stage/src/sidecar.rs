//! The list of tensors beside a quantized model.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};
use shiftwise_graph::{Graph, Tensor};
use shiftwise_quant::{Direction, QdqView, QuantType, Role, TensorRecord};

use crate::Failure;

/// The list, with whatever else its file says.
#[derive(Clone, Debug, Default)]
pub struct Sidecar {
    root: Map<String, Value>,
    records: Vec<TensorRecord>,
}

impl Sidecar {
    /// Reads the file of an artifact.
    ///
    /// # Errors
    /// Where it cannot be read, or is not such a list.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|e| Failure::read(path, &e))?;
        Self::parse(&text).map_err(|reason| {
            Failure::input(format!("read {}: {reason}", path.display()))
                .with_help("run the stage that wrote it again, with --force")
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let root: Map<String, Value> = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let list = root.get("tensors").and_then(Value::as_array).ok_or("it has no list `tensors`")?;
        let record =
            |v: &Value| TensorRecord::deserialize(v).map_err(|e| format!("an entry of `tensors`: {e}"));
        let records = list.iter().map(record).collect::<Result<_, _>>()?;
        Ok(Self { root, records })
    }

    /// What a model of others says about its tensors. Tensors without a constant scale of their own are left out.
    pub fn of(graph: &Graph) -> Self {
        let view = QdqView::of(graph);
        let mut records: Vec<TensorRecord> = Vec::new();
        for quantizer in view.quantizers() {
            let (Some(node), Some(id)) = (graph.node(quantizer.node), quantizer.scale) else { continue };
            let integers = node.input(0).filter(|n| graph.constant(n).is_some());
            let integers = integers.filter(|_| quantizer.direction == Direction::Dequantize);
            let listed = integers.is_some() || quantizer.direction == Direction::Quantize;
            if !listed || records.iter().any(|r| r.tensor == quantizer.tensor) {
                continue;
            }
            let zero = node.input(2).and_then(|z| graph.constant(z));
            // Without a zero point, Q makes uint8, and DQ takes what there is.
            let dtype = integers.and_then(|n| graph.constant(n)).or(zero).map(Tensor::dtype);
            let ty = dtype.map_or(Some(QuantType::Uint8), QuantType::from_data_type);
            let (Some(scale), Some(ty)) = (view.scale(id).value(), ty) else { continue };
            records.push(TensorRecord {
                tensor: quantizer.tensor.clone(),
                role: integers.map_or(Role::Activation, |_| role(graph, node.output(0).unwrap_or(""))),
                float_source: None,
                quantized: integers.map(Into::into),
                scale_name: view.scale(id).name.clone(),
                zero_point_name: node.input(2).unwrap_or("").into(),
                ty,
                scale,
                zero_point: zero.and_then(Tensor::scalar_i64).unwrap_or(0),
                position: view.scale(id).position(),
                method: "found in the model".into(),
                shares: None,
            });
        }
        let mut root = Map::new();
        let list = records.iter().filter_map(|r| serde_json::to_value(r).ok()).collect();
        root.insert("tensors".into(), Value::Array(list));
        Self { root, records }
    }

    /// The entries.
    pub fn records(&self) -> &[TensorRecord] {
        &self.records
    }

    /// Replaces an entry; what this version does not know of stays as it is.
    ///
    /// # Errors
    /// [`Failure::bug`]: records can be written.
    pub fn update(&mut self, index: usize, record: TensorRecord) -> Result<(), Failure> {
        let failed = |e: serde_json::Error| Failure::bug("write the list of tensors").because(e.to_string());
        let Value::Object(new) = serde_json::to_value(&record).map_err(failed)? else { return Ok(()) };
        let list = self.root.get_mut("tensors").and_then(Value::as_array_mut);
        if let Some(Value::Object(entry)) = list.and_then(|l| l.get_mut(index)) {
            for optional in ["float_source", "quantized", "position", "shares"] {
                if !new.contains_key(optional) {
                    entry.remove(optional);
                }
            }
            entry.extend(new);
        }
        if let Some(old) = self.records.get_mut(index) {
            *old = record;
        }
        Ok(())
    }

    /// The file.
    pub fn json(&self) -> &Map<String, Value> {
        &self.root
    }
}

/// What a dequantized constant is to the node that reads it.
fn role(graph: &Graph, dequantized: &str) -> Role {
    let bias = graph.uses(dequantized).iter().any(|u| {
        let weighted = |op: &&str| graph.node(u.node).is_some_and(|n| n.is(op));
        u.input == Some(2) && ["Conv", "ConvTranspose", "Gemm"].iter().any(weighted)
    });
    if bias { Role::Bias } else { Role::Weight }
}
