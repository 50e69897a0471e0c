//! Reading a model: mapped, decoded without copying weights, checked.

use std::collections::HashSet;
use std::path::Path;

use bytes::Bytes;
use indexmap::IndexMap;
use prost::Message;

use crate::external::{Beside, Resolve};
use crate::map::map_file;
use crate::{Graph, GraphError, Model, Node, ValueInfo, ValueType, proto};

impl Model {
    /// Reads a model file; external data is looked up beside it.
    ///
    /// Fails when the file cannot be read, does not decode, or breaks an invariant of the format.
    pub fn load(path: &Path) -> Result<Self, GraphError> {
        let bytes = map_file(path).map_err(|source| GraphError::Read { path: path.into(), source })?;
        let directory = path.parent().unwrap_or_else(|| Path::new("."));
        Self::decode(bytes, path, &Beside::new(directory))
    }

    /// Reads a model from memory; it cannot have external data.
    pub fn from_bytes(bytes: Bytes) -> Result<Self, GraphError> {
        Self::decode(bytes, Path::new("model in memory"), &crate::external::Inline)
    }

    fn decode(bytes: Bytes, path: &Path, resolve: &dyn Resolve) -> Result<Self, GraphError> {
        let fail = |reason: String| GraphError::Decode { path: path.into(), reason };
        if bytes.is_empty() {
            return Err(fail("the file is empty".into()));
        }
        let size = bytes.len();
        let message = proto::ModelProto::decode(bytes).map_err(|e| {
            if size > crate::save::PROTOBUF_LIMIT {
                fail(format!(
                    "{e}; its {size} bytes exceed 2 GiB, the most that one protobuf file can hold: save the model with external data"
                ))
            } else {
                fail(e.to_string())
            }
        })?;
        let graph = message.graph.ok_or_else(|| fail("it has no graph".into()))?;
        if message.opset_import.is_empty() {
            return Err(fail("it imports no operator set".into()));
        }
        let mut opsets = IndexMap::new();
        for import in message.opset_import {
            let domain = if import.domain == "ai.onnx" { String::new() } else { import.domain };
            opsets.insert(domain, import.version);
        }
        let model = Self {
            ir_version: message.ir_version.unwrap_or(0),
            producer_name: message.producer_name,
            producer_version: message.producer_version,
            domain: message.domain,
            model_version: message.model_version,
            doc_string: message.doc_string,
            opsets,
            metadata: message.metadata_props.into_iter().map(|p| (p.key, p.value)).collect(),
            functions: message.functions,
            graph: Graph::from_proto(graph, resolve)?,
        };
        model.graph.check("load")?;
        Ok(model)
    }
}

impl Graph {
    pub(crate) fn from_proto(message: proto::GraphProto, resolve: &dyn Resolve) -> Result<Self, GraphError> {
        if let Some(sparse) = message.sparse_initializer.first() {
            let name = sparse.values.as_ref().map_or("", |v| v.name.as_str());
            return Err(GraphError::malformed(
                format!("sparse initializer {name:?}"),
                "sparse tensors are not supported; store it as a dense tensor",
            ));
        }
        let mut initializers = IndexMap::with_capacity(message.initializer.len());
        for tensor in &message.initializer {
            if initializers.insert(tensor.name.clone(), resolve.tensor(tensor)?).is_some() {
                return Err(GraphError::malformed(
                    format!("initializer {:?}", tensor.name),
                    "two initializers have this name",
                ));
            }
        }
        let nodes = message.node.into_iter().map(Node::from_proto).collect::<Result<Vec<_>, _>>()?;
        let boundary = |values: Vec<proto::ValueInfoProto>| -> Vec<ValueInfo> {
            values
                .into_iter()
                .map(|v| ValueInfo { ty: ValueType::from_proto(v.r#type.as_ref()), name: v.name })
                .collect()
        };
        // IR 3 lists initializers as inputs too; they are constants here, whatever else could feed them.
        let inputs =
            boundary(message.input).into_iter().filter(|v| !initializers.contains_key(&v.name)).collect();
        let outputs = boundary(message.output);
        let mut graph = Self::new(&message.name, inputs, outputs, initializers, nodes);
        graph.doc_string = message.doc_string;
        // Everything else says its type itself, and twice would be once too often.
        let outputs: HashSet<&str> = graph.outputs.iter().map(|v| v.name.as_str()).collect();
        let types = boundary(message.value_info)
            .into_iter()
            .filter(|v| graph.producers.contains_key(&v.name) && !outputs.contains(v.name.as_str()))
            .map(|v| (v.name, v.ty))
            .collect();
        graph.types = types;
        graph.annotations = message.quantization_annotation;
        graph.metadata = message.metadata_props.into_iter().map(|p| (p.key, p.value)).collect();
        graph.sort();
        Ok(graph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Tensor, Weights};

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn weights_lie_inside_of_the_mapped_file() {
        let weights = Tensor::f32(&[1000], &[0.5; 1000]);
        let value = crate::Attribute::Tensor(Tensor::f32(&[50], &[2.0; 50]));
        let model = Builder::new()
            .input("x", &[1000])
            .constant("w", weights)
            .node("Mul", &["x", "w"], &["y"])
            .node_with("Constant", &[], &["c"], &[("value", value)])
            .build(&[("y", &[1000])], 13);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, model.encode(&Weights::Inline).unwrap().model).unwrap();
        let map = map_file(&path).unwrap();
        let loaded = Model::from_bytes(map.clone()).unwrap();
        let range = map.as_ptr_range();
        for name in ["w", "c"] {
            let raw = loaded.graph.constant(name).unwrap().raw().unwrap().as_ptr_range();
            assert!(range.start <= raw.start && raw.end <= range.end, "{name} was copied");
        }
        // The map lives as long as the last tensor that borrows from it.
        drop(map);
        let tensor = loaded.graph.constant("w").unwrap().clone();
        drop(loaded);
        assert_eq!(tensor.to_f32().unwrap(), [0.5; 1000]);
    }
}
