//! Einsum: sums of products over named axes.
//!
//! Operands are joined one after the other, each join a batched matrix product over the letters that both have and
//! nothing after them needs.

use std::collections::BTreeMap;

use shiftwise_graph::Value;

use super::matmul::plain;
use super::{Cx, Op};
use crate::args::{Args, Kernel, Outcome, results};
use crate::number::{Number, each_number};
use crate::pool::Workspace;
use crate::scalar::{count, slice, value};
use crate::strided;

pub(super) const OPS: &[Op] = &[Op::float("Einsum", compile)];

/// A letter, or an axis of the ellipsis, counted from its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Ellipsis(usize),
    Letter(char),
}

/// A term of the equation.
#[derive(Clone)]
struct Term {
    before: Vec<char>,
    /// What follows the ellipsis, if there is one.
    after: Option<Vec<char>>,
}

impl Term {
    fn parse(text: &str) -> Outcome<Self> {
        let letters = |s: &str| {
            let wrong = s.chars().find(|c| !c.is_ascii_alphabetic());
            wrong.map_or_else(|| Ok(s.chars().collect()), |c| Err(format!("its equation contains {c:?}")))
        };
        Ok(match text.split_once("...") {
            Some((before, after)) => Self { before: letters(before)?, after: Some(letters(after)?) },
            None => Self { before: letters(text)?, after: None },
        })
    }

    /// The labels of all axes, `wide` of which the ellipsis stands for.
    fn labels(&self, wide: usize) -> Vec<Label> {
        let mut labels: Vec<Label> = self.before.iter().map(|c| Label::Letter(*c)).collect();
        if let Some(after) = &self.after {
            labels.extend((0..wide).rev().map(Label::Ellipsis));
            labels.extend(after.iter().map(|c| Label::Letter(*c)));
        }
        labels
    }

    fn letters(&self) -> usize {
        self.before.len() + self.after.as_ref().map_or(0, Vec::len)
    }
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let equation: String = cx.text_or("equation", "").chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left.to_string(), Some(Term::parse(right)?)),
        None => (equation.clone(), None),
    };
    let terms = left.split(',').map(Term::parse).collect::<Outcome<Vec<_>>>()?;
    if terms.len() != cx.node.inputs.len() {
        return Err(format!("its equation {equation:?} does not have its {} inputs", cx.node.inputs.len()));
    }
    // Without a right side: the ellipsis, then the letters that stand once, in order.
    let implied = || {
        let mut seen: BTreeMap<char, usize> = BTreeMap::new();
        for c in terms.iter().flat_map(|t| t.before.iter().chain(t.after.iter().flatten())) {
            *seen.entry(*c).or_default() += 1;
        }
        let once = seen.into_iter().filter(|(_, n)| *n == 1).map(|(c, _)| c).collect();
        Term { before: Vec::new(), after: Some(once) }
    };
    let result = right.unwrap_or_else(implied);
    Ok(Box::new(move |args, ws| {
        each_number!(args.value(0)?, a => like(a, args, &terms, &result, ws)).map(|v| results![v])
    }))
}

/// A dense operand and the label of each axis, none twice.
struct Operand<T> {
    labels: Vec<Label>,
    dims: Vec<usize>,
    elements: Vec<T>,
}

impl<T: Number> Operand<T> {
    fn size(&self, label: Label) -> Option<usize> {
        self.labels.iter().position(|l| *l == label).map(|i| self.dims[i])
    }

    /// The same elements with the axes in another order; labels that are not there get an axis of one element.
    fn ordered(&self, order: &[Label], ws: &mut Workspace) -> Outcome<Self> {
        let strides = strided::strides(&self.dims);
        let axis = |l: &Label| self.labels.iter().position(|m| m == l);
        let dims: Vec<usize> = order.iter().map(|l| axis(l).map_or(1, |i| self.dims[i])).collect();
        let steps: Vec<isize> = order.iter().map(|l| axis(l).map_or(0, |i| strides[i])).collect();
        let mut elements = T::buffer(ws, count(&dims)?)?;
        strided::copy(&self.elements, 0, &dims, &steps, &mut elements);
        Ok(Self { labels: order.to_vec(), dims, elements })
    }

    /// Summed over the labels that are not `kept`.
    fn summed(self, kept: &dyn Fn(Label) -> bool, ws: &mut Workspace) -> Outcome<Self> {
        let (stay, go): (Vec<Label>, Vec<Label>) = self.labels.iter().partition(|l| kept(**l));
        if go.is_empty() {
            return Ok(self);
        }
        let turned = self.ordered(&[stay.as_slice(), &go].concat(), ws)?;
        let dims = turned.dims[..stay.len()].to_vec();
        let each = count(&turned.dims[stay.len()..])?;
        let mut elements = vec![T::ZERO; count(&dims)?];
        if each > 0 {
            for (sum, row) in elements.iter_mut().zip(turned.elements.chunks_exact(each)) {
                *sum = row.iter().fold(T::ZERO, |s, v| s.plus(*v));
            }
        }
        Ok(Self { labels: stay, dims, elements })
    }

