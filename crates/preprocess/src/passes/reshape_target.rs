//! The target of a Reshape, written as constants.

use shiftwise_graph::{Dim, Tensor};

/// What a Reshape needs as its second input to give dimensions `to`, from dimensions `from` where they are known: an extent that
/// is known by itself; 0, which copies, for an unknown one that stands at the same place before; −1 for one more.
///
/// Fails where that does not say everything. Declared shapes may be those of the run that exported a model: that the result is known
/// and the input is not is no reason to believe them.
pub(super) fn reshape_target(from: &[Dim], to: &[Dim]) -> Result<Tensor, String> {
    let open = |dims: &[Dim]| dims.iter().any(|d| d.known().is_none());
    if open(from) && !open(to) {
        return Err("its input has an extent that is not known, and its result has none".into());
    }
    let mut target = Vec::with_capacity(to.len());
    let mut inferred = 0;
    for (i, dim) in to.iter().enumerate() {
        let copied = matches!(dim, Dim::Symbol(_)) && from.get(i) == Some(dim);
        target.push(match dim {
            Dim::Known(0) => return Err("its result is empty".into()),
            Dim::Known(n) => i64::try_from(*n).map_err(|e| e.to_string())?,
            _ if copied => 0,
            _ => {
                inferred += 1;
                -1
            }
        });
    }
    if inferred > 1 {
        let dims: Vec<String> = to.iter().map(ToString::to_string).collect();
        return Err(format!("more than one extent of its result [{}] is not known", dims.join(",")));
    }
    Ok(Tensor::i64(&[target.len()], &target))
}
