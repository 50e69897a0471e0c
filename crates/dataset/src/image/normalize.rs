//! Pixels to the numbers that the model takes.

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use shiftwise_graph::{DataType, Value};

use super::Pixels;
use crate::{Channels, Layout, Recipe};

/// The element types that images can become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// float32, and what is rounded from it.
    F32,
    F16,
    Bf16,
    F64,
    /// Pixels as they are.
    U8,
}

impl Target {
    /// The target for an input type; `None` for those that images cannot fill.
    pub(crate) fn new(dtype: DataType) -> Option<Self> {
        Some(match dtype {
            DataType::Float => Self::F32,
            DataType::Float16 => Self::F16,
            DataType::Bfloat16 => Self::Bf16,
            DataType::Double => Self::F64,
            DataType::Uint8 => Self::U8,
            _ => return None,
        })
    }
}

/// Channel order, numbers and layout of a recipe that has been checked.
pub(super) fn normalize(pixels: &Pixels, recipe: &Recipe, target: Target) -> Value {
    let (h, w, c) = (pixels.height as usize, pixels.width as usize, pixels.channels);
    let shape = match recipe.layout {
        Layout::Nchw => [1, c, h, w],
        Layout::Nhwc => [1, h, w, c],
    };
    let source = |channel: usize| if recipe.channels == Channels::Bgr { c - 1 - channel } else { channel };
    if target == Target::U8 {
        return array(
            &shape,
            arrange(pixels, recipe.layout, |channel| {
                let from = source(channel);
                move |pixel: &[u8]| pixel[from]
            }),
        );
    }
    let tables: Vec<[f32; 256]> = (0..c).map(|channel| table(recipe, channel, c)).collect();
    let values = arrange(pixels, recipe.layout, |channel| {
        let (from, table) = (source(channel), &tables[channel]);
        move |pixel: &[u8]| table[usize::from(pixel[from])]
    });
    match target {
        Target::F32 | Target::U8 => array(&shape, values),
        Target::F16 => array(&shape, values.into_iter().map(f16::from_f32).collect()),
        Target::Bf16 => array(&shape, values.into_iter().map(bf16::from_f32).collect()),
        Target::F64 => array(&shape, values.into_iter().map(f64::from).collect()),
    }
}

/// What each of the 256 pixel values becomes: every operation rounded to float32, in the order in which numpy would
/// evaluate `(x * scale - mean) / std`.
fn table(recipe: &Recipe, channel: usize, channels: usize) -> [f32; 256] {
    let of = |numbers: &Option<crate::PerChannel>| {
        numbers.as_ref().and_then(|n| n.values(channels)).and_then(|v| v.get(channel).copied())
    };
    let (mean, std) = (of(&recipe.mean), of(&recipe.std));
    let divide = recipe.divide.or_else(|| recipe.scale.is_none().then_some(255.0));
    std::array::from_fn(|x| {
        let mut x = x as f32;
        if let Some(divide) = divide {
            x /= divide as f32;
        }
        if let Some(scale) = recipe.scale {
            x *= scale as f32;
        }
        if let Some(mean) = mean {
            x -= mean;
        }
        if let Some(std) = std {
            x /= std;
        }
        x
    })
}

/// Values in the order of the layout; `of` gives for each channel the function from a pixel to its value.
fn arrange<T, F: Fn(&[u8]) -> T>(pixels: &Pixels, layout: Layout, of: impl Fn(usize) -> F) -> Vec<T> {
    let lines = || pixels.data.chunks_exact(pixels.channels);
    let functions: Vec<F> = (0..pixels.channels).map(of).collect();
    match layout {
        Layout::Nchw => functions.iter().flat_map(|f| lines().map(f)).collect(),
        Layout::Nhwc => lines().flat_map(|pixel| functions.iter().map(move |f| f(pixel))).collect(),
    }
}

fn array<T>(shape: &[usize], values: Vec<T>) -> Value
where
    Value: From<ArrayD<T>>,
{
    ArrayD::from_shape_vec(IxDyn(shape), values).expect("there is a value for every pixel and channel").into()
}
