//! Arrays in NumPy's formats.

mod convert;
mod file;
mod header;
mod npz;

pub(crate) use convert::value;
pub(crate) use file::Array;
pub(crate) use npz::open as open_npz;
