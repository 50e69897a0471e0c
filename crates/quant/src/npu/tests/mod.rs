//! Cases of every limit, and properties over random graphs.

mod cases;
mod net;
mod properties;
