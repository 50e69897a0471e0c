//! Where the library of ONNX Runtime may be.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::{Attempt, OrtError};
use super::python;

/// The environment variable that names the library.
pub const VARIABLE: &str = "ORT_DYLIB_PATH";

/// What decides where is looked.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// What an option names.
    pub wanted: Option<PathBuf>,
    /// What [`VARIABLE`] names.
    pub variable: Option<PathBuf>,
    /// The folder of this program.
    pub program: Option<PathBuf>,
    /// Active environments of Python and Conda.
    pub environments: Vec<PathBuf>,
    /// Folders of programs.
    pub path: Option<OsString>,
    /// Whether the places that the system's loader knows count.
    pub loader: bool,
}

impl Surroundings {
    /// Those of this process.
    pub(super) fn of_process(wanted: Option<&Path>) -> Self {
        let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let program = std::env::current_exe().ok();
        Self {
            wanted: wanted.map(Path::to_owned),
            variable: folder(VARIABLE),
            program: program.and_then(|p| Some(p.parent()?.to_owned())),
            environments: ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(folder).collect(),
            path: std::env::var_os("PATH"),
            loader: true,
        }
    }
}

/// Gives files to `accept` until one is taken: the one that is named (then no other), those beside the program, those that the
/// system's loader finds, those of installed Python packages.
pub(super) fn first<T>(
    around: &Surroundings,
    accept: &mut dyn FnMut(&Path) -> Result<T, String>,
) -> Result<T, OrtError> {
    let named = [(&around.wanted, "--ort-lib"), (&around.variable, VARIABLE)];
    if let Some((path, named_by)) = named.into_iter().find_map(|(p, by)| Some((p.as_ref()?, by))) {
        let fail = |reason: String| OrtError::Library { path: path.clone(), named_by, reason };
        return accept(&named_file(path).map_err(fail)?).map_err(fail);
    }
    let mut tried = Vec::new();
    if let Some(found) =
        around.program.as_deref().and_then(|f| within(f, "beside the program", accept, &mut tried))
    {
        return Ok(found);
    }
    for name in loader_names().iter().filter(|_| around.loader) {
        match accept(Path::new(name)) {
            Ok(found) => return Ok(found),
            Err(reason) => tried.push(Attempt { place: format!("{name} (system)"), reason }),
        }
    }
    let pythons = interpreters(around);
    for python in &pythons {
        let place = python.display().to_string();
        match python::package_folders(python) {
            Err(reason) => tried.push(Attempt { place, reason }),
            Ok(folders) if folders.is_empty() => {
                tried.push(Attempt { place, reason: "it has no package onnxruntime".into() });
            }
            Ok(folders) => {
                for folder in folders {
                    let capi = folder.join("capi");
                    let said = format!("{} of {place}", capi.display());
                    if let Some(found) = within(&capi, &said, accept, &mut tried) {
                        return Ok(found);
                    }
                    if library_in(&capi).is_empty() {
                        let reason =
                            if has_binding(&capi) { OLD_PACKAGE } else { "there is no library in it" };
                        tried.push(Attempt { place: said, reason: reason.into() });
                    }
                }
            }
        }
    }
    if pythons.is_empty() {
        tried.push(Attempt { place: "python3".into(), reason: "there is none on PATH".into() });
    }
    Err(OrtError::NotFound { tried })
}

fn within<T>(
    folder: &Path,
    said: &str,
    accept: &mut dyn FnMut(&Path) -> Result<T, String>,
    tried: &mut Vec<Attempt>,
) -> Option<T> {
    for file in library_in(folder) {
        match accept(&file) {
            Ok(found) => return Some(found),
            Err(reason) => tried.push(Attempt { place: format!("{} ({said})", file.display()), reason }),
        }
    }
    None
}

