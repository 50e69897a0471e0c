//! Windows of convolutions: strides, dilations, and padding, which may depend on the input's size.

use shiftwise_graph::Node;

use crate::layer::Window;

/// Where padding comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AutoPad {
    Explicit,
    SameUpper,
    SameLower,
    Valid,
}

/// Attributes of a convolution; lists have one or two entries, as there are dimensions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spatial {
    groups: usize,
    pub(super) kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Vec<usize>,
    auto_pad: AutoPad,
}

impl Spatial {
    pub(super) fn parse(node: &Node, weight: &[usize]) -> Result<Self, String> {
        let kernel = weight.get(2..).unwrap_or_default();
        let dims = kernel.len();
        if !(1..=2).contains(&dims) {
            return Err(format!("it convolves over {dims} dimensions; one or two are tuned"));
        }
        if weight.contains(&0) {
            return Err("its weights are empty".into());
        }
        let list = |name, least: i64, default: usize, length: usize| {
            let values = sizes(node, name, least)?.unwrap_or_else(|| vec![default; length]);
            if values.len() == length {
                Ok(values)
            } else {
                Err(format!("its {name} do not fit its weights"))
            }
        };
        let said = list("kernel_shape", 1, 0, dims)?;
        if node.ints("kernel_shape").is_some_and(|v| !v.is_empty()) && said != kernel {
            return Err("its kernel_shape is not that of its weights".into());
        }
        let auto_pad = match node.text("auto_pad").unwrap_or("NOTSET") {
            "NOTSET" | "" => AutoPad::Explicit,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            "VALID" => AutoPad::Valid,
            other => return Err(format!("its auto_pad is {other:?}, which is not valid")),
        };
        let groups = usize::try_from(node.int("group").unwrap_or(1)).ok().filter(|g| *g > 0);
        let groups = groups.ok_or("its group is not positive")?;
        if !weight[0].is_multiple_of(groups) {
            return Err(format!("its weights cannot be split into {groups} groups"));
        }
        Ok(Self {
            groups,
            kernel: kernel.to_vec(),
            strides: list("strides", 1, 1, dims)?,
            dilations: list("dilations", 1, 1, dims)?,
            pads: if auto_pad == AutoPad::Explicit {
                list("pads", 0, 0, 2 * dims)?
            } else {
                vec![0; 2 * dims]
            },
            auto_pad,
        })
    }

    /// Height and width of an input.
    pub(super) fn size(&self, x_dims: &[usize]) -> Result<[usize; 2], String> {
        let size = x_dims.get(2..).filter(|size| size.len() == self.kernel.len());
        Ok(pair(size.ok_or_else(|| format!("an input of shape {x_dims:?} does not fit its weights"))?, 1))
    }

    /// The window; where padding is not said, `padding` gives what is added along each axis in all.
    pub(super) fn window(
        &self,
        size: [usize; 2],
        padding: impl Fn(&Self, [usize; 2]) -> Result<Option<[usize; 2]>, String>,
    ) -> Result<Window, String> {
        let dims = self.kernel.len();
        let (begin, end) = (pair(&self.pads[..dims], 0), pair(&self.pads[dims..], 0));
        let mut pads = [begin[0], begin[1], end[0], end[1]];
        if let Some(total) = padding(self, size)? {
            for axis in 0..2 {
                let less = total[axis] / 2;
                let more = total[axis] - less;
                // The odd pixel is at the end with SAME_UPPER, at the beginning otherwise.
                let upper = self.auto_pad == AutoPad::SameUpper;
                (pads[axis], pads[axis + 2]) = if upper { (less, more) } else { (more, less) };
            }
        }
        Ok(Window {
            groups: self.groups,
            kernel: pair(&self.kernel, 1),
            stride: pair(&self.strides, 1),
            dilation: pair(&self.dilations, 1),
            pads,
        })
    }

