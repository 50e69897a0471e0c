//! Convolutions against their definition, summed in f64.
#![allow(missing_docs)]

use proptest::prelude::*;
use shiftwise_kernels::{Conv2d, ConvTranspose2d, Scratch, with_portable};

/// Numbers of a fixed sequence in `[-1, 1)`.
fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Calls `f(input index, weight index, output index)` for every product of the convolution.
fn products(c: &Conv2d, mut f: impl FnMut(usize, usize, usize)) {
    let [oh, ow] = c.output_hw();
    let (in_group, out_group) = (c.c_in / c.groups, c.c_out / c.groups);
    for n in 0..c.batch {
        for o in 0..c.c_out {
            for i in 0..in_group {
                let channel = o / out_group * in_group + i;
                for (oy, ox) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                    for (ky, kx) in (0..c.kernel[0]).flat_map(|y| (0..c.kernel[1]).map(move |x| (y, x))) {
                        let y = (oy * c.stride[0] + ky * c.dilation[0]).wrapping_sub(c.pads[0]);
                        let x = (ox * c.stride[1] + kx * c.dilation[1]).wrapping_sub(c.pads[1]);
                        if y < c.h && x < c.w {
                            f(
                                ((n * c.c_in + channel) * c.h + y) * c.w + x,
                                ((o * in_group + i) * c.kernel[0] + ky) * c.kernel[1] + kx,
                                ((n * c.c_out + o) * oh + oy) * ow + ox,
                            );
                        }
                    }
                }
            }
        }
    }
}

fn assert_close(got: &[f32], want: &[f64], terms: usize) -> Result<(), TestCaseError> {
    prop_assert_eq!(got.len(), want.len());
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        prop_assert!((f64::from(g) - w).abs() <= 1e-6 * (terms as f64 + 1.0), "{} is {}, not {}", i, g, w);
    }
    Ok(())
}

