//! Where new pixels come from: Resize, RoiAlign, GridSample.

use shiftwise_graph::{Node, Tensor};

use super::step::{Adapter, Step, refuse};

pub(super) const ADAPTERS: &[(&str, i64, Adapter)] = &[
    ("Resize", 11, one_way),
    ("Resize", 13, without_empty),
    ("RoiAlign", 16, half_pixel),
    ("GridSample", 20, modes),
    ("Upsample", 11, refuse),
];

/// Before opset 11 there was one way: coordinates multiplied by the inverse scale; the nearest one below when enlarging, above when
/// shrinking.
fn one_way(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    let mode = node.text("mode").unwrap_or("nearest").to_owned();
    node = node.with("coordinate_transformation_mode", "asymmetric");
    if mode == "nearest" {
        let scales = node.input(1).and_then(|s| step.scope.constant(s)).and_then(Tensor::to_f32);
        let scales = scales.ok_or("its scales are not constant")?;
        let rounding = if scales.iter().all(|s| *s >= 1.0) {
            "floor"
        } else if scales.iter().all(|s| *s <= 1.0) {
            "ceil"
        } else {
            return Err(format!("its scales {scales:?} enlarge and shrink"));
        };
        node = node.with("nearest_mode", rounding);
    }
    let [x, scales] = [0, 1].map(|i| node.input(i).unwrap_or_default().to_owned());
    let roi = step.constant(&node, "roi", Tensor::f32(&[0], &[]));
    node.inputs = vec![x, roi, scales];
    step.put(node)
}

/// What is not used was a tensor all the same, mostly an empty one, and is omitted since.
fn without_empty(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    if node.text("coordinate_transformation_mode") == Some("tf_half_pixel_for_nn") {
        return Err("its coordinate_transformation_mode is \"tf_half_pixel_for_nn\"".into());
    }
    let crops = node.text("coordinate_transformation_mode") == Some("tf_crop_and_resize");
    for (i, input) in node.inputs.iter_mut().enumerate().skip(1) {
        if (i == 1 && !crops) || step.scope.constant(input).is_some_and(Tensor::is_empty) {
            input.clear();
        }
    }
    step.put(node)
}

fn half_pixel(step: &mut Step<'_>, node: Node) -> Result<(), String> {
    step.put(node.with("coordinate_transformation_mode", "output_half_pixel"))
}

fn modes(step: &mut Step<'_>, mut node: Node) -> Result<(), String> {
    let mode = match node.text("mode") {
        Some("bilinear") => "linear",
        Some("bicubic") => "cubic",
        _ => return step.put(node),
    };
    node = node.with("mode", mode);
    step.put(node)
}
