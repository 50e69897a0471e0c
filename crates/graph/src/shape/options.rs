//! What shape inference is asked to do, and what it found on the way.

use std::cell::RefCell;

use super::infer::Opsets;
use crate::Dim;

/// How shapes are inferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeOptions {
    /// Follow what small integer tensors hold, element by element, so that shapes which nodes compute are known. Without it, each
    /// operator is looked at by itself.
    pub follow_contents: bool,
    /// A Slice that ends here or beyond goes to the end of an extent which is only a name.
    pub int_max: i64,
    /// Outputs of operators that are not known have the element type and the rank of the first input.
    pub guess_output_rank: bool,
}

impl Default for ShapeOptions {
    fn default() -> Self {
        Self { follow_contents: true, int_max: i64::from(i32::MAX), guess_output_rank: false }
    }
}

/// What holds for a whole model under inference.
pub(super) struct Env<'a> {
    pub(super) opsets: &'a Opsets,
    pub(super) options: &'a ShapeOptions,
    /// Extents that an operator needs to be equal although they are not written the same; `None` where nobody asks.
    pub(super) meetings: Option<RefCell<Vec<(Dim, Dim)>>>,
}

impl Env<'_> {
    /// Notes that two extents are one. Nothing is learnt from unknown ones.
    pub(super) fn meet(&self, a: &Dim, b: &Dim) {
        let Some(meetings) = &self.meetings else { return };
        if a != b && !matches!((a, b), (Dim::Unknown, _) | (_, Dim::Unknown) | (Dim::Known(_), Dim::Known(_)))
        {
            meetings.borrow_mut().push((a.clone(), b.clone()));
        }
    }

    /// Notes what broadcasting these shapes needs to be equal: aligned at their ends, whatever is not 1.
    pub(super) fn meet_all(&self, shapes: &[&[Dim]]) {
        if self.meetings.is_none() {
            return;
        }
        let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
        for from_end in 1..=rank {
            let dims = shapes.iter().filter_map(|s| s.get(s.len().checked_sub(from_end)?));
            let dims: Vec<&Dim> = dims.filter(|d| **d != Dim::Known(1)).collect();
            dims.windows(2).for_each(|pair| self.meet(pair[0], pair[1]));
        }
    }
}
