//! Signals: DFT, STFT, windows, the mel scale.

mod fourier;
mod window;

pub(super) use fourier::OPS;
pub(super) use window::OPS as WINDOWS;
