//! Asks Python interpreters where an installed `onnxruntime` is, without importing it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// An interpreter that takes longer is left alone.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Prints the folders of the package. The working directory is no place to load libraries from, so it is not looked through.
const SCRIPT: &str = "\
import sys, importlib.util
sys.path = [p for p in sys.path if p]
spec = importlib.util.find_spec('onnxruntime')
for place in (spec.submodule_search_locations or []) if spec else []: print(place)
";

/// The folders of the package `onnxruntime` of this interpreter; empty where it is not installed.
pub(super) fn package_folders(python: &Path) -> Result<Vec<PathBuf>, String> {
    let output = run(python, SCRIPT, TIME_LIMIT)?;
    Ok(output.lines().filter(|l| !l.is_empty()).map(PathBuf::from).collect())
}

fn run(python: &Path, script: &str, limit: Duration) -> Result<String, String> {
    let mut child = Command::new(python)
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("it does not start: {e}"))?;
    let end = Instant::now() + limit;
    // What is printed fits into the pipe, so nobody has to read it meanwhile.
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it did not answer within {} s", limit.as_secs_f32()));
            }
            Err(e) => return Err(e.to_string()),
        }
    };
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    if !status.success() {
        return Err(format!("it ended with {status}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_that_hangs_is_given_up() {
        let started = Instant::now();
        // A shell takes `-c script`, too.
        let reason = run(Path::new("/bin/sh"), "sleep 30", Duration::from_millis(100)).unwrap_err();
        assert!(reason.contains("did not answer"), "{reason}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn one_that_fails_or_is_not_there_says_so() {
        assert!(run(Path::new("/bin/sh"), "exit 3", TIME_LIMIT).unwrap_err().contains('3'));
        assert!(run(Path::new("/nowhere/python"), "", TIME_LIMIT).unwrap_err().contains("does not start"));
        assert_eq!(run(Path::new("/bin/sh"), "echo here", TIME_LIMIT).unwrap(), "here\n");
    }
}
