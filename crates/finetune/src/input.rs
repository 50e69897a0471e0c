//! The scale of what a layer reads, chosen by what the layer makes of it.
//!
//! Calibration chooses the scale of a tensor by the error of its values, all of them alike. What a layer loses is another thing: channels
//! with large values may be multiplied by small weights, and the other way round. Here the error of the layer's output decides.

use rayon::prelude::*;
use shiftwise_graph::{Graph, Tensor, Value};
use shiftwise_kernels::quantize::Grid;
use shiftwise_quant::{Position, QParams};

use crate::constants::scale_like;
use crate::frontier::{Pair, Reading, on_grid};
use crate::limits::Limits;

/// How many positions coarser, and how many finer, are looked at.
const REACH: [i32; 2] = [2, 4];
/// A scale must lessen the error by this share to take the place of the one that calibration chose.
const GAIN: f64 = 0.02;

/// How a layer's input is quantized.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    reading: &'a Reading,
    params: QParams,
    /// Where the position was, and is.
    pub(crate) moved: Option<(Position, Position)>,
}

impl<'a> Input<'a> {
    /// As the model has it; `None` where the scale is no power of two of its own.
    pub(crate) fn of(reading: &'a Reading, limits: &Limits) -> Option<Self> {
        let position = limits.position(&reading.scale)?;
        let params = QParams { ty: reading.ty, scale: position.scale(), zero_point: reading.zero_point };
        Some(Self { reading, params, moved: None })
    }

    /// Moves to the position with the least error over samples, out of those that the limits allow. `trial` gives the error with what the layer then reads.
    ///
    /// # Errors
    /// Samples that give no error. Then nothing moves.
    pub(crate) fn choose(
        &mut self,
        limits: &Limits,
        samples: &[Pair],
        trial: impl Fn(&Self, &[Value]) -> Result<f64, String>,
    ) -> Result<(), String> {
        let Some(present) = self.params.position() else { return Ok(()) };
        let at = |position: Position| {
            let params = QParams { scale: position.scale(), ..self.params };
            Self { params, moved: (position != present).then_some((present, position)), ..*self }
        };
        let error = |input: &Self| {
            let read: Vec<Value> = samples.par_iter().map(|pair| input.quantized(&pair.x)).collect();
            trial(input, &read)
        };
        let (mut least, mut best) = (error(self)? * (1.0 - GAIN), *self);
        // Finer as long as that helps, or else coarser.
        for (direction, reach) in [(1, REACH[1]), (-1, REACH[0])] {
            for step in 1..=reach {
                let position = Position::new(present.get() + direction * step);
                if direction < 0 && best.moved.is_some_and(|(old, new)| new > old)
                    || !limits.allow(&[(&self.reading.scale, position)])
                {
                    break;
                }
                let other = at(position);
                let error = error(&other)?;
                if error >= least {
                    break;
                }
                (least, best) = (error, other);
            }
        }
        *self = best;
        Ok(())
    }

    /// What the layer reads for these values; what is not float32 stays, and is refused later.
    pub(crate) fn quantized(&self, x: &Value) -> Value {
        let QParams { ty, scale, zero_point } = self.params;
        let (lo, hi) = ty.full_range();
        let grid = Grid { scale, zero_point: zero_point as i32, qmin: lo as i32, qmax: hi as i32 };
        on_grid(x, grid).unwrap_or_else(|| x.clone())
    }

    /// The limits with this position.
    pub(crate) fn limits(&self, limits: &Limits) -> Limits {
        let mut limits = limits.clone();
        if let Some((_, new)) = self.moved {
            limits.set(&self.reading.scale, new);
        }
        limits
    }

    /// The scale for the model if it moved, by its name, and what the integers then mean.
    pub(crate) fn constant(&self, graph: &Graph) -> Option<(String, Tensor, QParams)> {
        self.moved?;
        let scale = scale_like(graph, &self.reading.scale, self.params.scale);
        Some((self.reading.scale.clone(), scale, self.params))
    }
}

#[cfg(test)]
mod tests {
    use shiftwise_graph::Builder;
    use shiftwise_quant::QuantType;

    use super::*;

    /// A MatMul behind Q/DQ at position 3.
    fn case() -> (Reading, Limits) {
        let model = Builder::new()
            .input("x", &[1, 2])
            .constant("s", Tensor::f32(&[], &[0.125]))
            .constant("z", Tensor::i8(&[], &[0]))
            .constant("w", Tensor::f32(&[2, 1], &[1.0, 1.0]))
            .node("QuantizeLinear", &["x", "s", "z"], &["q"])
            .node("DequantizeLinear", &["q", "s", "z"], &["d"])
            .node("MatMul", &["d", "w"], &["y"])
            .build(&[("y", &[1, 1])], 13);
        let reading = Reading {
            tensor: "x".into(),
            integers: "q".into(),
            scale: "s".into(),
            ty: QuantType::Int8,
            zero_point: 0,
            readers: 1,
        };
        (reading, Limits::of(&model))
    }

    /// Where the scale goes if the error is least at a position, and which positions were tried.
    fn chosen(least: i32) -> (Option<i32>, Vec<i32>) {
        let (reading, limits) = case();
        let mut input = Input::of(&reading, &limits).unwrap();
        let tried = std::sync::Mutex::new(Vec::new());
        let error = |input: &Input<'_>, _: &[Value]| {
            let at = input.params.position().unwrap().get();
            tried.lock().unwrap().push(at);
            Ok(1.0 + f64::from((at - least).pow(2)))
        };
        input.choose(&limits, &[], error).unwrap();
        (input.moved.map(|(_, new)| new.get()), tried.into_inner().unwrap())
    }

    #[test]
    fn the_scale_follows_the_error_in_both_directions() {
        assert_eq!(chosen(3), (None, vec![3, 4, 2]));
        assert_eq!(chosen(5), (Some(5), vec![3, 4, 5, 6]));
        assert_eq!(chosen(2), (Some(2), vec![3, 4, 2, 1]));
        // Not farther than it may go.
        assert_eq!(chosen(20).0, Some(7));
        assert_eq!(chosen(-9).0, Some(1));
    }

    #[test]
    fn values_are_quantized_as_the_model_does() {
        let (reading, limits) = case();
        let input = Input::of(&reading, &limits).unwrap();
        let x = Value::f32(&[1, 4], vec![0.3, -0.06, 100.0, -100.0]);
        assert_eq!(input.quantized(&x).as_f32(), Some(&[0.25, 0.0, 15.875, -16.0][..]));
    }
}
