//! Arithmetic on dimensions that are known, named or unknown.

use super::context::{Stop, contradiction};
use crate::Dim;

/// A product of extents: a known factor times named ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Product {
    known: usize,
    /// Sorted, repeated as often as they occur.
    symbols: Vec<String>,
}

impl Product {
    /// The product of `dims`; `None` when one is unknown (and none is zero) or the product overflows.
    pub(super) fn of(dims: &[Dim]) -> Option<Self> {
        if dims.contains(&Dim::Known(0)) {
            return Some(Self { known: 0, symbols: Vec::new() });
        }
        let mut product = Self { known: 1, symbols: Vec::new() };
        for dim in dims {
            match dim {
                Dim::Known(n) => product.known = product.known.checked_mul(*n).filter(|n| fits(*n))?,
                Dim::Symbol(s) => product.symbols.push(s.clone()),
                Dim::Unknown => return None,
            }
        }
        product.symbols.sort();
        Some(product)
    }

    /// The extent, where one number or one name says it.
    pub(super) fn dim(&self) -> Dim {
        match (self.known, self.symbols.as_slice()) {
            (n, []) => Dim::Known(n),
            (1, [symbol]) => Dim::Symbol(symbol.clone()),
            _ => Dim::Unknown,
        }
    }

    /// The number, where no name is involved.
    pub(super) fn known(&self) -> Option<usize> {
        self.symbols.is_empty().then_some(self.known)
    }

    /// What remains when `part` is divided out; names cancel.
    ///
    /// `Err` when both are plain numbers and do not divide.
    pub(super) fn divided_by(&self, part: &Self) -> Result<Dim, ()> {
        let mut rest = self.symbols.clone();
        for symbol in &part.symbols {
            match rest.iter().position(|s| s == symbol) {
                Some(at) => drop(rest.remove(at)),
                None => return Ok(Dim::Unknown),
            }
        }
        if part.known == 0 {
            return Ok(Dim::Unknown);
        }
        if self.known.is_multiple_of(part.known) {
            return Ok(Self { known: self.known / part.known, symbols: rest }.dim());
        }
        // With a name left, its extent may make up for the remainder.
        if rest.is_empty() { Err(()) } else { Ok(Dim::Unknown) }
    }
}

/// The format stores extents as signed 64-bit numbers.
pub(super) fn fits(n: usize) -> bool {
    i64::try_from(n).is_ok()
}

/// The extent for a computed number.
pub(super) fn known(n: i64) -> Result<Dim, Stop> {
    match usize::try_from(n) {
        Ok(n) => Ok(Dim::Known(n)),
        Err(_) => contradiction(format!("an extent would be {n}")),
    }
}

/// `dim + n`.
pub(super) fn add(dim: &Dim, n: i64) -> Result<Dim, Stop> {
    match dim {
        Dim::Known(d) => match i64::try_from(*d).ok().and_then(|d| d.checked_add(n)) {
            Some(sum) => known(sum),
            None => contradiction("an extent overflows"),
        },
        other if n == 0 => Ok(other.clone()),
        _ => Ok(Dim::Unknown),
    }
}

/// `dim · n`.
pub(super) fn mul(dim: &Dim, n: i64) -> Result<Dim, Stop> {
    let Ok(n) = usize::try_from(n) else { return contradiction(format!("an extent is multiplied by {n}")) };
    match dim {
        Dim::Known(d) => match d.checked_mul(n).filter(|n| fits(*n)) {
            Some(product) => Ok(Dim::Known(product)),
            None => contradiction("an extent overflows"),
        },
        other if n == 1 => Ok(other.clone()),
        _ if n == 0 => Ok(Dim::Known(0)),
        _ => Ok(Dim::Unknown),
    }
}

/// One extent that two sources both claim; `None` when they exclude each other. A number says more than a name.
pub(super) fn merge(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a, b) {
        (Dim::Known(x), Dim::Known(y)) if x != y => None,
        (Dim::Known(_), _) | (_, Dim::Unknown) => Some(a.clone()),
        (_, Dim::Known(_)) | (Dim::Unknown, _) => Some(b.clone()),
        (Dim::Symbol(_), Dim::Symbol(_)) => Some(a.clone()),
    }
}

