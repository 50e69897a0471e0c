//! Biases in the ranges of channels.

/// The bias of each output channel, made comparable to weights: |b| / shrink, where `shrink` grows with how far biases exceed weights, so that a
/// few large biases do not decide alone. `rows` are the weights of each output channel. Formula and thresholds are those of the
/// reference tools, so that the same models come out.
///
/// With W' the weights, where zeros stand for the smallest of their row and no magnitude is below 1e-7, and F = |b_c| / |W'_ck|: if max|b| < 10 and
/// max|b| / max|W'| < 20, then shrink is 5 where median F > 100 or mean F > 1000, else 2; otherwise it is 20 where median F > 30 or
/// mean F > 500, 10 where median F > 15 or mean F > 100, else 5. A row of zeros has no say, and its bias counts as 0.
pub(super) fn append_bias(rows: &[Vec<f32>], bias: &[f32]) -> Vec<f32> {
    const TINY: f32 = 1e-7;
    let any_zero = rows.iter().flatten().any(|w| *w == 0.0);
    let mut bias: Vec<f32> = bias.iter().map(|b| b.abs()).collect();
    let mut ratios = Vec::new();
    let (mut largest_weight, mut largest_bias) = (0f32, 0f32);
    for (row, b) in rows.iter().zip(&mut bias) {
        let least = row.iter().filter(|w| **w != 0.0).fold(f32::INFINITY, |m, w| m.min(w.abs()));
        if any_zero && least.is_infinite() {
            *b = 0.0;
        }
        largest_bias = largest_bias.max(*b);
        for w in row {
            let w = if *w == 0.0 && least.is_finite() { least } else { w.abs() }.max(TINY);
            largest_weight = largest_weight.max(w);
            ratios.push(*b / w);
        }
    }
    let mean = ratios.iter().map(|r| f64::from(*r)).sum::<f64>() / ratios.len().max(1) as f64;
    let median = median(&mut ratios);
    let shrink = if largest_bias < 10.0 && largest_bias / largest_weight < 20.0 {
        if median > 100.0 || mean > 1000.0 { 5.0 } else { 2.0 }
    } else if median > 30.0 || mean > 500.0 {
        20.0
    } else if median > 15.0 || mean > 100.0 {
        10.0
    } else {
        5.0
    };
    bias.iter().map(|b| b / shrink).collect()
}

fn median(values: &mut [f32]) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let (odd, middle) = (values.len() % 2 == 1, values.len() / 2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    if odd {
        return *upper;
    }
    let lower = below.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    f32::midpoint(lower, *upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_shrink_the_more_the_further_they_exceed_weights() {
        // max|b| / max|W'| is 8, so that 2 and 5 are to choose from.
        assert_eq!(append_bias(&[vec![1.0, 0.5]], &[-8.0]), [4.0]);
        assert_eq!(append_bias(&[vec![1.0, 0.001, 0.001]], &[-8.0]), [8.0 / 5.0]);
        // From a ratio of 20 on, 5, 10 and 20 are.
        assert_eq!(append_bias(&[vec![1.0], vec![10.0]], &[20.0, 2.0]), [4.0, 0.4]);
        assert_eq!(append_bias(&[vec![1.0], vec![1.0]], &[20.0, 20.0]), [2.0, 2.0]);
        assert_eq!(append_bias(&[vec![0.1], vec![1.0]], &[20.0, 20.0]), [1.0, 1.0]);
    }

    #[test]
    fn zeros_stand_for_the_smallest_of_their_row() {
        // A row of zeros has no say; 0.5 stands for the zero: the median of 2, 2, and 0 twice is 1.
        assert_eq!(append_bias(&[vec![0.5, 0.0], vec![0.0, 0.0]], &[1.0, 1e6]), [0.5, 0.0]);
        assert_eq!(append_bias(&[], &[]), [0f32; 0]);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut []), 0.0);
    }
}