    /// The product of two operands, summed over what both have and `kept` does not want.
    fn joined(&self, other: &Self, kept: &dyn Fn(Label) -> bool, ws: &mut Workspace) -> Outcome<Self> {
        // An axis of one element is as good as none, which makes it broadcast.
        let wide = |o: &Self, l: Label| o.size(l).is_some_and(|n| n != 1);
        let both = |l: &Label| wide(self, *l) && wide(other, *l);
        let mut all: Vec<Label> = self.labels.clone();
        all.extend(other.labels.iter().filter(|l| self.size(**l).is_none()));
        let batch: Vec<Label> = all.iter().copied().filter(|l| both(l) && kept(*l)).collect();
        let inner: Vec<Label> = all.iter().copied().filter(|l| both(l) && !kept(*l)).collect();
        let right: Vec<Label> = all.iter().copied().filter(|l| !both(l) && wide(other, *l)).collect();
        let left: Vec<Label> = all.iter().copied().filter(|l| !both(l) && !wide(other, *l)).collect();
        for label in batch.iter().chain(&inner) {
            if self.size(*label) != other.size(*label) {
                return Err("its inputs have different sizes on an axis of one name".into());
            }
        }
        let a = self.ordered(&[batch.as_slice(), &left, &inner].concat(), ws)?;
        let b = other.ordered(&[batch.as_slice(), &inner, &right].concat(), ws)?;
        let batches = count(&a.dims[..batch.len()])?;
        let m = count(&a.dims[batch.len()..batch.len() + left.len()])?;
        let k = count(&b.dims[batch.len()..batch.len() + inner.len()])?;
        let right_dims = &b.dims[batch.len() + inner.len()..];
        let n = count(right_dims)?;
        let dims = [&a.dims[..batch.len() + left.len()], right_dims].concat();
        let mut elements = T::buffer(ws, count(&dims)?)?;
        multiplied(&a.elements, &b.elements, [batches, m, k, n], &mut elements);
        Ok(Self { labels: [batch, left, right].concat(), dims, elements })
    }
}

fn multiplied<T: Number>(a: &[T], b: &[T], [batches, m, k, n]: [usize; 4], out: &mut [T]) {
    for (i, out) in out.chunks_exact_mut((m * n).max(1)).enumerate().take(batches) {
        plain(&a[i * m * k..][..m * k], &b[i * k * n..][..k * n], [k, n], out);
    }
}

fn like<T: Number>(
    _: &ndarray::ArrayD<T>,
    args: &Args<'_>,
    terms: &[Term],
    result: &Term,
    ws: &mut Workspace,
) -> Outcome<Value> {
    let mut wide = 0;
    for (i, term) in terms.iter().enumerate() {
        let shape = args.value(i)?.shape();
        match shape.len().checked_sub(term.letters()) {
            Some(rest) if rest == 0 || term.after.is_some() => wide = wide.max(rest),
            _ => {
                return Err(format!(
                    "its input {i} of shape {shape:?} does not have the axes of its equation"
                ));
            }
        }
    }
    let mut operands = Vec::new();
    for (i, term) in terms.iter().enumerate() {
        let v = args.value(i)?;
        let a = T::array_of(v).ok_or_else(|| format!("its input {i} is {}, unlike the first", v.dtype()))?;
        operands.push(diagonal(slice(a), a.shape(), &term.labels(a.ndim() - term.letters()), ws)?);
    }
    let order = result.labels(wide);
    let mut sizes: BTreeMap<Label, usize> = BTreeMap::new();
    for o in &operands {
        for (l, n) in o.labels.iter().zip(&o.dims) {
            let size = sizes.entry(*l).or_insert(*n);
            if *size == 1 {
                *size = *n;
            }
        }
    }
    if let Some(i) = order.iter().position(|l| order.iter().filter(|m| *m == l).count() > 1) {
        return Err(format!("its equation names axis {i} of the result twice"));
    }
    let mut rest = operands.into_iter();
    let mut joined = rest.next().ok_or("it has no inputs")?;
    let mut left: Vec<Operand<T>> = rest.collect();
    left.reverse();
    let wanted =
        |left: &[Operand<T>], l: Label| order.contains(&l) || left.iter().any(|o| o.labels.contains(&l));
    loop {
        let others = left.len();
        joined = joined.summed(&|l| wanted(&left[..others], l), ws)?;
        let Some(next) = left.pop() else { break };
        let next = next.summed(&|l| wanted(&left, l) || joined.labels.contains(&l), ws)?;
        joined = joined.joined(&next, &|l| wanted(&left, l), ws)?;
    }
    if order.iter().any(|l| !sizes.contains_key(l)) {
        return Err("its result names an axis that no input has".into());
    }
    let out = joined.ordered(&order, ws)?;
    value(&out.dims, out.elements)
}

/// An operand whose repeated labels are one axis: its diagonal.
fn diagonal<T: Number>(
    x: &[T],
    shape: &[usize],
    labels: &[Label],
    ws: &mut Workspace,
) -> Outcome<Operand<T>> {
    let strides = strided::strides(shape);
    let (mut kept, mut dims, mut steps): (Vec<Label>, Vec<usize>, Vec<isize>) = Default::default();
    for ((label, n), s) in labels.iter().zip(shape).zip(strides) {
        if let Some(i) = kept.iter().position(|l| l == label) {
            if dims[i] != *n {
                return Err("an input has different sizes on axes of one name".into());
            }
            steps[i] += s;
        } else {
            kept.push(*label);
            dims.push(*n);
            steps.push(s);
        }
    }
    let mut elements = T::buffer(ws, count(&dims)?)?;
    strided::copy(x, 0, &dims, &steps, &mut elements);
    Ok(Operand { labels: kept, dims, elements })
}
