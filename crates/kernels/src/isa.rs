//! Runtime choice of instruction set. The crate's `unsafe` calls into `target_feature` code are made by the macro in
//! this module, but for those of matrix products.

use std::cell::Cell;

/// Instruction sets that kernels are compiled for, beside the baseline of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// What every CPU of the target has.
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ, VL beside AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

thread_local! {
    static PORTABLE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` with the portable kernels on this thread, whatever the CPU has. For tests that compare the paths.
#[doc(hidden)]
pub fn with_portable<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            PORTABLE.set(self.0);
        }
    }
    let _restore = Restore(PORTABLE.replace(true));
    f()
}

#[cfg(test)]
thread_local! {
    /// Whether this thread does without AVX-512.
    pub(crate) static NARROW: Cell<bool> = const { Cell::new(false) };
}

/// The best instruction set of this CPU, unless the thread asked for the portable one.
pub(crate) fn current() -> Isa {
    #[cfg(target_arch = "x86_64")]
    if !PORTABLE.get() && is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        #[cfg(test)]
        let avx512 = avx512 && !NARROW.get();
        return if avx512 { Isa::Avx512 } else { Isa::Avx2 };
    }
    Isa::Portable
}

/// Whether products are added without rounding in between. CPUs that do give the same bits, whatever else they have; those that do
/// not give others.
pub fn fuses_multiply_add() -> bool {
    current() != Isa::Portable
}

/// Defines a function that runs `body`, an `#[inline(always)]` function of the same signature, compiled for the
/// best instruction set of the CPU. The body decides nothing by instruction set, so results are the same bits.
///
/// `fn name(..) => body` has AVX2 and portable versions; `fn name(..) => body, wide` has an AVX-512 version too.
/// With `=> fma body` the body is generic over a `const FMA: bool`, true where fused multiply-add is one instruction.
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis fn $name:ident ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? => $body:path) => {
        dispatch!(@define [$(#[$meta])*] [$vis] $name [$($arg: $ty),*] [$($ret)?] [$body] [$body] [Avx512 => avx2]);
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? => $body:path, wide) => {
        dispatch!(@define [$(#[$meta])*] [$vis] $name [$($arg: $ty),*] [$($ret)?] [$body] [$body] [Avx512 => avx512]);
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? => fma $body:ident) => {
        dispatch!(@define [$(#[$meta])*] [$vis] $name [$($arg: $ty),*] [$($ret)?]
            [$body::<true>] [$body::<false>] [Avx512 => avx2]);
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? => fma $body:ident, wide) => {
        dispatch!(@define [$(#[$meta])*] [$vis] $name [$($arg: $ty),*] [$($ret)?]
            [$body::<true>] [$body::<false>] [Avx512 => avx512]);
    };
    (@define [$($meta:tt)*] [$vis:vis] $name:ident [$($arg:ident : $ty:ty),*] [$($ret:ty)?]
        [$fast:expr] [$portable:expr] [Avx512 => $wide:ident]) => {
        $($meta)*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                $fast($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[allow(dead_code, reason = "only some kernels gain from the wide version")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                $fast($($arg),*)
            }
            match $crate::isa::current() {
                $crate::isa::Isa::Portable => $portable($($arg),*),
                #[cfg(target_arch = "x86_64")]
                #[allow(unsafe_code)]
                // SAFETY: the function is safe code but for its `target_feature`, and `current` gives `Avx2` only
                // after the CPU reported AVX2 and FMA.
                $crate::isa::Isa::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                #[allow(unsafe_code)]
                // SAFETY: as above; `current` gives `Avx512` only after the CPU reported every feature of both.
                $crate::isa::Isa::Avx512 => unsafe { $wide($($arg),*) },
            }
        }
    };
}

/// `a * b + c`, fused where that is one instruction. Unfused elsewhere: a fused product without the instruction is
/// a library call.
#[inline(always)]
pub(crate) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `a` or `b`, as a value and never as a branch.
///
/// In a loop that replaces its operand, neither choice should be the operand itself: the compiler makes that a masked
/// store, which is microcode on some CPUs with AVX2. The functions below are written around that.
#[inline(always)]
pub(crate) fn select(condition: bool, a: f32, b: f32) -> f32 {
    std::hint::select_unpredictable(condition, a, b)
}

/// `max(x, low)`; NaN stays NaN.
#[inline(always)]
pub(crate) fn at_least(x: f32, low: f32) -> f32 {
    select(low > x, low, x)
}

/// `min(x, high)`; NaN stays NaN.
#[inline(always)]
pub(crate) fn at_most(x: f32, high: f32) -> f32 {
    select(high < x, high, x)
}

/// The larger of two numbers; NaN when either is.
#[inline(always)]
pub(crate) fn max(a: f32, b: f32) -> f32 {
    select(a.is_nan() || b.is_nan(), a + b, a.max(b))
}

/// The smaller of two numbers; NaN when either is.
#[inline(always)]
pub(crate) fn min(a: f32, b: f32) -> f32 {
    select(a.is_nan() || b.is_nan(), a + b, a.min(b))
}

/// `x` where positive, `slope · x` elsewhere, for a finite slope.
#[inline(always)]
pub(crate) fn leaky(x: f32, slope: f32) -> f32 {
    at_least(x, 0.0) + slope * at_most(x, 0.0)
}
