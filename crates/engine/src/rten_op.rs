//! Operators that `rten` computes, a node at a time.
//!
//! Only what stands in [`ALLOWED`] goes there, with the attributes that stand there: each was compared with ONNX
//! Runtime. `rten` knows float32, int32, int8 and uint8; int64 and bool go as int32, and values that do not fit are
//! refused.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use indexmap::IndexMap;
use ndarray::{ArrayD, IxDyn};
use rten::{ModelOptions, RunOptions, ThreadPool, ValueOrView, ValueView};
use rten_tensor::{AsView, Layout};
use shiftwise_graph::{Graph, Model, Node, Value, ValueInfo, ValueType, Weights};

use crate::args::{Args, Datum, Kernel, Outcome, Results};

/// Element type of an output.
#[derive(Clone, Copy)]
enum Gives {
    /// That of the input at this place.
    Like(usize),
    Int64,
}

struct Allowed {
    op: &'static str,
    attributes: &'static [&'static str],
    /// Places of inputs that must be omitted.
    without: &'static [usize],
    outputs: &'static [Gives],
}

const fn allow(
    op: &'static str,
    attributes: &'static [&'static str],
    without: &'static [usize],
    outputs: &'static [Gives],
) -> Allowed {
    Allowed { op, attributes, without, outputs }
}

const SAME: &[Gives] = &[Gives::Like(0)];
const RECURRENT: &[Gives] = &[Gives::Like(0), Gives::Like(0), Gives::Like(0)];

const ALLOWED: &[Allowed] = &[
    allow("Acos", &[], &[], SAME),
    allow("Asin", &[], &[], SAME),
    allow("Atan", &[], &[], SAME),
    allow("CumSum", &["exclusive", "reverse"], &[], SAME),
    allow("Einsum", &["equation"], &[], SAME),
    allow("GRU", &["activations", "direction", "hidden_size", "linear_before_reset"], &[4], RECURRENT),
    allow("GatherElements", &["axis"], &[], SAME),
    allow("GatherND", &["batch_dims"], &[], SAME),
    allow("LSTM", &["activations", "direction", "hidden_size"], &[4, 7], RECURRENT),
    allow("NonZero", &[], &[], &[Gives::Int64]),
    allow("OneHot", &["axis"], &[], &[Gives::Like(2)]),
    allow("ScatterElements", &["axis", "reduction"], &[], SAME),
    allow("ScatterND", &["reduction"], &[], SAME),
    allow("Tan", &[], &[], SAME),
    allow("TopK", &["axis", "largest", "sorted"], &[], &[Gives::Like(0), Gives::Int64]),
    allow("Trilu", &["upper"], &[], SAME),
];

/// Names of the operators of the allow-list.
pub(crate) fn operators() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().map(|a| a.op)
}

/// The kernel of a node of the allow-list.
pub(crate) fn compile(node: &Node, opset: i64) -> Outcome<Kernel> {
    let op = node.op_type.as_str();
    let allowed =
        ALLOWED.iter().find(|a| a.op == op).ok_or_else(|| format!("operator {op} is not supported"))?;
    if let Some(name) = node.attributes.keys().find(|k| !allowed.attributes.contains(&k.as_str())) {
        return Err(format!("its attribute {name} is not supported"));
    }
    if let Some(place) = allowed.without.iter().find(|i| node.input(**i).is_some()) {
        return Err(format!("its input {place} is not supported"));
    }
    if node.outputs.len() > allowed.outputs.len() {
        return Err(format!("it has {} outputs, more than its operator", node.outputs.len()));
    }
    if op == "GRU" && node.int("linear_before_reset").unwrap_or(0) == 0 {
        return Err("linear_before_reset = 0 is not supported".into());
    }
    let model = load(node, opset)?;
    Ok(Box::new(move |args, _| run(&model, allowed, args).map_err(|e| format!("{op}: {e}", op = allowed.op))))
}

/// A model of one node: input `i` is called `i<i>`, output `k` `o<k>`, each if it is there.
fn load(node: &Node, opset: i64) -> Outcome<rten::Model> {
    let named = |list: &[String], letter: &str| -> Vec<String> {
        list.iter()
            .enumerate()
            .map(|(i, n)| if n.is_empty() { String::new() } else { format!("{letter}{i}") })
            .collect()
    };
    let alone = Node { inputs: named(&node.inputs, "i"), outputs: named(&node.outputs, "o"), ..node.clone() };
    let infos = |names: &[String]| -> Vec<ValueInfo> {
        let present = names.iter().filter(|n| !n.is_empty());
        present.map(|n| ValueInfo { name: n.clone(), ty: ValueType::Other(None) }).collect()
    };
    let (inputs, outputs) = (infos(&alone.inputs), infos(&alone.outputs));
    let graph = Graph::new("node", inputs, outputs, IndexMap::new(), vec![alone]);
    let bytes = Model::new(graph, opset).encode(&Weights::Inline).map_err(|e| e.to_string())?.model;
    caught(|| OPTIONS.with(|options| options.load(bytes)))?.map_err(|e| e.to_string())
}

