//! RoiAlign and MaxRoiPool: regions of images as images of one size.

use shiftwise_graph::Value;

use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, results};
use crate::scalar::count;

pub(super) const OPS: &[Op] = &[Op::float("RoiAlign", align), Op::float("MaxRoiPool", max_pool)];

struct Align {
    max: bool,
    /// What is taken from coordinates, so that they mean centres of pixels.
    offset: f32,
    out: [usize; 2],
    /// Samples of a bin along each axis; zero for as many as it has pixels.
    samples: usize,
    scale: f32,
}

fn size(cx: Cx<'_>, name: &str) -> Outcome<usize> {
    let n = cx.int_or(name, 1);
    usize::try_from(n).ok().filter(|n| (1..1 << 20).contains(n)).ok_or(format!("its {name} is {n}"))
}

fn align(cx: Cx<'_>) -> Outcome<Kernel> {
    let max = match cx.text_or("mode", "avg") {
        "avg" => false,
        "max" => true,
        other => return Err(format!("its mode {other:?} is not defined")),
    };
    let old = if cx.opset < 16 { "output_half_pixel" } else { "half_pixel" };
    let offset = match cx.text_or("coordinate_transformation_mode", old) {
        "half_pixel" => 0.5,
        "output_half_pixel" => 0.0,
        other => return Err(format!("its coordinate_transformation_mode {other:?} is not defined")),
    };
    let samples = usize::try_from(cx.int_or("sampling_ratio", 0)).ok().filter(|n| *n < 1 << 10);
    let op = Align {
        max,
        offset,
        out: [size(cx, "output_height")?, size(cx, "output_width")?],
        samples: samples.ok_or("its sampling_ratio is not valid")?,
        scale: cx.float_or("spatial_scale", 1.0),
    };
    Ok(Box::new(move |args: &mut Args<'_>, ws| {
        let ((x, shape), (rois, roi_shape)) = (args.f32(0)?, args.f32(1)?);
        let images = args.ints(2)?;
        let (&[n, c, h, w], &[regions, 4]) = (shape, roi_shape) else {
            return Err(format!("regions of shape {roi_shape:?} do not fit images of shape {shape:?}"));
        };
        if images.len() != regions || h * w == 0 {
            return Err(format!("{} numbers of images do not fit {regions} regions", images.len()));
        }
        let [oh, ow] = op.out;
        let to = [regions, c, oh, ow];
        let mut out = ws.floats(count(&to)?);
        let mut samples = Vec::new();
        for (r, image) in images.iter().enumerate() {
            let image = usize::try_from(*image).ok().filter(|i| *i < n);
            let image = image.ok_or_else(|| format!("region {r} is of an image that is not there"))?;
            let roi = &rois[r * 4..][..4];
            for y in 0..oh {
                for x_out in 0..ow {
                    op.samples(roi, [y, x_out], [h, w], &mut samples)?;
                    for channel in 0..c {
                        let plane = &x[(image * c + channel) * h * w..][..h * w];
                        out[((r * c + channel) * oh + y) * ow + x_out] = op.combined(&samples, plane);
                    }
                }
            }
        }
        Ok(results![Value::f32(&to, out)])
    }))
}

/// Four pixels around a place and their weights.
type Corners = [(usize, f32); 4];

impl Align {
    /// The samples of one bin.
    fn samples(&self, roi: &[f32], bin: [usize; 2], size: [usize; 2], all: &mut Vec<Corners>) -> Outcome<()> {
        all.clear();
        let mut axes = [Vec::new(), Vec::new()];
        for (a, axis) in axes.iter_mut().enumerate() {
            // Regions are x1, y1, x2, y2.
            let start = roi[1 - a] * self.scale - self.offset;
            let mut extent = roi[3 - a] * self.scale - self.offset - start;
            if self.offset == 0.0 {
                extent = extent.max(1.0);
            }
            let step = extent / self.out[a] as f32;
            let count = if self.samples > 0 { self.samples } else { step.ceil().max(0.0) as usize };
            if count > 1 << 11 {
                return Err(format!("a region of {extent} pixels is too large"));
            }
            let place = |i: usize| start + bin[a] as f32 * step + (i as f32 + 0.5) * step / count as f32;
            axis.extend((0..count).map(|i| around(place(i), size[a])));
        }
        let [rows, columns] = axes;
        for row in &rows {
            for column in &columns {
                all.push(match (row, column) {
                    (Some((y0, y1, ty)), Some((x0, x1, tx))) => [
                        (y0 * size[1] + x0, (1.0 - ty) * (1.0 - tx)),
                        (y0 * size[1] + x1, (1.0 - ty) * tx),
                        (y1 * size[1] + x0, ty * (1.0 - tx)),
                        (y1 * size[1] + x1, ty * tx),
                    ],
                    _ => [(0, 0.0); 4],
                });
            }
        }
        Ok(())
    }

