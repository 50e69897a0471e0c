//! Nodes and their attributes.

use bytes::Bytes;
use indexmap::IndexMap;

use crate::{Graph, GraphError, Tensor, proto};

/// The value of a node's attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A float.
    Float(f32),
    /// An integer.
    Int(i64),
    /// Bytes, mostly UTF-8.
    String(Bytes),
    /// A tensor.
    Tensor(Tensor),
    /// A subgraph.
    Graph(Box<Graph>),
    /// A list of floats.
    Floats(Vec<f32>),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A list of byte strings.
    Strings(Vec<Bytes>),
    /// A kind that is carried through untouched.
    Other(Box<proto::AttributeProto>),
}

impl From<i64> for Attribute {
    fn from(v: i64) -> Self {
        Self::Int(v)
    }
}

impl From<f32> for Attribute {
    fn from(v: f32) -> Self {
        Self::Float(v)
    }
}

impl From<Vec<i64>> for Attribute {
    fn from(v: Vec<i64>) -> Self {
        Self::Ints(v)
    }
}

impl From<Vec<f32>> for Attribute {
    fn from(v: Vec<f32>) -> Self {
        Self::Floats(v)
    }
}

impl From<&str> for Attribute {
    fn from(v: &str) -> Self {
        Self::String(Bytes::copy_from_slice(v.as_bytes()))
    }
}

impl From<Tensor> for Attribute {
    fn from(v: Tensor) -> Self {
        Self::Tensor(v)
    }
}

/// One operator of a graph. An empty string among inputs or outputs is an omitted optional one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Name; may be empty or shared in models of others.
    pub name: String,
    /// Operator.
    pub op_type: String,
    /// Operator domain; empty for the ONNX standard (`ai.onnx` is normalised to empty).
    pub domain: String,
    /// Names of the inputs.
    pub inputs: Vec<String>,
    /// Names of the outputs.
    pub outputs: Vec<String>,
    /// Attributes in the order of the file.
    pub attributes: IndexMap<String, Attribute>,
    /// Overload of a model-local function.
    pub overload: String,
    /// Free text.
    pub doc_string: String,
    /// Key-value pairs for tools.
    pub metadata: Vec<(String, String)>,
}

impl Node {
    /// A node of the standard domain without attributes.
    pub fn new(op_type: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        Self {
            name: name.into(),
            op_type: op_type.into(),
            inputs: inputs.iter().map(ToString::to_string).collect(),
            outputs: outputs.iter().map(ToString::to_string).collect(),
            ..Self::default()
        }
    }

    /// The node with one more attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Attribute>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }

    /// Whether this is the given operator of the standard domain.
    pub fn is(&self, op_type: &str) -> bool {
        self.domain.is_empty() && self.op_type == op_type
    }

    /// The input at `index`, unless it is omitted.
    pub fn input(&self, index: usize) -> Option<&str> {
        self.inputs.get(index).map(String::as_str).filter(|s| !s.is_empty())
    }

    /// The output at `index`, unless it is omitted.
    pub fn output(&self, index: usize) -> Option<&str> {
        self.outputs.get(index).map(String::as_str).filter(|s| !s.is_empty())
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.attributes.get(name) {
            Some(Attribute::Int(v)) => Some(*v),
            _ => None,
        }
    }

    /// A float attribute.
    pub fn float(&self, name: &str) -> Option<f32> {
        match self.attributes.get(name) {
            Some(Attribute::Float(v)) => Some(*v),
            _ => None,
        }
    }

