//! Parts of a collection, by their numbers.

pub use shiftwise_stage::Part as Shard;

/// Ascending numbers as Slurm's `--array` takes them: `2,5-7`.
pub fn array_spec(numbers: impl IntoIterator<Item = u64>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for n in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == n => *last = n,
            _ => runs.push((n, n)),
        }
    }
    let parts = runs.iter().map(|&(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_runs() {
        assert_eq!(array_spec([]), "");
        assert_eq!(array_spec([4]), "4");
        assert_eq!(array_spec([2, 5, 6, 7, 9, 10]), "2,5-7,9-10");
    }
}
