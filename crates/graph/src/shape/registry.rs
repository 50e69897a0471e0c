//! Which function infers which operator.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::context::{Ctx, Stop};
use super::{
    constants, conv, elementwise, linear, normalization, pool, quantization, recurrent, reduction, reshape,
    resize, select, slice, unary,
};

/// Infers the outputs of one node.
pub(super) type Infer = fn(&mut Ctx) -> Result<(), Stop>;

/// Operators of one family.
pub(super) type Family = &'static [(&'static str, Infer)];

const STANDARD: &[Family] = &[
    constants::OPS,
    conv::OPS,
    elementwise::OPS,
    linear::OPS,
    normalization::OPS,
    pool::OPS,
    quantization::OPS,
    recurrent::OPS,
    reduction::OPS,
    reshape::OPS,
    resize::OPS,
    select::OPS,
    slice::OPS,
    unary::OPS,
];

static TABLE: LazyLock<HashMap<&'static str, Infer>> =
    LazyLock::new(|| STANDARD.iter().flat_map(|family| family.iter().copied()).collect());

/// The function for an operator, if there is one.
pub(super) fn find(domain: &str, op_type: &str) -> Option<Infer> {
    if domain.is_empty() {
        return TABLE.get(op_type).copied();
    }
    quantization::CUSTOM.iter().find(|(d, op, _)| *d == domain && *op == op_type).map(|(.., f)| *f)
}

/// Every operator of the standard domain, in order.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (&'static str, Infer)> {
    STANDARD.iter().flat_map(|family| family.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operator_stands_in_two_families() {
        assert_eq!(TABLE.len(), STANDARD.iter().map(|f| f.len()).sum::<usize>());
    }
}
