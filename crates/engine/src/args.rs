//! What a node's kernel gets and gives.

use shiftwise_graph::Value;

use crate::pool::Workspace;

/// What a kernel says: a result, or what is wrong with its inputs.
pub(crate) type Outcome<T> = Result<T, String>;

/// A compiled node: its attributes are parsed, its semantics chosen.
pub(crate) type Kernel = Box<dyn Fn(&mut Args<'_>, &mut Workspace) -> Outcome<Vec<Value>> + Send + Sync>;

/// One input of a node.
pub(crate) enum Arg<'a> {
    /// Omitted, or taken.
    None,
    /// Read by others too.
    Shared(&'a Value),
    /// Read by nobody else: may be overwritten.
    Owned(Value),
}

/// The inputs of a node.
pub(crate) struct Args<'a>(pub(crate) Vec<Arg<'a>>);

impl Args<'_> {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The input at `index`, unless it is omitted.
    pub(crate) fn get(&self, index: usize) -> Option<&Value> {
        match self.0.get(index)? {
            Arg::None => None,
            Arg::Shared(v) => Some(v),
            Arg::Owned(v) => Some(v),
        }
    }

    pub(crate) fn value(&self, index: usize) -> Outcome<&Value> {
        self.get(index).ok_or_else(|| format!("input {index} is missing"))
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
    pub(crate) fn ints(&self, index: usize) -> Outcome<Vec<i64>> {
        match self.value(index)? {
            Value::I64(a) => Ok(a.iter().copied().collect()),
            Value::I32(a) => Ok(a.iter().map(|v| i64::from(*v)).collect()),
            other => Err(format!("input {index} is {}, where integers are needed", other.dtype())),
        }
    }

    pub(crate) fn optional_ints(&self, index: usize) -> Outcome<Option<Vec<i64>>> {
        if self.get(index).is_none() { Ok(None) } else { self.ints(index).map(Some) }
    }

    /// The input itself, if nobody else reads it.
    pub(crate) fn take(&mut self, index: usize) -> Option<Value> {
        let arg = self.0.get_mut(index)?;
        match std::mem::replace(arg, Arg::None) {
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
    match value.as_f32() {
        Some(elements) => {
            let mut buffer = ws.floats(elements.len());
            buffer.copy_from_slice(elements);
            Value::f32(value.shape(), buffer)
        }
        None => value.clone(),
    }
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
