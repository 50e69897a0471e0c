//! The register tiles of each instruction set.
//!
//! Vectors are explicit: whether a compiler keeps a tile of arrays in registers hangs on details of the code around it.

use super::{Finish, Left, Panels, Start, Target};
use crate::isa::{Isa, current};

/// `c = finish(start + a · b)` for one packed block.
pub(super) fn block(
    m: usize,
    a: Left<'_>,
    b: &Panels<'_>,
    c: Target<'_>,
    start: Start<'_>,
    finish: Finish<'_>,
) {
    match current() {
        Isa::Portable => unreachable!("products need fused multiply-add"),
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        // SAFETY: the function is safe code but for its `target_feature`, and `current` gives `Avx2` only after the CPU
        // reported AVX2 and FMA.
        Isa::Avx2 => unsafe { x86::block_256(m, a, b, c, start, finish) },
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        // SAFETY: as above; `current` gives `Avx512` only after the CPU reported every feature of both.
        Isa::Avx512 => unsafe { x86::block_512(m, a, b, c, start, finish) },
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_add_ps, _mm256_fmadd_ps, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps,
        _mm256_set1_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps,
        _mm512_set1_ps,
    };

    use bytemuck::cast;

    use super::{Finish, Left, Panels, Start, Target};
    use crate::conv::copy_row;
    use crate::product::{Place, panel_width};

    /// Defines the tile of `M` rows and `V` vectors of a panel.
    macro_rules! tile {
        ($name:ident, $features:literal, $vector:ty, $lanes:literal,
            $splat:ident, $fma:ident, $mul:ident, $add:ident, $max:ident, $min:ident) => {
            #[allow(clippy::too_many_arguments, reason = "flat arguments of an inner loop")]
            #[inline]
            #[target_feature(enable = $features)]
            fn $name<const M: usize, const V: usize>(
                a: &[f32],
                a_stride: usize,
                panel: &[f32],
                c: &mut [f32],
                c_stride: usize,
                place: Place,
                columns: usize,
                start: Start<'_>,
                finish: Finish<'_>,
            ) {
                let panel = panel.as_chunks::<$lanes>().0.as_chunks::<V>().0;
                let depth = panel.len();
                // Loops, not closures: those would not be compiled into this function.
                let mut rows = [&a[..0]; M];
                for i in 0..M {
                    rows[i] = &a[i * a_stride..i * a_stride + depth];
                }
                let mut sums = [[$splat(0.0); V]; M];
                match start {
                    Start::Rows(None) => {}
                    Start::Rows(Some(values)) => {
                        let values = &values[..M];
                        for i in 0..M {
                            sums[i] = [$splat(values[i]); V];
                        }
                    }
                    Start::Result => {
                        for i in 0..M {
                            sums[i] = vectors(&c[i * c_stride..], place, columns)
                                .map(cast::<[f32; $lanes], $vector>);
                        }
                    }
                }
                for (k, b) in panel.iter().enumerate() {
                    let b: [$vector; V] = b.map(cast);
                    for i in 0..M {
                        let x = $splat(rows[i][k]);
                        for v in 0..V {
                            sums[i][v] = $fma(x, b[v], sums[i][v]);
                        }
                    }
                }
                if let Some((scale, shift)) = finish.affine {
                    let (scale, shift) = (&scale[..M], &shift[..M]);
                    for i in 0..M {
                        let (scale, shift) = ($splat(scale[i]), $splat(shift[i]));
                        for v in 0..V {
                            sums[i][v] = $add($mul(sums[i][v], scale), shift);
                        }
                    }
                }
                if let Some((lo, hi)) = finish.limits {
                    // Of a NaN and a number these give the second operand.
                    let (lo, hi) = ($splat(lo), $splat(hi));
                    for i in 0..M {
                        for v in 0..V {
                            sums[i][v] = $min(hi, $max(lo, sums[i][v]));
                        }
                    }
                }
                for i in 0..M {
                    let values = sums[i].map(cast::<$vector, [f32; $lanes]>);
                    store(values, &mut c[i * c_stride..], place, columns);
                }
            }
        };
    }

    /// The first columns of a row, zero beyond `columns`.
    #[inline(always)]
    fn vectors<const V: usize, const L: usize>(row: &[f32], place: Place, columns: usize) -> [[f32; L]; V] {
        let mut values = [[0.0; L]; V];
        if columns.min(place.room) >= V * L {
            values.as_flattened_mut().copy_from_slice(&row[..V * L]);
        } else {
            gather(&mut values.as_flattened_mut()[..columns.min(V * L)], row, place);
        }
        values
    }

    /// Writes at most `columns` values to the front of a row.
    #[allow(clippy::manual_memcpy, reason = "copies of whole slices would go through memory")]
    #[inline(always)]
    fn store<const V: usize, const L: usize>(
        values: [[f32; L]; V],
        row: &mut [f32],
        place: Place,
        columns: usize,
    ) {
        if columns.min(place.room) >= V * L {
            let row = row[..V * L].as_chunks_mut::<L>().0;
            for v in 0..V {
                row[v] = values[v];
            }
        } else {
            // A copy, so that the values themselves need not lie in memory.
            let mut copy = [[0.0; L]; V];
            for v in 0..V {
                copy[v] = values[v];
            }
            scatter(&copy.as_flattened()[..columns.min(V * L)], row, place);
        }
    }

    /// Reads the runs of a row one after the other. A call, as is its counterpart, so that the loops around it are
    /// small enough to be unrolled: else the sums of a tile would lie in memory.
    #[inline(never)]
    fn gather(values: &mut [f32], row: &[f32], place: Place) {
        let (mut rest, mut at, mut room) = (values, 0, place.room);
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(room.min(rest.len()));
            copy_row(now, &row[at..]);
            at += now.len() + place.gap;
            (rest, room) = (later, place.run);
        }
    }

    /// Writes the runs of a row one after the other.
    #[inline(never)]
    fn scatter(values: &[f32], row: &mut [f32], place: Place) {
        let (mut rest, mut at, mut room) = (values, 0, place.room);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(room.min(rest.len()));
            copy_row(&mut row[at..at + now.len()], now);
            at += now.len() + place.gap;
            (rest, room) = (later, place.run);
        }
    }

    tile!(
        ymm,
        "avx2,fma",
        __m256,
        8,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_mul_ps,
        _mm256_add_ps,
        _mm256_max_ps,
        _mm256_min_ps
    );
    tile!(
        half,
        "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
        __m256,
        8,
        _mm256_set1_ps,
        _mm256_fmadd_ps,
        _mm256_mul_ps,
        _mm256_add_ps,
        _mm256_max_ps,
        _mm256_min_ps
    );
    tile!(
        zmm,
        "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma",
        __m512,
        16,
        _mm512_set1_ps,
        _mm512_fmadd_ps,
        _mm512_mul_ps,
        _mm512_add_ps,
        _mm512_max_ps,
        _mm512_min_ps
    );

    /// Defines the loop over the tiles of a block, of `$most` rows at most.
    macro_rules! block {
        ($name:ident, $row:ident, $features:literal, $most:literal, $widest:literal,
            $($width:pat => $tile:ident $vectors:literal),*) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name(
                m: usize,
                a: Left<'_>,
                b: &Panels<'_>,
                c: Target<'_>,
                start: Start<'_>,
                finish: Finish<'_>,
            ) {
                let mut row = 0;
                while row < m {
                    let left = Left { data: &a.data[row * a.row_stride..], ..a };
                    let out = Target { data: &mut c.data[row * c.stride..], ..c };
                    let start = match start {
                        Start::Rows(Some(values)) => Start::Rows(Some(&values[row..])),
                        other => other,
                    };
                    let finish = finish.rows(row);
                    row += if m - row >= $most {
                        $row::<$most>(left, b, out, start, finish)
                    } else if m - row >= 4 {
                        $row::<4>(left, b, out, start, finish)
                    } else if m - row >= 2 {
                        $row::<2>(left, b, out, start, finish)
                    } else {
                        $row::<1>(left, b, out, start, finish)
                    };
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn $row<const M: usize>(
                a: Left<'_>,
                b: &Panels<'_>,
                c: Target<'_>,
                start: Start<'_>,
                finish: Finish<'_>,
            ) -> usize {
                let (mut at, mut data) = (0, &*b.data);
                while at < b.columns {
                    let left = b.columns - at;
                    let width = panel_width($widest, left);
                    let (panel, next) = data.split_at(b.depth * width);
                    let place = c.place(c.first + at);
                    let out = &mut c.data[place.start..];
                    match width {
                        $($width => $tile::<M, $vectors>(
                            a.data, a.row_stride, panel, out, c.stride, place, left, start, finish,
                        ),)*
                    }
                    at += width;
                    data = next;
                }
                M
            }
        };
    }

    block!(block_256, row_256, "avx2,fma", 6, 16, 8 => ymm 1, _ => ymm 2);
    block!(
        block_512, row_512, "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", 8, 32,
        8 => half 1, 16 => zmm 1, _ => zmm 2
    );
}
