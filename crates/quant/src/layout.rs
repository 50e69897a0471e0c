//! Which input and output channel each element of a weight belongs to.

use shiftwise_graph::Node;

/// The shape of a weight as channels: elements in file order, each with the channel of the operator's input that it
/// multiplies and the channel of the output that it adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightLayout {
    kind: Kind,
    outer: usize,
    inner: usize,
    taps: usize,
    groups: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `[out, in / groups, taps…]`
    OutIn,
    /// `[in, out / groups, taps…]`
    InOut,
}

impl WeightLayout {
    /// The layout of the weight (second input) of Conv, ConvTranspose, Gemm or a MatMul with a matrix; `None` for other
    /// operators, or dimensions that do not fit.
    pub fn of(node: &Node, dims: &[usize]) -> Option<Self> {
        let groups = usize::try_from(node.int("group").unwrap_or(1)).ok().filter(|g| *g > 0)?;
        let (kind, groups) = match node.op_type.as_str() {
            "Conv" if dims.len() >= 3 && dims[0].is_multiple_of(groups) => (Kind::OutIn, groups),
            "ConvTranspose" if dims.len() >= 3 && dims[0].is_multiple_of(groups) => (Kind::InOut, groups),
            "Gemm" if dims.len() == 2 && node.int("transA").unwrap_or(0) == 0 => {
                (if node.int("transB").unwrap_or(0) != 0 { Kind::OutIn } else { Kind::InOut }, 1)
            }
            "MatMul" if dims.len() == 2 => (Kind::InOut, 1),
            _ => return None,
        };
        Some(Self { kind, outer: dims[0], inner: dims[1], taps: dims[2..].iter().product(), groups })
    }

    /// Number of channels of the operator's input.
    pub fn inputs(&self) -> usize {
        match self.kind {
            Kind::OutIn => self.inner * self.groups,
            Kind::InOut => self.outer,
        }
    }

    /// Number of channels of the operator's output.
    pub fn outputs(&self) -> usize {
        match self.kind {
            Kind::OutIn => self.outer,
            Kind::InOut => self.inner * self.groups,
        }
    }

    /// Number of groups; channels of one do not see those of others.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Elements that belong to one pair of channels: consecutive in memory.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// Runs of [`WeightLayout::taps`] elements in file order, as (input channel, output channel).
    pub fn runs(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.outer * self.inner).map(move |i| {
            let (outer, inner) = (i / self.inner, i % self.inner);
            let group = outer / (self.outer / self.groups).max(1);
            let other = group * self.inner + inner;
            match self.kind {
                Kind::OutIn => (other, outer),
                Kind::InOut => (outer, other),
            }
        })
    }
}

/// The axis of the operator's first input that holds its channels: the second, except for MatMul, whose is the last.
pub fn input_channel_axis(node: &Node, rank: usize) -> Option<usize> {
    if node.is("MatMul") { rank.checked_sub(1) } else { (rank >= 2).then_some(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depthwise_weights_pair_each_channel_with_itself() {
        let node = Node::new("Conv", "c", &["x", "w"], &["y"]).with("group", 3);
        let layout = WeightLayout::of(&node, &[3, 1, 3, 3]).unwrap();
        assert_eq!(layout.runs().collect::<Vec<_>>(), [(0, 0), (1, 1), (2, 2)]);
        assert_eq!((layout.inputs(), layout.outputs(), layout.taps()), (3, 3, 9));
    }

    #[test]
    fn grouped_and_transposed_weights() {
        let conv = Node::new("Conv", "c", &["x", "w"], &["y"]).with("group", 2);
        let layout = WeightLayout::of(&conv, &[4, 2, 1]).unwrap();
        assert_eq!(
            layout.runs().collect::<Vec<_>>(),
            [(0, 0), (1, 0), (0, 1), (1, 1), (2, 2), (3, 2), (2, 3), (3, 3)]
        );
        let transposed = Node::new("ConvTranspose", "t", &["x", "w"], &["y"]).with("group", 2);
        let layout = WeightLayout::of(&transposed, &[2, 3, 1]).unwrap();
        assert_eq!(layout.runs().collect::<Vec<_>>(), [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5)]);
        let gemm = Node::new("Gemm", "g", &["x", "w"], &["y"]);
        assert_eq!(WeightLayout::of(&gemm, &[2, 2]).unwrap().runs().nth(1), Some((0, 1)));
    }
}
