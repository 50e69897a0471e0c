//! What an operator's function sees of its node, and how it answers.

use std::rc::Rc;

use super::data::Data;
use super::dims;
use super::options::Env;
use crate::{DataType, Dim, Node, TensorType};

/// Why an operator's function ended early. What it set before stays.
#[derive(Debug)]
pub(super) enum Stop {
    /// The type of an input is not known: the cause lies before this node.
    Input,
    /// Something about this node is not known or not supported.
    Unknown(String),
    /// The node's data exclude each other.
    Contradiction(String),
}

/// Ends with a contradiction.
pub(super) fn contradiction<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Contradiction(reason.into()))
}

/// Ends with something unknown.
pub(super) fn unknown<T>(reason: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Unknown(reason.into()))
}

/// What is known of one input.
#[derive(Clone, Debug, Default)]
pub(super) struct Fact {
    pub(super) ty: Option<TensorType>,
    pub(super) data: Option<Rc<Data>>,
    /// Which entry of the report says why something is unknown.
    pub(super) cause: Option<usize>,
}

/// One node under inference.
pub(super) struct Ctx<'a> {
    pub(super) node: &'a Node,
    pub(super) env: &'a Env<'a>,
    /// Version of the node's operator set.
    pub(super) opset: i64,
    /// `None` where an optional input is omitted.
    pub(super) inputs: Vec<Option<Fact>>,
    pub(super) types: Vec<Option<TensorType>>,
    pub(super) data: Vec<Option<Data>>,
    /// Why dimensions are unknown although nothing stopped.
    pub(super) note: Option<String>,
}

impl Ctx<'_> {
    /// Whether the optional input is there.
    pub(super) fn has(&self, input: usize) -> bool {
        self.inputs.get(input).is_some_and(Option::is_some)
    }

    pub(super) fn fact(&self, input: usize) -> Result<&Fact, Stop> {
        match self.inputs.get(input) {
            Some(Some(fact)) => Ok(fact),
            _ => contradiction(format!("input {input} is missing")),
        }
    }

    /// The type of an input.
    pub(super) fn ty(&self, input: usize) -> Result<&TensorType, Stop> {
        self.fact(input)?.ty.as_ref().ok_or(Stop::Input)
    }

    /// The element type of an input.
    pub(super) fn dtype(&self, input: usize) -> Result<DataType, Stop> {
        Ok(self.ty(input)?.dtype)
    }

    /// The dimensions of an input.
    pub(super) fn dims(&self, input: usize) -> Result<Vec<Dim>, Stop> {
        self.ty(input)?.shape.clone().ok_or(Stop::Input)
    }

    /// The dimensions of an input that must have this rank.
    pub(super) fn dims_of_rank(&self, input: usize, rank: usize) -> Result<Vec<Dim>, Stop> {
        let dims = self.dims(input)?;
        if dims.len() != rank {
            return contradiction(format!(
                "input {input} has shape {} but must have rank {rank}",
                dims::list(&[&dims])
            ));
        }
        Ok(dims)
    }

    /// The followed content of an input.
    pub(super) fn value(&self, input: usize) -> Option<Rc<Data>> {
        self.inputs.get(input)?.as_ref()?.data.clone()
    }

    /// The integers of an input; `None` when not all are known.
    pub(super) fn ints(&self, input: usize) -> Option<Vec<i64>> {
        self.value(input)?.ints()
    }

    /// Integers from an attribute in old operator sets, from an input in new ones. `Ok(None)` when neither is there;
    /// stops when the input is there and its content is not known.
    pub(super) fn ints_from(&self, attribute: &str, input: usize) -> Result<Option<Vec<i64>>, Stop> {
        if let Some(list) = self.node.ints(attribute) {
            return Ok(Some(list.to_vec()));
        }
        if !self.has(input) {
            return Ok(None);
        }
        match self.ints(input) {
            Some(list) => Ok(Some(list)),
            None => unknown(format!("its {attribute} are computed at run time")),
        }
    }

    /// Sets the type of an output.
    pub(super) fn set(&mut self, output: usize, dtype: DataType, shape: Option<Vec<Dim>>) {
        if let Some(slot) = self.types.get_mut(output) {
            *slot = Some(TensorType { dtype, shape });
        }
    }

    /// Sets the type of the first output and ends.
    #[allow(clippy::unnecessary_wraps, reason = "the last step of functions that may stop")]
    pub(super) fn done(&mut self, dtype: DataType, dims: Vec<Dim>) -> Result<(), Stop> {
        self.set(0, dtype, Some(dims));
        Ok(())
    }

    /// Gives the first output the type of an input.
    pub(super) fn same_as(&mut self, input: usize) -> Result<(), Stop> {
        let ty = self.ty(input)?.clone();
        self.set(0, ty.dtype, ty.shape);
        Ok(())
    }

    /// Sets the followed content of the first output.
    pub(super) fn follow(&mut self, data: Option<Data>) {
        if let (Some(slot), Some(data)) = (self.data.first_mut(), data) {
            *slot = Some(data).filter(|d| d.elems.len() <= super::data::LIMIT);
        }
    }

    /// Says why dimensions are unknown.
    pub(super) fn note(&mut self, reason: impl Into<String>) {
        self.note.get_or_insert_with(|| reason.into());
    }
}
