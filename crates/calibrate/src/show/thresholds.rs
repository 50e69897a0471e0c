//! What calibration methods would choose for a tensor, and what it would cost.

use serde::Serialize;
use shiftwise_artifact::stats::{TensorView, layout};
use shiftwise_quant::{QParams, QuantType, calibration};

/// What one method would choose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Threshold {
    pub(super) method: &'static str,
    /// The lowest value that an integer stands for.
    pub(super) low: f64,
    /// The highest one.
    pub(super) high: f64,
    pub(super) scale: f32,
    pub(super) zero_point: i64,
    /// The exponent of a scale that is a power of two, negated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<i32>,
    /// How many values saturate: those farther than half a step beyond the ends.
    pub(super) clipped: u64,
    /// Energy of the values over that of the error, in decibels; nothing where there is no error, or no value.
    pub(super) sqnr: Option<f64>,
    /// By what the method decided.
    pub(super) note: String,
}

impl Threshold {
    /// What all methods would choose for a type.
    pub(super) fn all(view: TensorView<'_>, ty: QuantType) -> Vec<Self> {
        let all = calibration::survey(view, ty).into_iter();
        all.map(|(method, choice)| Self::new(view, method, choice.params, choice.note)).collect()
    }

    fn new(view: TensorView<'_>, method: &'static str, params: QParams, note: String) -> Self {
        let (low, high) = params.representable();
        let (clipped, sqnr) = cost(view, params);
        Self {
            method,
            low: low.into(),
            high: high.into(),
            scale: params.scale,
            zero_point: params.zero_point,
            position: params.position().map(shiftwise_quant::Position::get),
            clipped,
            sqnr,
            note,
        }
    }

    /// The scale, for people.
    pub(super) fn scale_text(&self) -> String {
        match self.position {
            Some(position) => format!("2^{}", -position),
            None => number(self.scale.into()),
        }
    }

    /// The signal over the noise, for people.
    pub(super) fn sqnr_text(&self) -> String {
        self.sqnr.map_or_else(|| "-".to_owned(), |db| format!("{db:.1} dB"))
    }

    /// The clipped values, for people.
    pub(super) fn clipped_text(&self, finite: u64) -> String {
        match self.clipped {
            0 => "0".to_owned(),
            n => {
                format!("{} ({}%)", compact(n as f64), number_of(n as f64 * 100.0 / finite.max(1) as f64, 2))
            }
        }
    }
}

/// How many values saturate, and the signal over the noise in decibels.
///
/// Bins are taken at their middles c: an error is (c − ĉ)² + w²/12 with the width w of the bin, or s²/12 where bins are wider
/// than steps s and nothing saturates.
fn cost(view: TensorView<'_>, params: QParams) -> (u64, Option<f64>) {
    let Some((min, max)) = view.range() else { return (0, None) };
    let step = f64::from(params.scale);
    let zero_point = params.zero_point as f64;
    let (first, last) = params.ty.full_range();
    let (first, last) = (first as f64 - zero_point, last as f64 - zero_point);
    // Half a step, and what rounding in the bounds themselves may add.
    let (low, high) = ((first - 0.5) * step * (1.0 + 1e-6), (last + 0.5) * step * (1.0 + 1e-6));
    let (mut clipped, mut signal, mut noise) = (0, 0.0, 0.0);
    for (bin, count) in view.bins() {
        let center = layout::bin_center(bin).clamp(f64::from(min), f64::from(max));
        let width = layout::bin_width(bin);
        let n = count as f64;
        signal += n * center * center;
        let saturates = center < low || center > high;
        if saturates {
            clipped += count;
        }
        noise += n * if !saturates && width >= step {
            step * step / 12.0
        } else if center == 0.0 {
            0.0
        } else {
            let error = center - (center / step).round_ties_even().clamp(first, last) * step;
            error * error + width * width / 12.0
        };
    }
    let sqnr = 10.0 * (signal / noise).log10();
    (clipped, (signal > 0.0 && noise > 0.0).then_some(sqnr).filter(|db| db.is_finite()))
}

/// A number in about six characters.
pub(super) fn number(value: f64) -> String {
    number_of(value, 4)
}

/// A number with so many significant digits, plain where that is short.
pub(super) fn number_of(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let exponent = value.abs().log10().floor() as i32;
    if !(-4..=5).contains(&exponent) {
        return format!("{value:.*e}", digits.saturating_sub(2).max(1));
    }
    let decimals = (digits as i32 - 1 - exponent).clamp(0, 8) as usize;
    format!("{value:.decimals$}")
}

/// A count in a few characters: 950, 12.3k, 4.56M.
pub(super) fn compact(count: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")];
    match units.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => {
            let unit = if *name == "k" { 1e3 } else { *unit };
            format!("{}{name}", number_of(count / unit, 3))
        }
        None => format!("{:.0}", count.ceil()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::statistics;
    use super::*;

    #[test]
    fn what_saturates_is_counted_exactly() {
        let stats = statistics(&[&[-2.0, -1.0, 0.0, 0.5, 0.99, 1.0, 3.0]]);
        let view = stats.tensor("t").unwrap();
        let params = QParams { ty: QuantType::Int8, scale: 1.0 / 128.0, zero_point: 0 };
        // From −1 to 0.992: 1.0 is farther than half a step, −2 and 3 are farther.
        let t = Threshold::new(view, "m", params, String::new());
        assert_eq!((t.low, t.high, t.clipped, t.position), (-1.0, 0.992_187_5, 3, Some(7)));
        let signal = 4.0 + 1.0 + 0.25 + 0.9801 + 1.0 + 9.0;
        let noise = 1.0
            + (1.0_f64 / 128.0).powi(2)
            + (2.0 + 1.0 / 128.0_f64).powi(2)
            + (0.99_f64 - 127.0 / 128.0).powi(2);
        let wanted = 10.0 * (signal / noise).log10();
        assert!((t.sqnr.unwrap() - wanted).abs() < 0.01, "{t:?} {wanted}");
    }

    #[test]
    fn the_covering_scale_clips_nothing() {
        let values: Vec<f32> = (0..999).map(|i| (i as f32 * 0.711).sin() * 3.3).collect();
        let stats = statistics(&[&values]);
        for ty in [QuantType::Uint8, QuantType::Int8, QuantType::Int16] {
            let all = Threshold::all(stats.tensor("t").unwrap(), ty);
            let minmax = all.iter().find(|t| t.method == "minmax").unwrap();
            assert_eq!(minmax.clipped, 0, "{ty}");
            // A uniform error of one step under values of this size.
            let mean_square = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / 999.0;
            let wanted = 10.0 * (mean_square * 12.0 / f64::from(minmax.scale).powi(2)).log10();
            assert!((minmax.sqnr.unwrap() - wanted).abs() < 1.0, "{ty}: {:?} {wanted}", minmax.sqnr);
        }
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 1.0, -12.345_67, 0.001_236, 123_456.7, 1e-7, -3.4e38].map(number);
        assert_eq!(numbers, ["0", "1.000", "-12.35", "0.001236", "123457", "1.00e-7", "-3.40e38"]);
        assert_eq!(
            [0.2, 12.0, 9_999.0, 12_345.0, 4.56e6].map(compact),
            ["1", "12", "9999", "12.3k", "4.56M"]
        );
    }
}