/// The file that somebody named: a file, a folder with the library in it, or a name for the system's loader.
fn named_file(path: &Path) -> Result<PathBuf, String> {
    if path.is_dir() {
        let place = [path.to_owned(), path.join("capi"), path.join("lib")];
        let found = place.iter().flat_map(|folder| library_in(folder)).next();
        return found.ok_or_else(|| {
            let old = place.iter().any(|folder| has_binding(folder));
            if old {
                OLD_PACKAGE.into()
            } else {
                format!("there is no {} in this folder", loader_names().join(" or "))
            }
        });
    }
    if path.components().count() == 1 && !path.exists() {
        return Ok(path.to_owned());
    }
    if !path.exists() {
        return Err("there is no such file".into());
    }
    std::path::absolute(path).map_err(|e| e.to_string())
}

/// Packages had their library inside of the binding for Python at first, where nobody else can use it.
const OLD_PACKAGE: &str =
    "this Python package has no library of its own; packages of version 1.19 and newer have one";

fn has_binding(capi: &Path) -> bool {
    let binding = |name: &str| name.starts_with("onnxruntime_pybind11_state");
    std::fs::read_dir(capi).is_ok_and(|mut entries| {
        entries.any(|e| e.is_ok_and(|e| e.file_name().to_str().is_some_and(binding)))
    })
}

/// Names under which the system's loader may know the library.
fn loader_names() -> &'static [&'static str] {
    if cfg!(windows) {
        // Windows has an old one of its own in System32, which is refused by its version.
        &["onnxruntime.dll"]
    } else if cfg!(target_vendor = "apple") {
        &["libonnxruntime.dylib"]
    } else {
        &["libonnxruntime.so", "libonnxruntime.so.1"]
    }
}

/// Libraries of ONNX Runtime in a folder, under the names of any platform and with any version, the newest first.
fn library_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<(Vec<u64>, PathBuf)> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter_map(|path| Some((version_of(path.file_name()?.to_str()?)?, path)))
        .filter(|(_, path)| path.is_file())
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().filter_map(|(_, path)| std::path::absolute(path).ok()).collect()
}

/// The version in the name of a library; `None` for other files. Execution providers have libraries of their own.
fn version_of(name: &str) -> Option<Vec<u64>> {
    let rest = name.strip_prefix("lib").unwrap_or(name).strip_prefix("onnxruntime")?;
    let version = match rest {
        ".dll" => "",
        _ => match rest.strip_prefix(".so") {
            Some(version) => version,
            None => rest.strip_suffix(".dylib")?,
        },
    };
    if version.is_empty() {
        return Some(Vec::new());
    }
    version.strip_prefix('.')?.split('.').map(|n| n.parse().ok()).collect()
}

