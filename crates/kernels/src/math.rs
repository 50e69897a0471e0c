//! Elementary functions as straight-line arithmetic, so that loops over them vectorise and every CPU gives the same
//! bits: no fused multiply-add, no table, no library call.

/// Adding and subtracting 1.5·2²³ rounds to the nearest even integer where `|x| <= 2²²`.
pub(crate) const ROUND: f32 = 12_582_912.0;

/// `eˣ`, within 2 units in the last place; 0 and ∞ beyond the range, subnormals included.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Below, e^x rounds to 0; above, it overflows. A NaN fails both comparisons and passes through.
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts; the first has 9 significant bits, so n times it is exact.
    let r = x - n * 0.693_359_4;
    let r = r + n * 2.121_944_4e-4;
    // Minimax on |r| <= ln 2 / 2.
    let p = 1.991_837e-4_f32;
    let p = p * r + 1.394_606_2e-3;
    let p = p * r + 8.333_264e-3;
    let p = p * r + 4.166_627e-2;
    let p = p * r + 1.666_666_7e-1;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    // 2^n in two factors: n reaches -150 and 128, where one factor is no normal number.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    p * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `2ⁿ` for `-126 <= n <= 127`.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    // e^|x| would overflow where the result is still a number: use the small exponential on either side.
    let e = exp(-x.abs());
    let num = if x < 0.0 { e } else { 1.0 };
    num / (1.0 + e)
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    let z = x * x;
    // Minimax of (tanh(x)/x − 1)/x² on |x| <= 0.625.
    let p = 2.147_539_8e-3_f32;
    let p = p * z - 8.182_677e-3;
    let p = p * z + 2.170_297e-2;
    let p = p * z - 5.394_720_3e-2;
    let p = p * z + 0.133_332_1;
    let p = p * z - 3.333_333e-1;
    let small = x + x * (z * p);
    let e = exp(-2.0 * a);
    let large = ((1.0 - e) / (1.0 + e)).copysign(x);
    // The sum loses the sign of a zero.
    if a < 0.625 { small.copysign(x) } else { large }
}

/// The error function, within 4 units in the last place.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let a = x.abs();
    let z = x * x;
    // Minimax of erf(x)/x on |x| <= 1.
    let p = -9.641_519e-6_f32;
    let p = p * z + 1.125_695e-4;
    let p = p * z - 8.482_829e-4;
    let p = p * z + 5.220_945_5e-3;
    let p = p * z - 2.686_54e-2;
    let p = p * z + 1.128_378_2e-1;
    let p = p * z - 3.761_263_8e-1;
    let p = p * z + std::f32::consts::FRAC_2_SQRT_PI;
    let small = x * p;
    // Minimax of ln(erfc(x)) on 0.9 <= x <= 4; beyond, erf rounds to 1.
    let t = if a > 4.0 { 4.0 } else { a };
    let q = -2.082_852_7e-5_f32;
    let q = q * t + 4.313_925_7e-4;
    let q = q * t - 4.156_250_5e-3;
    let q = q * t + 2.508_060_6e-2;
    let q = q * t - 1.082_203_7e-1;
    let q = q * t - 6.334_008_6e-1;
    let q = q * t - 1.129_488_3;
    let q = q * t + 1.692_039_2e-4;
    let large = (1.0 - exp(q)).copysign(x);
    if a < 1.0 || a.is_nan() { small } else { large }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance to the true value in units in the last place of the result.
    fn ulps(got: f32, want: f64) -> f64 {
        let nearest = want as f32;
        if got == nearest {
            return 0.0;
        }
        let ulp = f64::from(nearest.abs().max(f32::MIN_POSITIVE).next_up())
            - f64::from(nearest.abs().max(f32::MIN_POSITIVE));
        (f64::from(got) - want).abs() / ulp
    }

    fn worst(f: impl Fn(f32) -> f32, want: impl Fn(f64) -> f64, lo: f32, hi: f32) -> f64 {
        (0..400_000)
            .map(|i| lo + (hi - lo) * i as f32 / 400_000.0)
            .map(|x| ulps(f(x), want(f64::from(x))))
            .fold(0.0, f64::max)
    }

    #[test]
    fn exponential_is_within_two_ulps() {
        let error = worst(exp, f64::exp, -103.0, 88.7);
        assert!(error <= 2.0, "{error}");
    }

    #[test]
    fn sigmoid_and_tanh_are_within_a_few_ulps() {
        let error = worst(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -87.0, 30.0);
        assert!(error <= 3.5, "sigmoid {error}");
        let error = worst(tanh, f64::tanh, -12.0, 12.0);
        assert!(error <= 3.0, "tanh {error}");
    }

    #[test]
    fn error_function_matches_its_series() {
        // erf x = 2/√π e^(−x²) Σ 2ⁿ x^(2n+1) / (2n+1)!!: all terms are positive, so nothing cancels.
        let series = |x: f64| {
            let mut term = x;
            let mut sum = 0.0;
            for n in 0..200 {
                sum += term;
                term *= 2.0 * x * x / f64::from(2 * n + 3);
            }
            2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
        };
        let error = worst(erf, series, -5.0, 5.0);
        assert!(error <= 4.0, "{error}");
    }

    #[test]
    fn special_values() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(-0.0).to_bits(), (-0.0_f32).to_bits());
        assert_eq!(erf(f32::INFINITY), 1.0);
        assert_eq!(erf(f32::NEG_INFINITY), -1.0);
        for f in [exp, sigmoid, tanh, erf] {
            assert!(f(f32::NAN).is_nan());
        }
    }
}
