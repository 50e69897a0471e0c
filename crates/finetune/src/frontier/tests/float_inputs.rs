//! Layers on what the float model gives to them.

use std::collections::BTreeSet;

use shiftwise_engine::embedded;
use shiftwise_graph::Value;

use super::super::*;
use super::graphs::branches;
use super::support::{options, quantize, samples, whole};

/// Visits some layers; gives what they were shown, and how often each node of the quantized model ran.
fn visit(
    [float, quantized]: [&Model; 2],
    samples: &[super::support::Sample],
    wanted: &[usize],
) -> (Vec<Vec<Pair>>, Vec<u32>) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { float_inputs: true, ..options(&folder, 0, 2) };
    let (mut layers, _) = find_layers(quantized, float);
    layers.retain(|layer| wanted.contains(&layer.index));
    let load = |i: usize| Ok(samples[i].clone());
    let engine = embedded();
    let mut frontier =
        Frontier::new(&engine, float, quantized.clone(), layers, samples.len(), &load, &|| false, options)
            .unwrap();
    let visit = |layer: usize| {
        let mut seen = Vec::new();
        let take = |pairs| {
            seen.extend(pairs);
            Ok::<_, FrontierError>(())
        };
        frontier.layer(layer, layer.is_multiple_of(2), take).unwrap();
        seen
    };
    let seen = (0..wanted.len()).map(visit).collect();
    (seen, frontier.runs()[1].clone())
}

#[test]
fn inputs_are_those_of_the_float_model_on_the_grid_of_the_quantized_one() {
    let float = branches();
    let samples = samples(&float, 3);
    let quantized = quantize(&float, &samples);
    let (layers, _) = find_layers(&quantized, &float);
    let all: Vec<usize> = (0..layers.len()).collect();
    let (seen, runs) = visit([&float, &quantized], &samples, &all);
    assert!(runs.iter().all(|n| *n == 0), "the quantized model did not run");
    let names: BTreeSet<String> =
        layers.iter().flat_map(|l| [l.float_input.clone(), l.float_output.clone()]).collect();
    let shown = whole(&embedded(), &float, &names, &samples);
    for (layer, pairs) in layers.iter().zip(&seen) {
        let input = FloatInput::of(&quantized.graph, layer).unwrap();
        for (pair, shown) in pairs.iter().zip(&shown) {
            let x = &shown[&layer.float_input];
            assert_eq!(pair.x.to_bytes(), input.apply(x.clone()).unwrap().to_bytes(), "{}", layer.node);
            assert_ne!(pair.x.to_bytes(), x.to_bytes(), "{}", layer.node);
            assert_eq!(pair.y.to_bytes(), shown[&layer.float_output].to_bytes(), "{}", layer.node);
            assert_eq!(pair.x_float.is_some(), layer.index % 2 == 0);
        }
    }
    // The first layer reads the same in either way.
    let names = BTreeSet::from([layers[0].input.clone()]);
    let first: Vec<Value> = whole(&embedded(), &quantized, &names, &samples)
        .into_iter()
        .map(|shown| shown[&layers[0].input].clone())
        .collect();
    assert!(seen[0].iter().zip(&first).all(|(pair, x)| pair.x.to_bytes() == x.to_bytes()));
    // A share of the layers is shown what all are.
    let some = [layers.len() - 2, layers.len() - 1];
    for (pairs, index) in visit([&float, &quantized], &samples, &some).0.iter().zip(some) {
        for (a, b) in pairs.iter().zip(&seen[index]) {
            assert!(a.x.to_bytes() == b.x.to_bytes() && a.y.to_bytes() == b.y.to_bytes(), "{index}");
        }
    }
}