/// Interpreters, each once: those of active environments, then those on PATH.
fn interpreters(around: &Surroundings) -> Vec<PathBuf> {
    let suffix = std::env::consts::EXE_SUFFIX;
    let in_environment = around.environments.iter().flat_map(|e| {
        [
            e.join("bin").join("python"),
            e.join("Scripts").join(format!("python{suffix}")),
            e.join(format!("python{suffix}")),
        ]
    });
    let folders: Vec<PathBuf> = around.path.iter().flat_map(std::env::split_paths).collect();
    let on_path = ["python3", "python"]
        .into_iter()
        .filter_map(|name| folders.iter().map(|f| f.join(format!("{name}{suffix}"))).find(|p| p.is_file()));
    let mut list: Vec<PathBuf> = Vec::new();
    for python in in_environment.chain(on_path).filter(|p| p.is_file()) {
        if !list.contains(&python) {
            list.push(python);
        }
    }
    list
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::fs;

    fn refuse(path: &Path) -> Result<PathBuf, String> {
        Err(format!("no {}", path.display()))
    }

    #[allow(clippy::unnecessary_wraps, reason = "it stands where something may be refused")]
    fn take(path: &Path) -> Result<PathBuf, String> {
        Ok(path.to_owned())
    }

    /// Something that answers as an interpreter does.
    #[cfg(unix)]
    fn interpreter(path: &Path, package: &Path) {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\necho {}\n", package.display())).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn libraries_are_known_by_name() {
        for name in [
            "libonnxruntime.so",
            "libonnxruntime.so.1.31.1",
            "libonnxruntime.1.20.0.dylib",
            "onnxruntime.dll",
        ] {
            assert!(version_of(name).is_some(), "{name}");
        }
        for name in
            ["libonnxruntime_providers_shared.so", "libonnxruntime.so.bak", "onnxruntime.lib", "libm.so.6"]
        {
            assert!(version_of(name).is_none(), "{name}");
        }
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.31.1", "libonnxruntime_providers_cuda.so"]
        {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found = library_in(dir.path());
        assert_eq!(found.len(), 2);
        assert!(found[0].ends_with("libonnxruntime.so.1.31.1"), "newest first: {found:?}");
    }

    #[test]
    fn what_is_named_is_tried_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("libonnxruntime.so.1.20.0");
        fs::write(&file, "").unwrap();
        let around = Surroundings { program: Some(dir.path().into()), ..Surroundings::default() };
        let named = Surroundings { wanted: Some("/nowhere/x.so".into()), ..around.clone() };
        let error = first(&named, &mut take).unwrap_err().to_string();
        assert!(error.contains("--ort-lib") && error.contains("no such file"), "{error}");
        let named = Surroundings { variable: Some("/nowhere/x.so".into()), ..around.clone() };
        assert!(first(&named, &mut take).unwrap_err().to_string().contains(VARIABLE));
        let named = Surroundings {
            wanted: Some(dir.path().into()),
            variable: Some("x".into()),
            ..Surroundings::default()
        };
        assert_eq!(first(&named, &mut take).unwrap(), file, "a folder stands for the library in it");
        assert_eq!(first(&around, &mut take).unwrap(), file, "beside the program");
        let old = tempfile::tempdir().unwrap();
        fs::create_dir(old.path().join("capi")).unwrap();
        fs::write(old.path().join("capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so"), "")
            .unwrap();
        let named = Surroundings { wanted: Some(old.path().into()), ..Surroundings::default() };
        assert!(first(&named, &mut take).unwrap_err().to_string().contains("1.19"));
    }

    #[test]
    #[cfg(unix)]
    fn wheels_are_found_through_their_interpreters() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let (package, gpu) = (dir.path().join("a/onnxruntime"), dir.path().join("b/onnxruntime"));
        for (package, version) in [(&package, "1.9.0"), (&gpu, "1.31.1")] {
            fs::create_dir_all(package.join("capi")).unwrap();
            fs::write(package.join(format!("capi/libonnxruntime.so.{version}")), "").unwrap();
        }
        interpreter(&old.join("bin/python"), &package);
        interpreter(&new.join("python3"), &gpu);
        let around = Surroundings {
            environments: vec![old, dir.path().join("absent")],
            path: Some(new.as_os_str().to_owned()),
            ..Surroundings::default()
        };
        assert!(first(&around, &mut take).unwrap().ends_with("capi/libonnxruntime.so.1.9.0"));
        // One that is refused does not end the search.
        let mut newest =
            |path: &Path| if path.to_string_lossy().contains("1.9") { refuse(path) } else { take(path) };
        assert!(first(&around, &mut newest).unwrap().ends_with("capi/libonnxruntime.so.1.31.1"));
        let error = first(&around, &mut refuse).unwrap_err().to_string();
        assert!(error.contains("1.9.0") && error.contains("1.31.1"), "{error}");
    }

    #[test]
    fn where_there_is_nothing_the_places_are_listed() {
        let error = first(&Surroundings { loader: true, ..Surroundings::default() }, &mut refuse)
            .unwrap_err()
            .to_string();
        assert!(error.contains("onnxruntime") && error.contains("python3"), "{error}");
    }
}
