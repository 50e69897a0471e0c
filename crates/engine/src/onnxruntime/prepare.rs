//! Makes a model ready to run.

use std::sync::{Arc, Mutex};

use shiftwise_graph::{Graph, Model, Node, Weights, infer_shapes};

use super::build::{Recipe, WEIGHTS_FILE};
use super::error::OrtError;
use super::pool::Pool;
use super::segments::{self, Types};
use super::session::OrtSession;
use super::{Fidelity, OnnxRuntime, Provider, convert, custom};
use crate::{Engine, EngineError, PrepareOptions, Session, Unsupported, Watch, lower};

/// Domains whose operators are part of ONNX Runtime. Which of them a library has, it says itself when it loads a model.
const DOMAINS: &[&str] = &[
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.training",
    "ai.onnx.preview",
    "ai.onnx.preview.training",
    "com.microsoft",
    "com.microsoft.experimental",
    "com.microsoft.nchwc",
    "com.ms.internal.nhwc",
    "org.pytorch.aten",
];

/// Nodes of domains that ONNX Runtime does not have.
pub(super) fn unsupported(model: &Model) -> Vec<Unsupported> {
    let (lowered, refused) = lower::lower(model);
    let mut found = Vec::new();
    foreign(&lowered.graph, &lowered, &mut found);
    lower::explain(found, refused)
}

fn foreign(graph: &Graph, model: &Model, found: &mut Vec<Unsupported>) {
    for (_, node) in graph.nodes() {
        let defined = || model.functions.iter().any(|f| f.name == node.op_type && f.domain == node.domain);
        if !DOMAINS.contains(&node.domain.as_str()) && !custom::is_custom(node) && !defined() {
            found.push(Unsupported {
                node: node.label(),
                op: format!("{}.{}", node.domain, node.op_type),
                why: format!(
                    "ONNX Runtime has no operator {} of domain {:?}; export the model without custom operators",
                    node.op_type, node.domain
                ),
            });
        }
        for (_, inner) in node.subgraphs() {
            foreign(inner, model, found);
        }
    }
}

