//! The program from outside: exit codes, reports, artifacts.

#![allow(missing_docs)]

mod common;

use common::{BROKEN, Place, SOUND, float, quantized};
use shiftwise_graph::{Builder, Model, Patch, Tensor};
use shiftwise_quant::{QParams, QuantType, TensorRecord};

fn records(sidecar: &serde_json::Value) -> Vec<TensorRecord> {
    sidecar["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| serde_json::from_value(r.clone()).unwrap())
        .collect()
}

/// Integers and scales of every constant agree with the float model.
fn assert_consistent(model: &Model, records: &[TensorRecord]) {
    let float = float();
    for record in records {
        assert_eq!(
            model.graph.initializer(&record.scale_name).unwrap().scalar_f32(),
            Some(record.scale),
            "{record:?}"
        );
        let (Some(source), Some(integers)) = (&record.float_source, &record.quantized) else { continue };
        let values = float.graph.initializer(source).unwrap().to_f32().unwrap();
        let expected: Vec<i64> = values.iter().map(|v| record.params().quantize(*v)).collect();
        assert_eq!(model.graph.initializer(integers).unwrap().to_i64(), Some(expected), "{record:?}");
    }
}

#[test]
fn a_check_lists_what_does_not_hold_and_fails_only_when_asked_to() {
    let place = Place::new();
    place.write_artifact("q", quantized(BROKEN), |_| {});
    let checked = place.run(&["q"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    insta::assert_snapshot!(checked.err, @r"
    node  op    rule        quantity                 value  legal  tensors@positions
    y     Add   shift_read  max − min of input           9  0..7   p@10 c2@1
    c1    Conv  shift_cut   weight + input − output     17  0..16  w1@22 x@5 r@10
    c1    Conv  shift_bias  weight + input − bias       19  0..15  w1@22 x@5 b1@8 r@10

    3 violations of the DPU's limits
    ");
    assert_eq!(checked.out, "");
    let strict = place.run(&["q", "--strict", "--json"]);
    assert_eq!(strict.code, 4, "{}", strict.err);
    let rules: Vec<String> = strict.json()["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| format!("{} {} {} {}", v["node"], v["rule"], v["value"], v["legal"]))
        .collect();
    assert_eq!(
        rules,
        [r#""y" "shift_read" 9 [0,7]"#, r#""c1" "shift_cut" 17 [0,16]"#, r#""c1" "shift_bias" 19 [0,15]"#]
    );
    assert!(strict.err.contains("check failed: 3 violations in q"), "{}", strict.err);
}

#[test]
fn a_sound_model_passes() {
    let place = Place::new();
    place.write_artifact("q", quantized(SOUND), |_| {});
    let checked = place.run(&["q", "--strict"]);
    assert_eq!((checked.code, checked.err.trim()), (0, "every limit of the DPU holds"));
    let fixed = place.run(&["q", "--fix", "-o", "f", "--strict"]);
    assert_eq!(fixed.code, 0, "{}", fixed.err);
    let ((_, before, list), (_, after, same)) = (place.open("q"), place.open("f"));
    assert_eq!(before, after);
    assert_eq!(list, same);
}

#[test]
fn a_fix_moves_positions_and_makes_the_integers_again_from_float() {
    let place = Place::new();
    place.write_artifact("q", quantized(BROKEN), |_| {});
    let fixed = place.run(&["q", "--fix", "-o", "f", "--strict", "--json"]);
    assert_eq!(fixed.code, 0, "{}", fixed.err);
    insta::assert_snapshot!(fixed.err, @r"
    node  op    rule        quantity                 value  legal  tensor  position  round
    y     Add   shift_read  max − min of input           9  0..7   p       10 → 8        1
    c1    Conv  shift_cut   weight + input − output     19  0..16  w1      22 → 19       1
    c1    Conv  shift_bias  weight + input − bias       16  0..15  b1      8 → 9         1

    3 violations of the DPU's limits; moved 3 scales in 1 round
    quantized 2 constants again from float
    wrote f
    ");

    let (artifact, model, sidecar) = place.open("f");
    let records = records(&sidecar);
    assert_consistent(&model, &records);
    let position = |t: &str| records.iter().find(|r| r.tensor == t).unwrap().position.unwrap().get();
    // The pooling shares the scale of the Relu: both moved.
    assert_eq!(["x", "w1", "b1", "r", "p", "w2", "c2", "y"].map(position), [5, 19, 9, 8, 8, 7, 1, 4]);
    // What this stage does not know of is passed on.
    assert_eq!(sidecar["absorbed"][0], "kept");
    assert_eq!(sidecar["tensors"][0]["unknown"], "kept");
    for file in ["float.onnx", "float.onnx.data", "notes.json", "limits.json"] {
        artifact.file(file).unwrap();
    }
    assert_eq!(Model::load(&artifact.file("float.onnx").unwrap()).unwrap().graph, float().graph);
    // The printed report is the written one.
    let written = std::fs::read_to_string(artifact.file("limits.json").unwrap()).unwrap();
    assert_eq!(fixed.json(), serde_json::from_str::<serde_json::Value>(&written).unwrap());

    let again = place.run(&["q", "--fix", "-o", "f", "--strict", "--json"]);
    assert_eq!((again.code, again.err.trim()), (0, "up to date: f"));
    assert_eq!(again.json(), fixed.json());
    let other = place.run(&["q", "--fix", "-o", "f", "--set", "align_pool=false"]);
    assert_eq!(other.code, 5, "{}", other.err);
    let settled = place.run(&["f", "--fix", "-o", "g"]);
    assert!(settled.err.contains("held already"), "{}", settled.err);
    assert_eq!(place.open("g").1, model);
}

#[test]
fn switches_leave_limits_alone() {
    let place = Place::new();
    place.write_artifact("q", quantized(BROKEN), |_| {});
    let off = place.run(&["q", "--fix", "-o", "f", "--set", "npu_limitation_check=false"]);
    assert_eq!(off.code, 0, "{}", off.err);
    assert!(off.err.contains("the model is passed on as it is"), "{}", off.err);
    assert_eq!(place.open("q").1, place.open("f").1);
    let some =
        place.run(&["q", "--strict", "--set", "AdjustShiftCut=False", "--set", "adjust_shift_read=false"]);
    assert_eq!(some.code, 4, "{}", some.err);
    assert!(!some.err.contains("shift_cut") && some.err.contains("shift_bias"), "{}", some.err);
}

/// What existing tools leave behind: a scale that moved without its integers.
#[test]
fn integers_that_do_not_belong_to_their_scale_are_found() {
    let place = Place::new();
    place.write_artifact("q", quantized(SOUND), |emitted| {
        let record = emitted.tensors.iter_mut().find(|r| r.tensor == "w2").unwrap();
        record.set_params(QParams { scale: record.scale / 4.0, ..record.params() });
        let mut patch = Patch::new();
        patch.set_initializer(record.scale_name.as_str(), record.params().scale_tensor());
        emitted.model.graph.apply("test", patch).unwrap();
    });
    assert_eq!(place.run(&["q"]).code, 0);
    let strict = place.run(&["q", "--strict"]);
    assert_eq!(strict.code, 4, "{}", strict.err);
    assert!(strict.err.contains("integers"), "{}", strict.err);

    place.write_artifact("s", quantized(SOUND), |emitted| {
        emitted.tensors.iter_mut().find(|r| r.tensor == "x").unwrap().scale = 0.5;
    });
    let strict = place.run(&["s", "--strict"]);
    assert_eq!(strict.code, 4, "{}", strict.err);
    assert!(strict.err.contains("sidecar") && strict.err.contains("listed scale"), "{}", strict.err);
}

#[test]
fn models_of_others_are_checked_and_fixed_from_their_integers() {
    let place = Place::new();
    place.write_model("m.onnx", &quantized(BROKEN).model);
    assert_eq!(place.run(&["m.onnx", "--strict"]).code, 4);
    let fixed = place.run(&["m.onnx", "--fix", "-o", "f", "--strict"]);
    assert_eq!(fixed.code, 0, "{}", fixed.err);
    assert!(fixed.err.contains("again from integers, for want of float tensors"), "{}", fixed.err);
    let (_, model, sidecar) = place.open("f");
    let list = records(&sidecar);
    let w1 = list.iter().find(|r| r.tensor == "w1").unwrap();
    let old = QParams { ty: QuantType::Int8, scale: 2f32.powi(-22), zero_point: 0 };
    let before = quantized(BROKEN).model;
    let integers = before.graph.initializer("w1_quantized").unwrap().to_i64().unwrap();
    let expected: Vec<i64> = integers.iter().map(|q| w1.params().quantize(old.dequantize(*q))).collect();
    assert_eq!(model.graph.initializer("w1_quantized").unwrap().to_i64(), Some(expected));
    assert!(w1.method.contains("moved 22"), "{}", w1.method);
}

#[test]
fn scales_that_are_no_positions_are_violations() {
    let place = Place::new();
    let mut model = quantized(SOUND).model;
    let mut patch = Patch::new();
    patch.set_initializer("c2_scale", Tensor::f32(&[], &[0.1]));
    model.graph.apply("test", patch).unwrap();
    place.write_model("m.onnx", &model);
    let strict = place.run(&["m.onnx", "--strict", "--json"]);
    assert_eq!(strict.code, 4, "{}", strict.err);
    let found = &strict.json()["violations"];
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!((found[0]["rule"].as_str(), found[0]["value"].as_f64()), (Some("power_of_two"), Some(0.1)));
    // Moving positions does not help there, and is not pretended to.
    let fixed = place.run(&["m.onnx", "--fix", "-o", "f"]);
    assert_eq!(fixed.code, 0, "{}", fixed.err);
    assert!(fixed.err.contains("cannot be adjusted"), "{}", fixed.err);
    let again = place.run(&["m.onnx", "--fix", "-o", "f", "--strict"]);
    assert_eq!(again.code, 4);
    assert!(again.err.contains("up to date") && again.err.contains("power_of_two"), "{}", again.err);
}

#[test]
fn wrong_usage_and_wrong_inputs_have_their_codes() {
    let place = Place::new();
    place.write_model("float.onnx", &float());
    place.write_artifact("q", quantized(SOUND), |_| {});
    let code = |args: &[&str]| place.run(args).code;
    assert_eq!(code(&["q", "--fix"]), 2);
    assert_eq!(code(&["q", "-o", "f"]), 2);
    assert_eq!(code(&["q", "--set", "adjust_shift_cuts=true"]), 2);
    assert_eq!(code(&["nothing"]), 3);
    let float = place.run(&["float.onnx"]);
    assert_eq!(float.code, 3);
    assert!(float.err.contains("no QuantizeLinear"), "{}", float.err);
    assert!(!place.path("f").exists() && place.root().exists());
}

/// An initializer that two scales read: only the constant of the one that moves changes.
#[test]
fn integers_that_are_read_elsewhere_are_not_overwritten() {
    let place = Place::new();
    let model = Builder::new()
        .input("x", &[1, 1, 2, 2])
        .constant("z", Tensor::i8(&[], &[0]))
        .constant("s1", Tensor::f32(&[], &[0.5]))
        .constant("s30", Tensor::f32(&[], &[2f32.powi(-30)]))
        .constant("w", Tensor::i8(&[1, 1, 1, 1], &[64]))
        .node("QuantizeLinear", &["x", "s1", "z"], &["xq"])
        .node("DequantizeLinear", &["xq", "s1", "z"], &["xd"])
        .node("DequantizeLinear", &["w", "s30", "z"], &["wa"])
        .node("DequantizeLinear", &["w", "s1", "z"], &["wb"])
        .node("Conv", &["xd", "wa"], &["a"])
        .node("QuantizeLinear", &["a", "s1", "z"], &["aq"])
        .node("DequantizeLinear", &["aq", "s1", "z"], &["ad"])
        .node("Conv", &["ad", "wb"], &["b"])
        .node("QuantizeLinear", &["b", "s1", "z"], &["bq"])
        .node("DequantizeLinear", &["bq", "s1", "z"], &["y"])
        .build(&[("y", &[1, 1, 2, 2])], 13);
    place.write_model("m.onnx", &model);
    let fixed = place.run(&["m.onnx", "--fix", "-o", "f", "--strict"]);
    assert_eq!(fixed.code, 0, "{}", fixed.err);
    let (_, after, _) = place.open("f");
    assert_eq!(after.graph.initializer("w").unwrap().to_i64(), Some(vec![64]));
    let (_, reader) = after.graph.producer("wa").unwrap();
    // 64 · 2^-30 at position 16.
    assert_eq!(after.graph.initializer(&reader.inputs[0]).unwrap().to_i64(), Some(vec![0]));
    assert_eq!(after.graph.initializer("s30").unwrap().scalar_f32(), Some(2f32.powi(-16)));
}
