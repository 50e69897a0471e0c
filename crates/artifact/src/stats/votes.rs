//! What samples elected: counts of positions, beside a histogram.

use serde::{Deserialize, Serialize};

/// An integer type for which samples elect a position.
///
/// This crate does not know how elections are held, nor what a position is: it counts, for each tensor and each type,
/// how many samples elected which number. Whoever observes a sample decides; a sample has at most one vote for a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteKind {
    /// 8 bits without a sign.
    Uint8,
    /// 8 bits with a sign.
    Int8,
    /// 16 bits without a sign.
    Uint16,
    /// 16 bits with a sign.
    Int16,
}

impl VoteKind {
    /// All kinds, in the order of [`Elected`].
    pub const ALL: [Self; 4] = [Self::Uint8, Self::Int8, Self::Uint16, Self::Int16];
}

/// What one sample elected for each of [`VoteKind::ALL`], -127 to 127; `None` where it held no election.
pub type Elected = [Option<i8>; VoteKind::ALL.len()];

/// The votes of one tensor: for each kind, positions in ascending order with their counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Votes([Vec<(i8, u64)>; VoteKind::ALL.len()]);

/// The count of a position.
fn count_of(votes: &mut Vec<(i8, u64)>, position: i8) -> &mut u64 {
    let at = votes.binary_search_by_key(&position, |vote| vote.0).unwrap_or_else(|at| {
        votes.insert(at, (position, 0));
        at
    });
    &mut votes[at].1
}

/// Whether these are positions that can be elected.
pub(crate) fn is_electable(elected: Elected) -> bool {
    !elected.contains(&Some(i8::MIN))
}

impl Votes {
    /// Count the votes of a sample, which are electable.
    pub(crate) fn push(&mut self, elected: Elected) {
        for (votes, position) in self.0.iter_mut().zip(elected) {
            if let Some(position) = position {
                *count_of(votes, position) += 1;
            }
        }
    }

    /// Add the votes of other samples; `None` if a count overflows.
    pub(crate) fn merge(&mut self, other: &Self) -> Option<()> {
        for (votes, other) in self.0.iter_mut().zip(&other.0) {
            for &(position, count) in other {
                let sum = count_of(votes, position);
                *sum = sum.checked_add(count)?;
            }
        }
        Some(())
    }

    pub(crate) fn of(&self, kind: VoteKind) -> impl ExactSizeIterator<Item = (i32, u64)> {
        self.0[kind as usize].iter().map(|&(position, count)| (position.into(), count))
    }

    /// Whether so many samples can have voted so.
    pub(crate) fn is_of(&self, samples: u64) -> bool {
        self.0.iter().all(|votes| {
            let sum = votes.iter().try_fold(0_u64, |sum, vote| sum.checked_add(vote.1));
            sum.is_some_and(|sum| sum <= samples)
                && votes.is_sorted_by(|a, b| a.0 < b.0)
                && votes.iter().all(|&(position, count)| position != i8::MIN && count > 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_have_been_elected_is_noticed() {
        let votes = |counts: &[(i8, u64)]| Votes([Vec::new(), counts.to_vec(), Vec::new(), Vec::new()]);
        assert!(votes(&[(-127, 1), (127, 2)]).is_of(3));
        assert!(!votes(&[(-127, 1), (127, 2)]).is_of(2));
        assert!(!votes(&[(0, u64::MAX), (1, 1)]).is_of(u64::MAX));
        assert!(!votes(&[(0, 0)]).is_of(3));
        assert!(!votes(&[(-128, 1)]).is_of(3));
        assert!(!votes(&[(1, 1), (0, 1)]).is_of(3) && !votes(&[(1, 1), (1, 1)]).is_of(3));
        assert_eq!(votes(&[(0, u64::MAX)]).merge(&votes(&[(0, 1)])), None);
    }
}
