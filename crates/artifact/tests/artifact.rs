//! Artifact directories: what is opened, what is refused, what is replaced.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use shiftwise_artifact::{
    Artifact, Decision, Error, ExitClass, Fingerprint, Input, Kind, MANIFEST_FILE, Measured, Request, Tool,
    Writer, atomic, decide, work_dir,
};

fn request(model: &[u8], config: Value) -> Request {
    let input = Input { path: "m.onnx".to_owned(), fingerprint: Fingerprint::of_bytes(model) };
    Request {
        kind: Kind::Prepared,
        tool: Tool { name: "shiftwise-test".to_owned(), version: "1.2.3".to_owned() },
        inputs: BTreeMap::from([("model".to_owned(), input)]),
        config,
    }
}

fn put(dir: &Path, request: &Request, force: bool) -> Result<Artifact, Error> {
    let writer = Writer::new(dir, request.clone(), force)?;
    atomic::write(&writer.path("model.onnx")?, b"onnx")?;
    atomic::write(&writer.path("data/weights.bin")?, b"weights")?;
    writer.write_json("rewrites.json", &json!({"passes": []}))?;
    writer.commit(Measured::since(std::time::Instant::now()))
}

/// Change the manifest behind everybody's back.
fn edit(dir: &Path, change: impl FnOnce(&mut Value)) {
    let path = dir.join(MANIFEST_FILE);
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    atomic::write(&path, manifest.to_string().as_bytes()).unwrap();
}

fn class(result: Result<impl Sized, Error>) -> (ExitClass, String) {
    let error = result.err().expect("it must be refused");
    (error.exit_class(), error.to_string())
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read_back() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("runs/prepared");
    let request = request(b"m", json!({"opset": 13}));
    let written = put(&dir, &request, false).unwrap();
    let artifact = Artifact::open(&dir, Kind::Prepared).unwrap();
    artifact.verify().unwrap();
    assert_eq!(artifact.manifest(), written.manifest());
    assert_eq!(artifact.fingerprint(), written.fingerprint());
    assert_eq!(artifact.manifest().key(), request.key());
    assert_eq!(fs::read(artifact.file("data/weights.bin").unwrap()).unwrap(), b"weights");
    assert_eq!(
        artifact.manifest().outputs.keys().collect::<Vec<_>>(),
        ["data/weights.bin", "model.onnx", "rewrites.json"]
    );
    assert_eq!(class(artifact.file("stats.bin")).0, ExitClass::Mismatch);
    assert_eq!(names(dir.parent().unwrap()), ["prepared"]);
    assert_eq!(names(&dir), ["artifact.json", "data", "model.onnx", "rewrites.json"]);
}

#[test]
fn the_same_request_is_up_to_date_and_another_one_says_what_differs() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("out");
    let first = request(b"m", json!({"opset": 13, "fold": {"depth": 2}}));
    assert!(matches!(decide(&dir, &first, false).unwrap(), Decision::Write));
    put(&dir, &first, false).unwrap();

    let mut elsewhere = request(b"m", json!({"fold": {"depth": 2}, "opset": 13}));
    elsewhere.inputs.get_mut("model").unwrap().path = "/moved/m.onnx".to_owned();
    elsewhere.tool.version = "1.2.4".to_owned();
    assert!(matches!(decide(&dir, &elsewhere, false).unwrap(), Decision::UpToDate(_)));
    assert!(matches!(decide(&dir, &elsewhere, true).unwrap(), Decision::Write));

    let other = request(b"n", json!({"opset": 13, "fold": {"depth": 3}}));
    let (exit, text) = class(decide(&dir, &other, false));
    assert_eq!(exit, ExitClass::Mismatch);
    assert!(text.contains("input model") && text.contains("config fold.depth: 2 → 3"), "{text}");
    assert!(!text.contains("opset") && text.contains("--force"), "{text}");
    assert!(put(&dir, &other, false).is_err());
    put(&dir, &other, true).unwrap();
    assert!(matches!(decide(&dir, &other, false).unwrap(), Decision::UpToDate(_)));
}

