//! The cases: folders with `model.onnx` and `test_data_set_0/{input,output}_<i>.pb`.

use std::path::{Path, PathBuf};

use prost::Message as _;
use shiftwise_graph::proto::TensorProto;
use shiftwise_graph::{DataType, Graph, Model, Tensor, Value, ValueInfo};

use crate::wrap::{self, Datum, Wrapped};

pub(crate) struct Case {
    /// Name of the folder.
    pub(crate) name: String,
    folder: PathBuf,
}

/// A case in memory.
pub(crate) struct Loaded {
    pub(crate) model: Model,
    pub(crate) feeds: Vec<(String, Value)>,
    pub(crate) outputs: Vec<Value>,
}

/// All cases, by name.
pub(crate) fn all(data: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in ["node", "pytorch-operator", "pytorch-converted", "simple"] {
        for entry in std::fs::read_dir(data.join(kind)).expect("a folder of cases") {
            let folder = entry.expect("an entry").path();
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            if folder.join("model.onnx").is_file() {
                cases.push(Case { name, folder });
            }
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

impl Case {
    fn model(&self) -> Result<Model, String> {
        Model::load(&self.folder.join("model.onnx")).map_err(|e| e.to_string())
    }

    /// Why a case has no say about operators of float models, if it has none.
    pub(crate) fn out_of_scope(&self) -> Option<&'static str> {
        let Ok(model) = self.model() else { return None };
        match model.opset() {
            1..7 => return Some("an opset that ONNX Runtime does not know either"),
            23.. => return Some("a newer opset"),
            _ => {}
        }
        out_of_scope(&model.graph)
    }

    pub(crate) fn load(&self) -> Result<Loaded, String> {
        let model = self.model()?;
        let data = self.folder.join("test_data_set_0");
        let mut wrapped = Wrapped::new();
        let mut feeds = Vec::new();
        for (i, info) in model.graph.inputs().iter().enumerate() {
            match read(&data.join(format!("input_{i}.pb")), info)? {
                Datum::Tensor(value) if info.ty.tensor().is_some() => {
                    wrapped.inputs.push(info.clone());
                    feeds.push((info.name.clone(), value));
                }
                other => wrapped.input(info, other, &mut feeds),
            }
        }
        let mut outputs = Vec::new();
        for (i, info) in model.graph.outputs().iter().enumerate() {
            match read(&data.join(format!("output_{i}.pb")), info)? {
                Datum::Tensor(value) if info.ty.tensor().is_some() => {
                    wrapped.outputs.push(info.clone());
                    outputs.push(value);
                }
                other => wrapped.output(info, other, &mut outputs),
            }
        }
        Ok(Loaded { model: wrapped.around(model), feeds, outputs })
    }
}

fn out_of_scope(graph: &Graph) -> Option<&'static str> {
    let strange = |dtype: DataType| {
        (dtype == DataType::String)
            .then_some("strings")
            .or_else(|| dtype.bits().is_none_or(|b| b < 8).then_some("4-bit integers"))
            .or_else(|| dtype.to_string().contains("float8").then_some("8-bit floats"))
    };
    let typed = graph.inputs().iter().chain(graph.outputs());
    if let Some(why) = typed.filter_map(|v| v.ty.tensor()).find_map(|t| strange(t.dtype)) {
        return Some(why);
    }
    graph.nodes().find_map(|(_, node)| match (node.domain.as_str(), node.op_type.as_str()) {
        ("ai.onnx.ml", _) => Some("classical machine learning"),
        ("ai.onnx.preview.training" | "ai.onnx.training", _) => Some("training"),
        (_, "ImageDecoder") => Some("compressed images"),
        (_, "StringNormalizer" | "TfIdfVectorizer") => Some("strings"),
        _ => node.subgraphs().find_map(|(_, body)| out_of_scope(body)),
    })
}

fn read(path: &Path, info: &ValueInfo) -> Result<Datum, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let Some(declared) = info.ty.tensor() else { return wrap::read(&bytes, info) };
    let mut message = TensorProto::decode(&bytes[..]).map_err(|e| e.to_string())?;
    if declared.dtype == DataType::Bfloat16 && message.data_type == Some(DataType::Uint16 as i32) {
        // The files hold the bits of what numpy has no type for.
        message.data_type = Some(DataType::Bfloat16 as i32);
    }
    let tensor = Tensor::from_proto(&message).map_err(|e| e.to_string())?;
    Value::from_tensor(&tensor).map(Datum::Tensor).map_err(|e| e.to_string())
}

/// In what a result differs: by more than the tests tolerate, 10^-3 of a value plus 10^-7, and 10^-6 of the largest value for
/// what should cancel to zero.
pub(crate) fn difference(got: &Value, want: &Value) -> Option<String> {
    if got.dtype() != want.dtype() || got.shape() != want.shape() {
        let (g, w) = (got.dtype(), want.dtype());
        return Some(format!("{g} {:?} in place of {w} {:?}", got.shape(), want.shape()));
    }
    let (Some(got_floats), Some(want_floats)) = (floats(got), floats(want)) else {
        return (got != want).then(|| format!("{got:?} in place of {want:?}").chars().take(300).collect());
    };
    // One unit of what the type resolves, where that is more.
    let relative = match want.dtype() {
        DataType::Bfloat16 => 1e-2,
        _ => 1e-3,
    };
    let largest = want_floats.iter().filter(|v| v.is_finite()).fold(0.0, |a: f64, v| a.max(v.abs()));
    got_floats.iter().zip(&want_floats).enumerate().find_map(|(i, (g, w))| {
        let same = g == w
            || (g.is_nan() && w.is_nan())
            || (g - w).abs() <= relative * w.abs() + 1e-7 + 1e-6 * largest;
        (!same).then(|| format!("{g} in place of {w} at {i}"))
    })
}

fn floats(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::F32(a) => Some(a.iter().map(|v| f64::from(*v)).collect()),
        Value::F64(a) => Some(a.iter().copied().collect()),
        Value::F16(a) => Some(a.iter().map(|v| v.to_f64()).collect()),
        Value::Bf16(a) => Some(a.iter().map(|v| v.to_f64()).collect()),
        _ => None,
    }
}