prop_compose! {
    fn geometry()(
        batch in 1..3_usize, groups in 1..5_usize, in_group in 1..5_usize, out_group in 1..4_usize,
        depthwise in any::<bool>(), h in 1..20_usize, w in 1..90_usize,
        kernel in [1..6_usize, 1..6_usize], stride in [1..4_usize, 1..4_usize], dilation in [1..4_usize, 1..4_usize],
        pads in [0..4_usize, 0..4_usize, 0..4_usize, 0..4_usize],
    ) -> Conv2d {
        let in_group = if depthwise { 1 } else { in_group };
        Conv2d { batch, c_in: groups * in_group, h, w, c_out: groups * out_group, groups, kernel, stride, dilation, pads }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn forward_matches_the_definition(c in geometry(), with_bias: bool, relu6: bool, seed: u64) {
        let (x, weight) = (numbers(seed, c.input_len()), numbers(seed ^ 1, c.weight_len()));
        let bias = with_bias.then(|| numbers(seed ^ 2, c.c_out));
        let [oh, ow] = c.output_hw();
        let mut want: Vec<f64> = (0..c.output_len())
            .map(|i| bias.as_ref().map_or(0.0, |b| f64::from(b[i / (oh * ow) % c.c_out])))
            .collect();
        products(&c, |i, w, o| want[o] += f64::from(x[i]) * f64::from(weight[w]));
        let activation = relu6.then_some((0.0, 6.0));
        if relu6 {
            for v in &mut want {
                *v = v.clamp(0.0, 6.0);
            }
        }
        // Dirty memory: nothing of an earlier call may show.
        let mut scratch = Scratch::new();
        let noisy = Conv2d { batch: 1, c_in: 3, h: 40, w: 90, c_out: 3, groups: 3, kernel: [3, 3], stride: [2, 2],
            dilation: [1, 1], pads: [1; 4] };
        noisy.forward(&numbers(3, noisy.input_len()), &[1.0; 27], None, None, &mut vec![0.0; noisy.output_len()], &mut scratch);
        let mut got = vec![f32::NAN; c.output_len()];
        c.forward(&x, &weight, bias.as_deref(), activation, &mut got, &mut scratch);
        assert_close(&got, &want, c.depth())?;
        let mut portable = vec![f32::NAN; c.output_len()];
        with_portable(|| c.forward(&x, &weight, bias.as_deref(), activation, &mut portable, &mut scratch));
        assert_close(&portable, &want, c.depth())?;
    }

    #[test]
    fn a_batch_has_the_bits_of_its_images(
        g in geometry(), batch in 2..9_usize, small: bool, with_bias: bool, normalised: bool, relu6: bool, seed: u64,
    ) {
        let c = if small { Conv2d { batch, h: g.h.min(8), w: g.w.min(9), ..g } } else { Conv2d { batch, ..g } };
        let (x, weight) = (numbers(seed, c.input_len()), numbers(seed ^ 1, c.weight_len()));
        let bias = with_bias.then(|| numbers(seed ^ 2, c.c_out));
        let factors = normalised.then(|| (numbers(seed ^ 3, c.c_out), numbers(seed ^ 4, c.c_out)));
        let factors = factors.as_ref().map(|(a, b)| (a.as_slice(), b.as_slice()));
        let activation = relu6.then_some((0.0, 6.0));
        let mut scratch = Scratch::new();
        let mut same = || {
            let mut got = vec![f32::NAN; c.output_len()];
            c.forward_normalised(&x, &weight, bias.as_deref(), factors, activation, &mut got, &mut scratch);
            let one = Conv2d { batch: 1, ..c };
            let mut image = vec![f32::NAN; one.output_len()];
            for (i, x) in x.chunks_exact(one.input_len()).enumerate() {
                one.forward_normalised(x, &weight, bias.as_deref(), factors, activation, &mut image, &mut scratch);
                let got = got[i * image.len()..].iter().take(image.len());
                prop_assert!(got.map(|v| v.to_bits()).eq(image.iter().map(|v| v.to_bits())), "image {}", i);
            }
            Ok(())
        };
        same()?;
        with_portable(same)?;
    }

    #[test]
    fn weight_gradient_matches_the_definition(c in geometry(), seed: u64) {
        let (x, dy) = (numbers(seed, c.input_len()), numbers(seed ^ 1, c.output_len()));
        let start = numbers(seed ^ 2, c.weight_len());
        let mut want: Vec<f64> = start.iter().map(|&v| f64::from(v)).collect();
        products(&c, |i, w, o| want[w] += f64::from(x[i]) * f64::from(dy[o]));
        let mut got = start;
        c.weight_grad(&x, &dy, &mut got, &mut Scratch::new());
        let [oh, ow] = c.output_hw();
        assert_close(&got, &want, c.batch * oh * ow)?;
    }

    #[test]
    fn transposed_convolution_matches_the_definition(
        g in geometry(), output_padding in [0..3_usize, 0..3_usize], seed: u64, with_bias: bool,
    ) {
        let h = g.h.min(8);
        let w = g.w.min(9);
        let t = ConvTranspose2d { batch: g.batch, c_in: g.c_in, h, w, c_out: g.c_out, groups: g.groups,
            kernel: g.kernel, stride: g.stride, dilation: g.dilation, pads: g.pads, output_padding };
        let [oh, ow] = t.output_hw();
        let (x, weight) = (numbers(seed, t.input_len()), numbers(seed ^ 1, t.weight_len()));
        let bias = with_bias.then(|| numbers(seed ^ 2, t.c_out));
        let mut want: Vec<f64> = (0..t.output_len())
            .map(|i| bias.as_ref().map_or(0.0, |b| f64::from(b[i / (oh * ow) % t.c_out])))
            .collect();
        let (in_group, out_group) = (t.c_in / t.groups, t.c_out / t.groups);
        for n in 0..t.batch {
            for (i, o) in (0..t.c_in).flat_map(|i| (0..out_group).map(move |o| (i, o))) {
                for (y, x0) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                    for (ky, kx) in (0..t.kernel[0]).flat_map(|y| (0..t.kernel[1]).map(move |x| (y, x))) {
                        let oy = (y * t.stride[0] + ky * t.dilation[0]).wrapping_sub(t.pads[0]);
                        let ox = (x0 * t.stride[1] + kx * t.dilation[1]).wrapping_sub(t.pads[1]);
                        if oy < oh && ox < ow {
                            let channel = i / in_group * out_group + o;
                            want[((n * t.c_out + channel) * oh + oy) * ow + ox] +=
                                f64::from(x[((n * t.c_in + i) * h + y) * w + x0])
                                    * f64::from(weight[((i * out_group + o) * t.kernel[0] + ky) * t.kernel[1] + kx]);
                        }
                    }
                }
            }
        }
        let mut got = vec![f32::NAN; t.output_len()];
        t.forward(&x, &weight, bias.as_deref(), &mut got, &mut Scratch::new());
        assert_close(&got, &want, in_group * t.kernel[0] * t.kernel[1])?;
    }
}

#[test]
fn large_images_are_cut_into_tiles_without_a_seam() {
    let c = Conv2d {
        batch: 1,
        c_in: 96,
        h: 61,
        w: 59,
        c_out: 5,
        groups: 1,
        kernel: [3, 3],
        stride: [1, 1],
        dilation: [1, 1],
        pads: [1; 4],
    };
    let (x, weight) = (numbers(1, c.input_len()), numbers(2, c.weight_len()));
    let mut want = vec![0.0; c.output_len()];
    products(&c, |i, w, o| want[o] += f64::from(x[i]) * f64::from(weight[w]));
    let mut got = vec![f32::NAN; c.output_len()];
    c.forward(&x, &weight, None, None, &mut got, &mut Scratch::new());
    for (&g, &w) in got.iter().zip(&want) {
        assert!((f64::from(g) - w).abs() < 1e-4);
    }
    let dy = numbers(3, c.output_len());
    let mut want = vec![0.0; c.weight_len()];
    products(&c, |i, w, o| want[w] += f64::from(x[i]) * f64::from(dy[o]));
    let mut got = vec![0.0; c.weight_len()];
    c.weight_grad(&x, &dy, &mut got, &mut Scratch::new());
    for (&g, &w) in got.iter().zip(&want) {
        assert!((f64::from(g) - w).abs() < 1e-3);
    }
}
