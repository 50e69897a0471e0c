//! Binary operators with numpy broadcasting.

use smallvec::{SmallVec, smallvec};

use crate::isa;

/// Dimensions of a tensor, or something for each of them; of few enough, it costs no allocation.
pub type Dims = SmallVec<[usize; 6]>;

/// Marks operators that combine two elements.
trait Binary: Copy + Default {
    fn apply(self, a: f32, b: f32) -> f32;
}

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident($a:ident, $b:ident) = $value:expr;)*) => {
        /// An operator on two tensors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum BinaryOp {
            $($(#[$doc])* $name,)*
        }

        $(
            #[derive(Clone, Copy, Default)]
            struct $name;
            impl Binary for $name {
                #[inline(always)]
                fn apply(self, $a: f32, $b: f32) -> f32 {
                    $value
                }
            }
        )*

        /// One contiguous run of results.
        fn run(op: BinaryOp, operands: Run<'_>, out: &mut [f32]) {
            match op {
                $(BinaryOp::$name => {
                    dispatch! { fn kernel(operands: Run<'_>, out: &mut [f32]) => run_body::<$name> }
                    kernel(operands, out);
                })*
            }
        }

        /// One contiguous run of results that replace the left operand.
        fn run_in_place(op: BinaryOp, a: &mut [f32], b: Right<'_>) {
            match op {
                $(BinaryOp::$name => {
                    dispatch! { fn kernel(a: &mut [f32], b: Right<'_>) => run_in_place_body::<$name> }
                    kernel(a, b);
                })*
            }
        }
    };
}

operators! {
    /// `a + b`
    Add(a, b) = a + b;
    /// `a − b`
    Sub(a, b) = a - b;
    /// `a · b`
    Mul(a, b) = a * b;
    /// `a / b`
    Div(a, b) = a / b;
    /// The smaller; NaN when either is.
    Min(a, b) = isa::min(a, b);
    /// The larger; NaN when either is.
    Max(a, b) = isa::max(a, b);
    /// `aᵇ`, with products for the squares and cubes that normalisations are full of.
    Pow(a, b) = power(a, b);
    /// Leaky slope `b` where `a` is negative.
    PRelu(a, b) = isa::leaky(a, b);
}

#[inline(always)]
fn power(a: f32, b: f32) -> f32 {
    if b == 2.0 {
        a * a
    } else if b == 3.0 {
        a * a * a
    } else {
        a.powf(b)
    }
}

/// The operands of a run of consecutive results.
#[derive(Clone, Copy)]
enum Run<'a> {
    Both(&'a [f32], &'a [f32]),
    Left(&'a [f32], f32),
    Right(f32, &'a [f32]),
}

#[inline(always)]
fn run_body<O: Binary>(run: Run<'_>, out: &mut [f32]) {
    let op = O::default();
    match run {
        Run::Both(a, b) => {
            for ((o, &a), &b) in out.iter_mut().zip(a).zip(b) {
                *o = op.apply(a, b);
            }
        }
        Run::Left(a, b) => {
            for (o, &a) in out.iter_mut().zip(a) {
                *o = op.apply(a, b);
            }
        }
        Run::Right(a, b) => {
            for (o, &b) in out.iter_mut().zip(b) {
                *o = op.apply(a, b);
            }
        }
    }
}

/// The right operand of a run whose left one is replaced.
#[derive(Clone, Copy)]
enum Right<'a> {
    Each(&'a [f32]),
    Same(f32),
}

#[inline(always)]
fn run_in_place_body<O: Binary>(a: &mut [f32], b: Right<'_>) {
    let op = O::default();
    match b {
        Right::Each(b) => {
            for (a, &b) in a.iter_mut().zip(b) {
                *a = op.apply(*a, b);
            }
        }
        Right::Same(b) => {
            for a in a {
                *a = op.apply(*a, b);
            }
        }
    }
}

/// The shape that two shapes broadcast to, or `None` where an axis differs and neither side is one.
pub fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Dims> {
    let rank = a.len().max(b.len());
    let axis = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    (0..rank)
        .map(|i| match (axis(a, i), axis(b, i)) {
            (1, n) | (n, 1) => Some(n),
            (n, m) => (n == m).then_some(n),
        })
        .collect()
}

/// Row-major strides of `shape` seen as the larger `target`: zero along broadcast axes.
pub(crate) fn strides_in(shape: &[usize], target: &[usize]) -> Dims {
    let mut strides: Dims = smallvec![0; target.len()];
    let mut step = 1;
    for (stride, &n) in strides.iter_mut().rev().zip(shape.iter().rev()) {
        if n != 1 {
            *stride = step;
        }
        step *= n;
    }
    strides
}

/// Where the operands of the result at flat `index` lie.
pub(crate) fn offsets(mut index: usize, shape: &[usize], a: &[usize], b: &[usize]) -> (usize, usize) {
    let (mut x, mut y) = (0, 0);
    for ((&n, &sa), &sb) in shape.iter().zip(a).zip(b).rev() {
        x += index % n * sa;
        y += index % n * sb;
        index /= n;
    }
    (x, y)
}

/// `out = op(a, b)` with numpy broadcasting of row-major tensors; `out` has the shape of [`broadcast_shape`].
///
/// Panics when the shapes do not broadcast or a length contradicts its shape.
pub fn binary(op: BinaryOp, a: &[f32], a_shape: &[usize], b: &[f32], b_shape: &[usize], out: &mut [f32]) {
    let shape = broadcast_shape(a_shape, b_shape).expect("shapes that broadcast");
    assert_eq!(a.len(), a_shape.iter().product::<usize>(), "left operand");
    assert_eq!(b.len(), b_shape.iter().product::<usize>(), "right operand");
    assert_eq!(out.len(), shape.iter().product::<usize>(), "result");
    if out.is_empty() {
        return;
    }
    let (sa, sb) = (strides_in(a_shape, &shape), strides_in(b_shape, &shape));
    let (outer, inner, sa, sb) = merge_axes(&shape, &sa, &sb);
    let (step_a, step_b) = (*sa.last().expect("an axis"), *sb.last().expect("an axis"));
    for (i, result) in out.chunks_exact_mut(inner).enumerate() {
        let (x, y) = offsets(i, &outer, &sa[..outer.len()], &sb[..outer.len()]);
        let operands = match (step_a, step_b) {
            (0, 0) => Run::Left(&a[x..=x], b[y]),
            (_, 0) => Run::Left(&a[x..x + inner], b[y]),
            (0, _) => Run::Right(a[x], &b[y..y + inner]),
            _ => Run::Both(&a[x..x + inner], &b[y..y + inner]),
        };
        run(op, operands, result);
    }
}

/// Joins neighbouring axes that both operands walk in the same way: outer axes, length of the innermost run, and
/// the strides, the run's last.
fn merge_axes(shape: &[usize], a: &[usize], b: &[usize]) -> (Dims, usize, Dims, Dims) {
    let (mut dims, mut sa, mut sb) = (Dims::new(), Dims::new(), Dims::new());
    for ((&n, &x), &y) in shape.iter().zip(a).zip(b) {
        if n == 1 {
            continue;
        }
        if let (Some(d), Some(px), Some(py)) = (dims.last_mut(), sa.last_mut(), sb.last_mut())
            && *px == x * n
            && *py == y * n
        {
            (*d, *px, *py) = (*d * n, x, y);
        } else {
            dims.push(n);
            sa.push(x);
            sb.push(y);
        }
    }
    let inner = dims.pop().unwrap_or(1);
    if sa.is_empty() {
        (sa, sb) = (smallvec![0], smallvec![0]);
    }
    (dims, inner, sa, sb)
}

/// `a = op(a, b)` for a `b` that broadcasts to the shape of `a`.
///
/// Panics when `b` does not broadcast to `a` or a length contradicts its shape.
pub fn binary_in_place(op: BinaryOp, a: &mut [f32], a_shape: &[usize], b: &[f32], b_shape: &[usize]) {
    let shape = broadcast_shape(a_shape, b_shape).expect("shapes that broadcast");
    assert_eq!(shape.as_slice(), a_shape, "the result has the shape of the left operand");
    assert_eq!(a.len(), a_shape.iter().product::<usize>(), "left operand");
    assert_eq!(b.len(), b_shape.iter().product::<usize>(), "right operand");
    if a.is_empty() {
        return;
    }
    let (sa, sb) = (strides_in(a_shape, &shape), strides_in(b_shape, &shape));
    let (outer, inner, sa, sb) = merge_axes(&shape, &sa, &sb);
    let step = *sb.last().expect("an axis");
    for (i, result) in a.chunks_exact_mut(inner).enumerate() {
        let (_, y) = offsets(i, &outer, &sa[..outer.len()], &sb[..outer.len()]);
        let right = if step == 0 { Right::Same(b[y]) } else { Right::Each(&b[y..y + inner]) };
        run_in_place(op, result, right);
    }
}
