//! Layers with constant weights, element by element.

use shiftwise_graph::{DataType, Graph, Node, NodeId, Tensor};

use super::affine::Affine;
use super::edit::Edit;

/// Operators that have weights as their second input.
const OPS: [&str; 4] = ["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// Whether constants can be folded into the weights of a node.
pub(super) fn is_layer(node: &Node) -> bool {
    OPS.iter().any(|op| node.is(op))
}

/// Which channels an element of the weights belongs to. Weights are [first, second, inner…]: of Conv [out, in / group, kernel…],
/// of ConvTranspose [in, out / group, kernel…]; products are convolutions without a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Whether the first axis is that of inputs.
    input_first: bool,
    first: usize,
    second: usize,
    inner: usize,
    group: usize,
}

impl Layout {
    fn of(node: &Node, dims: &[usize]) -> Result<Self, String> {
        let group = usize::try_from(node.int("group").unwrap_or(1)).ok().filter(|g| *g > 0);
        let group = group.ok_or("its group is invalid")?;
        let of_matrix = |input_first, first: &usize, second: &usize| Self {
            input_first,
            first: *first,
            second: *second,
            inner: 1,
            group: 1,
        };
        let layout = match (node.op_type.as_str(), dims) {
            (op @ ("Conv" | "ConvTranspose"), [first, second, rest @ ..]) => Self {
                input_first: op == "ConvTranspose",
                first: *first,
                second: *second,
                inner: rest.iter().product(),
                group,
            },
            ("Gemm", [out, input]) if node.int("transB").unwrap_or(0) != 0 => of_matrix(false, out, input),
            ("Gemm" | "MatMul", [input, out]) => of_matrix(true, input, out),
            _ => return Err(format!("its weight has the shape {dims:?}")),
        };
        if dims.contains(&0) {
            return Err(format!("its weight of shape {dims:?} is empty"));
        }
        if !layout.first.is_multiple_of(layout.group) || layout.second.checked_mul(layout.group).is_none() {
            return Err(format!("its {} channels do not divide into {} groups", layout.first, layout.group));
        }
        Ok(layout)
    }

    fn outputs(self) -> usize {
        if self.input_first { self.second * self.group } else { self.first }
    }

    fn inputs(self) -> usize {
        if self.input_first { self.first } else { self.second * self.group }
    }

    fn output(self, element: usize) -> usize {
        if self.input_first { self.grouped(element) } else { self.plain(element) }
    }

    fn input(self, element: usize) -> usize {
        if self.input_first { self.plain(element) } else { self.grouped(element) }
    }

    /// The channel along the first axis.
    fn plain(self, element: usize) -> usize {
        element / self.inner / self.second
    }

    /// The channel along the second axis, which has those of one group.
    fn grouped(self, element: usize) -> usize {
        let group = self.plain(element) / (self.first / self.group);
        group * self.second + element / self.inner % self.second
    }
}

/// How many output channels a layer has.
///
/// Fails where its weight is not constant.
pub(super) fn output_channels(graph: &Graph, node: &Node) -> Result<usize, String> {
    Ok(Layer::read(graph, node)?.layout.outputs())
}

/// How many input channels a layer has.
///
/// Fails where its weight is not constant.
pub(super) fn input_channels(graph: &Graph, node: &Node) -> Result<usize, String> {
    Ok(Layer::read(graph, node)?.layout.inputs())
}

/// Lets a layer do what is done to its output. Per output channel c,
///
/// ```text
/// y = s·(x − m) + t,   x = W·u + b     ⇒     y = (s·W)·u + ((b − m)·s + t)
/// ```
///
/// in float64, rounded once to float32. A layer without bias gets one where that is not 0.
///
/// Fails where the constants are not there, not float32, do not have these channels, or would overflow, and where a MatMul would need a bias.
pub(super) fn fold_after(edit: &mut Edit, id: NodeId, node: &Node, affine: &Affine) -> Result<(), String> {
    let layer = Layer::read(edit.graph, node)?;
    layer.expect(layer.layout.outputs(), affine)?;
    let bias = layer.bias(edit.graph)?;
    let weight = (!affine.keeps_scale()).then(|| layer.scaled(|e| affine.scale[layer.layout.output(e)]));
    let shifted = bias.iter().enumerate().map(|(c, b)| affine.shift(c, *b)).collect();
    layer.write(edit, id, weight.transpose()?, shifted)
}

/// Lets a layer do what is done to its input. With W₀ the weights of output channel o, and a the factor of a Gemm,
///
/// ```text
/// y = W·(s·x + t) + b     ⇒     y = (W·s)·x + (b + a·Σ W₀·t)
/// ```
///
/// in float64, rounded once to float32. The shift holds only where no zeros are padded between it and the weights.
///
/// Fails as [`fold_after`], and where there is padding, or the layer reads its input transposed.
pub(super) fn fold_before(edit: &mut Edit, id: NodeId, node: &Node, affine: &Affine) -> Result<(), String> {
    let layer = Layer::read(edit.graph, node)?;
    layer.expect(layer.layout.inputs(), affine)?;
    if node.int("transA").unwrap_or(0) != 0 {
        return Err("it reads its input transposed".into());
    }
    let mut bias = layer.bias(edit.graph)?;
    if !affine.keeps_zero() {
        if node.is("ConvTranspose") || is_padded(node) {
            return Err("it pads with zeros, which would have to be shifted too".into());
        }
        let factor = f64::from(node.float("alpha").unwrap_or(1.0));
        for (e, w) in layer.values()?.iter().enumerate() {
            bias[layer.layout.output(e)] += factor * w * affine.shift(layer.layout.input(e), 0.0);
        }
    }
    let weight = (!affine.keeps_scale()).then(|| layer.scaled(|e| affine.scale[layer.layout.input(e)]));
    layer.write(edit, id, weight.transpose()?, bias)
}

