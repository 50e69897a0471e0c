//! Batch normalizations with nothing to fold into become convolutions.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Rule};

use super::affine::Affine;
use super::edit::Edit;
use super::layer::rounded;
use super::name;
use super::operand::{gone, shape};

/// Turns a BatchNormalization with constant parameters into a depthwise 1×1 Conv, which NPUs have. With
/// s = gamma / sqrt(var + epsilon), per channel c,
///
/// ```text
/// y = (x − mean)·s + beta     ⇒     y = conv(x, W[c] = s, b[c] = beta − mean·s, group = channels)
/// ```
///
/// for images (rank 4), signals (3) and volumes (5); in float64, rounded once to float32. The weight is called like the output
/// with `weights` behind, and the bias with `bias`.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchNormToConv;

impl Rule for BatchNormToConv {
    fn name(&self) -> &'static str {
        name::BATCH_NORM_TO_CONV
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        if !node.is("BatchNormalization") {
            return Outcome::NoMatch;
        }
        let mut edit = Edit::new(&model.graph);
        match conv(&mut edit, node) {
            Ok(conv) => {
                edit.patch.replace(id, conv);
                Outcome::rewrite(edit.patch, "it is a depthwise convolution now")
            }
            Err(reason) => Outcome::Refused(reason),
        }
    }

    fn ensures(&self, _: &Model, node: &Node) -> Result<(), String> {
        gone(node, "BatchNormalization")
    }
}

fn conv(edit: &mut Edit, node: &Node) -> Result<Node, String> {
    let graph: &Graph = edit.graph;
    let (Some(x), Some(y)) = (node.input(0), node.output(0)) else {
        return Err("its input or output is missing".into());
    };
    let rank = shape(graph, x).map(|dims| dims.len());
    let spatial = match rank {
        Some(rank @ 3..=5) => rank - 2,
        Some(rank) => return Err(format!("its input has rank {rank}, and a convolution needs 3 to 5")),
        None => return Err("the rank of its input is not known".into()),
    };
    let affine = Affine::of_batch_norm(graph, node)?;
    let channels = affine.channels();
    if channels == 0 {
        return Err("it has no channels".into());
    }
    let dims = [vec![channels, 1], vec![1; spatial]].concat();
    let weight = rounded(&dims, affine.scale.iter().copied())?;
    let bias = rounded(&[channels], (0..channels).map(|c| affine.shift(c, 0.0)))?;
    let weight = edit.constant(&format!("{y}weights"), weight);
    let bias = edit.constant(&format!("{y}bias"), bias);
    let group = i64::try_from(channels).map_err(|e| e.to_string())?;
    Ok(Node::new("Conv", &node.name, &[x, &weight, &bias], &[y])
        .with("group", group)
        .with("kernel_shape", vec![1i64; spatial])
        .with("strides", vec![1i64; spatial])
        .with("pads", vec![0i64; 2 * spatial]))
}
