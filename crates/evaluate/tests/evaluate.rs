//! The program on models and samples whose results are known by hand.

#![allow(missing_docs)]

mod common;

use clap::Parser;
use common::{Place, linear, stderr};
use shiftwise_artifact::Tool;
use shiftwise_evaluate::Arguments;
use shiftwise_graph::{Builder, Tensor};
use shiftwise_stage::{Context, ExitStatus, Stage};

const LABELS: &str = "file,label\na.npy,0\nb.npy,1\nc.npy,1\nd.npy,0\n";

#[test]
fn accuracies_are_exact() {
    let place = Place::classifiers();
    place.write("labels.csv", LABELS);
    let models = ["float.onnx", "doubling.onnx", "swapping.onnx"];
    let output = place.evaluate(&models, &["--labels", "labels.csv"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("75.0 %"), "{text}");

    let report = place.report();
    // Float predicts 0, 1, 2, 0 (a tie): three of four.
    assert_eq!(report["float"]["top1"]["percent"], 75.0);
    assert_eq!(report["float"]["top5"], serde_json::Value::Null, "of three classes, five are no choice");
    let (doubling, swapping) = (&report["models"][0], &report["models"][1]);
    assert_eq!(doubling["top1_loss"], 0.0);
    assert_eq!(doubling["agreement"]["percent"], 100.0);
    assert!(doubling["outputs"][0]["sqnr"]["mean"].as_f64().unwrap().abs() < 1e-9);
    assert_eq!(doubling["outputs"][0]["cosine"]["mean"], 1.0);
    // Swapping predicts 1, 0, 2, 0.
    assert_eq!(swapping["top1"]["percent"], 25.0);
    assert_eq!(swapping["top1_loss"], 50.0);
    assert_eq!(swapping["agreement"]["percent"], 50.0);
    assert_eq!(swapping["outputs"][0]["exact"], 1, "d has two equal scores");
    // (a, b): 10 log₁₀(10 / 8); c: 10 log₁₀(17 / 2); d is exact: 10 log₁₀(8 / 1e-30).
    let expected = (2.0 * 1.25_f64.log10() + 8.5_f64.log10() + 8e30_f64.log10()) * 10.0 / 4.0;
    assert!((swapping["outputs"][0]["sqnr"]["mean"].as_f64().unwrap() - expected).abs() < 1e-9);
    assert_eq!(swapping["outputs"][0]["sqnr"]["worst_sample"], "a.npy");
    assert_eq!(swapping["changed"][0]["id"], "a.npy");
    assert_eq!(report["rows"][2]["id"], "c.npy");
    assert_eq!(report["rows"][2]["models"][1]["prediction"], 2);
}

#[test]
fn without_labels_there_are_no_accuracies_but_agreement() {
    let place = Place::classifiers();
    let output = place.evaluate(&["float.onnx", "swapping.onnx"], &[]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("no accuracies") && !text.contains("top-1"), "{text}");
    assert!(text.contains("50.0 %"), "{text}");
    assert!(place.report()["float"]["top1"].is_null());
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let place = Place::classifiers();
    place.write("data/labels.csv", LABELS);
    for i in 0..60_u8 {
        place.sample(&format!("more{i}.npy"), &[f32::from(i), f32::from(i % 7) * 9.0, 20.0]);
    }
    let mut reports = Vec::new();
    for threads in ["1", "2", "5"] {
        place
            .evaluate(&["float.onnx", "swapping.onnx", "doubling.onnx"], &["--threads", threads, "--force"])
            .assert()
            .success();
        let read = |name: &str| std::fs::read(place.path(&format!("out/{name}"))).unwrap();
        reports.push((read("report.json"), read("report.html")));
        std::fs::remove_dir_all(place.path("out")).unwrap();
    }
    assert!(reports.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn missed_bounds_end_with_4_and_say_by_how_much() {
    let place = Place::classifiers();
    place.write("data/labels.csv", LABELS);
    let models = ["float.onnx", "doubling.onnx", "swapping.onnx"];
    place.evaluate(&models, &["--min-top1", "25", "--max-top1-loss", "50"]).assert().success();
    // The report is there already: only the bounds are looked at.
    let missed = place
        .evaluate(&models, &["--min-top1", "30", "--max-top1-loss", "49.5", "--min-sqnr", "3"])
        .assert()
        .code(4);
    let text = stderr(missed.get_output());
    assert!(text.contains("up to date"), "{text}");
    assert!(text.contains("top-1 of swapping is 25.00 %, 5.00 points below"), "{text}");
    assert!(text.contains("0.50 more than the 49.5 allowed"), "{text}");
    assert!(text.contains("SQNR of output \"y\" of doubling") && text.contains("3.00 dB below"), "{text}");
    assert!(!text.contains("top-1 of doubling"), "{text}");

    place.write("bounds.toml", "min_top1 = 30\n");
    place.evaluate(&models, &["--config", "bounds.toml"]).assert().code(4);
    place.evaluate(&models, &["--min-top1", "101"]).assert().code(2);
}

#[test]
fn accuracy_bounds_need_labels() {
    let place = Place::classifiers();
    let output = place.evaluate(&["float.onnx", "doubling.onnx"], &["--min-top1", "30"]).assert().code(2);
    assert!(stderr(output.get_output()).contains("no labels"));
}

#[test]
fn nan_fails_a_bound_and_is_in_no_mean() {
    let place = Place::classifiers();
    place.write("data/labels.csv", LABELS);
    let nan = Builder::new().input("x", &[1, 3]).node("Log", &["x"], &["p"]);
    let nan = nan.node("Sub", &["p", "p"], &["z"]).node("Add", &["x", "z"], &["y"]);
    place.model("nan.onnx", &nan.build(&[("y", &[1, 3])], 17));
    let output = place.evaluate(&["float.onnx", "nan.onnx"], &["--min-sqnr", "1"]).assert().code(4);
    assert!(stderr(output.get_output()).contains("4 of 4 samples have NaN"));
    let model = &place.report()["models"][0];
    assert_eq!(model["outputs"][0]["not_finite"], 4);
    assert!(model["outputs"][0]["sqnr"].is_null());
    assert_eq!(model["top1"]["percent"], 0.0, "NaN is no prediction");
}

#[test]
fn labels_that_do_not_fit_name_their_file() {
    let place = Place::classifiers();
    place.write("wrong.csv", LABELS.replace("c.npy,1", "c.npy,3"));
    let output =
        place.evaluate(&["float.onnx", "doubling.onnx"], &["--labels", "wrong.csv"]).assert().code(3);
    let text = stderr(output.get_output());
    assert!(
        text.contains("wrong.csv") && text.contains("\"c.npy\" is 3") && text.contains("0 to 2"),
        "{text}"
    );
    assert!(!place.path("out").exists());
}

#[test]
fn labels_for_something_else_than_classes() {
    let place = Place::classifiers();
    let map = Builder::new().input("x", &[1, 3]);
    let map = map
        .constant("to", Tensor::i64(&[3], &[1, 3, 1]))
        .constant("w", Tensor::f32(&[1, 1, 2], &[1.0, 2.0]))
        .node("Reshape", &["x", "to"], &["r"])
        .node("MatMul", &["r", "w"], &["y"])
        .build(&[("y", &[1, 3, 2])], 17);
    place.model("map.onnx", &map);
    place.write("labels.csv", LABELS);
    let output = place.evaluate(&["map.onnx", "map.onnx"], &["--labels", "labels.csv"]).assert().code(3);
    assert!(stderr(output.get_output()).contains("no vector of class scores"));
    let output = place.evaluate(&["map.onnx", "map.onnx"], &[]).assert().success();
    assert!(
        String::from_utf8_lossy(&output.get_output().stdout).contains("equals float exactly on 4 samples")
    );
}

#[test]
fn missing_data_and_bad_samples() {
    let place = Place::classifiers();
    let models = ["float.onnx", "doubling.onnx"];
    std::fs::rename(place.path("data"), place.path("elsewhere")).unwrap();
    let output = place.evaluate(&models, &[]).assert().code(3);
    assert!(stderr(output.get_output()).contains("data"));
    std::fs::rename(place.path("elsewhere"), place.path("data")).unwrap();

    place.write("data/bb.npy", "no array");
    let output = place.evaluate(&models, &[]).assert().code(3);
    let text = stderr(output.get_output());
    assert!(text.contains("bb.npy") && text.contains("--skip-bad-samples"), "{text}");
    place.evaluate(&models, &["--skip-bad-samples"]).assert().success();
    let report = place.report();
    assert_eq!(report["samples"]["evaluated"], 4);
    assert_eq!(report["samples"]["skipped"][0]["id"], "bb.npy");
}

#[test]
fn models_that_do_not_belong_together() {
    let place = Place::classifiers();
    let two = Builder::new().input("x", &[1, 2]).node("Relu", &["x"], &["y"]).build(&[("y", &[1, 2])], 17);
    place.model("two.onnx", &two);
    let output = place.evaluate(&["float.onnx", "two.onnx"], &[]).assert().code(3);
    let text = stderr(output.get_output());
    assert!(text.contains("two.onnx") && text.contains("input \"x\""), "{text}");

    // Other names are no obstacle.
    let renamed = Builder::new()
        .input("image", &[1, 3])
        .node("Identity", &["image"], &["scores"])
        .build(&[("scores", &[1, 3])], 17);
    place.model("renamed.onnx", &renamed);
    place.evaluate(&["float.onnx", "renamed.onnx"], &[]).assert().success();
    assert_eq!(place.report()["models"][0]["outputs"][0]["exact"], 4);
}

#[test]
fn a_signal_ends_it_without_output() {
    let place = Place::classifiers();
    let path = |name: &str| place.path(name).display().to_string();
    let (float, other, data, out) = (path("float.onnx"), path("doubling.onnx"), path("data"), path("out"));
    let arguments = ["shiftwise-evaluate", &float, &other, "--data", &data, "-o", &out, "--quiet"];
    let arguments = Arguments::parse_from(arguments);
    let tool = Tool { name: "shiftwise-evaluate".into(), version: "1".into() };
    let context = Context::new(Stage::Evaluate, tool, arguments.common.clone()).unwrap();
    context.interrupt.request();
    let failure = shiftwise_evaluate::run(&arguments, &context).unwrap_err();
    assert_eq!(failure.status, ExitStatus::Interrupted);
    assert!(failure.message.contains("nothing was written"), "{failure}");
    assert!(!place.path("out").exists());
}

#[test]
fn two_artifacts_of_one_name_are_told_apart() {
    let place = Place::classifiers();
    for dir in ["one", "two"] {
        std::fs::create_dir(place.path(dir)).unwrap();
        std::fs::copy(place.path("doubling.onnx"), place.path(&format!("{dir}/quantized.onnx"))).unwrap();
    }
    place.evaluate(&["float.onnx", "one/quantized.onnx", "two/quantized.onnx"], &[]).assert().success();
    let report = place.report();
    assert_eq!(report["models"][0]["name"], "one/quantized.onnx");
    assert_eq!(report["models"][1]["name"], "two/quantized.onnx");
}

#[test]
fn json_is_the_report() {
    let place = Place::classifiers();
    for _ in 0..2 {
        let output = place.evaluate(&["float.onnx", "swapping.onnx"], &["--json"]).assert().success();
        let printed: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        assert_eq!(printed, place.report());
    }
}

#[test]
fn the_page_is_well_formed_whatever_files_are_called() {
    let place = Place::classifiers();
    let nasty = "<script>alert('&\"')<%2fb>.npy";
    place.sample(nasty, &[1.0, 5.0, 0.5]);
    place.model("a<b>&c.onnx", &linear(&[0.9, 0.1, 0., 0., 1.1, 0., 0., 0.2, 1.]));
    place.evaluate(&["float.onnx", "a<b>&c.onnx"], &[]).assert().success();
    let page = std::fs::read_to_string(place.path("out/report.html")).unwrap();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
    assert!(page.contains("a&lt;b&gt;&amp;c") && page.contains("<svg"));
    assert!(!page.contains("://") && !page.contains("src="), "it needs nothing from outside");
    well_formed(&page);
}

/// Every element is closed by its own end tag, and no `<` or `&` stands alone.
fn well_formed(page: &str) {
    let body = page.strip_prefix("<!DOCTYPE html>").unwrap();
    let mut open = Vec::new();
    for (i, piece) in body.split('<').enumerate() {
        if i == 0 {
            assert!(piece.trim().is_empty());
            continue;
        }
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains('>') || open.last() == Some(&"style"), "{text}");
        for entity in text.split('&').skip(1) {
            let name = entity.split_once(';').expect("an entity ends").0;
            assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "{name}");
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap());
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
