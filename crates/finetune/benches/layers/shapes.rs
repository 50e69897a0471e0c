//! The layers of models.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use shiftwise_finetune::layer::{Op, Window};
use shiftwise_graph::{Model, Node, fix_dims, infer_shapes};

pub(crate) const MODELS: [&str; 3] = ["resnet50", "mobilenet_v2", "squeezenet1_1"];

/// A convolution of square images with square kernels, or a matrix product: one with images of one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) channels: usize,
    pub(crate) size: usize,
    pub(crate) outputs: usize,
    pub(crate) groups: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
}

impl Shape {
    /// Inputs of an output.
    pub(crate) fn inputs(&self) -> usize {
        self.channels / self.groups * self.kernel * self.kernel
    }

    /// Size of the output.
    pub(crate) fn out(&self) -> usize {
        (self.size + 2 * self.pad - self.kernel) / self.stride + 1
    }

    pub(crate) fn op(&self) -> Op {
        Op::Conv(Window {
            groups: self.groups,
            kernel: [self.kernel; 2],
            stride: [self.stride; 2],
            dilation: [1, 1],
            pads: [self.pad; 4],
        })
    }

    pub(crate) fn x_dims(&self) -> [usize; 4] {
        [1, self.channels, self.size, self.size]
    }

    pub(crate) fn weight_dims(&self) -> [usize; 4] {
        [self.outputs, self.channels / self.groups, self.kernel, self.kernel]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channels, size, outputs, groups, kernel, stride, .. } = self;
        write!(f, "{channels:4}x{size:<3} to {outputs:4} k{kernel} s{stride} g{groups}")
    }
}

/// The different layers of a model, and how often each is there; `None` where there is no such model.
pub(crate) fn of(model: &str) -> Option<Vec<(Shape, usize)>> {
    let all = if model == "resnet50" { resnet50() } else { read(model)? };
    let mut found: Vec<(Shape, usize)> = Vec::new();
    for shape in all {
        match found.iter_mut().find(|(other, _)| *other == shape) {
            Some((_, times)) => *times += 1,
            None => found.push((shape, 1)),
        }
    }
    Some(found)
}

fn resnet50() -> Vec<Shape> {
    let conv = |channels, size, outputs, kernel, stride| Shape {
        channels,
        size,
        outputs,
        groups: 1,
        kernel,
        stride,
        pad: kernel / 2,
    };
    let mut layers = vec![conv(3, 224, 64, 7, 2)];
    let (mut channels, mut size) = (64, 56);
    for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
        let inner = 64 << stage;
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            layers.push(conv(channels, size, inner, 1, 1));
            layers.push(conv(inner, size, inner, 3, stride));
            layers.push(conv(inner, size / stride, 4 * inner, 1, 1));
            if block == 0 {
                layers.push(conv(channels, size, 4 * inner, 1, stride));
            }
            (channels, size) = (4 * inner, size / stride);
        }
    }
    layers.push(conv(channels, 1, 1000, 1, 1));
    layers
}

/// The layers of a model file, on images of the size that it is made for.
fn read(name: &str) -> Option<Vec<Shape>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let data = std::env::var_os("SHIFTWISE_TEST_DATA").map_or_else(beside, PathBuf::from);
    let path = data.join("models").join(name).with_extension("onnx");
    let mut model = path.is_file().then(|| Model::load(&path).expect("a model"))?;
    fix_dims(&mut model, &BTreeMap::from([("N".into(), 1)])).expect("an open batch");
    infer_shapes(&mut model);
    let dims = |name: &str| model.graph.tensor_type(name)?.fixed_dims();
    let shape = |node: &Node| {
        let (x, w) = (dims(node.input(0)?)?, model.graph.constant(node.input(1)?)?.dims());
        let one = |name: &str| node.ints(name).map(|v| v[0] as usize);
        match node.op_type.as_str() {
            "Conv" => Some(Shape {
                channels: x[1],
                size: x[2],
                outputs: w[0],
                groups: x[1] / w[1],
                kernel: w[2],
                stride: one("strides").unwrap_or(1),
                pad: one("pads").unwrap_or(0),
            }),
            "Gemm" | "MatMul" => {
                let channels = *x.last()?;
                let outputs = w.iter().product::<usize>() / channels;
                Some(Shape { channels, size: 1, outputs, groups: 1, kernel: 1, stride: 1, pad: 0 })
            }
            _ => None,
        }
    };
    Some(model.graph.nodes().filter_map(|(_, node)| shape(node)).collect())
}
