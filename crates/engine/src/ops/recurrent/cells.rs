//! One step of each recurrent operator.

use super::activation::Activation;
use super::{Direction, Sizes};

/// A recurrent cell of one direction.
pub(super) trait Cell {
    /// What is added to `X Wᵀ` of each step, from the biases of the input and of the recurrence.
    fn input_bias(&self, bias: &[f32], _hidden: usize) -> Vec<f32> {
        let (input, recurrence) = bias.split_at(bias.len() / 2);
        input.iter().zip(recurrence).map(|(a, b)| a + b).collect()
    }

    /// From the projected inputs in `gates` and the state, the next state.
    fn step(&mut self, direction: &Direction<'_>, gates: &mut [f32], state: &[f32], next: &mut [f32]);

    /// Takes over what else the last step computed for one member of the batch.
    fn keep(&mut self, _member: usize, _hidden: usize) {}
}

/// `h' = f(x W + h R + b)`
pub(super) struct Rnn {
    pub(super) function: Activation,
}

impl Cell for Rnn {
    fn step(&mut self, direction: &Direction<'_>, gates: &mut [f32], state: &[f32], next: &mut [f32]) {
        let h = direction.sizes.hidden;
        direction.recur(state, 0, h, gates, h);
        direction.clipped(gates);
        self.function.apply(gates);
        next.copy_from_slice(gates);
    }
}

/// `z = f(…)`, `r = f(…)`, `n = g(x W + (r ⊙ h) R + b)`, `h' = (1 − z) ⊙ n + z ⊙ h`
pub(super) struct Gru {
    f: Activation,
    g: Activation,
    /// Whether the reset gate multiplies after the product: `r ⊙ (h R + b)`.
    linear_before_reset: bool,
    reset: Vec<f32>,
    linear: Vec<f32>,
}

impl Gru {
    pub(super) fn new(functions: &[Activation], linear_before_reset: bool, sizes: Sizes) -> Self {
        let each = sizes.batch * sizes.hidden;
        Self {
            f: functions[0],
            g: functions[1],
            linear_before_reset,
            reset: vec![0.0; each],
            linear: vec![0.0; each],
        }
    }
}

impl Cell for Gru {
    fn input_bias(&self, bias: &[f32], hidden: usize) -> Vec<f32> {
        let (input, recurrence) = bias.split_at(bias.len() / 2);
        let mut total: Vec<f32> = input.iter().zip(recurrence).map(|(a, b)| a + b).collect();
        if self.linear_before_reset {
            total[2 * hidden..].copy_from_slice(&input[2 * hidden..]);
        }
        total
    }

    fn step(&mut self, direction: &Direction<'_>, gates: &mut [f32], state: &[f32], next: &mut [f32]) {
        let h = direction.sizes.hidden;
        direction.recur(state, 0, 2 * h, gates, 3 * h);
        for (gates, reset) in gates.chunks_exact_mut(3 * h).zip(self.reset.chunks_exact_mut(h)) {
            direction.clipped(&mut gates[..2 * h]);
            self.f.apply(&mut gates[..2 * h]);
            reset.copy_from_slice(&gates[h..2 * h]);
        }
        if self.linear_before_reset {
            for row in self.linear.chunks_exact_mut(h) {
                match direction.bias {
                    Some(bias) => row.copy_from_slice(&bias[2 * h..]),
                    None => row.fill(0.0),
                }
            }
            direction.recur(state, 2 * h, h, &mut self.linear, h);
            self.linear.iter_mut().zip(&self.reset).for_each(|(v, r)| *v *= r);
        } else {
            self.reset.iter_mut().zip(state).for_each(|(r, s)| *r *= s);
            self.linear.fill(0.0);
            direction.recur(&self.reset, 2 * h, h, &mut self.linear, h);
        }
        let rows = gates.chunks_exact_mut(3 * h).zip(self.linear.chunks_exact(h));
        for ((gates, linear), (state, next)) in rows.zip(state.chunks_exact(h).zip(next.chunks_exact_mut(h)))
        {
            let (update, rest) = gates.split_at_mut(h);
            let new = &mut rest[h..];
            new.iter_mut().zip(linear).for_each(|(v, l)| *v += l);
            direction.clipped(new);
            self.g.apply(new);
            for (((o, z), n), s) in next.iter_mut().zip(&*update).zip(&*new).zip(state) {
                *o = (1.0 - z) * n + z * s;
            }
        }
    }
}

/// `c' = f ⊙ c + i ⊙ g(…)`, `h' = o ⊙ h(c')`; the gates stand in the order i, o, f, c, the peepholes i, o, f.
pub(super) struct Lstm<'a> {
    pub(super) functions: [Activation; 3],
    /// Whether the forget gate is `1 − i`.
    pub(super) input_forget: bool,
    pub(super) peepholes: Option<&'a [f32]>,
    pub(super) cell: &'a mut [f32],
    pub(super) next: Vec<f32>,
}

impl Cell for Lstm<'_> {
    fn step(&mut self, direction: &Direction<'_>, gates: &mut [f32], state: &[f32], next: &mut [f32]) {
        let h = direction.sizes.hidden;
        let [f, g, out] = self.functions;
        direction.recur(state, 0, 4 * h, gates, 4 * h);
        let cells = self.cell.chunks_exact(h).zip(self.next.chunks_exact_mut(h));
        for ((gates, next), (cell, new_cell)) in
            gates.chunks_exact_mut(4 * h).zip(next.chunks_exact_mut(h)).zip(cells)
        {
            let (i, rest) = gates.split_at_mut(h);
            let (o, rest) = rest.split_at_mut(h);
            let (forget, c) = rest.split_at_mut(h);
            let peep = |gate: &mut [f32], cell: &[f32], which: usize| {
                if let Some(p) = self.peepholes {
                    for ((v, p), c) in gate.iter_mut().zip(&p[which * h..]).zip(cell) {
                        *v += p * c;
                    }
                }
            };
            peep(i, cell, 0);
            direction.clipped(i);
            f.apply(i);
            if self.input_forget {
                forget.iter_mut().zip(&*i).for_each(|(f, i)| *f = 1.0 - i);
            } else {
                peep(forget, cell, 2);
                direction.clipped(forget);
                f.apply(forget);
            }
            direction.clipped(c);
            g.apply(c);
            for ((((n, f), old), i), c) in new_cell.iter_mut().zip(&*forget).zip(cell).zip(&*i).zip(&*c) {
                *n = f * old + i * c;
            }
            peep(o, new_cell, 1);
            direction.clipped(o);
            f.apply(o);
            next.copy_from_slice(new_cell);
            out.apply(next);
            next.iter_mut().zip(&*o).for_each(|(v, o)| *v *= o);
        }
    }

    fn keep(&mut self, member: usize, hidden: usize) {
        let range = member * hidden..(member + 1) * hidden;
        self.cell[range.clone()].copy_from_slice(&self.next[range]);
    }
}
