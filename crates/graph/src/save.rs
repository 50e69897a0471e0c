//! Writing a model, with weights inline or beside it.

use bytes::Bytes;
use prost::Message;

use crate::{Graph, GraphError, Model, TensorData, external, proto};

/// Protobuf readers refuse larger messages.
const PROTOBUF_LIMIT: usize = i32::MAX as usize;
/// Readers map external data: page-aligned for large tensors, as the format recommends.
const ALIGNMENT: usize = 4096;

/// Where weights go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Into the model file, unless it would exceed the protobuf limit; then as by `External`.
    Auto {
        /// File name of the data, beside the model.
        location: String,
    },
    /// Tensors of at least `threshold` bytes into one file beside the model.
    External {
        /// File name of the data, beside the model.
        location: String,
        /// Smallest size that is moved out.
        threshold: usize,
    },
    /// Into the model file.
    Inline,
}

/// A model ready to be written.
#[derive(Debug)]
pub struct Encoded {
    /// Content of the model file.
    pub model: Vec<u8>,
    /// File name and consecutive segments of the external data, if any.
    pub external: Option<(String, Vec<Bytes>)>,
}

impl Model {
    /// Encodes the model. The bytes depend on the content only.
    ///
    /// Fails when inline weights exceed what protobuf can hold.
    pub fn encode(&self, weights: &Weights) -> Result<Encoded, GraphError> {
        let total: usize = self.graph.initializers().filter_map(|(_, t)| Some(t.raw()?.len())).sum();
        let plan = match weights {
            Weights::Auto { location } if total > PROTOBUF_LIMIT / 20 * 19 => Some((location, 1024)),
            Weights::External { location, threshold } => Some((location, *threshold)),
            Weights::Auto { .. } | Weights::Inline => None,
        };
        let mut message = self.to_proto();
        let external = plan.and_then(|(location, threshold)| {
            let segments = move_out(message.graph.as_mut()?, location, threshold);
            (!segments.is_empty()).then(|| (location.clone(), segments))
        });
        let bytes = message.encoded_len();
        if bytes > PROTOBUF_LIMIT {
            return Err(GraphError::TooLarge { bytes });
        }
        Ok(Encoded { model: message.encode_to_vec(), external })
    }

    fn to_proto(&self) -> proto::ModelProto {
        proto::ModelProto {
            ir_version: Some(self.ir_version),
            producer_name: self.producer_name.clone(),
            producer_version: self.producer_version.clone(),
            domain: self.domain.clone(),
            model_version: self.model_version,
            doc_string: self.doc_string.clone(),
            graph: Some(self.graph.to_proto()),
            opset_import: self
                .opsets
                .iter()
                .map(|(domain, version)| proto::OperatorSetIdProto {
                    domain: domain.clone(),
                    version: *version,
                })
                .collect(),
            metadata_props: entries(&self.metadata),
            functions: self.functions.clone(),
        }
    }
}

impl Graph {
    pub(crate) fn to_proto(&self) -> proto::GraphProto {
        let value = |name: &str, ty: &crate::ValueType| proto::ValueInfoProto {
            name: name.into(),
            r#type: ty.to_proto(),
            doc_string: String::new(),
        };
        proto::GraphProto {
            node: self.nodes().map(|(_, n)| n.to_proto()).collect(),
            name: self.name.clone(),
            initializer: self.initializers().map(|(name, t)| t.to_proto(name)).collect(),
            doc_string: self.doc_string.clone(),
            input: self.inputs.iter().map(|v| value(&v.name, &v.ty)).collect(),
            output: self.outputs.iter().map(|v| value(&v.name, &v.ty)).collect(),
            value_info: self
                .types
                .iter()
                .filter(|(name, _)| self.producers.contains_key(*name) && !self.is_output(name))
                .map(|(name, ty)| value(name, ty))
                .collect(),
            quantization_annotation: self.annotations.clone(),
            sparse_initializer: Vec::new(),
            metadata_props: entries(&self.metadata),
        }
    }
}

fn entries(pairs: &[(String, String)]) -> Vec<proto::StringStringEntryProto> {
    pairs.iter().map(|(k, v)| proto::StringStringEntryProto { key: k.clone(), value: v.clone() }).collect()
}

/// Moves the data of large initializers out of the message; returns the content of the data file.
fn move_out(graph: &mut proto::GraphProto, location: &str, threshold: usize) -> Vec<Bytes> {
    let mut segments = Vec::new();
    let mut offset = 0usize;
    for tensor in &mut graph.initializer {
        let Some(data) = tensor.raw_data.clone().filter(|d| !d.is_empty() && d.len() >= threshold) else {
            continue;
        };
        let padding = offset.next_multiple_of(if data.len() >= ALIGNMENT { ALIGNMENT } else { 64 }) - offset;
        if padding > 0 {
            segments.push(Bytes::from(vec![0; padding]));
            offset += padding;
        }
        external::point_to(tensor, location, offset, data.len());
        offset += data.len();
        segments.push(data);
    }
    segments
}

impl TensorData {
    /// Size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Strings(strings) => strings.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
