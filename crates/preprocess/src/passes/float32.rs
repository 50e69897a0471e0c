//! Float16 models become float32 models.

use bytes::Bytes;
use shiftwise_graph::{
    Attribute, DataType, GraphError, Model, Node, Note, PassReport, Rebuild, Rebuilt, Scope, Tensor,
    ValueType, map_element_types,
};

use super::name;

/// Attributes that name an element type, by operator.
const TYPE_ATTRIBUTES: [(&str, &str); 13] = [
    ("Cast", "to"),
    ("EyeLike", "dtype"),
    ("RandomNormal", "dtype"),
    ("RandomNormalLike", "dtype"),
    ("RandomUniform", "dtype"),
    ("RandomUniformLike", "dtype"),
    ("Bernoulli", "dtype"),
    ("SequenceEmpty", "dtype"),
    ("BlackmanWindow", "output_datatype"),
    ("HammingWindow", "output_datatype"),
    ("HannWindow", "output_datatype"),
    ("MelWeightMatrix", "output_datatype"),
    ("LayerNormalization", "stash_type"),
];

/// Turns everything that is float16 or bfloat16 into float32: constants (each value exactly), inputs and outputs, recorded types, constants
/// and types in attributes, all of that in bodies of control flow too. Casts between the two then go from float32 to float32, which
/// [`super::RemoveIdentity`] takes out. What was computed in half precision is computed in single:
///
/// ```text
/// |y32 − y16| ≤ what rounding to 11 (8) bits did
/// ```
///
/// Inputs and outputs keep their names, and are float32.
///
/// Fails where the graph would not be consistent, which is a bug.
pub(crate) fn convert_to_float32(model: &mut Model) -> Result<PassReport, GraphError> {
    let mut report = PassReport::new(name::CONVERT_FP16_TO_FP32);
    let boundary = model.graph.inputs().iter().map(|v| ("input", v));
    for (what, value) in boundary.chain(model.graph.outputs().iter().map(|v| ("output", v))) {
        if let Some(ty) = value.ty.tensor().filter(|ty| is_half(ty.dtype)) {
            report.applied.push(Note {
                node: format!("{what} {:?}", value.name),
                what: format!("it was {}, and is float32", ty.dtype),
            });
        }
    }
    let mut widen = Widen::default();
    match model.graph.rebuilt(&mut widen) {
        Ok(graph) if widen.tensors + widen.attributes + report.applied.len() > 0 => {
            graph.check(name::CONVERT_FP16_TO_FP32)?;
            model.graph = graph;
            let Widen { tensors, attributes } = widen;
            report.applied.push(Note {
                node: "graph".into(),
                what: format!("{tensors} constants and {attributes} types in attributes are float32"),
            });
        }
        Ok(_) => report.refused.push(Note { node: "graph".into(), what: "nothing in it is float16".into() }),
        Err(note) => report.refused.push(note),
    }
    Ok(report)
}

/// Says that a model is in half precision, and what to do about that; `None` for other models.
pub(crate) fn half_precision(model: &Model) -> Option<String> {
    let half = |dtype: DataType| is_half(dtype).then_some(dtype);
    let mut boundary = model.graph.inputs().iter().chain(model.graph.outputs());
    let declared = boundary.find_map(|v| half(v.ty.tensor()?.dtype));
    let constants: Vec<DataType> = model.graph.initializers().filter_map(|(_, t)| half(t.dtype())).collect();
    let dtype = declared.or(constants.first().copied())?;
    Some(format!(
        "the model is in {dtype} ({} constants), which is neither folded nor quantized; set convert_fp16_to_fp32 = true",
        constants.len()
    ))
}

fn is_half(dtype: DataType) -> bool {
    matches!(dtype, DataType::Float16 | DataType::Bfloat16)
}

fn widened_number(number: i32) -> i32 {
    DataType::from_onnx(number).filter(|t| is_half(*t)).map_or(number, |_| DataType::Float as i32)
}

#[derive(Default)]
struct Widen {
    tensors: usize,
    attributes: usize,
}

impl Widen {
    fn widened(&mut self, tensor: &Tensor) -> Option<Tensor> {
        let values = tensor.to_f32().filter(|_| is_half(tensor.dtype()))?;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensors += 1;
        Tensor::from_raw(DataType::Float, tensor.dims().to_vec(), Bytes::from(bytes)).ok()
    }
}

impl Rebuild for Widen {
    fn node(&mut self, _: &Scope<'_>, mut node: Node, new: &mut Rebuilt) -> Result<(), String> {
        for (name, attribute) in &mut node.attributes {
            match attribute {
                Attribute::Tensor(tensor) => {
                    if let Some(wide) = self.widened(tensor) {
                        *tensor = wide;
                    }
                }
                Attribute::Int(number) if TYPE_ATTRIBUTES.contains(&(&node.op_type, name)) => {
                    let wide = i32::try_from(*number).map_or(*number, |n| widened_number(n).into());
                    self.attributes += usize::from(wide != *number);
                    *number = wide;
                }
                _ => {}
            }
        }
        new.node(node);
        Ok(())
    }

    fn tensor(&mut self, tensor: &Tensor) -> Tensor {
        self.widened(tensor).unwrap_or_else(|| tensor.clone())
    }

    fn value_type(&mut self, ty: &ValueType) -> ValueType {
        let mut ty = ty.clone();
        match &mut ty {
            ValueType::Tensor(t) if is_half(t.dtype) => t.dtype = DataType::Float,
            ValueType::Other(Some(message)) => *message = map_element_types(message, &widened_number),
            _ => {}
        }
        ty
    }
}
