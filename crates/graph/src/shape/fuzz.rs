//! No node, however senseless, may make an operator's function panic or invent an extent beyond the format.

use std::rc::Rc;

use proptest::prelude::*;

use super::context::{Ctx, Fact};
use super::data::{Data, Elem};
use super::{dims, registry};
use crate::{Attribute, DataType, Dim, Node, TensorType};

const ATTRIBUTES: &[&str] = &[
    "allowzero",
    "auto_pad",
    "axes",
    "axis",
    "batch_dims",
    "blocksize",
    "ceil_mode",
    "dilations",
    "direction",
    "dtype",
    "end",
    "ends",
    "equation",
    "fmod",
    "group",
    "hidden_size",
    "k",
    "keep_aspect_ratio_policy",
    "keepdims",
    "kernel_shape",
    "layout",
    "noop_with_empty_axes",
    "output_dtype",
    "output_height",
    "output_padding",
    "output_shape",
    "pads",
    "perm",
    "pooled_shape",
    "scales",
    "shape",
    "split",
    "start",
    "starts",
    "stash_type",
    "strides",
    "to",
    "transA",
    "value_floats",
    "value_int",
    "value_ints",
];

fn int() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => -3i64..6,
        1 => any::<i64>(),
        1 => prop::sample::select(vec![i64::MIN, i64::MAX, i64::from(i32::MAX), i64::from(i32::MIN)]),
    ]
}

fn float() -> impl Strategy<Value = f32> {
    prop_oneof![4 => -2.0f32..3.0, 1 => any::<f32>(), 1 => prop::sample::select(vec![f32::NAN, f32::INFINITY])]
}

fn dim() -> impl Strategy<Value = Dim> {
    prop_oneof![
        6 => (0usize..7).prop_map(Dim::Known),
        1 => prop::sample::select(vec![Dim::Known(i64::MAX as usize), Dim::Known(1 << 40)]),
        2 => prop::sample::select(vec!["N", "M"]).prop_map(|s| Dim::Symbol(s.into())),
        1 => Just(Dim::Unknown),
    ]
}

fn elem() -> impl Strategy<Value = Elem> {
    prop_oneof![
        6 => int().prop_map(Elem::Int),
        2 => float().prop_map(Elem::Float),
        1 => Just(Elem::Symbol("N".into())),
        1 => Just(Elem::Unknown),
    ]
}

fn fact() -> impl Strategy<Value = Option<Fact>> {
    let dtype = prop::sample::select(vec![DataType::Float, DataType::Int64, DataType::Bool, DataType::Int8]);
    let shape = prop::option::weighted(0.9, prop::collection::vec(dim(), 0..6));
    let ty =
        prop::option::weighted(0.9, (dtype, shape).prop_map(|(dtype, shape)| TensorType { dtype, shape }));
    let data = prop::option::of(
        (any::<bool>(), prop::collection::vec(elem(), 0..6))
            .prop_map(|(scalar, elems)| Rc::new(Data { scalar, elems })),
    );
    prop::option::weighted(0.9, (ty, data).prop_map(|(ty, data)| Fact { ty, data, cause: None }))
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let text = prop::sample::select(vec![
        "SAME_UPPER",
        "VALID",
        "bidirectional",
        "ij,jk->ik",
        "ii",
        "not_larger",
        "…",
    ]);
    prop_oneof![
        3 => int().prop_map(Attribute::Int),
        4 => prop::collection::vec(int(), 0..6).prop_map(Attribute::Ints),
        1 => prop::collection::vec(float(), 0..5).prop_map(Attribute::Floats),
        2 => text.prop_map(Attribute::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn senseless_nodes(
        opset in 9i64..23,
        inputs in prop::collection::vec(fact(), 0..6),
        outputs in 0usize..4,
        attributes in prop::collection::vec((prop::sample::select(ATTRIBUTES), attribute()), 0..6),
    ) {
        for (op, infer) in registry::all() {
            let mut node = Node::new(op, "n", &[], &[]);
            node.outputs = (0..outputs).map(|i| format!("y{i}")).collect();
            node.attributes = attributes.iter().map(|(k, v)| ((*k).to_string(), v.clone())).collect();
            let opsets = super::infer::Opsets::default();
            let options = super::ShapeOptions::default();
            let env = super::options::Env { opsets: &opsets, options: &options, meetings: Some(std::cell::RefCell::default()) };
            let mut ctx = Ctx {
                node: &node,
                env: &env,
                opset,
                inputs: inputs.clone(),
                types: vec![None; outputs],
                data: vec![None; outputs],
                note: None,
            };
            let _ = infer(&mut ctx);
            for ty in ctx.types.iter().flatten() {
                let extents = ty.shape.iter().flatten().filter_map(Dim::known);
                prop_assert!(extents.into_iter().all(dims::fits), "{op} gives {ty}");
            }
        }
    }
}