fn is_padded(node: &Node) -> bool {
    let automatic = !matches!(node.text("auto_pad"), None | Some("NOTSET" | "VALID"));
    let explicit = node.text("auto_pad") != Some("VALID")
        && node.ints("pads").is_some_and(|p| p.iter().any(|n| *n != 0));
    automatic || explicit
}

/// A layer whose weight is constant.
struct Layer<'a> {
    node: &'a Node,
    weight: &'a Tensor,
    layout: Layout,
}

impl<'a> Layer<'a> {
    fn read(graph: &'a Graph, node: &'a Node) -> Result<Self, String> {
        let name = node.input(1).ok_or("its weight is missing")?;
        let weight = graph.initializer(name).ok_or_else(|| format!("its weight {name:?} is not constant"))?;
        if node.input(0) == Some(name) || node.input(2) == Some(name) {
            return Err("its weight is its input or its bias, too".into());
        }
        Ok(Self { node, weight, layout: Layout::of(node, weight.dims())? })
    }

    fn expect(&self, channels: usize, affine: &Affine) -> Result<(), String> {
        if channels == affine.channels() {
            return Ok(());
        }
        let (dims, wanted) = (self.weight.dims(), affine.channels());
        Err(format!("its weight of shape {dims:?} does not have {wanted} channels"))
    }

    fn values(&self) -> Result<Vec<f64>, String> {
        floats(self.weight).map_err(|reason| format!("its weight {reason}"))
    }

    fn scaled(&self, factor: impl Fn(usize) -> f64) -> Result<Tensor, String> {
        let values = self.values()?;
        rounded(self.weight.dims(), values.iter().enumerate().map(|(e, w)| w * factor(e)))
    }

    /// One number for each output channel, with the factor of Gemm in it. Gemm takes biases that broadcast.
    fn bias(&self, graph: &Graph) -> Result<Vec<f64>, String> {
        let channels = self.layout.outputs();
        // Weights that stay are refused too where they are not float32: their bias would be rounded.
        is_float32(self.weight).map_err(|reason| format!("its weight {reason}"))?;
        let Some(name) = self.node.input(2) else { return Ok(vec![0.0; channels]) };
        let tensor = graph.initializer(name).ok_or_else(|| format!("its bias {name:?} is not constant"))?;
        let values = floats(tensor).map_err(|reason| format!("its bias {reason}"))?;
        let wrong = || {
            format!("its bias of shape {:?} is not one number for each of {channels} channels", tensor.dims())
        };
        if !self.node.is("Gemm") {
            return if tensor.dims() == [channels] { Ok(values) } else { Err(wrong()) };
        }
        let factor = f64::from(self.node.float("beta").unwrap_or(1.0));
        let leading: usize = tensor.dims().iter().rev().skip(1).product();
        match values.as_slice() {
            [one] => Ok(vec![one * factor; channels]),
            many if leading == 1 && many.len() == channels => Ok(many.iter().map(|b| b * factor).collect()),
            _ => Err(wrong()),
        }
    }

    fn write(
        self,
        edit: &mut Edit,
        id: NodeId,
        weight: Option<Tensor>,
        bias: Vec<f64>,
    ) -> Result<(), String> {
        let name = self.node.input(1).unwrap_or_default();
        let old = self.node.input(2);
        let needed = old.is_some() || bias.iter().any(|b| *b != 0.0);
        let bias = rounded(&[bias.len()], bias.into_iter())?;
        if self.node.is("MatMul") && needed {
            return Err("a product of matrices has no bias, which this would need".into());
        }
        if let Some(weight) = weight {
            edit.put(id, 1, name, weight);
        }
        if let Some(old) = old {
            edit.put(id, 2, old, bias);
        } else if needed {
            let bias = edit.constant(&bias_name(name), bias);
            edit.patch.set_input(id, 2, bias);
        }
        if self.node.is("Gemm") {
            // It is in the bias now; the attribute's default is 1.
            edit.patch.remove_attribute(id, "beta");
        }
        Ok(())
    }
}

/// `conv1.weight` has the bias `conv1.bias`.
fn bias_name(weight: &str) -> String {
    let stem = ["weight", "kernel"].iter().find_map(|end| weight.strip_suffix(end));
    stem.map_or_else(|| format!("{weight}_bias"), |stem| format!("{stem}bias"))
}

/// Others are refused: folding into 16-bit weights would round them again, by far more than the result may change.
fn is_float32(tensor: &Tensor) -> Result<(), String> {
    if tensor.dtype() == DataType::Float {
        return Ok(());
    }
    Err(format!("is {}, not float32: convert the model to float32 first", tensor.dtype()))
}

/// The elements of a float32 tensor, exactly.
pub(super) fn floats(tensor: &Tensor) -> Result<Vec<f64>, String> {
    is_float32(tensor)?;
    let values = tensor.to_f32().ok_or("has no numbers")?;
    Ok(values.into_iter().map(f64::from).collect())
}

/// A float32 tensor of these numbers, each rounded to nearest.
pub(super) fn rounded(dims: &[usize], values: impl Iterator<Item = f64>) -> Result<Tensor, String> {
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