    /// Elements from the first to the last tap.
    fn reach(&self) -> Result<[usize; 2], String> {
        let (kernel, dilation) = (pair(&self.kernel, 1), pair(&self.dilations, 1));
        let reach = |a: usize| dilation[a].checked_mul(kernel[a] - 1)?.checked_add(1);
        Ok([0, 1]
            .map(reach)
            .iter()
            .flatten()
            .copied()
            .collect::<Vec<_>>()
            .try_into()
            .map_err(|_| OVERFLOW)?)
    }

    /// The padding with which the output is the input over the stride, rounded up.
    pub(super) fn same(&self, size: [usize; 2]) -> Result<Option<[usize; 2]>, String> {
        if !matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower) {
            return Ok(None);
        }
        let (stride, reach) = (pair(&self.strides, 1), self.reach()?);
        let mut total = [0; 2];
        for a in 0..2 {
            let last = size[a].div_ceil(stride[a]).saturating_sub(1).checked_mul(stride[a]);
            let needed = last.and_then(|last| last.checked_add(reach[a])).ok_or(OVERFLOW)?;
            total[a] = needed.saturating_sub(size[a]);
        }
        Ok(Some(total))
    }

    /// The size of all taps of a transposed convolution, with the output padding.
    fn full(&self, size: [usize; 2], extra: [usize; 2]) -> Result<[usize; 2], String> {
        let (stride, reach) = (pair(&self.strides, 1), self.reach()?);
        let mut full = [0; 2];
        for a in 0..2 {
            let last = size[a].saturating_sub(1).checked_mul(stride[a]);
            let taps = last.and_then(|last| last.checked_add(reach[a]));
            full[a] = taps.and_then(|taps| taps.checked_add(extra[a])).ok_or(OVERFLOW)?;
        }
        Ok(full)
    }

    /// The size that is wanted of a transposed convolution: by output_shape, or as input times stride.
    fn wanted(&self, size: [usize; 2], wanted: Option<[usize; 2]>) -> Option<[usize; 2]> {
        let stride = pair(&self.strides, 1);
        let same = matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
        wanted.or_else(|| same.then(|| [0, 1].map(|a| size[a].saturating_mul(stride[a]))))
    }

    /// What is cut along each axis where a size is wanted.
    pub(super) fn transposed(
        &self,
        size: [usize; 2],
        extra: [usize; 2],
        wanted: Option<[usize; 2]>,
    ) -> Result<Option<[usize; 2]>, String> {
        let full = self.full(size, extra)?;
        Ok(self.wanted(size, wanted).map(|wanted| [0, 1].map(|a| full[a].saturating_sub(wanted[a]))))
    }

    /// What the result has beyond its taps: the output padding, or what a wanted size asks for.
    pub(super) fn output_padding(
        &self,
        size: [usize; 2],
        window: &Window,
        extra: [usize; 2],
        wanted: Option<[usize; 2]>,
    ) -> Result<[usize; 2], String> {
        let Some(wanted) = self.wanted(size, wanted) else { return Ok(extra) };
        let taps = self.full(size, [0, 0])?;
        let mut beyond = [0; 2];
        for a in 0..2 {
            let cut = window.pads[a] + window.pads[a + 2];
            beyond[a] = wanted[a].checked_add(cut).ok_or(OVERFLOW)?.saturating_sub(taps[a]);
        }
        Ok(beyond)
    }
}

const OVERFLOW: &str = "its size overflows";

/// Two numbers of one or two; one is the width.
pub(super) fn pair(values: &[usize], default: usize) -> [usize; 2] {
    match values {
        [height, width] => [*height, *width],
        [width] => [default, *width],
        _ => [default; 2],
    }
}

/// A list of sizes among the attributes, none below `least`; an empty one is none.
pub(super) fn sizes(node: &Node, name: &str, least: i64) -> Result<Option<Vec<usize>>, String> {
    let Some(values) = node.ints(name).filter(|values| !values.is_empty()) else { return Ok(None) };
    let fits = |v: &i64| usize::try_from(*v).ok().filter(|_| *v >= least);
    let sizes = values.iter().map(fits).collect::<Option<Vec<usize>>>();
    Ok(Some(sizes.ok_or_else(|| format!("its {name} {values:?} are not valid"))?))
}
