//! Windows of convolutions and poolings: their attributes, and what they come to on an input.

use shiftwise_kernels::volume::Volume;

use super::Cx;
use crate::args::{Outcome, Shape};

/// How padding is found.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum AutoPad {
    Explicit,
    SameUpper,
    SameLower,
    Valid,
}

/// Attributes that convolutions and poolings share.
#[derive(Clone)]
pub(super) struct Window {
    pub(super) kernel: Option<Vec<usize>>,
    pub(super) strides: Option<Vec<usize>>,
    pub(super) dilations: Option<Vec<usize>>,
    pub(super) pads: Option<Vec<usize>>,
    pub(super) auto_pad: AutoPad,
}

/// A window on data of one to three spatial dimensions; those that are missing come first and have size one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) rank: usize,
    pub(super) size: [usize; 3],
    pub(super) kernel: [usize; 3],
    pub(super) stride: [usize; 3],
    pub(super) dilation: [usize; 3],
    pub(super) begin: [usize; 3],
    pub(super) end: [usize; 3],
}

/// A window on a plane; one-dimensional data is a plane of height one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    pub(super) size: [usize; 2],
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) pads: [usize; 4],
}

impl Window {
    pub(super) fn parse(cx: Cx<'_>) -> Outcome<Self> {
        let auto_pad = match cx.text_or("auto_pad", "NOTSET") {
            "NOTSET" | "" => AutoPad::Explicit,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            "VALID" => AutoPad::Valid,
            other => return Err(format!("its attribute auto_pad is {other:?}, which is not valid")),
        };
        let listed = |name, least| Ok::<_, String>(cx.sizes(name, least)?.filter(|v| !v.is_empty()));
        Ok(Self {
            kernel: listed("kernel_shape", 1)?,
            strides: listed("strides", 1)?,
            dilations: listed("dilations", 1)?,
            pads: listed("pads", 0)?,
            auto_pad,
        })
    }

    /// The window on images of `spatial` size; `kernel` is what a weight says of its size.
    pub(super) fn span(&self, spatial: &[usize], kernel: Option<&[usize]>) -> Outcome<Span> {
        let rank = spatial.len();
        if !(1..=3).contains(&rank) {
            return Err(format!("one to three spatial dimensions are supported, not {rank}"));
        }
        let kernel = match (kernel, &self.kernel) {
            (Some(w), Some(k)) if w != k.as_slice() => {
                return Err(format!("its kernel_shape {k:?} is not that of its weight, {w:?}"));
            }
            (Some(w), _) => w,
            (None, Some(k)) => k,
            (None, None) => return Err("it has no attribute kernel_shape".into()),
        };
        if kernel.contains(&0) {
            return Err(format!("a kernel of size {kernel:?} has no elements"));
        }
        let triple = |values: Option<&[usize]>, default: usize, what: &str| {
            let mut all = [default; 3];
            match values {
                None => Ok(all),
                Some(v) if v.len() == rank => {
                    all[3 - rank..].copy_from_slice(v);
                    Ok(all)
                }
                Some(other) => Err(format!("its {what} {other:?} do not fit {rank} spatial dimensions")),
            }
        };
        let mut span = Span {
            rank,
            size: triple(Some(spatial), 1, "sizes")?,
            kernel: triple(Some(kernel), 1, "kernel sizes")?,
            stride: triple(self.strides.as_deref(), 1, "strides")?,
            dilation: triple(self.dilations.as_deref(), 1, "dilations")?,
            begin: [0; 3],
            end: [0; 3],
        };
        match (self.auto_pad, self.pads.as_deref()) {
            (AutoPad::Explicit, None) | (AutoPad::Valid, _) => {}
            (AutoPad::Explicit, Some(pads)) => {
                let wrong = || format!("its pads {pads:?} do not fit {rank} spatial dimensions");
                let (begin, end) = pads.split_at_checked(rank).ok_or_else(wrong)?;
                (span.begin, span.end) = (triple(Some(begin), 0, "pads")?, triple(Some(end), 0, "pads")?);
            }
            (same, _) => span.same(same == AutoPad::SameUpper),
        }
        Ok(span)
    }
}

impl Span {
    /// The padding with which the output is the input over the stride, rounded up; an odd pixel goes to the end with
    /// `upper`.
    fn same(&mut self, upper: bool) {
        for a in 0..3 {
            let out = self.size[a].div_ceil(self.stride[a]);
            let needed = out.saturating_sub(1) * self.stride[a] + self.reach(a);
            let total = needed.saturating_sub(self.size[a]);
            self.begin[a] = if upper { total / 2 } else { total - total / 2 };
            self.end[a] = total - self.begin[a];
        }
    }

    /// Elements from the first to the last tap.
    pub(super) fn reach(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.kernel[axis] - 1) + 1
    }

    /// Windows along every axis: as many as fit the padded input, with `ceil` also one that overhangs its end.
    pub(super) fn outputs(&self, ceil: bool) -> Outcome<[usize; 3]> {
        let mut all = [0; 3];
        for (a, out) in all.iter_mut().enumerate() {
            let padded = self.size[a] + self.begin[a] + self.end[a];
            let reach = self.reach(a);
            let room = padded.checked_sub(reach).ok_or_else(|| {
                format!("a window of {reach} does not fit an image of {padded} with its padding")
            })?;
            *out = if ceil { room.div_ceil(self.stride[a]) } else { room / self.stride[a] } + 1;
            // A window that would begin behind the image is none.
            if ceil && (*out - 1) * self.stride[a] >= self.size[a] + self.begin[a] {
                *out -= 1;
            }
        }
        Ok(all)
    }

    /// The window as one that gives `out`.
    pub(super) fn volume(&self, out: [usize; 3]) -> Volume {
        Volume {
            size: self.size,
            out,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            begin: self.begin,
        }
    }

    /// The same on a plane, unless it has three dimensions.
    pub(super) fn plane(&self) -> Option<Plane> {
        let last = |v: [usize; 3]| [v[1], v[2]];
        (self.rank < 3).then(|| Plane {
            size: last(self.size),
            kernel: last(self.kernel),
            stride: last(self.stride),
            dilation: last(self.dilation),
            pads: [self.begin[1], self.begin[2], self.end[1], self.end[2]],
        })
    }

    /// The shape of a result with `first` before its spatial dimensions.
    pub(super) fn shape(&self, first: [usize; 2], out: [usize; 3]) -> Shape {
        let mut shape = Shape::from_slice(&first);
        shape.extend_from_slice(&out[3 - self.rank..]);
        shape
    }
}
