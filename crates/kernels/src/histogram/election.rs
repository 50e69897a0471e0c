//! What rounding to power-of-two steps costs the values of one sample.
//!
//! In units of the width of its bins, 2^(e − 10), the bins of a page lie between 1024 and 2048, so that what is lost by rounding
//! depends on the step in these units alone. With u = j + ½ for the middle of bin j beyond 1024:
//!
//! * A step above twice the page rounds to zero: (1024 + u)². A step of 2048 rounds up: (1024 − u)².
//! * For a step of 1024 bins j and 1023 − j lose the same, u² for the lower; for a step of 512, so do the lower quarters; and so
//!   on. So counts are folded in half again and again, and each time multiplied with the same squares.
//! * Steps of a bin or less lose a twelfth of their square.
//! * What lies beyond the last point P loses (u + 1024 − P)².
//!
//! Values spread within a bin add a twelfth of its square, but for steps below its width.

use super::PAGE;
use super::front::Front;
use super::window::EXPONENTS;

/// Steps tried for one type.
pub const CANDIDATES: usize = 5;

/// Symmetric grids of one integer type with different power-of-two steps.
#[derive(Clone, Copy, Debug)]
pub struct Grids {
    /// Fraction bits: the steps are 2^−p.
    pub positions: [i32; CANDIDATES],
    /// Points above zero: 2^bits − 1.
    pub bits: u32,
    /// Whether there is one point more below zero than above.
    pub more_below: bool,
}

/// Counts of one page, multiplied.
struct Sums {
    /// Σ n.
    counts: f64,
    /// Σ n·u.
    first: f64,
    /// Σ n·u².
    second: f64,
    /// Σ n·r² for a step of 2^(1 − i) pages, r the distance to the nearest point.
    rounded: [f64; 11],
    /// Σ n·((u + 1024 − 2032)² − (u + 1024 − 2048)²) over the last eight bins: what saturating at 127 instead of 128 costs.
    saturated: f64,
    /// n of the last bin.
    last: f64,
}

impl Front {
    /// Sums of squared errors of the values that were counted and not yet flushed, for each of the steps of each of `grids`: each clipped
    /// to the grid and rounded to its nearest point, values within a bin taken as evenly spread. Left out is what all steps cost
    /// alike: values that the finest of them rounds to zero.
    ///
    /// `range` bounds the finite values that were counted.
    pub fn squared_errors<const N: usize>(
        &self,
        range: (f32, f32),
        grids: &[Grids; N],
    ) -> [[f64; CANDIDATES]; N] {
        let mut errors = [[0.0; CANDIDATES]; N];
        let finest = grids.iter().flat_map(|g| g.positions).max().unwrap_or(0);
        let mut counts = [0.0; PAGE];
        let pages = |page: usize| self.window.pages(range).any(|p| p == page);
        for page in self.window.pages(range) {
            let exponent = self.window.exponent_of_page(page);
            if exponent + 2 <= -finest {
                continue;
            }
            // Where nothing saturates, both signs lose the same, and are taken together.
            let saturates = |g: &Grids| g.positions.iter().any(|p| -p - exponent <= 1 - g.bits as i32);
            let together = !grids.iter().any(saturates);
            if together && page >= EXPONENTS && pages(page - EXPONENTS) {
                continue;
            }
            counts.fill(0.0);
            let mut any = self.add_counts(page, &mut counts);
            if together && page < EXPONENTS && pages(page + EXPONENTS) {
                any |= self.add_counts(page + EXPONENTS, &mut counts);
            }
            if any {
                add_page(&mut counts, page >= EXPONENTS, exponent, grids, &mut errors);
            }
        }
        self.add_strange(finest, grids, &mut errors);
        errors
    }

    /// Adds the counts of a page, and says whether there are any.
    fn add_counts(&self, page: usize, counts: &mut [f32; PAGE]) -> bool {
        let places = page * PAGE..(page + 1) * PAGE;
        for (count, n) in counts.iter_mut().zip(self.spilled.get(places.clone()).unwrap_or_default()) {
            *count += *n as f32;
        }
        add_floats(&self.table[places], counts) | !self.spilled.is_empty()
    }

    /// Values beyond the window, of which there are few.
    fn add_strange<const N: usize>(
        &self,
        finest: i32,
        grids: &[Grids; N],
        errors: &mut [[f64; CANDIDATES]; N],
    ) {
        let mut bins: Vec<u32> = self.strange.bins.clone();
        bins.retain(|bin| {
            let exponent = ((bin / PAGE as u32) & 255) as i32;
            exponent != 255 && exponent - 127 + 2 > -finest
        });
        bins.sort_unstable();
        for page in bins.chunk_by(|a, b| *a as usize / PAGE == *b as usize / PAGE) {
            let mut counts = [0.0; PAGE];
            for bin in page {
                counts[*bin as usize % PAGE] += 1.0;
            }
            let number = page[0] as usize / PAGE;
            add_page(&mut counts, number >= 256, (number & 255) as i32 - 127, grids, errors);
        }
    }
}

