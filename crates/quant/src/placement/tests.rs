use shiftwise_graph::{Attribute, Builder, Model, Tensor};

use super::*;

fn conv_relu_pool() -> Model {
    let pads = || ("kernel_shape", Attribute::Ints(vec![2, 2]));
    let mut model = Builder::new()
        .input("x", &[1, 3, 8, 8])
        .constant("w", Tensor::f32(&[4, 3, 1, 1], &[0.5; 12]))
        .constant("b", Tensor::f32(&[4], &[0.1; 4]))
        .node("Conv", &["x", "w", "b"], &["c"])
        .node("Relu", &["c"], &["r"])
        .node_with("MaxPool", &["r"], &["p"], &[pads()])
        .node("Add", &["p", "p"], &["y"])
        .build(&[("y", &[1, 4, 7, 7])], 13);
    let mut patch = shiftwise_graph::Patch::new();
    for (name, dims) in [("c", [1, 4, 8, 8]), ("r", [1, 4, 8, 8]), ("p", [1, 4, 7, 7])] {
        patch.set_type(name, shiftwise_graph::TensorType::fixed(DataType::Float, &dims));
    }
    model.graph.apply("types", patch).unwrap();
    model
}

fn tensors(placement: &Placement) -> Vec<&str> {
    placement.sites.keys().map(String::as_str).collect()
}

#[test]
fn no_site_between_a_convolution_and_its_relu() {
    let placement = Placement::of(&conv_relu_pool(), &PlacementOptions::default()).unwrap();
    assert_eq!(tensors(&placement), ["x", "w", "b", "r", "p", "y"]);
    assert!(placement.fused.contains("c"));
    assert_eq!(placement.provider("p"), "r");
    assert_eq!(placement.range_of.get("c").map(String::as_str), Some("r"));
}

#[test]
fn the_site_stays_when_removal_is_off() {
    let options = PlacementOptions { remove_qdq_conv_relu: false, ..PlacementOptions::default() };
    let placement = Placement::of(&conv_relu_pool(), &options).unwrap();
    assert!(placement.sites.contains_key("c") && placement.fused.is_empty());
}

#[test]
fn an_excluded_relu_leaves_the_convolution_quantized() {
    let options = PlacementOptions {
        nodes_to_exclude: vec!["r".into(), "p".into(), "y".into()],
        ..PlacementOptions::default()
    };
    let placement = Placement::of(&conv_relu_pool(), &options).unwrap();
    assert_eq!(tensors(&placement), ["x", "w", "b", "c"]);
}

#[test]
fn a_relu_on_a_graph_input_is_not_quantized() {
    let model = Builder::new().input("x", &[1, 4]).node("Relu", &["x"], &["y"]).build(&[("y", &[1, 4])], 13);
    let placement = Placement::of(&model, &PlacementOptions::default()).unwrap();
    assert!(placement.sites.is_empty());
}

#[test]
fn without_force_moving_operators_wait_for_a_quantized_input() {
    let model = Builder::new()
        .input("x", &[1, 1, 4, 4])
        .node("Transpose", &["x"], &["y"])
        .build(&[("y", &[4, 4, 1, 1])], 13);
    let forced = Placement::of(&model, &PlacementOptions::default()).unwrap();
    assert_eq!(tensors(&forced), ["x", "y"]);
    let options = PlacementOptions { force_quantize_no_input_check: false, ..PlacementOptions::default() };
    assert!(Placement::of(&model, &options).unwrap().sites.is_empty());
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error_with_the_nearest_name() {
    let options = PlacementOptions { nodes_to_exclude: vec!["rr".into()], ..PlacementOptions::default() };
    let error = Placement::of(&conv_relu_pool(), &options).unwrap_err().to_string();
    assert!(error.contains("\"rr\"") && error.contains("nearest name is \"r\""), "{error}");
}
