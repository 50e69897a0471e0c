//! What a node's kernel gets and gives.

use std::sync::Arc;

use shiftwise_graph::Value;
use smallvec::SmallVec;

use crate::pool::Workspace;
use crate::scalar::each_type;

/// What a kernel says: a result, or what is wrong with its inputs.
pub(crate) type Outcome<T> = Result<T, String>;

/// A compiled node: its attributes are parsed, its semantics chosen.
pub(crate) type Kernel = Box<dyn Fn(&mut Args<'_>, &mut Workspace) -> Outcome<Results> + Send + Sync>;

/// The outputs of a node, in order.
pub(crate) type Results = SmallVec<[Datum; 1]>;

/// A shape under construction.
pub(crate) type Shape = shiftwise_kernels::broadcast::Dims;

/// Integers of shapes, axes, positions.
pub(crate) type Ints = SmallVec<[i64; 8]>;

/// Results from tensors.
macro_rules! results {
    ($($value:expr),* $(,)?) => {
        smallvec::smallvec![$($crate::args::Datum::from($value)),*]
    };
}
pub(crate) use results;

/// What a tensor name of the graph may stand for during a run.
#[derive(Clone, Debug)]
pub(crate) enum Datum {
    Tensor(Value),
    /// Tensors of one element type, of any shapes.
    Sequence(Arc<Vec<Value>>),
    /// An optional value that is not there.
    Nothing,
}

impl From<Value> for Datum {
    fn from(value: Value) -> Self {
        Self::Tensor(value)
    }
}

impl From<Vec<Value>> for Datum {
    fn from(elements: Vec<Value>) -> Self {
        Self::Sequence(Arc::new(elements))
    }
}

/// One input of a node, and what a slot holds during a run.
#[derive(Default)]
pub(crate) enum Arg<'a> {
    /// Omitted, taken, not there yet, or an optional value that is not there.
    #[default]
    None,
    /// Read by others too.
    Shared(&'a Value),
    /// Read by nobody else: may be overwritten.
    Owned(Value),
    Sequence(Arc<Vec<Value>>),
}

impl From<Datum> for Arg<'_> {
    fn from(datum: Datum) -> Self {
        match datum {
            Datum::Tensor(v) => Self::Owned(v),
            Datum::Sequence(s) => Self::Sequence(s),
            Datum::Nothing => Self::None,
        }
    }
}

impl Arg<'_> {
    pub(crate) fn value(&self) -> Option<&Value> {
        match self {
            Self::Shared(v) => Some(v),
            Self::Owned(v) => Some(v),
            Self::None | Self::Sequence(_) => None,
        }
    }

    /// The same, for one more reader.
    pub(crate) fn borrowed(&self) -> Arg<'_> {
        match self {
            Self::Shared(v) => Arg::Shared(v),
            Self::Owned(v) => Arg::Shared(v),
            Self::Sequence(s) => Arg::Sequence(Arc::clone(s)),
            Self::None => Arg::None,
        }
    }

    /// Itself or a copy of it.
    pub(crate) fn into_datum(self, ws: &mut Workspace) -> Datum {
        match self {
            Self::Owned(v) => Datum::Tensor(v),
            Self::Shared(v) => Datum::Tensor(copy(v, ws)),
            Self::Sequence(s) => Datum::Sequence(s),
            Self::None => Datum::Nothing,
        }
    }
}

/// The inputs of a node. The longest group of nodes fits without an allocation.
pub(crate) struct Args<'a>(pub(crate) SmallVec<[Arg<'a>; 9]>);

impl<'a> Args<'a> {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The tensor at `index`, unless it is omitted.
    pub(crate) fn get(&self, index: usize) -> Option<&Value> {
        self.0.get(index)?.value()
    }

    pub(crate) fn value(&self, index: usize) -> Outcome<&Value> {
        match self.0.get(index) {
            Some(Arg::Sequence(_)) => Err(format!("input {index} is a sequence, where a tensor is needed")),
            arg => arg.and_then(Arg::value).ok_or_else(|| format!("input {index} is missing")),
        }
    }

    /// The sequence at `index`; shared with other readers, unless this was the last.
    pub(crate) fn sequence(&mut self, index: usize) -> Outcome<Arc<Vec<Value>>> {
        match self.0.get_mut(index).map(std::mem::take) {
            Some(Arg::Sequence(s)) => Ok(s),
            _ => Err(format!("input {index} is not a sequence")),
        }
    }

    /// Whatever is at `index`.
    pub(crate) fn take_any(&mut self, index: usize) -> Arg<'a> {
        self.0.get_mut(index).map(std::mem::take).unwrap_or_default()
    }

    /// The elements and the shape of a float input.
    pub(crate) fn f32(&self, index: usize) -> Outcome<(&[f32], &[usize])> {
        let v = self.value(index)?;
        let elements = v
            .as_f32()
            .ok_or_else(|| format!("input {index} is {}, which this operator does not take", v.dtype()))?;
        Ok((elements, v.shape()))
    }

    /// The elements of an optional float input.
    pub(crate) fn optional_f32(&self, index: usize) -> Outcome<Option<&[f32]>> {
        if self.get(index).is_none() { Ok(None) } else { Ok(Some(self.f32(index)?.0)) }
    }

    /// The elements of an integer input of shapes, axes, indices: int64 or int32.
    pub(crate) fn ints(&self, index: usize) -> Outcome<Ints> {
        match self.value(index)? {
            Value::I64(a) => Ok(a.iter().copied().collect()),
            Value::I32(a) => Ok(a.iter().map(|v| i64::from(*v)).collect()),
            other => Err(format!("input {index} is {}, where integers are needed", other.dtype())),
        }
    }

    pub(crate) fn optional_ints(&self, index: usize) -> Outcome<Option<Ints>> {
        if self.get(index).is_none() { Ok(None) } else { self.ints(index).map(Some) }
    }

    /// The input itself, if nobody else reads it.
    pub(crate) fn take(&mut self, index: usize) -> Option<Value> {
        let arg = self.0.get_mut(index)?;
        match std::mem::take(arg) {
            Arg::Owned(v) => Some(v),
            other => {
                *arg = other;
                None
            }
        }
    }

    /// Whether [`Args::take`] would give the input.
    pub(crate) fn is_owned(&self, index: usize) -> bool {
        matches!(self.0.get(index), Some(Arg::Owned(_)))
    }

    /// The input itself or a copy of it.
    pub(crate) fn take_or_copy(&mut self, index: usize, ws: &mut Workspace) -> Outcome<Value> {
        if let Some(v) = self.take(index) {
            return Ok(v);
        }
        Ok(copy(self.value(index)?, ws))
    }
}

/// A copy in a reused buffer.
pub(crate) fn copy(value: &Value, ws: &mut Workspace) -> Value {
    each_type!(value, a => {
        let from = crate::scalar::slice(a);
        let mut buffer = ws.buffer(from.len());
        buffer.copy_from_slice(from);
        crate::scalar::value(value.shape(), buffer).unwrap_or_else(|_| value.clone())
    })
}

/// The axis that `axis` means in a tensor of `rank` dimensions, counted from the end where negative.
pub(crate) fn axis_of(axis: i64, rank: usize) -> Outcome<usize> {
    let r = rank as i64;
    if (-r..r).contains(&axis) {
        Ok(axis.rem_euclid(r) as usize)
    } else {
        Err(format!("axis {axis} does not exist in a tensor of {rank} dimensions"))
    }
}
