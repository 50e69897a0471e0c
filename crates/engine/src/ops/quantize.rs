//! QuantizeLinear and DequantizeLinear, and the two in one.

use shiftwise_graph::{DataType, Value};
use shiftwise_kernels::quantize::{
    Grid, dequantize_i8, dequantize_i16, dequantize_i32, dequantize_u8, dequantize_u16, fake_quantize,
    fake_quantize_in_place, quantize_i8, quantize_i16, quantize_u8, quantize_u16,
};

use super::{Cx, Op, in_float};
use crate::args::{Args, Kernel, Outcome, axis_of, results};
use crate::scalar::{Scalar, count, slice, value};

pub(super) const OPS: &[Op] = &[
    Op::any("QuantizeLinear", quantize),
    Op::any("DequantizeLinear", dequantize),
    Op::any("QuantizeLinear", quantize).contrib(),
    Op::any("DequantizeLinear", dequantize).contrib(),
];

/// Which elements share a scale.
#[derive(Clone, Copy)]
struct Sharing {
    axis: i64,
    /// Elements along the axis that share one, where they come in blocks.
    block: Option<usize>,
}

impl Sharing {
    fn parse(cx: Cx<'_>) -> Outcome<Self> {
        // FLOAT is what is computed in.
        if !matches!(cx.int_or("precision", 0), 0 | 1) {
            return Err("its attribute precision is not supported".into());
        }
        let block = match cx.int_or("block_size", 0) {
            0 => None,
            n => Some(usize::try_from(n).map_err(|_| format!("its block_size is {n}, which is negative"))?),
        };
        Ok(Self { axis: cx.int_or("axis", 1), block })
    }

    fn on(self, shape: &[usize], scales: &[usize]) -> Outcome<Runs> {
        let len = scales.iter().product::<usize>();
        let Some(block) = self.block else {
            // A single scale is for everything, whatever the axis.
            if len == 1 {
                return Ok(Runs { run: count(shape)?, scale: Scale::Cycle(1) });
            }
            let axis = axis_of(self.axis, shape.len())?;
            if shape[axis] != len {
                return Err(format!("{len} scales do not fit axis {axis} of an input of shape {shape:?}"));
            }
            return Ok(Runs { run: count(&shape[axis + 1..])?, scale: Scale::Cycle(len) });
        };
        let axis = axis_of(self.axis, shape.len())?;
        let mut fits = scales.len() == shape.len();
        for (i, (n, s)) in shape.iter().zip(scales).enumerate() {
            fits &= if i == axis { n.div_ceil(block) == *s } else { n == s };
        }
        if !fits {
            return Err(format!(
                "scales of shape {scales:?} in blocks of {block} do not fit an input of shape {shape:?}"
            ));
        }
        let (n, inner) = (shape[axis], count(&shape[axis + 1..])?);
        Ok(Runs { run: 1, scale: Scale::Blocks { n, block, inner } })
    }
}

/// Runs of elements with one scale.
struct Runs {
    run: usize,
    scale: Scale,
}

enum Scale {
    /// Over and over so many.
    Cycle(usize),
    Blocks {
        n: usize,
        block: usize,
        inner: usize,
    },
}

impl Runs {
    /// Calls `f` with each run and the place of its scale.
    fn each(&self, len: usize, mut f: impl FnMut(std::ops::Range<usize>, usize)) {
        match self.scale {
            Scale::Cycle(count) => {
                let starts = (0..len).step_by(self.run.max(1));
                starts.enumerate().for_each(|(i, start)| f(start..start + self.run, i % count));
            }
            Scale::Blocks { n, block, inner } => {
                let blocks = n.div_ceil(block);
                for i in 0..len {
                    let (outer, at) = (i / (n * inner), i / inner % n);
                    f(i..i + 1, (outer * blocks + at / block) * inner + i % inner);
                }
            }
        }
    }
}

/// The zero points of the type that `Holds` finds, zero where there are none.
macro_rules! zero_points {
    ($args:expr, $variant:ident, $ty:ty, $scales:expr) => {
        match $args.get(2) {
            None => vec![<$ty>::default(); $scales],
            Some(Value::$variant(z)) if z.len() == $scales => slice(z).to_vec(),
            Some(z) => {
                return Err(format!(
                    "a zero point of type {} with {} elements does not fit {} scales",
                    z.dtype(),
                    z.len(),
                    $scales
                ));
            }
        }
    };
}