    /// A list of integers.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attributes.get(name) {
            Some(Attribute::Ints(v)) => Some(v),
            _ => None,
        }
    }

    /// A text attribute; `None` also when it is not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.attributes.get(name) {
            Some(Attribute::String(v)) => std::str::from_utf8(v).ok(),
            _ => None,
        }
    }

    /// A tensor attribute.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        match self.attributes.get(name) {
            Some(Attribute::Tensor(v)) => Some(v),
            _ => None,
        }
    }

    /// The subgraphs among the attributes.
    pub fn subgraphs(&self) -> impl Iterator<Item = (&str, &Graph)> {
        self.attributes.iter().filter_map(|(k, v)| match v {
            Attribute::Graph(g) => Some((k.as_str(), &**g)),
            _ => None,
        })
    }

    /// Names that the subgraphs read from the graphs around them, each once for a subgraph.
    pub(crate) fn captures(&self) -> Vec<String> {
        self.subgraphs().flat_map(|(_, graph)| graph.captures()).collect()
    }

    /// Makes what the subgraphs capture as `old` be captured as `new`.
    pub(crate) fn rename_captured(&mut self, old: &str, new: &str) {
        for attribute in self.attributes.values_mut() {
            if let Attribute::Graph(graph) = attribute {
                graph.rename_captured(old, new);
            }
        }
    }

    /// How messages call this node: its name, or its operator and first output where it has none.
    pub fn label(&self) -> String {
        let op = if self.domain.is_empty() {
            self.op_type.clone()
        } else {
            format!("{}.{}", self.domain, self.op_type)
        };
        if self.name.is_empty() {
            format!("{op} node that makes {:?}", self.outputs.first().map_or("", String::as_str))
        } else {
            format!("{op} node {:?}", self.name)
        }
    }

    pub(crate) fn from_proto(message: proto::NodeProto) -> Result<Self, GraphError> {
        let domain = if message.domain == "ai.onnx" { String::new() } else { message.domain };
        let mut node = Self {
            name: message.name,
            op_type: message.op_type,
            domain,
            inputs: message.input,
            outputs: message.output,
            attributes: IndexMap::with_capacity(message.attribute.len()),
            overload: message.overload,
            doc_string: message.doc_string,
            metadata: message.metadata_props.into_iter().map(|p| (p.key, p.value)).collect(),
        };
        for attribute in message.attribute {
            let name = attribute.name.clone();
            let value = attribute_from_proto(attribute).map_err(|e| match e {
                GraphError::Malformed { what, reason } => GraphError::malformed(
                    format!("{}, attribute {name:?}", node.label()),
                    format!("{what}: {reason}"),
                ),
                other => other,
            })?;
            if node.attributes.insert(name.clone(), value).is_some() {
                return Err(GraphError::malformed(node.label(), format!("attribute {name:?} stands twice")));
            }
        }
        Ok(node)
    }

    pub(crate) fn to_proto(&self) -> proto::NodeProto {
        proto::NodeProto {
            input: self.inputs.clone(),
            output: self.outputs.clone(),
            name: self.name.clone(),
            op_type: self.op_type.clone(),
            attribute: self.attributes.iter().map(|(k, v)| attribute_to_proto(k, v)).collect(),
            doc_string: self.doc_string.clone(),
            domain: self.domain.clone(),
            overload: self.overload.clone(),
            metadata_props: self
                .metadata
                .iter()
                .map(|(k, v)| proto::StringStringEntryProto { key: k.clone(), value: v.clone() })
                .collect(),
        }
    }
}

/// The numbers of `AttributeProto.AttributeType`.
mod kind {
    pub(super) const FLOAT: i32 = 1;
    pub(super) const INT: i32 = 2;
    pub(super) const STRING: i32 = 3;
    pub(super) const TENSOR: i32 = 4;
    pub(super) const GRAPH: i32 = 5;
    pub(super) const FLOATS: i32 = 6;
    pub(super) const INTS: i32 = 7;
    pub(super) const STRINGS: i32 = 8;
}

fn attribute_from_proto(a: proto::AttributeProto) -> Result<Attribute, GraphError> {
    if !a.ref_attr_name.is_empty() {
        return Ok(Attribute::Other(Box::new(a)));
    }
    Ok(match a.r#type {
        Some(kind::FLOAT) => Attribute::Float(a.f.unwrap_or(0.0)),
        Some(kind::INT) => Attribute::Int(a.i.unwrap_or(0)),
        Some(kind::STRING) => Attribute::String(a.s.unwrap_or_default()),
        Some(kind::TENSOR) => Attribute::Tensor(Tensor::from_proto(&a.t.unwrap_or_default())?),
        Some(kind::GRAPH) => {
            Attribute::Graph(Box::new(Graph::from_proto(a.g.unwrap_or_default(), &crate::external::Inline)?))
        }
        Some(kind::FLOATS) => Attribute::Floats(a.floats),
        Some(kind::INTS) => Attribute::Ints(a.ints),
        Some(kind::STRINGS) => Attribute::Strings(a.strings),
        _ => Attribute::Other(Box::new(a)),
    })
}

fn attribute_to_proto(name: &str, value: &Attribute) -> proto::AttributeProto {
    let mut a = proto::AttributeProto { name: name.into(), ..Default::default() };
    match value {
        Attribute::Float(v) => (a.f, a.r#type) = (Some(*v), Some(kind::FLOAT)),
        Attribute::Int(v) => (a.i, a.r#type) = (Some(*v), Some(kind::INT)),
        Attribute::String(v) => (a.s, a.r#type) = (Some(v.clone()), Some(kind::STRING)),
        Attribute::Tensor(v) => (a.t, a.r#type) = (Some(v.to_proto("")), Some(kind::TENSOR)),
        Attribute::Graph(v) => (a.g, a.r#type) = (Some(v.to_proto()), Some(kind::GRAPH)),
        Attribute::Floats(v) => (a.floats, a.r#type) = (v.clone(), Some(kind::FLOATS)),
        Attribute::Ints(v) => (a.ints, a.r#type) = (v.clone(), Some(kind::INTS)),
        Attribute::Strings(v) => (a.strings, a.r#type) = (v.clone(), Some(kind::STRINGS)),
        Attribute::Other(message) => return (**message).clone(),
    }
    a
}
