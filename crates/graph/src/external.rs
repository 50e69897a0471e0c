//! External data: weights that live in files beside the model, memory-mapped.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;

use crate::{DataType, GraphError, Tensor, proto, tensor::dims_from_proto};

/// `TensorProto.DataLocation.EXTERNAL`.
const EXTERNAL: i32 = 1;

/// Turns a tensor message into a tensor, wherever its data is.
pub(crate) trait Resolve {
    fn tensor(&self, message: &proto::TensorProto) -> Result<Tensor, GraphError>;
}

/// Accepts inline data only (attributes and subgraphs).
pub(crate) struct Inline;

impl Resolve for Inline {
    fn tensor(&self, message: &proto::TensorProto) -> Result<Tensor, GraphError> {
        if message.data_location == Some(EXTERNAL) {
            return Err(GraphError::External {
                tensor: message.name.clone(),
                reason: "external data is supported for initializers of the main graph only".into(),
            });
        }
        Tensor::from_proto(message)
    }
}

/// Resolves external data against the model's directory; each file is mapped once.
pub(crate) struct Beside {
    directory: PathBuf,
    maps: Mutex<HashMap<PathBuf, Bytes>>,
}

impl Beside {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.into(), maps: Mutex::default() }
    }

    fn map(&self, location: &str) -> Result<Bytes, String> {
        let relative = Path::new(location);
        if location.is_empty()
            || !relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
        {
            return Err(format!("its location {location:?} leaves the model's directory, which is refused"));
        }
        let path = self.directory.join(relative);
        let inside = path.canonicalize().and_then(|p| {
            let root = if self.directory.as_os_str().is_empty() { Path::new(".") } else { &self.directory };
            Ok(p.starts_with(root.canonicalize()?))
        });
        match inside {
            Ok(true) => {}
            Ok(false) => return Err(format!("{} links to outside of the model's directory", path.display())),
            Err(e) => return Err(format!("{}: {e}; put the data file beside the model", path.display())),
        }
        let mut maps = self.maps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(map) = maps.get(&path) {
            return Ok(map.clone());
        }
        let map = crate::map::map_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        maps.insert(path, map.clone());
        Ok(map)
    }
}

impl Resolve for Beside {
    fn tensor(&self, message: &proto::TensorProto) -> Result<Tensor, GraphError> {
        if message.data_location != Some(EXTERNAL) {
            return Tensor::from_proto(message);
        }
        let fail = |reason: String| GraphError::External { tensor: message.name.clone(), reason };
        let entry = |key: &str| message.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str| {
            entry(key)
                .map(|v| v.parse::<usize>().map_err(|_| fail(format!("{key} {v:?} is not a number"))))
                .transpose()
        };
        let dtype = message
            .data_type
            .and_then(DataType::from_onnx)
            .ok_or_else(|| fail("its element type is unknown".into()))?;
        let dims =
            dims_from_proto(&message.dims).ok_or_else(|| fail("its dimensions are not valid".into()))?;
        let wanted = dims
            .iter()
            .try_fold(1usize, |n, d| n.checked_mul(*d))
            .and_then(|n| dtype.bytes_for(n))
            .ok_or_else(|| fail("its size overflows".into()))?;
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?.unwrap_or(wanted);
        if length != wanted {
            return Err(fail(format!("it declares {length} bytes but its shape needs {wanted}")));
        }
        let file = self.map(entry("location").unwrap_or_default()).map_err(fail)?;
        let end = offset.checked_add(length).filter(|end| *end <= file.len()).ok_or_else(|| {
            fail(format!(
                "bytes {offset}..{offset}+{length} lie beyond the end of {} ({} bytes); the file may be truncated",
                self.directory.join(entry("location").unwrap_or_default()).display(),
                file.len()
            ))
        })?;
        Tensor::from_raw(dtype, dims, file.slice(offset..end))
    }
}

/// Points the message at `offset` of `location` instead of holding its data.
pub(crate) fn point_to(message: &mut proto::TensorProto, location: &str, offset: usize, length: usize) {
    message.raw_data = None;
    message.data_location = Some(EXTERNAL);
    message.external_data =
        [("location", location.to_string()), ("offset", offset.to_string()), ("length", length.to_string())]
            .into_iter()
            .map(|(key, value)| proto::StringStringEntryProto { key: key.into(), value })
            .collect();
}

/// The files that the model's initializers have their data in, relative to the model, without reading them.
///
/// Fails when the model cannot be read or does not decode.
pub fn external_locations(model: &Path) -> Result<BTreeSet<String>, GraphError> {
    use prost::Message;
    let bytes =
        crate::map::map_file(model).map_err(|source| GraphError::Read { path: model.into(), source })?;
    let message = proto::ModelProto::decode(bytes)
        .map_err(|e| GraphError::Decode { path: model.into(), reason: e.to_string() })?;
    let external = message.graph.iter().flat_map(|graph| &graph.initializer);
    let external = external.filter(|tensor| tensor.data_location == Some(EXTERNAL));
    let entries = external.flat_map(|tensor| &tensor.external_data).filter(|entry| entry.key == "location");
    Ok(entries.map(|entry| entry.value.clone()).collect())
}
