//! A layer with weights, channel by channel.

use shiftwise_graph::{DataType, Graph, Node, Tensor};

use super::affine::Affine;

/// Which output channel an element of the weights belongs to: the element at `i` to
/// `i / (rows·inner) · columns + i / inner % columns`, where `rows` input channels of one group share `columns` outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    rows: usize,
    columns: usize,
    inner: usize,
}

impl Layout {
    fn channel(self, element: usize) -> usize {
        let (group, column) =
            (element / self.inner / self.columns / self.rows, element / self.inner % self.columns);
        group * self.columns + column
    }
}

/// The constants of a Conv, ConvTranspose or Gemm, in float64.
pub(super) struct Layer<'a> {
    weight: &'a Tensor,
    values: Vec<f64>,
    layout: Layout,
    /// One for each channel, with the factor of Gemm in it.
    bias: Vec<f64>,
}

/// What the constants become.
pub(super) struct Folded {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
}

impl<'a> Layer<'a> {
    /// Reads a layer that has this many output channels.
    ///
    /// Fails where weight or bias are not constant, or do not have that many channels.
    pub(super) fn of(graph: &'a Graph, node: &Node, channels: usize) -> Result<Self, String> {
        let constant = |input: usize, what: &str| {
            let Some(name) = node.input(input) else { return Ok(None) };
            graph.initializer(name).map(Some).ok_or_else(|| format!("its {what} {name:?} is not constant"))
        };
        let weight = constant(1, "weight")?.ok_or("its weight is missing")?;
        let values = floats(weight).map_err(|reason| format!("its weight {reason}"))?;
        let layout = layout(node, weight.dims(), channels)?;
        let bias = match constant(2, "bias")? {
            None => vec![0.0; channels],
            Some(tensor) => bias(node, tensor, channels)?,
        };
        Ok(Self { weight, values, layout, bias })
    }

    /// The constants with the normalization in them.
    ///
    /// Fails where one is too large for float32.
    pub(super) fn fold(self, affine: &Affine) -> Result<Folded, String> {
        let scaled = self.values.iter().enumerate().map(|(i, w)| w * affine.scale[self.layout.channel(i)]);
        let shifted = self.bias.iter().enumerate().map(|(c, b)| affine.shift(c, *b));
        Ok(Folded {
            weight: rounded(self.weight.dims(), scaled)?,
            bias: rounded(&[self.bias.len()], shifted)?,
        })
    }
}

fn layout(node: &Node, dims: &[usize], channels: usize) -> Result<Layout, String> {
    let wrong =
        || format!("its weight of shape {dims:?} does not have the {channels} channels that are normalized");
    let group = usize::try_from(node.int("group").unwrap_or(1))
        .ok()
        .filter(|g| *g > 0)
        .ok_or("its group is invalid")?;
    let (found, layout) = match (node.op_type.as_str(), dims) {
        // [out, in / group, kernel…]
        ("Conv", [out, rest @ ..]) => (*out, Layout { rows: 1, columns: *out, inner: rest.iter().product() }),
        // [in, out / group, kernel…]
        ("ConvTranspose", [input, out, rest @ ..]) => {
            let found = out.checked_mul(group).ok_or_else(wrong)?;
            if !input.is_multiple_of(group) {
                return Err(format!("its {input} input channels do not divide into {group} groups"));
            }
            (found, Layout { rows: input / group, columns: *out, inner: rest.iter().product() })
        }
        ("Gemm", [out, inner]) if node.int("transB").unwrap_or(0) != 0 => {
            (*out, Layout { rows: 1, columns: *out, inner: *inner })
        }
        ("Gemm", [rows, out]) => (*out, Layout { rows: *rows, columns: *out, inner: 1 }),
        _ => return Err(wrong()),
    };
    if found != channels || dims.contains(&0) {
        return Err(wrong());
    }
    Ok(layout)
}

/// One number for each channel. Gemm takes biases that broadcast, and a factor for them.
fn bias(node: &Node, tensor: &Tensor, channels: usize) -> Result<Vec<f64>, String> {
    let values = floats(tensor).map_err(|reason| format!("its bias {reason}"))?;
    let wrong =
        || format!("its bias of shape {:?} is not one number for each of {channels} channels", tensor.dims());
    if !node.is("Gemm") {
        return if tensor.dims() == [channels] { Ok(values) } else { Err(wrong()) };
    }
    let factor = f64::from(node.float("beta").unwrap_or(1.0));
    let leading: usize = tensor.dims().iter().rev().skip(1).product();
    match values.as_slice() {
        [one] => Ok(vec![one * factor; channels]),
        many if leading == 1 && many.len() == channels => Ok(many.iter().map(|b| b * factor).collect()),
        _ => Err(wrong()),
    }
}

/// The elements of a float32 tensor, exactly. Others are refused: folding into 16-bit weights would round them again, by
/// far more than the result may change.
pub(super) fn floats(tensor: &Tensor) -> Result<Vec<f64>, String> {
    if tensor.dtype() != DataType::Float {
        return Err(format!("is {}, not float32: convert the model to float32 first", tensor.dtype()));
    }
    let values = tensor.to_f32().ok_or("has no numbers")?;
    Ok(values.into_iter().map(f64::from).collect())
}

/// A float32 tensor of these numbers, each rounded to nearest.
fn rounded(dims: &[usize], values: impl Iterator<Item = f64>) -> Result<Tensor, String> {
    let mut floats = Vec::new();
    for exact in values {
        let value = exact as f32;
        if !value.is_finite() {
            return Err(format!("a folded constant would be {exact:e}, which float32 cannot hold"));
        }
        floats.push(value);
    }
    Ok(Tensor::f32(dims, &floats))
}
