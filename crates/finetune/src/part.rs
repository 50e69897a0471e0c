//! One of several shares of the layers, as the command line names it.

use std::fmt;
use std::str::FromStr;

/// One of several shares of the layers, as `--layers 2/4` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    index: usize,
    of: usize,
}

impl Part {
    /// All shares.
    pub fn all(of: usize) -> impl Iterator<Item = Self> {
        (1..=of).map(move |index| Self { index, of })
    }

    /// Which share, from 1 on.
    pub fn index(self) -> usize {
        self.index
    }

    /// Of how many.
    pub fn of(self) -> usize {
        self.of
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
            Some((0, of)) if of > 0 => Err(format!("shares are numbered from 1: 1/{of} to {of}/{of}")),
            Some((index, of)) => Err(format!("there is no share {index} of {of}")),
            None => Err("write it as number/count, like 2/4".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_and_refused() {
        assert_eq!("2/4".parse(), Ok(Part { index: 2, of: 4 }));
        assert_eq!(Part::all(4).nth(1).unwrap().to_string(), "2/4");
        assert!("0/4".parse::<Part>().unwrap_err().contains("from 1"));
        for text in ["5/4", "1/0", "0/0", "2", "a/b", "-1/2", "1/2/3", ""] {
            text.parse::<Part>().unwrap_err();
        }
    }
}
