//! Recurrent operators: RNN, GRU, LSTM.
//!
//! The products of all time steps with the input weights are one matrix product; each step then adds the product of
//! its state with the recurrence weights.

mod activation;
mod cells;

use shiftwise_graph::Value;
use shiftwise_kernels::matmul::{MatRef, matmul};

use self::activation::{Activation, activations};
use self::cells::{Cell, Gru, Lstm, Rnn};
use super::{Cx, Op};
use crate::args::{Args, Datum, Kernel, Outcome, Results};
use crate::pool::Workspace;
use crate::scalar::count;

pub(super) const OPS: &[Op] =
    &[Op::float("RNN", compile), Op::float("GRU", compile), Op::float("LSTM", compile)];

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Rnn,
    Gru { linear_before_reset: bool },
    Lstm { input_forget: bool },
}

impl Kind {
    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru { .. } => 3,
            Self::Lstm { .. } => 4,
        }
    }

    fn defaults(self) -> &'static [&'static str] {
        match self {
            Self::Rnn => &["Tanh"],
            Self::Gru { .. } => &["Sigmoid", "Tanh"],
            Self::Lstm { .. } => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

/// What the attributes say.
struct Recurrent {
    kind: Kind,
    /// Whether each direction runs backward.
    backward: Vec<bool>,
    functions: Vec<Activation>,
    clip: Option<f32>,
    hidden: Option<usize>,
    /// Whether the batch comes first.
    batch_first: bool,
}

fn compile(cx: Cx<'_>) -> Outcome<Kernel> {
    let kind = match cx.node.op_type.as_str() {
        "RNN" => Kind::Rnn,
        "GRU" => Kind::Gru { linear_before_reset: cx.flag("linear_before_reset", false) },
        _ => Kind::Lstm { input_forget: cx.flag("input_forget", false) },
    };
    let backward = match cx.text_or("direction", "forward") {
        "forward" => vec![false],
        "reverse" => vec![true],
        "bidirectional" => vec![false, true],
        other => return Err(format!("its direction {other:?} is not defined")),
    };
    let hidden = match cx.node.int("hidden_size") {
        None => None,
        Some(h) => Some(usize::try_from(h).ok().filter(|h| *h > 0).ok_or(format!("its hidden_size is {h}"))?),
    };
    let op = Recurrent {
        functions: activations(cx, backward.len(), kind.defaults())?,
        kind,
        backward,
        clip: cx.node.float("clip").filter(|c| *c > 0.0),
        hidden,
        batch_first: cx.flag("layout", false),
    };
    Ok(Box::new(move |args, ws| op.run(args, ws)))
}

/// Sizes of one run.
#[derive(Clone, Copy)]
struct Sizes {
    steps: usize,
    batch: usize,
    hidden: usize,
}

/// An optional input that has to have `shape`.
fn fitting<'a>(args: &'a Args<'_>, index: usize, shape: &[usize]) -> Outcome<Option<&'a [f32]>> {
    if args.get(index).is_none() {
        return Ok(None);
    }
    let (v, given) = args.f32(index)?;
    if given == shape {
        Ok(Some(v))
    } else {
        Err(format!("its input {index} has shape {given:?}, not {shape:?}"))
    }
}

/// `[a, b, inner]` as `[b, a, inner]`.
fn swapped(x: &[f32], a: usize, b: usize, inner: usize, ws: &mut Workspace) -> Vec<f32> {
    let mut out = ws.floats(x.len());
    let (a_step, inner_step) = ((b * inner) as isize, inner as isize);
    crate::strided::copy(x, 0, &[b, a, inner], &[inner_step, a_step, 1], &mut out);
    out
}

impl Recurrent {
    fn run(&self, args: &mut Args<'_>, ws: &mut Workspace) -> Outcome<Results> {
        let directions = self.backward.len();
        let gates = self.kind.gates();
        let (x, x_shape) = args.f32(0)?;
        let &[first, second, input] = x_shape else {
            return Err(format!("its input has shape {x_shape:?}, which is not three-dimensional"));
        };
        let (steps, batch) = if self.batch_first { (second, first) } else { (first, second) };
        let (_, r_shape) = args.f32(2)?;
        let hidden = *r_shape.get(2).ok_or("its recurrence weights are not three-dimensional")?;
        if self.hidden.is_some_and(|h| h != hidden) || hidden == 0 {
            return Err(format!("its recurrence weights have {hidden} columns, unlike its hidden_size"));
        }
        let sizes = Sizes { steps, batch, hidden };
        let all = gates * hidden;
        let weights = fitting(args, 1, &[directions, all, input])?.ok_or("its weights are missing")?;
        let recurrence = fitting(args, 2, &[directions, all, hidden])?.ok_or("its weights are missing")?;
        let bias = fitting(args, 3, &[directions, 2 * all])?;
        let lengths = Self::lengths(args, sizes)?;
        let state_shape =
            if self.batch_first { [batch, directions, hidden] } else { [directions, batch, hidden] };
        let with_cell = matches!(self.kind, Kind::Lstm { .. });
        let mut state = self.state(fitting(args, 5, &state_shape)?, sizes, ws)?;
        let cell = if with_cell { fitting(args, 6, &state_shape)? } else { None };
        let mut cell = self.state(cell, sizes, ws)?;
        let peepholes = if with_cell { fitting(args, 7, &[directions, 3 * hidden])? } else { None };
        let x = if self.batch_first { swapped(x, batch, steps, input, ws) } else { x.to_vec() };

        let mut y = ws.floats(count(&[steps, directions, batch, hidden])?);
        y.fill(0.0);
        let mut projected = ws.floats(count(&[steps, batch, all])?);
        for d in 0..directions {
            let rows = steps * batch;
            let w = &weights[d * all * input..][..all * input];
            let bias = bias.map(|b| &b[d * 2 * all..][..2 * all]);
            if input == 0 || rows == 0 {
                projected.fill(0.0);
            } else {
                let (left, right) = (MatRef::row_major(&x, input), MatRef::transposed(w, input));
                matmul(rows, input, all, left, right, &mut projected, 1.0, 0.0);
            }
            let functions = &self.functions[d * self.kind.defaults().len()..][..self.kind.defaults().len()];
            let each = batch * hidden;
            let mut cell: Box<dyn Cell> = match self.kind {
                Kind::Rnn => Box::new(Rnn { function: functions[0] }),
                Kind::Gru { linear_before_reset } => {
                    Box::new(Gru::new(functions, linear_before_reset, sizes))
                }
                Kind::Lstm { input_forget } => Box::new(Lstm {
                    functions: [functions[0], functions[1], functions[2]],
                    input_forget,
                    peepholes: peepholes.map(|p| &p[d * 3 * hidden..][..3 * hidden]),
                    cell: &mut cell[d * each..][..each],
                    next: vec![0.0; each],
                }),
            };
            if let Some(bias) = bias {
                let total = cell.input_bias(bias, hidden);
                for row in projected.chunks_exact_mut(all) {
                    row.iter_mut().zip(&total).for_each(|(v, b)| *v += b);
                }
            }
            let direction = Direction {
                sizes,
                all,
                backward: self.backward[d],
                lengths: &lengths,
                projected: &projected,
                recurrence: &recurrence[d * all * hidden..][..all * hidden],
                bias: bias.map(|b| &b[all..]),
                clip: self.clip,
            };
            direction.walk(&mut *cell, &mut state[d * each..][..each], &mut y[d * each..], directions);
        }
        ws.recycle_floats(projected);
        self.results(y, state, with_cell.then_some(cell), sizes, ws)
    }

    /// Number of valid steps of each member of the batch.
    fn lengths(args: &Args<'_>, sizes: Sizes) -> Outcome<Vec<usize>> {
        let Some(given) = args.optional_ints(4)? else { return Ok(vec![sizes.steps; sizes.batch]) };
        let lengths = given.iter().map(|l| usize::try_from(*l).ok().filter(|l| *l <= sizes.steps));
        let lengths = lengths.collect::<Option<Vec<_>>>().filter(|l| l.len() == sizes.batch);
        lengths.ok_or_else(|| {
            format!("its sequence_lens {given:?} do not fit {} sequences of {}", sizes.batch, sizes.steps)
        })
    }

    /// An initial state in the order `[direction, batch, hidden]`.
    fn state(&self, given: Option<&[f32]>, sizes: Sizes, ws: &mut Workspace) -> Outcome<Vec<f32>> {
        let directions = self.backward.len();
        Ok(match given {
            None => vec![0.0; count(&[directions, sizes.batch, sizes.hidden])?],
            Some(v) if self.batch_first => swapped(v, sizes.batch, directions, sizes.hidden, ws),
            Some(v) => v.to_vec(),
        })
    }

    fn results(
        &self,
        y: Vec<f32>,
        state: Vec<f32>,
        cell: Option<Vec<f32>>,
        sizes: Sizes,
        ws: &mut Workspace,
    ) -> Outcome<Results> {
        let Sizes { steps, batch, hidden } = sizes;
        let directions = self.backward.len();
        let mut results = Results::new();
        if self.batch_first {
            // [steps, directions, batch, hidden] to [batch, steps, directions, hidden].
            let turned = swapped(&y, steps * directions, batch, hidden, ws);
            ws.recycle_floats(y);
            results.push(Datum::from(Value::f32(&[batch, steps, directions, hidden], turned)));
        } else {
            results.push(Value::f32(&[steps, directions, batch, hidden], y).into());
        }
        for state in std::iter::once(state).chain(cell) {
            results.push(if self.batch_first {
                let turned = swapped(&state, directions, batch, hidden, ws);
                Value::f32(&[batch, directions, hidden], turned).into()
            } else {
                Value::f32(&[directions, batch, hidden], state).into()
            });
        }
        Ok(results)
    }
}

/// One direction of a run.
struct Direction<'a> {
    sizes: Sizes,
    /// Gates times hidden elements.
    all: usize,
    backward: bool,
    lengths: &'a [usize],
    /// `X Wᵀ` plus biases, `[steps, batch, all]`.
    projected: &'a [f32],
    recurrence: &'a [f32],
    /// The biases of the recurrence.
    bias: Option<&'a [f32]>,
    clip: Option<f32>,
}

impl Direction<'_> {
    /// Walks the steps; `y` starts at this direction's first result.
    fn walk(&self, cell: &mut dyn Cell, state: &mut [f32], y: &mut [f32], directions: usize) {
        let Sizes { steps, batch, hidden } = self.sizes;
        let mut gates = vec![0.0; batch * self.all];
        let mut next = vec![0.0; batch * hidden];
        for step in 0..steps {
            let at =
                |b: usize| if self.backward { self.lengths[b].checked_sub(step + 1) } else { Some(step) };
            let valid = |b: usize| step < self.lengths[b];
            for (b, gates) in gates.chunks_exact_mut(self.all).enumerate() {
                match at(b).filter(|_| valid(b)) {
                    Some(t) => {
                        let row = (t * batch + b) * self.all;
                        gates.copy_from_slice(&self.projected[row..][..self.all]);
                    }
                    None => gates.fill(0.0),
                }
            }
            cell.step(self, &mut gates, state, &mut next);
            for b in (0..batch).filter(|b| valid(*b)) {
                let Some(t) = at(b) else { continue };
                let from = &next[b * hidden..][..hidden];
                state[b * hidden..][..hidden].copy_from_slice(from);
                y[(t * directions * batch + b) * hidden..][..hidden].copy_from_slice(from);
                cell.keep(b, hidden);
            }
        }
    }

    /// `out += state · R[from ..]ᵀ` for `columns` of the gates from `from` on, in rows of `stride`.
    fn recur(&self, state: &[f32], from: usize, columns: usize, out: &mut [f32], stride: usize) {
        let h = self.sizes.hidden;
        let right = MatRef::transposed(&self.recurrence[from * h..][..columns * h], h);
        shiftwise_kernels::matmul::matmul_into(
            self.sizes.batch,
            h,
            columns,
            MatRef::row_major(state, h),
            right,
            out,
            stride,
            1.0,
            1.0,
        );
    }

    /// Limits what goes into an activation.
    fn clipped(&self, x: &mut [f32]) {
        if let Some(c) = self.clip {
            for v in x {
                *v = v.clamp(-c, c);
            }
        }
    }
}