/// Adds what the values of one page cost; `counts` is used up.
fn add_page<const N: usize>(
    counts: &mut [f32; PAGE],
    negative: bool,
    exponent: i32,
    grids: &[Grids; N],
    errors: &mut [[f64; CANDIDATES]; N],
) {
    let sums = multiply(counts);
    let unit = power_of_two(exponent - 10);
    for (grids, errors) in grids.iter().zip(errors) {
        for (position, error) in grids.positions.iter().zip(errors) {
            *error += unit * unit * sums.cost(-position - exponent, grids.bits, negative && grids.more_below);
        }
    }
}

impl Sums {
    /// What a step of 2^`step` times the lower end of the page costs. The last point is 2^`bits` if `more`, else the one before.
    fn cost(&self, step: i32, bits: u32, more: bool) -> f64 {
        let within = self.counts / 12.0;
        let end = bits as i32;
        if step >= 2 {
            return self.beyond(1024.0) + within;
        }
        let units = power_of_two(step + 10);
        if step <= -end {
            let points = power_of_two(end) - if more { 0.0 } else { 1.0 };
            return self.beyond(1024.0 - points * units) + within;
        }
        let rounded = if step <= -10 {
            self.counts * units * units / 12.0
        } else {
            self.rounded[(1 - step) as usize] + within
        };
        // The last half step of the page is nearest to a point that is one too many.
        let saturated = match (more, step == 1 - end, bits) {
            (false, true, 7) => self.saturated,
            // Within the last bin: ∫ r² from ½ to 1 step rather than from −½ to 0.
            (false, true, _) => self.last * units * units * units / 4.0,
            _ => 0.0,
        };
        rounded + saturated
    }

    /// Σ n·(u + d)².
    fn beyond(&self, d: f64) -> f64 {
        self.second + 2.0 * d * self.first + d * d * self.counts
    }
}

/// 2^`exponent`, a normal number. The function of the standard library is not a multiplication.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// u² for all bins of a page.
static SQUARES: [f32; PAGE] = {
    let mut squares = [0.0; PAGE];
    let mut j = 0;
    while j < PAGE {
        squares[j] = (j as f32 + 0.5) * (j as f32 + 0.5);
        j += 1;
    }
    squares
};

fn multiply(counts: &mut [f32; PAGE]) -> Sums {
    let mut sums = Sums {
        counts: 0.0,
        first: 0.0,
        second: 0.0,
        rounded: [0.0; 11],
        saturated: 0.0,
        last: f64::from(counts[PAGE - 1]),
    };
    for (j, n) in counts.iter().enumerate().skip(PAGE - 8) {
        let u = j as f64 + 0.5;
        sums.saturated += f64::from(*n) * ((u - 1008.0).powi(2) - (u - 1024.0).powi(2));
    }
    sums_and_folds(counts, &mut sums);
    sums
}

dispatch! { fn add_floats(counts: &[u16], floats: &mut [f32; PAGE]) -> bool => add_floats_body, wide }

/// Whether any is not zero.
#[inline(always)]
fn add_floats_body(counts: &[u16], floats: &mut [f32; PAGE]) -> bool {
    let mut any = 0;
    for (float, n) in floats.iter_mut().zip(counts) {
        any |= n;
        *float += f32::from(*n);
    }
    any != 0
}

dispatch! { fn sums_and_folds(counts: &mut [f32; PAGE], sums: &mut Sums) => sums_and_folds_body, wide }

