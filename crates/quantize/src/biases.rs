//! 32-bit biases: sums of products are what they are added to, so their scale is that of the products.

use shiftwise_graph::{Model, NodeId, Patch};
use shiftwise_quant::{Decision, Placement, QParams, QuantType, Role};
use shiftwise_stage::Failure;

use crate::Decisions;

/// Gives each operator a bias of its own: where one constant serves several, the scales of their products differ.
pub(crate) fn separate(model: &mut Model, placement: &Placement) -> Result<(), Failure> {
    let mut patch = Patch::new();
    let ids: Vec<NodeId> = model.graph.nodes().map(|(id, _)| id).collect();
    let graph = &model.graph;
    let mut copies = std::collections::BTreeMap::<&str, usize>::new();
    for id in ids {
        let Some(bias) = graph.node(id).and_then(|node| node.input(2)) else { continue };
        let is_bias = placement.sites.get(bias).is_some_and(|site| site.role == Role::Bias);
        let Some(tensor) = graph.initializer(bias).filter(|_| is_bias) else { continue };
        if graph.uses(bias).len() < 2 {
            continue;
        }
        let copy = copies.entry(bias).or_default();
        *copy += 1;
        let name = graph.fresh_name(&format!("{bias}_{copy}"));
        patch.set_initializer(&name, tensor.clone());
        patch.set_input(id, 2, &name);
    }
    model.graph.apply("separate biases", patch)?;
    Ok(())
}

/// Decides every bias: scale = input scale · weight scale. A bias whose input or weight is not quantized stays float, and loses its
/// site.
pub(crate) fn decide(
    decisions: &mut Decisions,
    model: &Model,
    placement: &mut Placement,
) -> Result<(), Failure> {
    let biases: Vec<String> =
        placement.sites.iter().filter(|(_, s)| s.role == Role::Bias).map(|(t, _)| t.clone()).collect();
    for bias in biases {
        match product(decisions, model, placement, &bias) {
            Some(scale) => {
                let params = QParams { ty: QuantType::Int32, scale, zero_point: 0 };
                warn_of_saturation(model, &bias, &params);
                decisions.insert(bias, Decision { params, method: "input scale times weight scale".into() });
            }
            None => {
                tracing::info!("bias {bias:?} stays float: what it is added to has no scale");
                placement.sites.shift_remove(&bias);
            }
        }
    }
    Ok(())
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
