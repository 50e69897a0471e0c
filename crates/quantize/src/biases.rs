//! 32-bit biases: sums of products are what they are added to, so their scale is that of the products.

use shiftwise_graph::{Model, NodeId, Patch};
use shiftwise_quant::{Decision, Placement, QParams, QuantType, Role};
use shiftwise_stage::Failure;

use crate::Decisions;

/// Gives each operator a bias of its own: where one constant serves several, the scales of their products differ.
pub(crate) fn separate(model: &mut Model, placement: &Placement) -> Result<(), Failure> {
    let ids: Vec<NodeId> = model.graph.nodes().map(|(id, _)| id).collect();
    for id in ids {
        let graph = &model.graph;
        let Some(bias) = graph.node(id).and_then(|node| node.input(2)) else { continue };
        let is_bias = placement.sites.get(bias).is_some_and(|site| site.role == Role::Bias);
        let Some(tensor) = graph.initializer(bias).filter(|_| is_bias && graph.uses(bias).len() > 1) else {
            continue;
        };
        let name = graph.fresh_name(bias);
        let mut patch = Patch::new();
        patch.set_initializer(&name, tensor.clone());
        patch.set_input(id, 2, &name);
        // One by one, so that the next name is fresh, too, and the last user keeps the constant.
        model.graph.apply("separate biases", patch)?;
    }
    Ok(())
}

/// Decides every bias: scale = input scale · weight scale. A bias whose input or weight is not quantized stays float, and loses its
/// site.
pub(crate) fn decide(decisions: &mut Decisions, model: &Model, placement: &mut Placement) {
    let biases: Vec<String> =
        placement.sites.iter().filter(|(_, s)| s.role == Role::Bias).map(|(t, _)| t.clone()).collect();
    for bias in biases {
        if let Some(scale) = product(decisions, model, placement, &bias) {
            let params = QParams { ty: QuantType::Int32, scale, zero_point: 0 };
            warn_of_saturation(model, &bias, &params);
            decisions.insert(bias, Decision { params, method: "input scale times weight scale".into() });
        } else {
            tracing::info!("bias {bias:?} stays float: what it is added to has no scale");
            placement.sites.shift_remove(&bias);
        }
    }
}

fn product(decisions: &Decisions, model: &Model, placement: &Placement, bias: &str) -> Option<f32> {
    let [user] = model.graph.uses(bias) else { return None };
    let node = model.graph.node(user.node)?;
    let scale = |tensor: &str| {
        placement.sites.get(tensor)?;
        Some(decisions.get(placement.provider(tensor))?.params.scale)
    };
    let product = scale(node.input(0)?)? * scale(node.input(1)?)?;
    // Scales are normal numbers; their product may be too small or too large to be one.
    Some(product.clamp(f32::MIN_POSITIVE, f32::MAX))
}

fn warn_of_saturation(model: &Model, bias: &str, params: &QParams) {
    let (lo, hi) = params.representable();
    let values = model.graph.initializer(bias).and_then(shiftwise_graph::Tensor::to_f32).unwrap_or_default();
    let count = values.iter().filter(|v| **v < lo || **v > hi).count();
    if count > 0 {
        tracing::warn!(
            "{count} of {} values of bias {bias:?} lie outside of what 32 bits hold at scale {:e}, and are clipped; \
             int32_bias = false gives it a scale of its own",
            values.len(),
            params.scale
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shiftwise_graph::{Builder, Tensor};
    use shiftwise_quant::PlacementOptions;

    #[test]
    fn a_bias_of_two_operators_becomes_two() {
        let mut model = Builder::new()
            .input("x", &[1, 1, 2, 2])
            .constant("w", Tensor::f32(&[1, 1, 1, 1], &[0.75]))
            .constant("v", Tensor::f32(&[1, 1, 1, 1], &[0.25]))
            .constant("b", Tensor::f32(&[1], &[0.5]))
            .node("Conv", &["x", "w", "b"], &["y"])
            .node("Conv", &["x", "v", "b"], &["z"])
            .build(&[("y", &[1, 1, 2, 2]), ("z", &[1, 1, 2, 2])], 13);
        let place = |model: &Model| Placement::of(model, &PlacementOptions::default()).unwrap();
        let placement = place(&model);
        separate(&mut model, &placement).unwrap();
        let mut placement = place(&model);
        let params = |scale| Decision {
            params: QParams { ty: QuantType::Int8, scale, zero_point: 0 },
            method: "test".into(),
        };
        let mut decisions: Decisions = [("x", 0.1), ("w", 0.2), ("v", 0.3)]
            .map(|(t, s)| (t.to_owned(), params(s)))
            .into_iter()
            .collect();
        decide(&mut decisions, &model, &mut placement);
        let scales: Vec<f32> =
            model.graph.nodes().map(|(_, node)| decisions[node.input(2).unwrap()].params.scale).collect();
        assert_eq!(scales, [0.1 * 0.2, 0.1 * 0.3]);

        // Without a scale of the weight there is none of the products.
        decisions.shift_remove("w");
        let bias = model.graph.nodes().next().unwrap().1.input(2).unwrap().to_owned();
        decisions.shift_remove(&bias);
        decide(&mut decisions, &model, &mut placement);
        assert!(!placement.sites.contains_key(&bias) && !decisions.contains_key(&bias));
    }
}
