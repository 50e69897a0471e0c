//! Joins what is inferred with what the model declares.

use super::dims;
use crate::{Dim, TensorType};

/// The type to believe, and whether the declared one contradicts it.
///
/// Inference wins wherever it knows something; a name that it carried here wins over a declared number, which a model
/// with a dynamic batch often keeps from the run that exported it.
pub(super) fn join(
    inferred: Option<TensorType>,
    declared: Option<&TensorType>,
) -> (Option<TensorType>, bool) {
    let (Some(mut ty), Some(declared)) = (inferred.clone(), declared) else {
        return (inferred.or_else(|| declared.cloned()), false);
    };
    if ty.dtype != declared.dtype {
        return (Some(ty), true);
    }
    let Some(said) = &declared.shape else { return (Some(ty), false) };
    let Some(found) = &mut ty.shape else {
        ty.shape = Some(said.clone());
        return (Some(ty), false);
    };
    if found.len() != said.len() {
        return (Some(ty), true);
    }
    let mut conflict = false;
    for (found, said) in found.iter_mut().zip(said) {
        match (&*found, said) {
            (Dim::Unknown, _) => *found = said.clone(),
            (Dim::Symbol(_), Dim::Known(_)) => conflict = true,
            _ => conflict |= dims::merge(found, said).is_none(),
        }
    }
    (Some(ty), conflict)
}
