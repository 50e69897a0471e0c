//! Casts in a row become one.

use shiftwise_graph::{DataType, Graph, Model, Node, NodeId, Outcome, Patch, Rule};

use super::name;

/// Reads past a Cast that loses nothing of what is read:
///
/// ```text
/// cast(cast(x, B), C)     ⇒     cast(x, C)     where every number of x's type is one of B
/// shape(cast(x, B))       ⇒     shape(x)
/// ```
///
/// Casts to the type that is there go as identities afterwards. A Cast that rounds or saturates stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct MergeCasts;

impl Rule for MergeCasts {
    fn name(&self) -> &'static str {
        name::MERGE_CASTS
    }

    fn visit(&mut self, model: &Model, id: NodeId, node: &Node) -> Outcome {
        let graph = &model.graph;
        let of_shape = node.is("Shape") || node.is("Size");
        if !node.is("Cast") && !of_shape {
            return Outcome::NoMatch;
        }
        let Some(middle) = node.input(0) else { return Outcome::NoMatch };
        let Some((before, cast)) = graph.producer(middle).filter(|(_, n)| n.is("Cast")) else {
            return Outcome::NoMatch;
        };
        let Some(x) = cast.input(0) else { return Outcome::NoMatch };
        if !of_shape && let Err(reason) = loses_nothing(graph, x, cast) {
            return Outcome::Refused(reason);
        }
        let mut patch = Patch::new();
        patch.set_input(id, 0, x);
        if graph.sole_consumer(middle).is_ok() {
            patch.remove(before).forget_type(middle);
        }
        Outcome::rewrite(patch, format!("it reads past {}", cast.label()))
    }
}

fn loses_nothing(graph: &Graph, x: &str, cast: &Node) -> Result<(), String> {
    let from = graph.tensor_type(x).ok_or_else(|| format!("the type of {x:?} is not known"))?.dtype;
    let to = cast.int("to").and_then(|n| i32::try_from(n).ok()).and_then(DataType::from_onnx);
    let to = to.ok_or_else(|| format!("{} casts to an unknown type", cast.label()))?;
    let holds = match (numbers(from), numbers(to)) {
        (Some(few), Some(many)) => few.fit(many),
        _ => false,
    };
    if holds { Ok(()) } else { Err(format!("a cast from {from} to {to} may change numbers")) }
}

/// Which numbers a type has: integers of so many bits without sign, times 2 to a power of at most `exponent`.
#[derive(Clone, Copy)]
struct Numbers {
    signed: bool,
    bits: u32,
    /// Of floats: of their largest number, and of their smallest.
    exponent: Option<(i32, i32)>,
}

impl Numbers {
    fn fit(self, many: Self) -> bool {
        let sign = many.signed || !self.signed;
        let range = match (self.exponent, many.exponent) {
            (None, None) => true,
            (None, Some((largest, _))) => i32::try_from(self.bits).is_ok_and(|bits| bits <= largest),
            (Some(_), None) => false,
            (Some((largest, smallest)), Some((most, least))) => largest <= most && smallest >= least,
        };
        sign && range && self.bits <= many.bits
    }
}

fn numbers(dtype: DataType) -> Option<Numbers> {
    let integer = |signed, bits| Some(Numbers { signed, bits, exponent: None });
    let float =
        |bits, largest, smallest| Some(Numbers { signed: true, bits, exponent: Some((largest, smallest)) });
    match dtype {
        DataType::Bool => integer(false, 1),
        DataType::Uint8 => integer(false, 8),
        DataType::Uint16 => integer(false, 16),
        DataType::Uint32 => integer(false, 32),
        DataType::Uint64 => integer(false, 64),
        DataType::Int8 => integer(true, 7),
        DataType::Int16 => integer(true, 15),
        DataType::Int32 => integer(true, 31),
        DataType::Int64 => integer(true, 63),
        DataType::Float16 => float(11, 15, -24),
        DataType::Bfloat16 => float(8, 127, -133),
        DataType::Float => float(24, 127, -149),
        DataType::Double => float(53, 1023, -1074),
        _ => None,
    }
}
