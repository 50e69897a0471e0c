//! Writing a model, with weights inline or beside it.

use bytes::Bytes;
use prost::Message;

use crate::{Graph, GraphError, Model, TensorData, external, proto};

/// Protobuf readers refuse larger messages.
pub(crate) const PROTOBUF_LIMIT: usize = i32::MAX as usize;
/// Readers map external data: page-aligned for large tensors, as the format recommends.
const ALIGNMENT: usize = 4096;
/// The most characters of the name of a tensor in the name of a file.
const LONGEST_STEM: usize = 120;

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
    /// Tensors of at least `threshold` bytes into a file each, named after them, in a folder beside the model.
    PerTensor {
        /// The folder, relative to that of the model.
        folder: String,
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
    /// File names and consecutive segments of the external data.
    pub external: Vec<(String, Vec<Bytes>)>,
}

impl Model {
    /// Encodes the model. The bytes depend on the content only.
    ///
    /// Fails when inline weights exceed what protobuf can hold.
    pub fn encode(&self, weights: &Weights) -> Result<Encoded, GraphError> {
        let mut message = self.to_proto();
        let mut external = Vec::new();
        if let Some(graph) = message.graph.as_mut() {
            match weights {
                Weights::Auto { location } if self.exceeds_one_file() => {
                    external.extend(move_out(graph, location, 1024));
                }
                Weights::External { location, threshold } => {
                    external.extend(move_out(graph, location, *threshold));
                }
                Weights::PerTensor { folder, threshold } => external = spread(graph, folder, *threshold),
                Weights::Auto { .. } | Weights::Inline => {}
            }
        }
        let bytes = message.encoded_len();
        if bytes > PROTOBUF_LIMIT {
            return Err(GraphError::TooLarge { bytes });
        }
        Ok(Encoded { model: message.encode_to_vec(), external })
    }

    /// Whether the weights are too large for one file with everything in it.
    pub fn exceeds_one_file(&self) -> bool {
        let total: usize = self.graph.initializers().filter_map(|(_, t)| Some(t.raw()?.len())).sum();
        total > PROTOBUF_LIMIT / 20 * 19
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

/// The data of an initializer that goes out.
fn outgoing(tensor: &proto::TensorProto, threshold: usize) -> Option<Bytes> {
    tensor.raw_data.clone().filter(|d| !d.is_empty() && d.len() >= threshold)
}

/// Moves the data of each large initializer into a file of its own; returns their names and contents.
fn spread(graph: &mut proto::GraphProto, folder: &str, threshold: usize) -> Vec<(String, Vec<Bytes>)> {
    let mut names = FileNames::default();
    let mut files = Vec::new();
    for tensor in &mut graph.initializer {
        let Some(data) = outgoing(tensor, threshold) else { continue };
        let location = format!("{}/{}", folder.trim_end_matches('/'), names.next(&tensor.name));
        external::point_to(tensor, &location, 0, data.len());
        files.push((location, vec![data]));
    }
    files
}

/// Names of files from names of tensors: safe on any system, and unique even where case does not count.
#[derive(Default)]
struct FileNames {
    taken: std::collections::HashMap<String, usize>,
}

impl FileNames {
    fn next(&mut self, tensor: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let stem: String = tensor.chars().take(LONGEST_STEM).map(plain).collect();
        let stem = stem.trim_matches('.');
        let stem = if stem.is_empty() { "tensor" } else { stem };
        let mut name = stem.to_owned();
        // Another tensor may be called what a number makes of this one.
        while let Some(count) = self.taken.get_mut(&name.to_lowercase()) {
            *count += 1;
            name = format!("{stem}-{count}");
        }
        self.taken.insert(name.to_lowercase(), 1);
        // The ending keeps names apart that are devices to some systems.
        name + ".bin"
    }
}

/// Moves the data of large initializers out of the message; returns the content of the data file, unless it would be empty.
fn move_out(graph: &mut proto::GraphProto, location: &str, threshold: usize) -> Option<(String, Vec<Bytes>)> {
    let mut segments = Vec::new();
    let mut offset = 0usize;
    for tensor in &mut graph.initializer {
        let Some(data) = outgoing(tensor, threshold) else { continue };
        let padding = offset.next_multiple_of(if data.len() >= ALIGNMENT { ALIGNMENT } else { 64 }) - offset;
        if padding > 0 {
            segments.push(Bytes::from(vec![0; padding]));
            offset += padding;
        }
        external::point_to(tensor, location, offset, data.len());
        offset += data.len();
        segments.push(data);
    }
    (!segments.is_empty()).then(|| (location.to_owned(), segments))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_safe_and_unique() {
        let mut names = FileNames::default();
        let long = "x".repeat(500);
        let tensors = [
            "conv1.weight",
            "conv1/weight",
            "Conv1_weight",
            "../../etc/passwd",
            "..",
            "",
            "a",
            "A",
            "a-2",
            "a",
            &long,
            "é",
            "con",
        ];
        let files: Vec<String> = tensors.iter().map(|t| names.next(t)).collect();
        assert_eq!(files[0], "conv1.weight.bin");
        let lower: std::collections::BTreeSet<String> = files.iter().map(|f| f.to_lowercase()).collect();
        assert_eq!(lower.len(), tensors.len(), "{files:?}");
        for file in files {
            assert!(file.len() < 200 && !file.starts_with('.') && !file.contains(['/', '\\']), "{file}");
        }
    }
}
