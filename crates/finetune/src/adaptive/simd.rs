//! Loops compiled for the instruction sets that a CPU may have. They use no fused multiply-add, so all give the same bits.

/// Lanes of sums, so that their order does not depend on the instruction set.
pub(super) const LANES: usize = 16;

/// A loop.
pub(super) trait Kernel {
    /// What it gives.
    type Output;

    /// Must be `#[inline(always)]`, to be compiled anew within each function below.
    fn run(self) -> Self::Output;
}

/// Runs a loop in the widest instructions of this CPU.
pub(super) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run()
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2")]
    fn avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run()
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        #[allow(unsafe_code)]
        // SAFETY: both functions are safe code but for their features, all of which the CPU has just reported.
        return unsafe { if wide { avx512(kernel) } else { avx2(kernel) } };
    }
    kernel.run()
}

/// The sum of lanes, in a fixed order.
#[inline(always)]
pub(super) fn sum(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `z = Σ_k w_k x_k` with the rows `x_k` `stride` apart.
pub(super) struct Forward<'a> {
    pub(super) w: &'a [f32],
    pub(super) x: &'a [f32],
    pub(super) stride: usize,
    pub(super) z: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.z.fill(0.0);
        for (&w, x) in self.w.iter().zip(self.x.chunks(self.stride)) {
            for (z, x) in self.z.iter_mut().zip(x) {
                *z += w * x;
            }
        }
    }
}

/// `g_k = Σ_p z_p x_kp` with the rows `x_k` `stride` apart.
pub(super) struct Gradient<'a> {
    pub(super) z: &'a [f32],
    pub(super) x: &'a [f32],
    pub(super) stride: usize,
    pub(super) g: &'a mut [f32],
}

impl Kernel for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (z, z_rest) = self.z.as_chunks::<LANES>();
        for (g, x) in self.g.iter_mut().zip(self.x.chunks(self.stride)) {
            let (x, x_rest) = x[..self.z.len()].as_chunks::<LANES>();
            let mut lanes = [0.0; LANES];
            for (z, x) in z.iter().zip(x) {
                for i in 0..LANES {
                    lanes[i] += z[i] * x[i];
                }
            }
            for (i, (z, x)) in z_rest.iter().zip(x_rest).enumerate() {
                lanes[i] += z * x;
            }
            *g = sum(lanes);
        }
    }
}