/// The order of additions is fixed: sixteen lanes, then their sum.
#[inline(always)]
fn sums_and_folds_body(counts: &mut [f32; PAGE], sums: &mut Sums) {
    let mut lanes = [[0.0_f32; 16]; 4];
    let mut u: [f32; 16] = std::array::from_fn(|lane| lane as f32 + 0.5);
    for (n, squares) in counts.as_chunks::<16>().0.iter().zip(SQUARES.as_chunks::<16>().0) {
        for lane in 0..16 {
            let (n, rest) = (n[lane], 1024.0 - u[lane]);
            lanes[0][lane] += n;
            lanes[1][lane] += n * u[lane];
            lanes[2][lane] += n * squares[lane];
            lanes[3][lane] += n * (rest * rest);
            u[lane] += 16.0;
        }
    }
    (sums.counts, sums.first) = (total(lanes[0]), total(lanes[1]));
    (sums.second, sums.rounded[0]) = (total(lanes[2]), total(lanes[3]));
    let mut half = PAGE / 2;
    for rounded in &mut sums.rounded[1..] {
        let (low, high) = counts.split_at_mut(half);
        let high = &high[..half];
        if half >= 16 {
            let mut lanes = [0.0_f32; 16];
            let high = high.as_chunks::<16>().0.iter().rev();
            let squares = SQUARES.as_chunks::<16>().0;
            for ((low, high), squares) in low.as_chunks_mut::<16>().0.iter_mut().zip(high).zip(squares) {
                // By value: the compiler sees no overlap, and uses vectors.
                let (a, mut b) = (*low, *high);
                b.reverse();
                let folded: [f32; 16] = std::array::from_fn(|lane| a[lane] + b[lane]);
                for lane in 0..16 {
                    lanes[lane] += folded[lane] * squares[lane];
                }
                *low = folded;
            }
            *rounded = total(lanes);
        } else {
            for (j, low) in low.iter_mut().enumerate() {
                *low += high[half - 1 - j];
                *rounded += f64::from(*low * SQUARES[j]);
            }
        }
        half /= 2;
    }
}

/// The sum of all lanes, halves first.
#[inline(always)]
fn total(lanes: [f32; 16]) -> f64 {
    let lanes = lanes.map(f64::from);
    let eight: [f64; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    let four: [f64; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::BINS;
    use crate::with_portable;

    const GRIDS: [Grids; 4] = [
        Grids { positions: [4, 5, 6, 7, 8], bits: 7, more_below: true },
        Grids { positions: [4, 5, 6, 7, 8], bits: 7, more_below: false },
        Grids { positions: [12, 13, 14, 15, 16], bits: 15, more_below: true },
        Grids { positions: [12, 13, 14, 15, 16], bits: 15, more_below: false },
    ];

    /// The mean over evenly spread values of a bin.
    fn sampled(low: f64, width: f64, grids: &Grids, position: i32) -> f64 {
        let (step, n) = (f64::from(-position).exp2(), 4096);
        let top = f64::from(grids.bits as i32).exp2() - 1.0;
        let error = |i: usize| {
            let x = low + (i as f64 + 0.5) / n as f64 * width;
            let bottom = if grids.more_below { -top - 1.0 } else { -top };
            let error = x - (x / step).round_ties_even().clamp(bottom, top) * step;
            error * error
        };
        (0..n).map(error).sum::<f64>() / n as f64
    }

    #[test]
    fn errors_of_both_signs_add_up() {
        let values: Vec<f32> = (0..5000).map(|i| ((i * 37) % 1000) as f32 * 0.002 - 0.7).collect();
        let mut front = Front::default();
        let mut of = |values: &[f32]| {
            front.observe(values, values.len(), |_, _| {});
            let errors = front.squared_errors((-0.7, 1.3), &GRIDS);
            front.flush(&mut vec![0; BINS], (-0.7, 1.3));
            errors
        };
        let (negative, positive): (Vec<f32>, Vec<f32>) = values.iter().partition(|v| **v < 0.0);
        let (all, negative, positive) = (of(&values), of(&negative), of(&positive));
        for grids in 0..4 {
            for i in 0..CANDIDATES {
                let (sum, all) = (negative[grids][i] + positive[grids][i], all[grids][i]);
                assert!((sum - all).abs() <= 1e-6 * all, "{grids} {i}: {sum} {all}");
            }
        }
    }

    #[test]
    fn errors_are_those_of_values_spread_evenly_in_their_bins() {
        let mut front = Front::default();
        for value in
            [0.001, 0.0155, 0.017, 0.04, 0.11, 0.24, 0.77, 1.03, 1.97, 1.9995, 1.9921, 2.0, 3.99, 7.3, 31.0]
        {
            for value in [value, -value] {
                let values = [value; 40];
                front.observe(&values, 40, |_, _| {});
                let range = (value.min(0.0), value.max(0.0));
                let errors = front.squared_errors(range, &GRIDS);
                assert_eq!(errors, with_portable(|| front.squared_errors(range, &GRIDS)));
                front.flush(&mut vec![0; BINS], range);
                let low = f32::from_bits(value.to_bits() & !0x1fff);
                let width = f64::from(f32::from_bits(low.to_bits() + 0x2000)) - f64::from(low);
                for (grids, errors) in GRIDS.iter().zip(errors) {
                    for (position, error) in grids.positions.iter().zip(errors) {
                        let want = 40.0 * sampled(low.into(), width, grids, *position);
                        let absolute = 2e-7 * 40.0 * f64::from(value * value) + 1e-18;
                        let close = (error - want).abs() <= 2e-3 * want + absolute * 1e-3;
                        assert!(close, "{value} {grids:?} {position}: {error} {want}");
                    }
                }
            }
        }
    }
}