fn quantize(cx: Cx<'_>) -> Outcome<Kernel> {
    let sharing = Sharing::parse(cx)?;
    let target = match cx.int_or("output_dtype", 0) {
        0 => None,
        n => Some(
            i32::try_from(n).ok().and_then(DataType::from_onnx).ok_or("its output_dtype is not a type")?,
        ),
    };
    Ok(in_float(Box::new(move |args, ws| {
        let dtype = args.get(2).map(Value::dtype).or(target).unwrap_or(DataType::Uint8);
        let widened;
        let (x, shape) = match args.value(0)? {
            Value::I32(a) => {
                widened = a.iter().map(|v| *v as f32).collect::<Vec<_>>();
                (widened.as_slice(), a.shape())
            }
            _ => args.f32(0)?,
        };
        let (scales, scales_shape) = args.f32(1)?;
        let runs = sharing.on(shape, scales_shape)?;
        macro_rules! to {
            ($variant:ident, $ty:ty, $kernel:ident) => {{
                let zeros = zero_points!(args, $variant, $ty, scales.len());
                let mut out = <$ty>::buffer(ws, x.len())?;
                runs.each(x.len(), |at, i| $kernel(&x[at.clone()], scales[i], zeros[i], &mut out[at]));
                value(shape, out)
            }};
        }
        let result = match dtype {
            DataType::Int8 => to!(I8, i8, quantize_i8),
            DataType::Uint8 => to!(U8, u8, quantize_u8),
            DataType::Int16 => to!(I16, i16, quantize_i16),
            DataType::Uint16 => to!(U16, u16, quantize_u16),
            other => Err(format!("quantization to {other} is not supported")),
        };
        Ok(results![result?])
    })))
}

fn dequantize(cx: Cx<'_>) -> Outcome<Kernel> {
    let sharing = Sharing::parse(cx)?;
    let target = cx.int_or("output_dtype", 0);
    let kernel = in_float(Box::new(move |args, ws| {
        let shape = args.value(0)?.shape();
        let (scales, scales_shape) = args.f32(1)?;
        let runs = sharing.on(shape, scales_shape)?;
        let mut out = ws.floats(args.value(0)?.len());
        macro_rules! from {
            ($variant:ident, $ty:ty, $q:expr, $kernel:ident) => {{
                let zeros = zero_points!(args, $variant, $ty, scales.len());
                let q = slice($q);
                runs.each(q.len(), |at, i| $kernel(&q[at.clone()], scales[i], zeros[i], &mut out[at]));
            }};
        }
        match args.value(0)? {
            Value::I8(q) => from!(I8, i8, q, dequantize_i8),
            Value::U8(q) => from!(U8, u8, q, dequantize_u8),
            Value::I16(q) => from!(I16, i16, q, dequantize_i16),
            Value::U16(q) => from!(U16, u16, q, dequantize_u16),
            Value::I32(q) => from!(I32, i32, q, dequantize_i32),
            other => return Err(format!("dequantization of {} is not supported", other.dtype())),
        }
        Ok(results![Value::f32(shape, out)])
    }));
    Ok(Box::new(move |args, ws| {
        let scale = args.value(1)?.dtype();
        if target != 0 && target != i64::from(scale as i32) {
            return Err(format!(
                "an output_dtype other than {scale}, the type of its scale, is not supported"
            ));
        }
        kernel(args, ws)
    }))
}

/// QuantizeLinear and DequantizeLinear of one scale in one sweep; inputs are `x, scale, zero point` and those of the
/// second, which are the same.
pub(super) fn fake(cx: Cx<'_>) -> Outcome<Kernel> {
    Sharing::parse(cx)?;
    Ok(in_float(Box::new(move |args, ws| {
        let grid = grid(args)?;
        args.f32(0)?;
        if let Some(Value::F32(mut a)) = args.take(0) {
            if let Some(x) = a.as_slice_mut() {
                fake_quantize_in_place(x, grid);
            }
            return Ok(results![Value::F32(a)]);
        }
        let (x, shape) = args.f32(0)?;
        let mut out = ws.floats(x.len());
        fake_quantize(x, grid, &mut out);
        Ok(results![Value::f32(shape, out)])
    })))
}

fn grid(args: &Args<'_>) -> Outcome<Grid> {
    let (&[scale], _) = args.f32(1)? else { return Err("its scale is not a single value".into()) };
    macro_rules! of {
        ($ty:ty, $z:expr) => {{
            let zero_point = i32::from(*$z.first().ok_or("its zero point is empty")?);
            Grid { scale, zero_point, qmin: i32::from(<$ty>::MIN), qmax: i32::from(<$ty>::MAX) }
        }};
    }
    Ok(match args.value(2)? {
        Value::I8(z) => of!(i8, z),
        Value::U8(z) => of!(u8, z),
        Value::I16(z) => of!(i16, z),
        Value::U16(z) => of!(u16, z),
        other => return Err(format!("quantization to {} is not supported", other.dtype())),
    })
}
