//! Block floating point and microscaling: operators that quantize and dequantize in one step.

use shiftwise_graph::{Attribute, Node, Value};
use shiftwise_kernels::block::bfp::{self, Bfp, Method};
use shiftwise_kernels::block::mx::{self, Element, Mx};
use shiftwise_kernels::block::{Axis, Rounding};

use super::{Cx, Op};
use crate::args::{Kernel, Outcome, axis_of, results};

pub(super) const OPS: &[Op] = &[
    Op::float(BFP, |cx| compile(cx, Block::bfp)).of(QUARK),
    Op::float(MX, |cx| compile(cx, Block::mx)).of(QUARK),
];

/// Domain of the quantization operators of AMD Quark.
pub(crate) const QUARK: &str = "com.amd.quark";
/// Block floating point.
pub(crate) const BFP: &str = "BFPQuantizeDequantize";
/// Microscaling.
pub(crate) const MX: &str = "MXQuantizeDequantize";

/// The attributes of a node, wherever they are kept. A missing one is `None`, one of another type an error.
pub(crate) trait Attributes {
    fn int(&self, name: &str) -> Outcome<Option<i64>>;
    fn text(&self, name: &str) -> Outcome<Option<String>>;
}

impl Attributes for Node {
    fn int(&self, name: &str) -> Outcome<Option<i64>> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(Attribute::Int(v)) => Ok(Some(*v)),
            Some(_) => Err(format!("its attribute {name} is not an integer")),
        }
    }

    fn text(&self, name: &str) -> Outcome<Option<String>> {
        match self.attributes.get(name) {
            None => Ok(None),
            Some(_) => match Node::text(self, name) {
                Some(text) => Ok(Some(text.into())),
                None => Err(format!("its attribute {name} is not text")),
            },
        }
    }
}

/// What such a node does to a tensor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    format: Format,
    axis: i64,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Bfp(Bfp),
    Mx(Mx),
}

impl Block {
    /// Reads the attributes of a BFPQuantizeDequantize node. Defaults are those of the operator's own kernel.
    pub(crate) fn bfp(attributes: &dyn Attributes) -> Outcome<Self> {
        let int = |name, default| Ok::<_, String>(attributes.int(name)?.unwrap_or(default));
        let method = attributes.text("bfp_method")?.unwrap_or_else(|| "to_bfp".into());
        let block = length("block_size", int("block_size", 8)?)?;
        let compiler = int("use_compiler_version_cpu_kernel", 0)? != 0;
        let method = match method.as_str() {
            "to_bfp" if compiler => Method::Compiler,
            "to_bfp" => Method::Plain,
            "to_bfp_prime" if compiler => {
                return Err("use_compiler_version_cpu_kernel is not defined for to_bfp_prime".into());
            }
            "to_bfp_prime" => {
                let part = length("sub_block_size", int("sub_block_size", 2)?)?;
                if !block.is_multiple_of(part) {
                    return Err(format!("its sub_block_size {part} does not divide its block_size {block}"));
                }
                Method::Microexponents {
                    part,
                    shift_bits: within("sub_block_shift_bits", int("sub_block_shift_bits", 1)?, 1, 7)?,
                }
            }
            other => {
                return Err(format!("its bfp_method is {other:?}; to_bfp and to_bfp_prime are defined"));
            }
        };
        let format = Bfp {
            method,
            mantissa_bits: within("bit_width", int("bit_width", 16)?, 11, 24)? - 9,
            block,
            rounding: rounding(int("rounding_mode", 0)?)?,
            from_bf16: int("convert_to_bfloat_before_bfp", 0)? != 0,
        };
        Ok(Self { format: Format::Bfp(format), axis: int("axis", 1)? })
    }

    /// Reads the attributes of an MXQuantizeDequantize node. Defaults are those of the operator's own kernel.
    pub(crate) fn mx(attributes: &dyn Attributes) -> Outcome<Self> {
        let int = |name, default| Ok::<_, String>(attributes.int(name)?.unwrap_or(default));
        let element = match attributes.text("element_dtype")?.as_deref().unwrap_or("int8") {
            "fp8_e5m2" => Element::Fp8E5M2,
            "fp8_e4m3" => Element::Fp8E4M3,
            "fp6_e3m2" => Element::Fp6E3M2,
            "fp6_e2m3" => Element::Fp6E2M3,
            "fp4_e2m1" => Element::Fp4E2M1,
            "int8" => Element::Int8,
            other => {
                return Err(format!(
                    "its element_dtype is {other:?}; fp8_e5m2, fp8_e4m3, fp6_e3m2, fp6_e2m3, fp4_e2m1 and int8 are \
                     defined"
                ));
            }
        };
        let format = Mx {
            element,
            block: length("block_size", int("block_size", 32)?)?,
            rounding: rounding(int("rounding_mode", 0)?)?,
        };
        Ok(Self { format: Format::Mx(format), axis: int("axis", 1)? })
    }

    /// Quantizes and dequantizes in place.
    ///
    /// A tensor of one element passes through as it is. With one dimension there is no choice of axis, and the
    /// attribute is not looked at: its default, 1, would not exist.
    pub(crate) fn apply(&self, x: &mut [f32], shape: &[usize]) -> Outcome<()> {
        let axis = if shape.len() == 1 { 0 } else { self.axis };
        if x.len() <= 1 {
            return Ok(());
        }
        let axis = Axis::of(shape, axis_of(axis, shape.len())?);
        match &self.format {
            Format::Bfp(format) => bfp::fake_quantize(x, axis, format),
            Format::Mx(format) => mx::fake_quantize(x, axis, format),
        }
        Ok(())
    }
}

fn within(name: &str, value: i64, least: u32, most: u32) -> Outcome<u32> {
    let checked = u32::try_from(value).ok().filter(|v| (least..=most).contains(v));
    checked.ok_or_else(|| format!("its {name} is {value}; {least} to {most} are supported"))
}

fn length(name: &str, value: i64) -> Outcome<usize> {
    within(name, value, 1, 1 << 30).map(|v| v as usize)
}

fn rounding(mode: i64) -> Outcome<Rounding> {
    match mode {
        0 => Ok(Rounding::HalfAway),
        1 => Ok(Rounding::HalfUp),
        2 => Ok(Rounding::HalfEven),
        other => Err(format!("its rounding_mode is {other}; 0, 1 and 2 are defined")),
    }
}

fn compile(cx: Cx<'_>, read: fn(&dyn Attributes) -> Outcome<Block>) -> Outcome<Kernel> {
    let block = read(cx.node)?;
    Ok(Box::new(move |args, ws| {
        args.f32(0)?;
        let mut value = args.take_or_copy(0, ws)?;
        if let Value::F32(a) = &mut value {
            let shape = a.shape().to_vec();
            block.apply(a.as_slice_mut().ok_or("its input is not row-major")?, &shape)?;
        }
        Ok(results![value])
    }))
}