/// The shape that numpy's rules give for operands of these shapes.
pub(super) fn broadcast(shapes: &[&[Dim]]) -> Result<Vec<Dim>, Stop> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    (0..rank)
        .map(|axis| {
            let mut out = Dim::Known(1);
            for shape in shapes {
                let Some(at) = (axis + shape.len()).checked_sub(rank) else { continue };
                out = match (out, &shape[at]) {
                    (Dim::Known(1), d) => d.clone(),
                    (o, Dim::Known(1)) => o,
                    (Dim::Known(a), Dim::Known(b)) if a != *b => {
                        return contradiction(format!(
                            "the shapes {} do not broadcast: {a} against {b}",
                            list(shapes)
                        ));
                    }
                    // Whatever the other turns out to be, it must be 1 or this.
                    (Dim::Known(a), _) => Dim::Known(a),
                    (_, Dim::Known(b)) => Dim::Known(*b),
                    (Dim::Symbol(a), Dim::Symbol(b)) if a == *b => Dim::Symbol(a),
                    _ => Dim::Unknown,
                };
            }
            Ok(out)
        })
        .collect()
}

/// Shapes for messages.
pub(super) fn list(shapes: &[&[Dim]]) -> String {
    let one =
        |dims: &&[Dim]| format!("[{}]", dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
    shapes.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Resolves an axis that may count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Stop> {
    let shifted = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    match usize::try_from(shifted) {
        Ok(a) if a < rank => Ok(a),
        _ => contradiction(format!("axis {axis} is out of range for rank {rank}")),
    }
}

/// Resolves several axes, in the order given.
pub(super) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, Stop> {
    if list.len() > rank {
        return contradiction(format!("it names {} axes of {rank}", list.len()));
    }
    let mut seen = vec![false; rank];
    let mut out = Vec::with_capacity(list.len());
    for a in list {
        let a = axis(*a, rank)?;
        if std::mem::replace(&mut seen[a], true) {
            return contradiction(format!("axis {a} stands twice"));
        }
        out.push(a);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(symbol: &str) -> Dim {
        Dim::Symbol(symbol.into())
    }

    #[test]
    fn symbols_broadcast_against_ones_and_themselves_only() {
        let k = Dim::Known;
        let of = |a: &[Dim], b: &[Dim]| broadcast(&[a, b]);
        assert_eq!(of(&[n("N"), k(1)], &[k(5)]).unwrap(), [n("N"), k(5)]);
        assert_eq!(of(&[n("N")], &[n("N")]).unwrap(), [n("N")]);
        assert_eq!(of(&[n("N")], &[n("M")]).unwrap(), [Dim::Unknown]);
        assert_eq!(of(&[n("N")], &[k(4)]).unwrap(), [k(4)]);
        assert_eq!(of(&[Dim::Unknown], &[k(1)]).unwrap(), [Dim::Unknown]);
        assert_eq!(of(&[k(0)], &[k(1)]).unwrap(), [k(0)]);
        assert!(of(&[k(2)], &[k(3)]).is_err());
    }

    #[test]
    fn products_cancel_names() {
        let total = Product::of(&[n("N"), Dim::Known(6), Dim::Known(4)]).unwrap();
        assert_eq!(total.divided_by(&Product::of(&[n("N"), Dim::Known(8)]).unwrap()), Ok(Dim::Known(3)));
        assert_eq!(total.divided_by(&Product::of(&[Dim::Known(24)]).unwrap()), Ok(n("N")));
        assert_eq!(total.divided_by(&Product::of(&[n("N"), Dim::Known(7)]).unwrap()), Err(()));
        assert_eq!(total.divided_by(&Product::of(&[Dim::Known(5)]).unwrap()), Ok(Dim::Unknown));
        assert!(Product::of(&[Dim::Known(usize::MAX), Dim::Known(2)]).is_none());
    }
}
