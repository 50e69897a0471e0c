//! Quantized models against ONNX Runtime without graph optimisation: every Q/DQ node bit for bit on what ONNX Runtime feeds it,
//! whole models but for values that fall into the neighbouring cell because sums were taken in another order.
#![allow(missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use shiftwise_engine::{Engine, Flow, PrepareOptions, Watch, embedded};
use shiftwise_graph::{Graph, Model, Node, Value, ValueInfo, ValueType};

/// Tensors as ONNX Runtime computed them, inputs of the model included.
struct Recorded(BTreeMap<String, Value>);

impl Recorded {
    fn read(folder: &Path) -> Self {
        let (inputs, outputs) = common::names(folder);
        let read = |kind: &str, names: Vec<String>| -> Vec<(String, Value)> {
            let path = |i| folder.join(format!("{kind}_{i}.npy"));
            names.into_iter().enumerate().map(|(i, n)| (n, common::npy(&path(i)))).collect()
        };
        Self(read("in", inputs).into_iter().chain(read("out", outputs)).collect())
    }
}

fn is_grid(node: &Node) -> bool {
    node.op_type == "QuantizeLinear" || node.op_type == "DequantizeLinear"
}

/// The node alone, with its constants.
fn alone(model: &Model, node: &Node) -> Model {
    let graph = &model.graph;
    let info = |name: &str| ValueInfo { name: name.into(), ty: ValueType::Other(None) };
    let fed = node.inputs.iter().filter(|i| graph.constant(i).is_none()).map(|i| info(i)).collect();
    let constants: IndexMap<_, _> =
        node.inputs.iter().filter_map(|i| Some((i.clone(), graph.constant(i)?.clone()))).collect();
    let graph = Graph::new("one", fed, vec![info(&node.outputs[0])], constants, vec![node.clone()]);
    Model { graph, ..model.clone() }
}

/// Number of Q/DQ nodes, each of which must give ONNX Runtime's bits.
fn nodes_agree(model: &Model, recorded: &Recorded) -> usize {
    let mut count = 0;
    for (_, node) in model.graph.nodes().filter(|(_, n)| is_grid(n)) {
        let one = alone(model, node);
        let feeds: Vec<(String, Value)> =
            one.graph.inputs().iter().map(|i| (i.name.clone(), recorded.0[&i.name].clone())).collect();
        let session = embedded().prepare(&one, &PrepareOptions::default()).unwrap();
        let got = session.run(&feeds, &mut |_, _| Flow::Continue).unwrap();
        assert!(got[0] == recorded.0[&node.outputs[0]], "{} differs", node.label());
        count += 1;
    }
    count
}

fn integers(value: &Value) -> Option<Vec<i64>> {
    Some(match value {
        Value::I8(a) => a.iter().map(|v| i64::from(*v)).collect(),
        Value::U8(a) => a.iter().map(|v| i64::from(*v)).collect(),
        Value::I16(a) => a.iter().map(|v| i64::from(*v)).collect(),
        Value::U16(a) => a.iter().map(|v| i64::from(*v)).collect(),
        _ => return None,
    })
}

/// What a whole run agrees in.
#[derive(Default)]
struct Agreement {
    elements: usize,
    equal: usize,
    /// In steps of the grid.
    furthest: i64,
    /// Of the outputs, relative to their range.
    output: f64,
}

fn whole_run(model: &Model, recorded: &Recorded) -> Agreement {
    let session = embedded().prepare(model, &PrepareOptions::watching(Watch::All)).unwrap();
    let feed = |info: &ValueInfo| (info.name.clone(), recorded.0[&info.name].clone());
    let feeds: Vec<(String, Value)> = session.inputs().iter().map(feed).collect();
    let mut seen = Agreement::default();
    let outputs = session.run(&feeds, &mut |id, value| {
        let want = &recorded.0[&session.watched()[id.index()]];
        if let (Some(got), Some(want)) = (integers(value), integers(want)) {
            seen.elements += got.len();
            seen.equal += got.iter().zip(&want).filter(|(a, b)| a == b).count();
            let furthest = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).max().unwrap_or(0);
            seen.furthest = seen.furthest.max(furthest);
        }
        Flow::Continue
    });
    for (got, info) in outputs.unwrap().iter().zip(session.outputs()) {
        seen.output = seen.output.max(common::difference(got, &recorded.0[&info.name]));
    }
    let bare = embedded().prepare(model, &PrepareOptions::default()).unwrap();
    let bare = bare.run(&feeds, &mut |_, _| Flow::Continue).unwrap();
    for (got, info) in bare.iter().zip(session.outputs()) {
        let difference = common::difference(got, &recorded.0[&info.name]);
        assert!(difference <= seen.output, "watching changes the output");
    }
    seen
}

fn check(name: &str, format: &str) {
    let (Some(path), Some(python)) = (common::model(&format!("{name}.onnx")), common::python()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    common::oracle(&python, "qdq.py", &[path.to_str().unwrap(), folder.path().to_str().unwrap(), format]);
    let model = Model::load(&folder.path().join("model.onnx")).unwrap();
    let recorded = Recorded::read(folder.path());
    let nodes = nodes_agree(&model, &recorded);
    assert!(nodes > 20, "{nodes} Q/DQ nodes");
    let seen = whole_run(&model, &recorded);
    let equal = 100.0 * seen.equal as f64 / seen.elements as f64;
    #[allow(clippy::print_stdout)]
    {
        println!(
            "| {name} | {format} | {nodes} | {} | {equal:.4} % | {} | {:.1e} |",
            seen.elements, seen.furthest, seen.output
        );
    }
    // A cell of 16 bits is about as wide as what summing in another order changes; one of 8 bits is 256 times as wide, so that
    // values rarely change cells, but one that does weighs more.
    if format.contains("16") {
        assert!(seen.furthest <= 200 && seen.output <= 2e-4, "{} steps, {:e}", seen.furthest, seen.output);
    } else {
        assert!(equal >= 95.0 && seen.output <= 2e-2, "{equal} % are equal, {:e}", seen.output);
    }
}

macro_rules! models {
    ($($model:ident: $($format:ident)*;)*) => {
        $(mod $model {
            $(#[test]
            fn $format() {
                super::check(stringify!($model), stringify!($format));
            })*
        })*
    };
}

models! {
    mobilenet_v2: s8s8 u8s8_per_channel s16s8_contrib;
    resnet20_cifar10: s8s8 u8s8 u8s8_per_channel s16s8_per_channel s16s8_contrib u16u8;
    squeezenet1_1: u8s8 s16s8_per_channel;
}