#[test]
fn a_damaged_output_is_written_again() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("out");
    let request = request(b"m", json!({}));
    put(&dir, &request, false).unwrap();
    // Same size, other contents: only `verify` sees it.
    atomic::write(&dir.join("model.onnx"), b"ONNX").unwrap();
    let artifact = Artifact::open(&dir, Kind::Prepared).unwrap();
    let (exit, text) = class(artifact.verify());
    assert!(exit == ExitClass::Mismatch && text.contains("model.onnx"), "{text}");
    assert!(matches!(decide(&dir, &request, false).unwrap(), Decision::Write));
    put(&dir, &request, false).unwrap().verify().unwrap();
    for damage in [|p: &Path| fs::remove_file(p).unwrap(), |p: &Path| atomic::write(p, b"longer").unwrap()] {
        damage(&dir.join("model.onnx"));
        assert!(class(Artifact::open(&dir, Kind::Prepared)).1.contains("model.onnx"));
        put(&dir, &request, false).unwrap();
    }
}

#[test]
fn what_is_not_ours_is_never_replaced() {
    let root = tempfile::tempdir().unwrap();
    let request = request(b"m", json!({}));
    let (folder, file, empty) =
        (root.path().join("folder"), root.path().join("file"), root.path().join("empty"));
    fs::create_dir(&folder).unwrap();
    atomic::write(&folder.join("thesis.tex"), b"years of work").unwrap();
    atomic::write(&file, b"x").unwrap();
    fs::create_dir(&empty).unwrap();
    for path in [&folder, &file] {
        assert_eq!(class(decide(path, &request, true)).0, ExitClass::Usage);
        assert_eq!(class(put(path, &request, true)).0, ExitClass::Usage);
    }
    assert_eq!(fs::read(folder.join("thesis.tex")).unwrap(), b"years of work");
    put(&empty, &request, false).unwrap();

    let stats = Request { kind: Kind::Stats, ..request.clone() };
    let (exit, text) = class(put(&empty, &stats, true));
    assert!(exit == ExitClass::Mismatch && text.contains("`prepared`") && text.contains("`stats`"), "{text}");
    atomic::write(&empty.join(MANIFEST_FILE), b"{}").unwrap();
    assert_eq!(class(put(&empty, &request, true)).0, ExitClass::Usage);
}

#[test]
fn a_directory_that_appears_meanwhile_is_respected() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("out");
    let writer = Writer::new(&dir, request(b"m", json!({})), true).unwrap();
    fs::create_dir(&dir).unwrap();
    atomic::write(&dir.join("mine"), b"1").unwrap();
    assert_eq!(class(writer.commit(Measured::default())).0, ExitClass::Usage);
    assert_eq!(names(root.path()), ["out"]);
    assert_eq!(names(&dir), ["mine"]);
}

#[test]
fn versions_decide_who_reads_and_who_writes() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("out");
    let request = request(b"m", json!({}));
    put(&dir, &request, false).unwrap();

    edit(&dir, |m| {
        m["format"] = json!("1.7");
        m["added"] = json!("by a newer minor version");
    });
    Artifact::open(&dir, Kind::Prepared).unwrap();
    for result in [decide(&dir, &request, false).map(|_| ()), put(&dir, &request, true).map(|_| ())] {
        let (exit, text) = class(result);
        assert!(exit == ExitClass::Mismatch && text.contains("shiftwise-test 1.2.3"), "{text}");
    }

    edit(&dir, |m| {
        m["format"] = json!("2.0");
        m["outputs"] = json!("in another form");
    });
    let (exit, text) = class(Artifact::open(&dir, Kind::Prepared));
    assert!(
        exit == ExitClass::Mismatch && text.contains("shiftwise-test 1.2.3") && text.contains("2.0"),
        "{text}"
    );

    edit(&dir, |m| m["format"] = json!("0.9"));
    assert!(class(Artifact::open(&dir, Kind::Prepared)).1.contains("run the stage that wrote it again"));
    assert!(class(decide(&dir, &request, false)).1.contains("format: 0.9 → 1.0"));
    put(&dir, &request, true).unwrap();
}

