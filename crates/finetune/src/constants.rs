//! Integers as a model stores them, and how new ones take their place.

use shiftwise_graph::{Graph, Tensor};
use shiftwise_quant::{Position, QParams, QuantType};

use crate::frontier::QuantizedConstant;
use crate::least_squares::Scales;
use crate::limits::Limits;
use crate::tuned::Constant;

/// How far the position of a bias may move.
const BIAS_REACH: i32 = 12;

/// A constant as the model has it.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) q: Vec<i32>,
    pub(crate) scales: Scales,
    pub(crate) ty: QuantType,
    pub(crate) dims: Vec<usize>,
}

impl Stored {
    pub(crate) fn of(graph: &Graph, constant: &QuantizedConstant, channels: usize) -> Result<Self, String> {
        let find = |name: &str| graph.constant(name).ok_or_else(|| format!("{name:?} is no constant"));
        let integers = find(&constant.integers)?;
        let ty = QuantType::from_data_type(integers.dtype())
            .ok_or_else(|| format!("{:?} has elements of type {}", constant.integers, integers.dtype()))?;
        let zero = constant.zero_point.as_deref().map(find).transpose()?.and_then(Tensor::to_i64);
        if zero.is_some_and(|zeros| zeros.iter().any(|z| *z != 0)) {
            return Err(format!("{:?} has a zero point other than 0", constant.integers));
        }
        let scales = find(&constant.scale)?.to_f32().unwrap_or_default();
        if let Some(scale) = scales.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
            return Err(format!(
                "{:?} has the scale {scale}, which is not positive and finite",
                constant.scale
            ));
        }
        let scales = match scales[..] {
            [scale] => Scales::Single(scale),
            _ if scales.len() == channels => Scales::PerOutput(scales),
            _ => return Err(format!("{:?} has {} scales", constant.integers, scales.len())),
        };
        Ok(Self { q: Self::integers_of(integers), scales, ty, dims: integers.dims().to_vec() })
    }

    pub(crate) fn integers_of(tensor: &Tensor) -> Vec<i32> {
        let q = tensor.to_i64().unwrap_or_default();
        q.into_iter().map(|q| i32::try_from(q).unwrap_or(i32::MAX)).collect()
    }

    pub(crate) fn values(&self) -> Vec<f64> {
        self.q.iter().enumerate().map(|(i, q)| f64::from(*q) * f64::from(self.scales.of(i))).collect()
    }
}

/// The bias as integers, and what they stand for. Its position is the one with the least squared error of those that the limits allow.
pub(crate) fn bias_constant(
    graph: &Graph,
    constant: &QuantizedConstant,
    old: &Stored,
    wanted: &[f32],
    weights_at: Option<(&str, Position)>,
    limits: &Limits,
) -> Result<(Constant, Vec<f64>), String> {
    let (lo, hi) = old.ty.symmetric_range();
    let mut scales = old.scales.clone();
    let mut new_scale = None;
    if let (Scales::Single(_), Some(position)) = (&old.scales, limits.position(&constant.scale)) {
        let mut best: Option<(f64, Position)> = None;
        for candidate in around(position) {
            let moves = [Some((constant.scale.as_str(), candidate)), weights_at];
            let moves: Vec<_> = moves.into_iter().flatten().collect();
            if !limits.allow(&moves) {
                continue;
            }
            let params = QParams { ty: old.ty, scale: candidate.scale(), zero_point: 0 };
            let error = wanted.iter().map(|b| f64::from(b - params.fake(*b)).powi(2)).sum();
            if best.is_none_or(|(least, _)| error < least) {
                best = Some((error, candidate));
            }
        }
        let (_, best) = best.ok_or("no position of its bias keeps the limits of the NPU")?;
        scales = Scales::Single(best.scale());
        new_scale = (best != position).then(|| best.scale());
    }
    let q: Vec<i32> = wanted
        .iter()
        .enumerate()
        .map(|(i, b)| {
            let q = (f64::from(*b) / f64::from(scales.of(i))).round_ties_even();
            q.clamp(lo as f64, hi as f64) as i32
        })
        .collect();
    let values = q.iter().enumerate().map(|(i, q)| f64::from(*q) * f64::from(scales.of(i))).collect();
    let tensor = integers(old.ty, &old.dims, &q)?;
    let params = QParams { ty: old.ty, scale: scales.of(0), zero_point: 0 };
    let scale = (constant.scale.clone(), new_scale.map(|scale| scale_like(graph, &constant.scale, scale)));
    Ok((Constant { integers: constant.integers.clone(), params, scale, tensor }, values))
}

/// Positions that a bias may move to, coarsest first.
pub(crate) fn around(position: Position) -> impl Iterator<Item = Position> {
    (position.get() - BIAS_REACH..=position.get() + BIAS_REACH).map(Position::new)
}

/// A scale in the shape that the model has it.
pub(crate) fn scale_like(graph: &Graph, name: &str, scale: f32) -> Tensor {
    let dims = graph.constant(name).map(|t| t.dims().to_vec()).unwrap_or_default();
    Tensor::f32(&dims, &[scale])
}

pub(crate) fn integers(ty: QuantType, dims: &[usize], q: &[i32]) -> Result<Tensor, String> {
    let bytes: Vec<u8> = match ty {
        QuantType::Int8 | QuantType::Uint8 => q.iter().map(|q| *q as u8).collect(),
        QuantType::Int16 | QuantType::Uint16 => q.iter().flat_map(|q| (*q as u16).to_le_bytes()).collect(),
        QuantType::Int32 => q.iter().flat_map(|q| q.to_le_bytes()).collect(),
    };
    Tensor::from_raw(ty.data_type(), dims.to_vec(), bytes.into()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use shiftwise_graph::Builder;

    fn stored(scale: Tensor, zero: i8) -> Result<Stored, String> {
        let model = Builder::new()
            .constant("q", Tensor::i8(&[2, 2], &[1, 2, 3, 4]))
            .constant("s", scale)
            .constant("z", Tensor::i8(&[], &[zero]))
            .build(&[], 13);
        let constant = QuantizedConstant {
            integers: "q".into(),
            scale: "s".into(),
            zero_point: Some("z".into()),
            axis: 0,
        };
        Stored::of(&model.graph, &constant, 2)
    }

    #[test]
    fn constants_that_cannot_be_chosen_are_refused_with_a_reason() {
        assert!(stored(Tensor::f32(&[], &[0.5]), 0).is_ok());
        assert!(stored(Tensor::f32(&[2], &[0.5, 0.25]), 0).is_ok());
        for (scale, zero, says) in [
            (Tensor::f32(&[], &[0.0]), 0, "not positive"),
            (Tensor::f32(&[2], &[0.5, f32::NAN]), 0, "not positive"),
            (Tensor::f32(&[], &[-1.0]), 0, "not positive"),
            (Tensor::f32(&[3], &[0.5; 3]), 0, "3 scales"),
            (Tensor::f32(&[], &[0.5]), 7, "zero point"),
        ] {
            let reason = stored(scale, zero).err().unwrap();
            assert!(reason.contains(says), "{reason}");
        }
    }
}
