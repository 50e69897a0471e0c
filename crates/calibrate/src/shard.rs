//! Parts of a collection: which samples they have, and where they are.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use shiftwise_stage::Failure;

/// One of several parts of a plan, as `--shard 2/4` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    /// Which part, from 1 on.
    pub index: u64,
    /// Of how many.
    pub of: u64,
}

impl Shard {
    /// All parts.
    pub fn all(of: u64) -> impl Iterator<Item = Self> {
        (1..=of).map(move |index| Self { index, of })
    }

    /// Its samples among this many: parts differ by one sample at most.
    pub fn range(self, samples: u64) -> Range<u64> {
        let edge = |i: u64| (u128::from(i) * u128::from(samples) / u128::from(self.of)) as u64;
        edge(self.index - 1)..edge(self.index)
    }

    /// Where its statistics are when the whole goes to `output`: `output.shards/2-of-4`.
    ///
    /// Fails for an output without a name.
    pub fn dir(self, output: &Path) -> Result<PathBuf, Failure> {
        let name = output.file_name().ok_or_else(|| {
            Failure::usage(format!("write to {}", output.display()))
                .with_help("give a path that ends in a name")
        })?;
        let mut folder = name.to_owned();
        folder.push(".shards");
        Ok(output.with_file_name(folder).join(format!("{}-of-{}", self.index, self.of)))
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            Some((0, of)) if of > 0 => Err(format!("shards are numbered from 1: 1/{of} to {of}/{of}")),
            Some((index, of)) => Err(format!("there is no part {index} of {of}")),
            None => Err("write it as number/count, like 2/4".to_owned()),
        }
    }
}

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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_tile_the_samples(samples in 0_u64..10_000, of in 1_u64..300) {
            let mut reached = 0;
            for shard in Shard::all(of) {
                let range = shard.range(samples);
                prop_assert_eq!(range.start, reached);
                let size = range.end - range.start;
                prop_assert!((samples / of..=samples / of + 1).contains(&size));
                reached = range.end;
            }
            prop_assert_eq!(reached, samples);
        }
    }

    #[test]
    fn numbers_become_runs() {
        assert_eq!(array_spec([]), "");
        assert_eq!(array_spec([4]), "4");
        assert_eq!(array_spec([2, 5, 6, 7, 9, 10]), "2,5-7,9-10");
    }

    #[test]
    fn shards_are_read_and_refused() {
        assert_eq!("2/4".parse(), Ok(Shard { index: 2, of: 4 }));
        assert!("0/4".parse::<Shard>().unwrap_err().contains("from 1"));
        for text in ["5/4", "1/0", "0/0", "2", "a/b", "-1/2", "1/2/3", ""] {
            text.parse::<Shard>().unwrap_err();
        }
    }

    #[test]
    fn shards_lie_beside_the_output() {
        let shard = Shard { index: 2, of: 4 };
        assert_eq!(shard.dir(Path::new("runs/m/stats")).unwrap(), Path::new("runs/m/stats.shards/2-of-4"));
        shard.dir(Path::new("/")).unwrap_err();
    }
}