#[test]
fn hostile_manifests_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("out");
    put(&dir, &request(b"m", json!({})), false).unwrap();
    let good = fs::read(dir.join(MANIFEST_FILE)).unwrap();
    atomic::write(&root.path().join("secret"), b"onnx").unwrap();
    let refused = |text: &str| {
        let (exit, message) = class(Artifact::open(&dir, Kind::Prepared));
        assert!(
            matches!(exit, ExitClass::Input | ExitClass::Mismatch) && message.contains(text),
            "{message}"
        );
        atomic::write(&dir.join(MANIFEST_FILE), &good).unwrap();
    };
    let record = json!({"bytes": 4, "fingerprint": Fingerprint::of_bytes(b"onnx")});
    for name in [
        "../secret",
        "data/../../secret",
        "/etc/passwd",
        "",
        ".",
        "./model.onnx",
        "a//b",
        "a\\..\\b",
        "c:x",
        "x/",
    ] {
        edit(&dir, |m| m["outputs"][name] = record.clone());
        refused("output");
    }
    edit(&dir, |m| m["outputs"][MANIFEST_FILE] = record.clone());
    refused("manifest");
    edit(&dir, |m| m["kind"] = json!("adapted"));
    refused("adapted");
    edit(&dir, |m| m["kind"] = json!("stats"));
    refused("`stats`");
    edit(&dir, |m| m["outputs"]["model.onnx"]["fingerprint"] = json!("abc"));
    refused("fingerprint");
    edit(&dir, |m| m["outputs"]["model.onnx"]["bytes"] = json!(-1));
    refused("-1");
    edit(&dir, |m| m["outputs"]["model.onnx"]["bytes"] = json!(u64::MAX));
    refused("bytes");
    edit(&dir, |m| drop(m.as_object_mut().unwrap().remove("config")));
    refused("config");
    for text in [&b""[..], b"[]", b"nonsense", &vec![b'['; 100_000], &good[..good.len() - 3]] {
        atomic::write(&dir.join(MANIFEST_FILE), text).unwrap();
        refused(MANIFEST_FILE);
    }
    let large = fs::OpenOptions::new().write(true).open(dir.join(MANIFEST_FILE)).unwrap();
    large.set_len(65 << 20).unwrap();
    refused("larger than");
    Artifact::open(&dir, Kind::Prepared).unwrap();
}

#[cfg(unix)]
#[test]
fn links_do_not_leave_the_directory() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("out");
    let request = request(b"m", json!({}));
    put(&dir, &request, false).unwrap();
    atomic::write(&root.path().join("secret"), b"onnx").unwrap();
    fs::remove_file(dir.join("model.onnx")).unwrap();
    std::os::unix::fs::symlink(root.path().join("secret"), dir.join("model.onnx")).unwrap();
    assert!(class(Artifact::open(&dir, Kind::Prepared)).1.contains("leaves the artifact"));
    let writer = Writer::new(&root.path().join("new"), request, false).unwrap();
    std::os::unix::fs::symlink(root.path().join("secret"), writer.path("model.onnx").unwrap()).unwrap();
    assert_eq!(class(writer.commit(Measured::default())).0, ExitClass::Usage);
}

#[test]
fn missing_and_empty_places_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("f");
    atomic::write(&file, b"").unwrap();
    for (path, text) in [
        (root.path().join("no"), "no such directory"),
        (root.path().to_owned(), "no artifact.json"),
        (file, "not a directory"),
    ] {
        let (exit, message) = class(Artifact::open(&path, Kind::Stats));
        assert!(exit == ExitClass::Input && message.contains(text), "{message}");
    }
}

#[test]
fn names_in_a_writer_stay_inside() {
    let root = tempfile::tempdir().unwrap();
    let writer = Writer::new(&root.path().join("out"), request(b"m", json!({})), false).unwrap();
    for name in ["../x", "/x", "", "artifact.json", "a/./b"] {
        assert_eq!(class(writer.path(name)).0, ExitClass::Usage, "{name}");
    }
    drop(writer);
    assert_eq!(names(root.path()), [""; 0]);
    assert_eq!(
        work_dir(&root.path().join("out")).unwrap(),
        root.path().canonicalize().unwrap().join(".out.work")
    );
}

#[test]
fn an_interrupted_replacement_is_opened() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("out");
    let request = request(b"m", json!({}));
    put(&dir, &request, false).unwrap();
    fs::rename(&dir, root.path().join(".out.old-shiftwise")).unwrap();
    Artifact::open(&dir, Kind::Prepared).unwrap();
    fs::rename(&dir, root.path().join(".out.old-shiftwise")).unwrap();
    assert!(matches!(decide(&dir, &request, false).unwrap(), Decision::UpToDate(_)));
}

#[test]
fn racing_writers_leave_one_whole_artifact() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("out");
    let request = request(b"m", json!({}));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..10 {
                    put(&dir, &request, false).unwrap();
                    Artifact::open(&dir, Kind::Prepared).unwrap();
                    decide(&dir, &request, false).unwrap();
                }
            });
        }
    });
    Artifact::open(&dir, Kind::Prepared).unwrap().verify().unwrap();
    assert_eq!(names(root.path()), ["out"]);
}
