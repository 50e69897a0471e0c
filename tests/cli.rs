//! The command line that recipes and people rely on. Help texts are compared with tests/help; after a change that is meant,
//! `INSTA_UPDATE=always cargo nextest run -p shiftwise-tests --test cli` writes the new ones.

#![allow(missing_docs, clippy::disallowed_methods)]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use shiftwise_tests::{Case, Chain, Run, run, scratch};

/// The programs, with the subcommands that they have.
const PROGRAMS: [(&str, &[&str]); 6] = [
    ("shiftwise-preprocess", &[]),
    ("shiftwise-calibrate", &["plan", "collect", "merge", "status", "show"]),
    ("shiftwise-quantize", &[]),
    ("shiftwise-npu-check", &[]),
    ("shiftwise-finetune", &[]),
    ("shiftwise-evaluate", &[]),
];

#[test]
fn help_says_what_there_is() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("help");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (program, subcommands) in PROGRAMS {
            let name = program.trim_start_matches("shiftwise-");
            insta::assert_snapshot!(name, run(program, ["--help"]).ok().stdout);
            for subcommand in subcommands {
                let help = run(program, [subcommand, "--help"]).ok().stdout;
                insta::assert_snapshot!(format!("{name}-{subcommand}"), help);
            }
        }
    });
}

#[test]
fn programs_say_their_version_and_refuse_what_they_do_not_know() {
    for (program, _) in PROGRAMS {
        let version = run(program, ["--version"]).ok().stdout;
        assert_eq!(version, format!("{program} {}\n", env!("CARGO_PKG_VERSION")));
        let _ = run(program, ["--nonsense"]).exits(2).says(&["unexpected argument", "--nonsense"]);
        let nothing: [&str; 0] = [];
        let _ = run(program, nothing).exits(2).says(&["Usage:"]);
    }
}

/// The command of each stage on the demo, with outputs in `dir`.
fn stages(dir: &Path) -> Vec<(&'static str, Vec<OsString>)> {
    let case = Case::demo();
    let out = |stage: &str| dir.join(stage).into_os_string();
    let o: OsString = "-o".into();
    let data = |data: [&Path; 4]| data.map(OsString::from);
    let mut collect = vec!["collect".into(), out("prepared"), o.clone(), out("stats")];
    collect.extend(data(case.calibration_data()));
    let mut evaluate = vec![out("prepared"), out("adjusted"), o.clone(), out("evaluation")];
    evaluate.extend(data(case.evaluation_data()));
    evaluate.extend(["--samples".into(), "20".into()]);
    vec![
        ("shiftwise-preprocess", vec![case.model.into(), o.clone(), out("prepared")]),
        ("shiftwise-calibrate", collect),
        (
            "shiftwise-quantize",
            vec![out("prepared"), "--stats".into(), out("stats"), o.clone(), out("quantized")],
        ),
        ("shiftwise-npu-check", vec![out("quantized"), "--fix".into(), o, out("adjusted")]),
        ("shiftwise-evaluate", evaluate),
    ]
}

fn run_with(program: &str, args: &[OsString], more: &[&str]) -> Run {
    run(program, args.iter().map(OsString::as_os_str).chain(more.iter().map(OsStr::new)))
}

#[test]
fn what_is_done_is_not_done_again() {
    let dir = scratch();
    for (program, args) in stages(dir.path()) {
        let first = run_with(program, &args, &[]).ok().says(&["wrote "]);
        // The table of evaluate is what it is for; other results are for machines, which ask for them.
        assert_eq!(first.stdout.is_empty(), program != "shiftwise-evaluate", "{first}");
        let before = listing(dir.path());
        let again = run_with(program, &args, &[]).ok().says(&["up to date: "]);
        assert!(!again.stderr.contains("wrote "), "{again}");
        assert_eq!(listing(dir.path()), before, "{again}");
        let quiet = run_with(program, &args, &["--quiet", "--force"]).ok();
        assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""), "{quiet}");
    }
}

/// All files with the times when they were written.
fn listing(dir: &Path) -> Vec<(String, std::time::SystemTime)> {
    let mut list = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder").flatten() {
        if entry.path().is_dir() {
            list.extend(listing(&entry.path()));
        } else {
            let written = entry.metadata().and_then(|m| m.modified()).expect("a time");
            list.push((entry.path().display().to_string(), written));
        }
    }
    list.sort();
    list
}

#[test]
fn results_for_machines_are_json() {
    let dir = scratch();
    for (program, args) in stages(dir.path()) {
        let made = run_with(program, &args, &["--json"]).ok();
        assert!(made.json().is_object(), "{made}");
        let again = run_with(program, &args, &["--json"]).ok().says(&["up to date: "]);
        assert_eq!(again.json(), made.json(), "a rerun reports the same");
        if program == "shiftwise-calibrate" {
            let stats = dir.path().join("stats");
            let all = run(program, ["show".as_ref(), stats.as_os_str(), "--json".as_ref()]).ok().json();
            assert!(all.as_array().is_some_and(|list| list.iter().any(|t| t["name"] == "logits")), "{all}");
            let table = run(program, ["show".as_ref(), stats.as_os_str()]).ok();
            assert!(table.stdout.contains("logits"), "{table}");
        }
    }
}

#[test]
fn printed_configuration_can_be_read_again() {
    let dir = scratch();
    let changed = ["--set", "calibrate_method=nonoverflow", "--set", "AdjustShiftCut=false", "--set"];
    for (program, args) in stages(dir.path()) {
        let changed = [&changed[..], &["fix_dim.N=1", "--print-config"]].concat();
        let printed = run_with(program, &args, &changed).ok().stdout;
        let table: toml::Table = printed.parse().unwrap_or_else(|e| panic!("{program}: {e}\n{printed}"));
        assert_eq!(table["preset"].as_str(), Some("xint8"));
        assert_eq!(table["adjust_shift_cut"].as_bool(), Some(false));
        let file = dir.path().join("run.toml");
        fs::write(&file, &printed).expect("a written file");
        let config = ["--config", file.to_str().expect("a path in UTF-8"), "--print-config"];
        assert_eq!(run_with(program, &args, &config).ok().stdout, printed, "{program}");
        // The inputs of a stage must be there for it to say what it would do.
        let _ = run_with(program, &args, &[]).ok();
    }
}

#[test]
fn a_model_can_be_used_without_its_artifact() {
    let dir = scratch();
    let chain = Chain::quantized(&Case::demo(), dir.path());
    let model = chain.model("adjusted");
    let checked = run("shiftwise-npu-check", [model.as_os_str(), "--strict".as_ref(), "--json".as_ref()]);
    assert!(checked.ok().json()["violations"].as_array().is_some_and(Vec::is_empty));
    let unadjusted = chain.model("quantized");
    let _ = run("shiftwise-npu-check", [unadjusted.as_os_str(), "--strict".as_ref()])
        .exits(4)
        .says(&["check failed"]);
    let out = dir.path().join("files");
    let mut args = vec![chain.model("prepared").into_os_string(), model.into(), "-o".into(), out.into()];
    args.extend(Case::demo().evaluation_data().map(OsString::from));
    let _ = run_with("shiftwise-evaluate", &args, &["--samples", "20"]).ok();
}