/// A foreign panic is an error of the node, not the end of the program.
fn caught<T>(f: impl FnOnce() -> T) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|_| "it failed inside of its kernel".into())
}

thread_local! {
    static OPTIONS: ModelOptions = {
        let mut options = ModelOptions::with_all_ops();
        options.enable_optimization(false).shape_inference(rten::ShapeInferenceMode::Off);
        options
    };
    /// Runs are spread over threads by callers; a node must not start more.
    static ALONE: Arc<ThreadPool> = Arc::new(ThreadPool::with_num_threads(1));
}

fn run(model: &rten::Model, allowed: &Allowed, args: &Args<'_>) -> Outcome<Results> {
    let present: Vec<&Value> = (0..args.count()).filter_map(|i| args.get(i)).collect();
    let narrowed = present.iter().map(|v| narrow(v)).collect::<Outcome<Vec<_>>>()?;
    let mut feeds: Vec<(rten::NodeId, ValueOrView<'_>)> = Vec::with_capacity(present.len());
    for ((value, narrowed), id) in present.iter().zip(&narrowed).zip(model.input_ids()) {
        feeds.push((*id, view(value, narrowed.as_deref())?.into()));
    }
    let options = RunOptions::default().with_thread_pool(Some(ALONE.with(Arc::clone)));
    let mut results = caught(|| model.run(feeds, model.output_ids(), Some(options)))?
        .map_err(|e| e.to_string())?
        .into_iter();
    // Omitted outputs have no place in the model.
    let ids = model.output_ids();
    let places: Vec<usize> =
        ids.iter().filter_map(|id| model.node_info(*id)?.name()?.strip_prefix('o')?.parse().ok()).collect();
    let mut outputs = Results::with_capacity(allowed.outputs.len());
    for (k, gives) in allowed.outputs.iter().enumerate() {
        let Some(result) = places.contains(&k).then(|| results.next()).flatten() else {
            outputs.push(Datum::Nothing);
            continue;
        };
        let like = match gives {
            Gives::Int64 => None,
            Gives::Like(i) => Some(args.value(*i)?),
        };
        outputs.push(widen(result, like)?.into());
    }
    Ok(outputs)
}

/// The elements as int32, where the type has to change.
fn narrow(value: &Value) -> Outcome<Option<Vec<i32>>> {
    Ok(match value {
        Value::I64(a) => Some(
            a.iter()
                .map(|v| i32::try_from(*v).map_err(|_| format!("the integer {v} does not fit 32 bits")))
                .collect::<Outcome<_>>()?,
        ),
        Value::Bool(a) => Some(a.iter().map(|v| i32::from(*v)).collect()),
        _ => None,
    })
}

fn view<'a>(value: &'a Value, narrowed: Option<&'a [i32]>) -> Outcome<ValueView<'a>> {
    let shape = value.shape();
    macro_rules! of {
        ($elements:expr) => {
            ValueView::from_shape(shape, $elements).map_err(|e| e.to_string())
        };
    }
    match (narrowed, value) {
        (Some(elements), _) => of!(elements),
        (None, Value::F32(a)) => of!(crate::scalar::slice(a)),
        (None, Value::I32(a)) => of!(crate::scalar::slice(a)),
        (None, Value::I8(a)) => of!(crate::scalar::slice(a)),
        (None, Value::U8(a)) => of!(crate::scalar::slice(a)),
        (None, other) => Err(format!("values of {} are not supported", other.dtype())),
    }
}

/// A result in the type that it has in ONNX; `None` is int64.
fn widen(result: rten::Value, like: Option<&Value>) -> Outcome<Value> {
    macro_rules! array {
        ($tensor:expr) => {{
            let shape = $tensor.shape().to_vec();
            ArrayD::from_shape_vec(IxDyn(&shape), $tensor.to_vec()).map_err(|e| e.to_string())?
        }};
    }
    Ok(match (result, like) {
        (rten::Value::FloatTensor(t), Some(Value::F32(_))) => Value::from(array!(t)),
        (rten::Value::Int32Tensor(t), Some(Value::I32(_))) => Value::from(array!(t)),
        (rten::Value::Int32Tensor(t), None | Some(Value::I64(_))) => Value::from(array!(t).mapv(i64::from)),
        (rten::Value::Int32Tensor(t), Some(Value::Bool(_))) => Value::from(array!(t).mapv(|v| v != 0)),
        (rten::Value::Int8Tensor(t), Some(Value::I8(_))) => Value::from(array!(t)),
        (rten::Value::UInt8Tensor(t), Some(Value::U8(_))) => Value::from(array!(t)),
        (other, _) => return Err(format!("it gave a result of type {}", other.dtype())),
    })
}
