//! The positions that are chosen for known models. A change of them is a change of every user's models, so it must be
//! seen and meant: `INSTA_UPDATE=always cargo nextest run -p shiftwise-tests --test golden` writes the new ones to
//! tests/golden, for review with the change that caused them.

#![allow(missing_docs)]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shiftwise_tests::{Case, Chain, scratch};

fn compare(case: &Case) {
    let dir = scratch();
    let chain = Chain::quantized(case, dir.path());
    let before = positions(&chain, "quantized");
    let after = positions(&chain, "adjusted");
    assert!(before.keys().eq(after.keys()), "adjusting changes positions, not what is quantized");
    let moved: BTreeMap<_, _> = before
        .iter()
        .filter(|(tensor, position)| after[*tensor] != **position)
        .map(|(tensor, position)| (tensor, json!([position, after[tensor]])))
        .collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        insta::assert_json_snapshot!(case.name, json!({ "positions": after, "moved by npu-check": moved }));
    });
}

fn positions(chain: &Chain, stage: &str) -> BTreeMap<String, i64> {
    let sidecar = chain.json(stage, "tensors.json");
    let tensors = sidecar["tensors"].as_array().expect("a list of tensors");
    let entry = |t: &Value| {
        let name = format!("{} {}", t["tensor"].as_str()?, t["role"].as_str()?);
        let position = t["position"].as_i64()?;
        // The shortest text of a float32 is exact as float32 only.
        assert_eq!(t["scale"].as_f64()? as f32, (-position as f32).exp2(), "{name}");
        Some((name, position))
    };
    tensors.iter().map(|t| entry(t).unwrap_or_else(|| panic!("no position: {t}"))).collect()
}

#[test]
fn demo() {
    compare(&Case::demo());
}

#[test]
fn resnet20_cifar10() {
    Case::reference("resnet20_cifar10").iter().for_each(compare);
}

#[test]
fn squeezenet1_1() {
    Case::reference("squeezenet1_1").iter().for_each(compare);
}

#[test]
fn mobilenet_v2() {
    Case::reference("mobilenet_v2").iter().for_each(compare);
}
