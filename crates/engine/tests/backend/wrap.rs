//! Sessions take and give tensors: sequences and optional values at the edge of a graph are put together and taken apart by nodes
//! around it.

use prost::Message;
use shiftwise_graph::proto::{AttributeProto, TensorProto, TypeProto, TypeValue};
use shiftwise_graph::{Attribute, Graph, Model, Node, Tensor, TensorType, Value, ValueInfo, ValueType};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SequenceProto {
    #[prost(message, repeated, tag = "3")]
    tensors: Vec<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OptionalProto {
    #[prost(message, optional, tag = "3")]
    tensor: Option<TensorProto>,
    #[prost(message, optional, tag = "5")]
    sequence: Option<SequenceProto>,
}

/// What a file holds.
pub(crate) enum Datum {
    Tensor(Value),
    Sequence(Vec<Value>),
    Nothing,
}

fn tensor(message: &TensorProto) -> Result<Value, String> {
    Value::from_tensor(&Tensor::from_proto(message).map_err(|e| e.to_string())?).map_err(|e| e.to_string())
}

fn sequence(message: &SequenceProto) -> Result<Datum, String> {
    message.tensors.iter().map(tensor).collect::<Result<_, _>>().map(Datum::Sequence)
}

fn kind(info: &ValueInfo) -> Option<&TypeProto> {
    match &info.ty {
        ValueType::Other(ty) => ty.as_ref(),
        ValueType::Tensor(_) => None,
    }
}

/// The element type of a sequence or an optional value.
fn element(ty: &TypeProto) -> Option<&TypeProto> {
    match &ty.value {
        Some(TypeValue::SequenceType(e) | TypeValue::OptionalType(e)) => e.elem_type.as_deref(),
        _ => None,
    }
}

fn is_optional(info: &ValueInfo) -> bool {
    kind(info).is_some_and(|ty| matches!(ty.value, Some(TypeValue::OptionalType(_))))
}

/// Reads a value that is declared as something other than a tensor.
pub(crate) fn read(bytes: &[u8], info: &ValueInfo) -> Result<Datum, String> {
    let broken = |e: prost::DecodeError| e.to_string();
    if !is_optional(info) {
        return sequence(&SequenceProto::decode(bytes).map_err(broken)?);
    }
    let optional = OptionalProto::decode(bytes).map_err(broken)?;
    match (&optional.tensor, &optional.sequence) {
        (Some(t), _) => tensor(t).map(Datum::Tensor),
        (None, Some(s)) => sequence(s),
        (None, None) => Ok(Datum::Nothing),
    }
}

/// A model with other edges.
pub(crate) struct Wrapped {
    pub(crate) inputs: Vec<ValueInfo>,
    pub(crate) outputs: Vec<ValueInfo>,
    before: Vec<Node>,
    after: Vec<Node>,
}

impl Wrapped {
    pub(crate) fn new() -> Self {
        Self { inputs: Vec::new(), outputs: Vec::new(), before: Vec::new(), after: Vec::new() }
    }

    fn feed(&mut self, name: String, value: Value, feeds: &mut Vec<(String, Value)>) {
        let ty = ValueType::Tensor(TensorType::fixed(value.dtype(), value.shape()));
        self.inputs.push(ValueInfo { name: name.clone(), ty });
        feeds.push((name, value));
    }

    /// Feeds an input of the model.
    pub(crate) fn input(&mut self, info: &ValueInfo, datum: Datum, feeds: &mut Vec<(String, Value)>) {
        let name = &info.name;
        let inner = if is_optional(info) { format!("{name}::inner") } else { name.clone() };
        let mut optional = Node::new("Optional", "", &[&inner], &[name]);
        match datum {
            Datum::Tensor(value) => self.feed(inner.clone(), value, feeds),
            Datum::Sequence(values) if values.is_empty() => {
                let declared = kind(info).and_then(element).and_then(|e| match &e.value {
                    Some(TypeValue::TensorType(t)) => Some(i64::from(t.elem_type)),
                    _ => None,
                });
                let empty = Node::new("SequenceEmpty", "", &[], &[&inner]);
                self.before.push(empty.with("dtype", declared.unwrap_or(1)));
            }
            Datum::Sequence(values) => {
                let names: Vec<String> = (0..values.len()).map(|i| format!("{name}::{i}")).collect();
                for (name, value) in names.iter().zip(values) {
                    self.feed(name.clone(), value, feeds);
                }
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                self.before.push(Node::new("SequenceConstruct", "", &names, &[&inner]));
            }
            Datum::Nothing => {
                optional.inputs.clear();
                let tp = kind(info).and_then(element).cloned();
                let ty = AttributeProto { name: "type".into(), r#type: Some(13), tp, ..Default::default() };
                optional.attributes.insert("type".into(), Attribute::Other(Box::new(ty)));
            }
        }
        if is_optional(info) {
            self.before.push(optional);
        }
    }

    fn result(&mut self, node: Node, want: Value, wanted: &mut Vec<Value>) {
        let ty = ValueType::Tensor(TensorType { dtype: want.dtype(), shape: None });
        self.outputs.push(ValueInfo { name: node.outputs[0].clone(), ty });
        self.after.push(node);
        wanted.push(want);
    }

    /// Asks for an output of the model.
    pub(crate) fn output(&mut self, info: &ValueInfo, datum: Datum, wanted: &mut Vec<Value>) {
        let name = &info.name;
        let mut inner = name.clone();
        if is_optional(info) && !matches!(datum, Datum::Nothing) {
            inner = format!("{name}::inner");
            self.after.push(Node::new("OptionalGetElement", "", &[name], &[&inner]));
        }
        match datum {
            Datum::Tensor(value) => {
                let made = format!("{name}::value");
                self.result(Node::new("Identity", "", &[&inner], &[&made]), value, wanted);
            }
            Datum::Sequence(values) => {
                let length = Value::i64(&[], vec![values.len() as i64]);
                let node = Node::new("SequenceLength", "", &[&inner], &[&format!("{name}::length")]);
                self.result(node, length, wanted);
                for (i, value) in values.into_iter().enumerate() {
                    let (at, made) = (format!("{name}::at{i}"), format!("{name}::{i}"));
                    let index = Node::new("Constant", "", &[], &[&at]);
                    self.after.push(index.with("value", Tensor::i64(&[], &[i as i64])));
                    self.result(Node::new("SequenceAt", "", &[&inner, &at], &[&made]), value, wanted);
                }
            }
            Datum::Nothing => {
                let there = Value::from(ndarray::arr0(false).into_dyn());
                let node = Node::new("OptionalHasElement", "", &[name], &[&format!("{name}::there")]);
                self.result(node, there, wanted);
            }
        }
    }

    /// The model between the nodes that were added.
    pub(crate) fn around(self, model: Model) -> Model {
        if self.before.is_empty() && self.after.is_empty() {
            return model;
        }
        let own = model.graph.nodes().map(|(_, node)| node.clone());
        let nodes = self.before.into_iter().chain(own).chain(self.after).collect();
        let constants = model.graph.initializers().map(|(n, t)| (n.to_string(), t.clone())).collect();
        let graph = Graph::new("wrapped", self.inputs, self.outputs, constants, nodes);
        Model { graph, ..model }
    }
}
