//! Open dimensions become numbers, everywhere or not at all.

#![allow(missing_docs)]

mod common;

use std::collections::BTreeMap;

use shiftwise_graph::{
    Builder, DataType, Dim, Model, TensorType, ValueInfo, ValueType, fix_dims, infer_shapes,
};

fn open(name: &str, dims: &[Dim]) -> ValueInfo {
    let ty = TensorType { dtype: DataType::Float, shape: Some(dims.to_vec()) };
    ValueInfo { name: name.into(), ty: ValueType::Tensor(ty) }
}

fn symbol(name: &str) -> Dim {
    Dim::Symbol(name.into())
}

fn model() -> Model {
    let mut model = Builder::new()
        .input_info(open("a", &[symbol("batch"), Dim::Known(3), Dim::Unknown]))
        .input_info(open("b", &[symbol("batch"), symbol("w")]))
        .node("Relu", &["a"], &["r"])
        .node("Relu", &["b"], &["s"])
        .node("Relu", &["s"], &["y"])
        .build(&[("r", &[1]), ("y", &[1])], 13);
    infer_shapes(&mut model);
    model
}

fn fixed(fixes: &[(&str, usize)]) -> Result<(Model, Vec<String>), String> {
    let mut model = model();
    let fixes: BTreeMap<String, usize> = fixes.iter().map(|(k, v)| ((*k).into(), *v)).collect();
    let done = fix_dims(&mut model, &fixes).map_err(|e| e.to_string())?;
    Ok((model, done))
}

fn shape(model: &Model, tensor: &str) -> String {
    model.graph.tensor_type(tensor).unwrap().to_string()
}

#[test]
fn a_name_is_replaced_everywhere() {
    let (model, done) = fixed(&[("batch", 2)]).unwrap();
    assert_eq!(done, ["batch = 2"]);
    for (tensor, wanted) in
        [("a", "float[2,3,?]"), ("b", "float[2,w]"), ("s", "float[2,w]"), ("y", "float[2,w]")]
    {
        assert_eq!(shape(&model, tensor), wanted);
    }
}

#[test]
fn an_axis_is_fixed_with_its_name_or_alone() {
    let (model, _) = fixed(&[("b[0]", 4), ("a[2]", 5)]).unwrap();
    assert_eq!(shape(&model, "a"), "float[4,3,5]");
    assert_eq!(shape(&model, "s"), "float[4,w]");
    let (model, done) = fixed(&[("a[1]", 3)]).unwrap();
    assert_eq!(done, ["a[1] is 3 already"]);
    assert_eq!(shape(&model, "a"), "float[batch,3,?]");
}

#[test]
fn what_cannot_be_fixed_says_what_there_is() {
    for (fixes, reason) in [
        (vec![("bach", 1)], "the model has batch, w"),
        (vec![("c[0]", 1)], "its inputs are a, b"),
        (vec![("a[3]", 1)], "has 3 axes, counted from 0"),
        (vec![("a[x]", 1)], "\"x\" is not an axis"),
        (vec![("a[1]", 4)], "fixes it to 3 already"),
        (vec![("batch", 0)], "0 is not an extent"),
        (vec![("a[0]", 1), ("batch", 2)], "asked to be both 1 and 2"),
    ] {
        let error = fixed(&fixes).unwrap_err();
        assert!(error.starts_with("fix dimension") && error.contains(reason), "{error}");
    }
}

/// With its three open extents fixed, the text detector has no unknown left.
#[test]
fn a_reference_model_resolves_when_fixed() {
    let Some(path) = common::reference_model("ppocrv3_det.onnx") else { return };
    let mut model = Model::load(&path).unwrap();
    let fixes = [("x[0]", 1), ("x[2]", 640), ("p2o.DynamicDimension.2", 608)];
    fix_dims(&mut model, &fixes.into_iter().map(|(k, v)| (k.to_string(), v)).collect()).unwrap();
    let report = infer_shapes(&mut model);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(model.graph.outputs()[0].ty.tensor().unwrap().to_string(), "float[1,1,640,608]");
}
