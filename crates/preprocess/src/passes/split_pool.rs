//! Poolings over many positions become two.

use shiftwise_graph::{Graph, Model, Node, NodeId, Outcome, Patch, Rule};

use super::edit::Edit;
use super::name;
use super::operand::shape;

/// The most positions that a pooling of an NPU takes.
const MOST: usize = 512;

/// Splits a GlobalAveragePool over more than 512 positions in two. With f the largest divisor of each extent d that is at most √d,
///
/// ```text
/// y = globalaveragepool(x)     ⇒     y = globalaveragepool(averagepool(x, kernel = strides = f))
/// ```
///
/// as the mean of means over parts of the same size is the mean. The tensor between is called like the input with `_Split` behind.
/// Where one of both poolings would still have more than 512 positions, the one that is there stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct SplitPool;

impl Rule for SplitPool {
    fn name(&self) -> &'static str {
        name::SPLIT_POOL
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let (Some(x), true) = (node.input(0), node.is("GlobalAveragePool")) else { return Outcome::NoMatch };
        match kernel(graph, x) {
            Ok(None) => Outcome::NoMatch,
            Ok(Some(kernel)) => {
                Outcome::rewrite(split(graph, id, x, &kernel), format!("first by {kernel:?}"))
            }
            Err(reason) => Outcome::Refused(reason),
        }
    }
}

/// The kernel of the first pooling; `None` where one pooling is enough.
fn kernel(graph: &Graph, x: &str) -> Result<Option<Vec<i64>>, String> {
    let dims = shape(graph, x).ok_or_else(|| format!("the shape of {x:?} is not known"))?;
    let extents = dims.iter().skip(2).map(|d| d.known().ok_or(d)).collect::<Result<Vec<usize>, _>>();
    let extents = extents.map_err(|d| format!("the extent {d} of {x:?} is not known"))?;
    let positions = |extents: &[usize]| extents.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
    let is_small = |extents: &[usize]| positions(extents).is_some_and(|n| n <= MOST);
    if is_small(&extents) {
        return Ok(None);
    }
    let first: Vec<usize> = extents.iter().map(|d| divisor(*d)).collect();
    let second: Vec<usize> = extents.iter().zip(&first).map(|(d, f)| d / f).collect();
    if first.iter().all(|f| *f == 1) {
        return Err(format!("its extents {extents:?} have no divisors but themselves"));
    }
    for (which, part) in [("first", &first), ("second", &second)] {
        if !is_small(part) {
            return Err(format!(
                "the {which} pooling would be over {part:?}, still more than {MOST} positions"
            ));
        }
    }
    first.iter().map(|f| i64::try_from(*f).map_err(|e| e.to_string())).collect::<Result<_, _>>().map(Some)
}

/// The largest divisor of `d` that is at most √d.
fn divisor(d: usize) -> usize {
    (1..=d.isqrt()).rev().find(|f| d.is_multiple_of(*f)).unwrap_or(1)
}

fn split(graph: &Graph, id: NodeId, x: &str, kernel: &[i64]) -> Patch {
    let mut edit = Edit::new(graph);
    let between = edit.fresh(&format!("{x}_Split"));
    let first = Node::new("AveragePool", &between, &[x], &[&between])
        .with("kernel_shape", kernel.to_vec())
        .with("strides", kernel.to_vec());
    edit.patch.insert_before(id, first).set_input(id, 0, between);
    edit.patch
}

#[cfg(test)]
mod tests {
    use super::divisor;

    #[test]
    fn divisors_are_the_largest_up_to_the_root() {
        for (d, f) in [(1, 1), (28, 4), (30, 5), (49, 7), (23, 1), (512, 16), (97, 1)] {
            assert_eq!(divisor(d), f, "{d}");
        }
    }
}
