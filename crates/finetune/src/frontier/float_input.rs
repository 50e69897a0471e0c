//! What a layer reads where it is tuned on the float model alone: the float model's value, on the grid that the quantized model has for it.

use shiftwise_graph::{Graph, Node, Tensor, Value};
use shiftwise_kernels::quantize::{Grid, fake_quantize};
use shiftwise_quant::{Direction, QuantType};

use super::Layer;

/// Operators that hand on values as they are, so that what comes out of them is on the grid of what goes in.
const PASSING: [&str; 9] = [
    "Identity",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Slice",
    "MaxPool",
    "DepthToSpace",
];

/// Q/DQ of a layer's input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FloatInput {
    /// One, or one for each index along the axis; none where the input is not quantized.
    grids: Vec<Grid>,
    axis: i64,
}

impl FloatInput {
    /// The Q/DQ of a layer's input in the quantized model.
    ///
    /// Fails, saying why, where it cannot be known without running the model.
    pub(crate) fn of(graph: &Graph, layer: &Layer) -> Result<Self, String> {
        let Some((node, passed)) = dequantizer(graph, &layer.input) else {
            return Ok(Self { grids: Vec::new(), axis: 0 });
        };
        let constant = |i: usize| node.input(i).map(|name| graph.constant(name));
        let scales = constant(1).flatten().and_then(Tensor::to_f32);
        let scales = scales.ok_or("the scale of its input is no constant")?;
        if let Some(scale) = scales.iter().find(|s| !(**s > 0.0 && s.is_finite())) {
            return Err(format!("the scale of its input is {scale}, which is not positive and finite"));
        }
        if node.int("block_size").unwrap_or(0) != 0 || (passed && scales.len() != 1) {
            return Err("the scales of its input are not one for each channel".into());
        }
        let zeros = constant(2).map(|zero| zero.ok_or("the zero point of its input is no constant"));
        let zeros = zeros.transpose()?;
        let dtype = match zeros {
            Some(zeros) => zeros.dtype(),
            None => QuantType::Uint8.data_type(),
        };
        let ty = QuantType::from_data_type(dtype).filter(|ty| *ty != QuantType::Int32);
        let ty = ty.ok_or_else(|| format!("its input is quantized to {dtype}"))?;
        if zeros.is_none() && quantizer_type(graph, node).is_some() {
            return Err("its input is quantized to a type that only QuantizeLinear names".into());
        }
        let zeros = zeros.and_then(Tensor::to_i64).unwrap_or_else(|| vec![0; scales.len()]);
        if zeros.len() != scales.len() || scales.is_empty() {
            return Err(format!("its input has {} scales and {} zero points", scales.len(), zeros.len()));
        }
        let (lo, hi) = ty.full_range();
        let grid = |(scale, zero): (&f32, &i64)| Grid {
            scale: *scale,
            zero_point: *zero as i32,
            qmin: lo as i32,
            qmax: hi as i32,
        };
        Ok(Self { grids: scales.iter().zip(&zeros).map(grid).collect(), axis: node.int("axis").unwrap_or(1) })
    }

    /// What the layer reads, from what it reads in the float model.
    ///
    /// Fails where there are not as many scales as the value has channels.
    pub(crate) fn apply(&self, value: Value) -> Result<Value, &'static str> {
        let Some(x) = value.as_f32().filter(|_| !self.grids.is_empty()) else { return Ok(value) };
        if let [grid] = self.grids[..] {
            return Ok(on_grid(&value, grid).unwrap_or(value));
        }
        let shape = value.shape();
        let mut out = vec![0.0; x.len()];
        let axis = if self.axis < 0 { self.axis + shape.len() as i64 } else { self.axis };
        let axis = usize::try_from(axis).ok().filter(|axis| shape.get(*axis) == Some(&self.grids.len()));
        let inner: usize =
            shape[axis.ok_or("its input has other channels than scales")? + 1..].iter().product();
        let rows = x.chunks(inner.max(1)).zip(out.chunks_mut(inner.max(1)));
        for ((x, out), grid) in rows.zip(self.grids.iter().cycle()) {
            fake_quantize(x, *grid, out);
        }
        Ok(Value::f32(shape, out))
    }
}

/// What Q/DQ make of a value; `None` where it is not float32.
pub(crate) fn on_grid(value: &Value, grid: Grid) -> Option<Value> {
    let x = value.as_f32()?;
    let mut out = vec![0.0; x.len()];
    fake_quantize(x, grid, &mut out);
    Some(Value::f32(value.shape(), out))
}

/// The DequantizeLinear behind a tensor, and whether there is anything between.
fn dequantizer<'g>(graph: &'g Graph, tensor: &'g str) -> Option<(&'g Node, bool)> {
    let (mut tensor, mut passed) = (tensor, false);
    loop {
        let (_, node) = graph.producer(tensor)?;
        if Direction::of(node) == Some(Direction::Dequantize) {
            return Some((node, passed));
        }
        let passes = node.domain.is_empty() && PASSING.contains(&node.op_type.as_str());
        tensor = node.input(0).filter(|_| passes)?;
        passed = true;
    }
}

/// The type that the QuantizeLinear before a DequantizeLinear names, which then needs no zero point.
fn quantizer_type(graph: &Graph, dequantizer: &Node) -> Option<i64> {
    let (_, node) = graph.producer(dequantizer.input(0)?)?;
    node.int("output_dtype").filter(|dtype| *dtype != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(scale: f32, zero_point: i32) -> Grid {
        Grid { scale, zero_point, qmin: 0, qmax: 255 }
    }

    #[test]
    fn each_channel_has_its_grid() {
        let input = FloatInput { grids: vec![grid(0.5, 0), grid(1.0, 2)], axis: -2 };
        let x = Value::f32(&[1, 2, 3], vec![0.3, 1.1, 200.0, -1.2, -9.0, 0.4]);
        let y = input.apply(x).unwrap();
        assert_eq!(y.shape(), [1, 2, 3]);
        assert_eq!(y.as_f32().unwrap(), [0.5, 1.0, 127.5, -1.0, -2.0, 0.0]);
        assert!(input.apply(Value::f32(&[3, 1], vec![0.0; 3])).is_err());
    }

    #[test]
    fn inputs_without_a_grid_stay() {
        let none = FloatInput { grids: Vec::new(), axis: 1 };
        assert_eq!(none.apply(Value::f32(&[1], vec![0.3])).unwrap().as_f32(), Some(&[0.3][..]));
    }
}
