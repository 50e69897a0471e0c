//! Range-safe equalization as a program: what it needs, and that the model computes what it did on the samples.

#![allow(missing_docs, clippy::disallowed_methods)]

use shiftwise_tests::{Case, Chain, run};

#[test]
fn the_prepared_model_is_equalized_by_its_statistics() {
    let dir = shiftwise_tests::scratch();
    equalized(&Case::demo(), &Chain::calibrated(&Case::demo(), dir.path()));
}

#[test]
fn mobilenet_v2_computes_what_it_did() {
    let Some(case) = Case::reference("mobilenet_v2") else { return };
    let dir = shiftwise_tests::scratch();
    equalized(&case, &Chain::calibrated(&case, dir.path()));
}

fn equalized(case: &Case, chain: &Chain) {
    let [prepared, stats, safe, out] =
        ["prepared", "stats", "safe", "compared"].map(|name| chain.path(name).into_os_string());
    let _ = run("shiftwise-preprocess", [&prepared, &"--stats".into(), &stats, &"-o".into(), &safe]).ok();
    let report = chain.json("safe", "rewrites.json");
    let layers = report["equalized"].as_array().expect("a list of layers");
    assert!(!layers.is_empty(), "{report}");
    for layer in layers {
        assert!(layer["error_after"].as_f64() < layer["error_before"].as_f64(), "{layer}");
    }
    let mut args = vec![prepared.clone(), safe.clone(), "-o".into(), out];
    args.extend(case.calibration_data().map(|word| word.as_os_str().to_owned()));
    args.extend(["--samples", "20"].map(Into::into));
    let _ = run("shiftwise-evaluate", args).ok();
    let compared = chain.json("compared", "report.json");
    let output = &compared["models"][0]["outputs"][0];
    // An error of 1e-4 of what the outputs are is 80 dB below them.
    let worst = output["sqnr"]["worst"].as_f64().expect("a ratio, as the weights are others");
    shiftwise_tests::say(&format!("{}: at least {worst:.1} dB", case.name));
    assert!(worst > 80.0, "{output}");

    // The equalized model is another one: its statistics are to be collected anew.
    let again = [&safe, &"--stats".into(), &stats, &"-o".into(), &chain.path("again").into_os_string()];
    let _ = run("shiftwise-preprocess", again).exits(5).says(&["they were collected on"]);
    let without = ["--set", "range_safe_equalization=true", "-o"].map(Into::into);
    let mut args = vec![prepared];
    args.extend(without);
    args.push(chain.path("without").into_os_string());
    let _ = run("shiftwise-preprocess", args).exits(2).says(&["needs statistics"]);
}
