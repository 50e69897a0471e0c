//! The few calls into the library that the `ort` crate has no safe form for, or that it makes without checking what comes back.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::Path;

use ort::AsPointer;
use ort::session::builder::SessionBuilder;

use super::LEAST_MINOR;

/// Loads a library to see whether it is an ONNX Runtime that can be used. Returns its version, or why it cannot.
///
/// The `ort` crate ends the program where a library has no API, or not the one it needs; this asks first.
pub(super) fn probe(path: &Path) -> Result<String, String> {
    // SAFETY: loading runs the initialisers of the file, which is what whoever names a library asks for. Nothing is called
    // before its symbols were found.
    let library = unsafe { libloading::Library::new(path) }.map_err(|e| innermost(&e))?;
    // SAFETY: every release of ONNX Runtime exports this function with this signature; no other library has the name.
    let base = unsafe {
        library.get::<unsafe extern "system" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0")
    }
    .map_err(|_| "it is not ONNX Runtime: it does not export OrtGetApiBase".to_owned())?;
    // SAFETY: the function takes nothing, and returns null or a structure that lives as long as the library.
    let base = unsafe { base().as_ref() }.ok_or("OrtGetApiBase gives nothing")?;
    // SAFETY: part of that structure since the first release.
    let version = unsafe { (base.GetVersionString)() };
    if version.is_null() {
        return Err("it does not say its version".into());
    }
    // SAFETY: a string that ends with zero, and is part of the library.
    let version = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
    if !is_new_enough(&version) {
        return Err(format!("its version is {version}; 1.{LEAST_MINOR} or newer is needed"));
    }
    // SAFETY: part of the structure since the first release; null where the library does not have this version of the API.
    if unsafe { (base.GetApi)(ort::sys::ORT_API_VERSION) }.is_null() {
        return Err(format!("version {version} does not have version {LEAST_MINOR} of its C API"));
    }
    // It stays loaded: `ort` loads it again in a moment.
    std::mem::forget(library);
    Ok(version)
}

/// The loader's own words.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split('.').map(|p| p.parse::<u32>().ok());
    matches!((parts.next().flatten(), parts.next().flatten()), (Some(1), Some(minor)) if minor >= LEAST_MINOR)
}

/// The execution providers that the loaded library has, as it calls them. Call it after [`ort::init_from`] only.
pub(super) fn available_providers() -> Result<Vec<String>, String> {
    let api = ort::api();
    let (mut list, mut length): (*mut *mut c_char, c_int) = (std::ptr::null_mut(), 0);
    // SAFETY: both pointers are to variables of the right type.
    let status = unsafe { (api.GetAvailableProviders)(&raw mut list, &raw mut length) };
    // SAFETY: the status comes from the call above and is used once.
    unsafe { ort::Error::result_from_status(status) }.map_err(|e| e.to_string())?;
    let length = usize::try_from(length).unwrap_or(0);
    if list.is_null() || length == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the library filled `length` pointers to strings that end with zero; they live until they are released below.
    let names = unsafe { std::slice::from_raw_parts(list, length) }.iter().filter(|p| !p.is_null());
    // SAFETY: as above.
    let names = names.map(|p| unsafe { CStr::from_ptr(*p) }.to_string_lossy().into_owned()).collect();
    // SAFETY: list and length are those of the call above, and not used after this.
    let status = unsafe { (api.ReleaseAvailableProviders)(list, length as c_int) };
    // SAFETY: the status comes from the call above and is used once.
    unsafe { ort::Error::result_from_status(status) }.map_err(|e| e.to_string())?;
    Ok(names)
}

/// Registers a provider by the name under which the library takes it with text options.
pub(super) fn append_provider(
    builder: &mut SessionBuilder,
    name: &str,
    options: &BTreeMap<String, String>,
) -> Result<(), String> {
    let text = |s: &str| CString::new(s).map_err(|_| format!("{s:?} has a zero byte in it"));
    let name = text(name)?;
    let keys = options.keys().map(|k| text(k)).collect::<Result<Vec<_>, _>>()?;
    let values = options.values().map(|v| text(v)).collect::<Result<Vec<_>, _>>()?;
    let keys: Vec<*const c_char> = keys.iter().map(|k| k.as_ptr()).collect::<Vec<_>>();
    let values: Vec<*const c_char> = values.iter().map(|v| v.as_ptr()).collect::<Vec<_>>();
    // SAFETY: the builder's options are alive, all strings end with zero and outlive the call, both lists have this length.
    let status = unsafe {
        (ort::api().SessionOptionsAppendExecutionProvider)(
            builder.ptr_mut(),
            name.as_ptr(),
            keys.as_ptr(),
            values.as_ptr(),
            keys.len(),
        )
    };
    // SAFETY: the status comes from the call above and is used once.
    unsafe { ort::Error::result_from_status(status) }.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for good in ["1.17.0", "1.31.1", "1.100.0-dev", "1.17"] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["1.16.3", "1.9.0", "0.31.1", "2.0.0", "", "x.y", "1"] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn what_is_not_a_library_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("libonnxruntime.so");
        assert!(probe(&path).is_err());
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(probe(&path).is_err());
    }
}