    fn combined(&self, samples: &[Corners], plane: &[f32]) -> f32 {
        if self.max {
            // Of the weighted pixels, not of the samples: that is what ONNX Runtime does.
            let largest =
                |c: &Corners| c.iter().map(|(i, w)| w * plane[*i]).fold(f32::NEG_INFINITY, f32::max);
            return samples.iter().map(largest).reduce(f32::max).unwrap_or(0.0);
        }
        let sum = |c: &Corners| c.iter().map(|(i, w)| w * plane[*i]).sum::<f32>();
        samples.iter().map(sum).sum::<f32>() / samples.len().max(1) as f32
    }
}

/// The two pixels around a place and how far it is from the first; `None` outside.
fn around(place: f32, n: usize) -> Option<(usize, usize, f32)> {
    // NaN is outside too.
    if !(place >= -1.0 && place <= n as f32) {
        return None;
    }
    let place = place.max(0.0);
    let low = place as usize;
    if low + 1 >= n { Some((n - 1, n - 1, 0.0)) } else { Some((low, low + 1, place - low as f32)) }
}

fn max_pool(cx: Cx<'_>) -> Outcome<Kernel> {
    let out = cx.sizes("pooled_shape", 1)?;
    let Some(&[oh, ow]) = out.as_deref() else { return Err("its pooled_shape is not two sizes".into()) };
    let scale = cx.float_or("spatial_scale", 1.0);
    Ok(Box::new(move |args: &mut Args<'_>, ws| {
        let ((x, shape), (rois, roi_shape)) = (args.f32(0)?, args.f32(1)?);
        let (&[n, c, h, w], &[regions, 5]) = (shape, roi_shape) else {
            return Err(format!("regions of shape {roi_shape:?} do not fit images of shape {shape:?}"));
        };
        let to = [regions, c, oh, ow];
        let mut result = ws.floats(count(&to)?);
        for (r, roi) in rois.as_chunks::<5>().0.iter().enumerate() {
            if !(roi[0] >= 0.0 && roi[0] < n as f32) {
                return Err(format!("region {r} is of an image that is not there"));
            }
            let image = roi[0] as usize;
            // The pixels of each bin along an axis.
            let bins = |from: f32, to: f32, bins: usize, n: usize| -> Vec<std::ops::Range<usize>> {
                let start = (from * scale).round();
                let step = ((to * scale).round() - start + 1.0).max(1.0) / bins as f32;
                let clamp = |v: f32| (v + start).clamp(0.0, n as f32) as usize;
                let bin = |i: usize| clamp((i as f32 * step).floor())..clamp(((i + 1) as f32 * step).ceil());
                (0..bins).map(bin).collect()
            };
            let (rows, columns) = (bins(roi[2], roi[4], oh, h), bins(roi[1], roi[3], ow, w));
            for channel in 0..c {
                let plane = &x[(image * c + channel) * h * w..][..h * w];
                for (y, rows) in rows.iter().enumerate() {
                    for (x, columns) in columns.iter().enumerate() {
                        let pixels =
                            rows.clone().flat_map(|i| columns.clone().map(move |j| plane[i * w + j]));
                        result[((r * c + channel) * oh + y) * ow + x] =
                            pixels.reduce(f32::max).unwrap_or(0.0);
                    }
                }
            }
        }
        Ok(results![Value::f32(&to, result)])
    }))
}
