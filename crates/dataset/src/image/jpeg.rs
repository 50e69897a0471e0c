//! JPEG through libjpeg, with the accurate integer DCT and smooth upsampling of colour: bit for bit what libjpeg-turbo
//! and with it Pillow decode. Other decoders differ in up to a sixth of all values.

use std::any::Any;
use std::os::raw::c_int;
use std::panic::{self, AssertUnwindSafe};

use mozjpeg::{ColorSpace, Decompress};
use mozjpeg_sys as ffi;

use super::Pixels;
use super::decode::MAX_PIXELS;

/// Decodes to RGB. Truncated and corrupt data is an error, where libjpeg would warn and fill in grey.
pub(super) fn decode(bytes: &[u8]) -> Result<Pixels, String> {
    // Errors leave libjpeg by unwinding, without the panic hook.
    match panic::catch_unwind(AssertUnwindSafe(|| decode_unwinding(bytes))) {
        Ok(result) => result,
        Err(payload) => Err(message(payload.as_ref())),
    }
}

fn decode_unwinding(bytes: &[u8]) -> Result<Pixels, String> {
    let dec = Decompress::with_err(strict_errors()).from_mem(bytes).map_err(|e| e.to_string())?;
    let (width, height) = dec.size();
    if (width as u64).saturating_mul(height as u64) > MAX_PIXELS {
        return Err(format!("{width} x {height} pixels are too many"));
    }
    let cmyk = matches!(dec.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK);
    let mut started = dec
        .to_colorspace(if cmyk { ColorSpace::JCS_CMYK } else { ColorSpace::JCS_RGB })
        .map_err(|e| e.to_string())?;
    let mut data: Vec<u8> = started.read_scanlines().map_err(|e| e.to_string())?;
    started.finish().map_err(|e| e.to_string())?;
    if cmyk {
        data = data.chunks_exact(4).flat_map(from_inverted_cmyk).collect();
    }
    Ok(Pixels { width: width as u32, height: height as u32, channels: 3, data })
}

/// Inks to light without a colour profile. The file holds the inks inverted, as everybody's files do.
fn from_inverted_cmyk(inks: &[u8]) -> [u8; 3] {
    let key = u32::from(inks[3]);
    [0, 1, 2].map(|i| {
        // key - (255 - ink) * key / 255, rounded.
        let product = (255 - u32::from(inks[i])) * key + 128;
        key.saturating_sub((product + (product >> 8)) >> 8) as u8
    })
}

/// What libjpeg said, or a panic of the wrapper.
fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else {
        "the decoder gave up".to_owned()
    }
}

/// Error handling that unwinds on errors and on those warnings which mean that pixels are missing or made up.
#[allow(unsafe_code)]
fn strict_errors() -> ffi::jpeg_error_mgr {
    // SAFETY: the struct is plain C data of nullable function pointers, numbers and nullable pointers, for all of which
    // zero is valid; `jpeg_std_error` then fills it in.
    let mut errors: ffi::jpeg_error_mgr = unsafe { std::mem::zeroed() };
    // SAFETY: takes a valid exclusive reference and only writes to what is behind it.
    unsafe { ffi::jpeg_std_error(&mut errors) };
    errors.error_exit = Some(on_error);
    errors.emit_message = Some(on_message);
    errors
}

#[allow(unsafe_code)]
fn code(cinfo: &ffi::jpeg_common_struct) -> c_int {
    // SAFETY: libjpeg calls the handlers with the struct whose `err` the wrapper has set to the boxed error manager,
    // which lives as long as the decoder.
    unsafe { cinfo.err.as_ref() }.map_or(0, |err| err.msg_code)
}

extern "C-unwind" fn on_error(cinfo: &mut ffi::jpeg_common_struct) {
    let text = match code(cinfo) {
        ffi::JERR_NO_SOI => "no JPEG data".to_owned(),
        ffi::JERR_SOF_UNSUPPORTED => "a kind of JPEG that is not supported".to_owned(),
        ffi::JERR_BAD_PRECISION => "only 8-bit JPEG is supported".to_owned(),
        ffi::JERR_NO_IMAGE | ffi::JERR_INPUT_EOF | ffi::JERR_INPUT_EMPTY => "truncated JPEG data".to_owned(),
        other => format!("corrupt JPEG data (libjpeg error {other})"),
    };
    panic::resume_unwind(Box::new(text));
}

extern "C-unwind" fn on_message(cinfo: &mut ffi::jpeg_common_struct, level: c_int) {
    if level >= 0 {
        return;
    }
    let text = match code(cinfo) {
        // Nothing is lost with these: bytes between segments, odd versions, colour profiles.
        ffi::JWRN_EXTRANEOUS_DATA | ffi::JWRN_ADOBE_XFORM | ffi::JWRN_JFIF_MAJOR | ffi::JWRN_BOGUS_ICC => {
            return;
        }
        ffi::JWRN_JPEG_EOF => "truncated JPEG data".to_owned(),
        ffi::JWRN_HIT_MARKER => "corrupt JPEG data: a segment ends too early".to_owned(),
        ffi::JWRN_HUFF_BAD_CODE => "corrupt JPEG data: bad Huffman code".to_owned(),
        other => format!("corrupt JPEG data (libjpeg warning {other})"),
    };
    panic::resume_unwind(Box::new(text));
}
