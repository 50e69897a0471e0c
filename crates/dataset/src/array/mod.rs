//! Arrays in NumPy's formats.

mod convert;
mod file;
mod header;
mod npz;
mod stream;

pub(crate) use convert::value;
pub(crate) use file::Array;
pub(crate) use header::{Element, Header};
pub(crate) use npz::open as open_npz;
pub(crate) use stream::{Archives, Broken};
