//! Files for tests, made by hand.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use shiftwise_artifact::atomic;
use shiftwise_dataset::{DataError, DataSpec, Dataset, InputSpec, Recipe, Source};
use shiftwise_graph::DataType;
use tempfile::TempDir;

/// An input; negative dimensions are dynamic.
pub(crate) fn input(name: &str, dtype: DataType, shape: &[i64]) -> InputSpec {
    InputSpec {
        was_channels_first: false,
        name: name.to_owned(),
        dtype,
        shape: shape.iter().map(|d| usize::try_from(*d).ok()).collect(),
    }
}

pub(crate) fn floats(shape: &[i64]) -> Vec<InputSpec> {
    vec![input("x", DataType::Float, shape)]
}

/// A folder with files in it.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        atomic::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn spec(&self) -> DataSpec {
        DataSpec::new(Source::Path(self.path().to_owned()))
    }

    pub(crate) fn open(&self, inputs: &[InputSpec]) -> Result<Dataset, DataError> {
        Dataset::open(&self.spec(), inputs)
    }

    pub(crate) fn open_file(&self, name: &str, inputs: &[InputSpec]) -> Result<Dataset, DataError> {
        Dataset::open(&DataSpec::new(Source::Path(self.path().join(name))), inputs)
    }

    pub(crate) fn with_recipe(&self, recipe: &str, inputs: &[InputSpec]) -> Result<Dataset, DataError> {
        let recipe = Some(Recipe::parse(recipe, "test").unwrap());
        Dataset::open(&DataSpec { recipe, ..self.spec() }, inputs)
    }
}

pub(crate) fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

/// An NPY file, version 1.
pub(crate) fn npy(descr: &str, fortran: bool, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let dims = shape.iter().fold(String::new(), |text, d| text + &d.to_string() + ",");
    let order = if fortran { "True" } else { "False" };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({dims}), }}");
    text.push_str(&" ".repeat(64 - (10 + text.len() + 1) % 64));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

pub(crate) fn npy_f32(shape: &[usize], values: &[f32]) -> Vec<u8> {
    npy("<f4", false, shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

pub(crate) fn npy_i64(shape: &[usize], values: &[i64]) -> Vec<u8> {
    npy("<i8", false, shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

/// The CRC-32 of zip and PNG.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 })
    })
}