pub(super) fn prepare(
    engine: &OnnxRuntime,
    model: &Model,
    options: &PrepareOptions,
) -> Result<Box<dyn Session>, EngineError> {
    let nodes = engine.unsupported(model);
    if !nodes.is_empty() {
        return Err(EngineError::Unsupported { engine: engine.name(), nodes });
    }
    let watching = options.watch != Watch::None;
    let limit = options.max_live_bytes.filter(|_| watching);
    if limit.is_some() && engine.fidelity == Fidelity::Deploy {
        return Err(OrtError::Options(
            "tensors are watched in several passes to save memory, which changes what fidelity deploy fuses; leave out the \
             limit of memory, or use fidelity fake-quant"
                .into(),
        )
        .into());
    }
    // As it was given: lowering hides what is quantized.
    let exact = engine.fidelity == Fidelity::FakeQuant && (watching || has_qdq(&model.graph));
    let (lowered, _) = lower::lower(model);
    let watch = lower::watch(model, &lowered, &options.watch).into_owned();
    let model = lowered.into_owned();
    let recipe = Recipe {
        library: engine.library.clone(),
        providers: engine.providers.clone(),
        optimize: !exact,
        arena: !watching,
        threads: options.threads,
        weights: Weights::Auto { location: WEIGHTS_FILE.into() },
        engine: engine.name(),
    };
    // ONNX Runtime gets the types that the model declares, and infers the others itself.
    let mut inferred = model.clone();
    infer_shapes(&mut inferred);
    let mut watched = watched(&model, &watch)?;
    // One session for everything tells whether the model can be loaded, and what its tensors are.
    let (mut built, mut types);
    loop {
        let plan = segments::plan(&model, &watched, &Types::new(), &Types::new(), None)?;
        built = plan.segments.iter().map(|s| recipe.build(&s.model)).collect::<Result<Vec<_>, _>>()?;
        types = known_types(&inferred);
        let mut opaque = Vec::new();
        for outlet in built.iter().flat_map(|b| b.session.outputs()) {
            let Some(mut ty) = convert::tensor_type(outlet.dtype()) else {
                opaque.push(outlet.name().to_owned());
                continue;
            };
            let inferred = types.get(outlet.name()).filter(|t| t.dtype == ty.dtype && t.rank() >= ty.rank());
            if let Some(inferred) = inferred.filter(|_| ty.fixed_dims().is_none()) {
                ty = inferred.clone();
            }
            types.insert(outlet.name().to_owned(), ty);
        }
        if let Some(output) = model.graph.outputs().iter().find(|o| opaque.contains(&o.name)) {
            let reason = format!("output {:?} is not a tensor of numbers; choose other outputs", output.name);
            return Err(EngineError::Graph(reason));
        }
        let before = watched.len();
        if let (Watch::Named(_), Some(name)) = (&options.watch, watched.iter().find(|n| opaque.contains(n))) {
            return Err(EngineError::NotComputed { name: name.clone(), what: "not a tensor of numbers" });
        }
        watched.retain(|name| !opaque.contains(name));
        if watched.len() == before {
            break;
        }
    }
    let known = watched.iter().all(|name| segments::bytes(types.get(name)).is_some());
    let plan = if limit.is_none() || known {
        let plan = segments::plan(&model, &watched, &types, &types, limit)?;
        tracing::debug!("{} watched tensors in {} segments", watched.len(), plan.segments.len());
        Some(Arc::new(plan))
    } else {
        None
    };
    // Other devices than the processor hold what they run once, and run one thing at a time.
    let most = if engine.providers.iter().all(Provider::is_cpu) { usize::MAX } else { 1 };
    let lanes = Pool::new(most);
    if plan.as_ref().is_some_and(|p| p.segments.len() <= 1) {
        lanes.put(built);
    }
    Ok(Box::new(OrtSession { recipe, model, watched, types, limit, plan: Mutex::new(plan), lanes }))
}

/// Types of what nodes make, as far as inference gets.
fn known_types(model: &Model) -> Types {
    let names = model.graph.nodes().flat_map(|(_, n)| &n.outputs).filter(|o| !o.is_empty());
    names.filter_map(|name| Some((name.clone(), model.graph.tensor_type(name)?))).collect()
}

/// Whether anything is quantized, in whatever domain.
fn has_qdq(graph: &Graph) -> bool {
    let is = |node: &Node| {
        node.op_type.ends_with("QuantizeLinear")
            || node.op_type.ends_with("FixNeuron")
            || node.op_type.contains("QDQ")
    };
    graph.nodes().any(|(_, n)| is(n) || lower::is_custom(n) || n.subgraphs().any(|(_, g)| has_qdq(g)))
}

/// The watched names, in the order of the nodes that make them.
fn watched(model: &Model, watch: &Watch) -> Result<Vec<String>, EngineError> {
    let graph = &model.graph;
    let names = graph.nodes().flat_map(|(_, n)| n.outputs.iter().map(move |o| (n, o)));
    let names = names.filter(|(_, o)| !o.is_empty());
    match watch {
        Watch::None => Ok(Vec::new()),
        Watch::All => Ok(names.filter(|(n, _)| !n.is("Constant")).map(|(_, o)| o.clone()).collect()),
        Watch::Named(wanted) => {
            for name in wanted {
                let what = if graph.is_input(name) {
                    "an input of the graph"
                } else if graph.initializer(name).is_some() {
                    "a constant"
                } else if graph.producer(name).is_some() {
                    continue;
                } else {
                    return Err(EngineError::UnknownTensor { name: name.clone() });
                };
                return Err(EngineError::NotComputed { name: name.clone(), what });
            }
            Ok(names.filter(|(_, o)| wanted.contains(*o)).map(|(_, o)| o.clone()).collect())
        }
    }
}
