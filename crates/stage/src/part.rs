//! One of several parts of a job on many machines, as the command line names it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::Failure;

/// One of several parts of a job, as `--shard 2/4` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Which part, from 1 on.
    pub index: u64,
    /// Of how many.
    pub of: u64,
}

impl Part {
    /// All parts.
    pub fn all(of: u64) -> impl Iterator<Item = Self> {
        (1..=of).map(move |index| Self { index, of })
    }

    /// Its range of this many things: parts differ by one at most.
    pub fn range(self, count: u64) -> Range<u64> {
        let edge = |i: u64| (u128::from(i) * u128::from(count) / u128::from(self.of)) as u64;
        edge(self.index - 1)..edge(self.index)
    }

    /// Where its result is when the whole goes to `output`: `output.shards/2-of-4`.
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

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            Some((0, of)) if of > 0 => Err(format!("parts are numbered from 1: 1/{of} to {of}/{of}")),
            Some((index, of)) => Err(format!("there is no part {index} of {of}")),
            None => Err("write it as number/count, like 2/4".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_tile_the_samples(samples in 0_u64..10_000, of in 1_u64..300) {
            let mut reached = 0;
            for part in Part::all(of) {
                let range = part.range(samples);
                prop_assert_eq!(range.start, reached);
                let size = range.end - range.start;
                prop_assert!((samples / of..=samples / of + 1).contains(&size));
                reached = range.end;
            }
            prop_assert_eq!(reached, samples);
        }
    }

    #[test]
    fn parts_are_read_and_refused() {
        assert_eq!("2/4".parse(), Ok(Part { index: 2, of: 4 }));
        assert!("0/4".parse::<Part>().unwrap_err().contains("from 1"));
        for text in ["5/4", "1/0", "0/0", "2", "a/b", "-1/2", "1/2/3", ""] {
            text.parse::<Part>().unwrap_err();
        }
    }

    #[test]
    fn parts_lie_beside_the_output() {
        let part = Part { index: 2, of: 4 };
        assert_eq!(part.dir(Path::new("runs/m/stats")).unwrap(), Path::new("runs/m/stats.shards/2-of-4"));
        part.dir(Path::new("/")).unwrap_err();
    }
}
