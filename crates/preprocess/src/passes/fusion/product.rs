//! Products of powers of two values and a number, however they are written.

use super::pattern::{Matcher, operands};

/// Products of products are looked into this far.
const DEPTH: usize = 6;

/// `number · x^power · y^other`
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Product {
    pub(super) number: f32,
    pub(super) power: u32,
    pub(super) other: u32,
}

impl Product {
    /// A number.
    fn number(number: f32) -> Self {
        Self { number, power: 0, other: 0 }
    }

    fn times(self, by: Self) -> Self {
        Self { number: self.number * by.number, power: self.power + by.power, other: self.other + by.other }
    }
}

/// `tensor` as a product of `x`, `y` and numbers. Its nodes become part of the pattern.
pub(super) fn product<'g>(m: &mut Matcher<'g>, tensor: &'g str, x: &str, y: &str) -> Option<Product> {
    m.attempt(|m| factors(m, tensor, x, y, DEPTH))
}

fn factors<'g>(m: &mut Matcher<'g>, tensor: &'g str, x: &str, y: &str, depth: usize) -> Option<Product> {
    if tensor == x {
        return Some(Product { number: 1.0, power: 1, other: 0 });
    }
    if tensor == y {
        return Some(Product { number: 1.0, power: 0, other: 1 });
    }
    if let Some(number) = m.number(tensor) {
        return Some(Product::number(number));
    }
    let depth = depth.checked_sub(1)?;
    let (id, node) = m.graph.producer(tensor)?;
    let known = ["Mul", "Div", "Pow", "Neg"].iter().any(|op| node.is(op));
    let a = factors(m, node.input(0).filter(|_| known)?, x, y, depth)?;
    let result = match node.op_type.as_str() {
        "Neg" => a.times(Product::number(-1.0)),
        "Mul" => a.times(factors(m, operands(node)?[0].1, x, y, depth)?),
        "Div" => a.times(Product::number(1.0 / m.number(node.input(1)?)?)),
        _ => {
            let exponent =
                m.number(node.input(1)?).filter(|e| (1.0..=4.0).contains(e) && e.fract() == 0.0)?;
            (1..exponent as u32).fold(a, |p, _| p.times(a))
        }
    };
    m.take(id);
    Some(result)
}
