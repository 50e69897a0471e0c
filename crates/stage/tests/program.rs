//! The frame of programs from outside: exit codes, output, signals. Runs `examples/program.rs`.
#![allow(missing_docs)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn program() -> Command {
    let here = std::env::current_exe().unwrap();
    let path: PathBuf = here.ancestors().nth(2).unwrap().join("examples/program");
    assert!(path.exists(), "build it first: cargo build -p shiftwise-stage --examples");
    let mut command = Command::new(path);
    command.env_remove("SHIFTWISE_LOG").env_remove("RUST_BACKTRACE");
    command
}

/// Exit code, standard output, standard error.
fn run(args: &[&str]) -> (i32, String, String) {
    let output = program().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn codes_of_usage_and_help() {
    assert_eq!(run(&["--help"]).0, 0);
    let (code, out, err) = run(&["--version"]);
    assert_eq!((code, out.starts_with("shiftwise-example 0."), err.as_str()), (0, true, ""));
    assert_eq!(run(&["--no-such-flag"]).0, 2);
    assert_eq!(run(&["-q", "-v"]).0, 2);
    assert_eq!(run(&["--threads", "0"]).0, 2);
    assert_eq!(run(&["--set", "no_such_option=1"]).0, 2);
    assert_eq!(run(&["--set", "threads=0"]).0, 2);
    assert_eq!(run(&["--preset", "a8w8"]).0, 2);
    assert_eq!(run(&["--config", "/no/such/file.toml"]).0, 3);
    let bad_filter = program().env("SHIFTWISE_LOG", "shiftwise=loudest").output().unwrap();
    assert_eq!(bad_filter.status.code(), Some(2));
}

#[test]
fn failures_are_rendered_without_colour_on_a_pipe() {
    let (code, out, err) = run(&["--fail", "check"]);
    assert_eq!((code, out.as_str()), (4, ""));
    insta::assert_snapshot!(err, @r"
    check failed: 2 nodes do not run on the NPU
    help: see above
    ");
    let (code, _, err) = run(&["--fail", "bug"]);
    assert_eq!(code, 1);
    insta::assert_snapshot!(err, @r"
    error: failed to count
    help: this is a bug: please report it with the command, its output and, if you can, the model
    ");
    let (code, _, err) = run(&["--fail", "panic"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("index 7 is out of bounds") && err.contains("program.rs:") && err.contains("report"),
        "{err}"
    );
    let (code, _, err) = run(&["--config", "/no/such/file.toml"]);
    assert_eq!(code, 3);
    insta::assert_snapshot!(err, @r"
    error: failed to read /no/such/file.toml
      because: No such file or directory (os error 2)
    help: check the path
    ");
}

#[test]
fn quiet_hides_everything_but_errors() {
    assert_eq!(run(&["-q", "--count", "1"]), (0, String::new(), String::new()));
    assert!(!run(&["-q", "--fail", "check"]).2.is_empty());
}

#[test]
fn json_goes_to_stdout_and_config_is_printed() {
    let (code, out, _) = run(&["--json", "--set", "fix_dim.batch=4"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, value), (0, serde_json::json!({ "fold_batch_norm": true, "fix_dim": { "batch": 4 } })));
    let (code, out, _) = run(&["--print-config", "--count", "1000000", "--set", "MaxLoopNum=9"]);
    let table: toml::Table = out.parse().unwrap();
    assert_eq!((code, &table["max_loop_num"], &table["fold_batch_norm"]), (0, &9.into(), &true.into()));
}

#[test]
fn outputs_are_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let out = out.to_str().unwrap();
    let args = ["-o", out];
    assert_eq!(run(&args).2, format!("wrote {out}\n"));
    assert_eq!(run(&args).2, format!("up to date: {out}\n"));
    let other = ["-o", out, "--set", "fold_batch_norm=false"];
    let (code, _, err) = run(&other);
    assert_eq!(code, 5);
    insta::assert_snapshot!(err.replace(out, "OUT"), @r"
    error: failed to write OUT: it exists, and was made differently (old → new)
      because: config fold_batch_norm: true → false
    help: --force replaces it; -o writes somewhere else
    ");
    assert_eq!(run(&[&other[..], &["--force"]].concat()).0, 0);
    let manifest = std::fs::read_to_string(dir.path().join("out/artifact.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["config"]["fold_batch_norm"], false);
    assert!(manifest["peak_memory_bytes"].as_u64().is_some_and(|n| n > 0));
    assert_eq!(manifest["tool"]["name"], "shiftwise-example");
    assert_eq!(run(&["-o", "/proc/no/such"]).0, 3);
}

#[cfg(unix)]
fn signalled(again: bool, args: &[&str]) -> std::process::Output {
    let mut child = program().args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    let id = child.id().to_string();
    let terminate = || Command::new("kill").args(["-TERM", &id]).status().unwrap().success();
    assert!(terminate());
    // Signals that follow too closely for the program to see the first are one.
    while again && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(100));
        terminate();
    }
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut stderr, &mut rest).unwrap();
    std::process::Output { status: child.wait().unwrap(), stdout: Vec::new(), stderr: rest }
}

#[cfg(unix)]
#[test]
fn a_signal_ends_after_a_checkpoint() {
    let output = signalled(false, &["--count", "500"]);
    assert_eq!(output.status.code(), Some(75));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("interrupted: ") && text.contains("of 500 numbers are kept"), "{text}");
    assert!(text.contains("help: run the same command again"), "{text}");
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_at_once() {
    use std::os::unix::process::ExitStatusExt;
    let started = std::time::Instant::now();
    let output = signalled(true, &["--fail", "stuck"]);
    assert_eq!(output.status.signal(), Some(15));
    assert!(started.elapsed().as_secs() < 20);
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let status = Command::new("sh")
        .args(["-c", "(\"$0\" --print-config; echo $? >&2) | true"])
        .arg(program().get_program())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(status.stderr).unwrap(), "0\n");
}
