//! Kinds of artifacts, and the version of each kind's format.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kinds of artifacts. Finetuned and NPU-adjusted models are `quantized` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A float model, rewritten for quantization.
    Prepared,
    /// What a calibration will run over, and how it is cut into shards.
    Plan,
    /// Statistics of tensors, whole or of one shard.
    Stats,
    /// A quantized model and the parameters of its tensors.
    Quantized,
    /// Tuned constants of some layers of a quantized model: one share of several.
    Layers,
    /// A comparison of two models.
    Evaluation,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Prepared, Self::Plan, Self::Stats, Self::Quantized, Self::Layers, Self::Evaluation];

    /// The name, as in `artifact.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Plan => "plan",
            Self::Stats => "stats",
            Self::Quantized => "quantized",
            Self::Layers => "layers",
            Self::Evaluation => "evaluation",
        }
    }

    /// The format version that this build writes.
    pub fn current_version(self) -> FormatVersion {
        match self {
            Self::Prepared => PREPARED,
            Self::Plan => PLAN,
            Self::Stats => STATS,
            Self::Quantized => QUANTIZED,
            Self::Layers => LAYERS,
            Self::Evaluation => EVALUATION,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Format of `prepared` artifacts.
///
/// * 1.0: `model.onnx` with its external data, `rewrites.json`.
pub const PREPARED: FormatVersion = FormatVersion { major: 1, minor: 0 };

/// Format of `plan` artifacts.
///
/// * 1.0: the ordered samples and the shards.
pub const PLAN: FormatVersion = FormatVersion { major: 1, minor: 0 };

/// Format of `stats` artifacts.
///
/// * 1.0: `stats.bin`, `samples.json`;
/// * 2.0: `stats.bin` holds votes, and counts as wide as they need.
pub const STATS: FormatVersion = FormatVersion { major: 2, minor: 0 };

/// Format of `quantized` artifacts.
///
/// * 1.0: `model.onnx` with its external data, `tensors.json`.
pub const QUANTIZED: FormatVersion = FormatVersion { major: 1, minor: 0 };

/// Format of `layers` artifacts.
///
/// * 1.0: `layers.json`, and `constants.onnx` with its external data.
pub const LAYERS: FormatVersion = FormatVersion { major: 1, minor: 0 };

/// Format of `evaluation` artifacts.
///
/// * 1.0: `report.json`, `report.html`.
pub const EVALUATION: FormatVersion = FormatVersion { major: 1, minor: 0 };

/// A format version, `major.minor`.
///
/// A minor version only adds: a reader of 1.0 reads 1.3, without what was added. A major version changes
/// what is there: a reader takes its own only. Writing is stricter: what any newer version wrote is not
/// replaced, since what was added would be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct FormatVersion {
    /// Changes when old readers would misread.
    pub major: u16,
    /// Changes when something is added that old readers may ignore.
    pub minor: u16,
}

impl FormatVersion {
    /// Whether a program of version `self` reads `found`.
    pub fn reads(self, found: Self) -> bool {
        self.major == found.major
    }

    /// Whether a program of version `self` may replace `found`.
    pub fn may_replace(self, found: Self) -> bool {
        found <= self
    }

    /// What to do about a version that cannot be read.
    pub(crate) fn advice(self, found: Self) -> &'static str {
        if found.major > self.major {
            "use that version of the program"
        } else {
            "run the stage that wrote it again"
        }
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for FormatVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once('.')
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }))
            .ok_or_else(|| format!("{text:?} is not a format version (major.minor)"))
    }
}

impl From<FormatVersion> for String {
    fn from(version: FormatVersion) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for FormatVersion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_take_their_major_and_writers_nothing_newer() {
        let v = |major, minor| FormatVersion { major, minor };
        assert!(v(1, 0).reads(v(1, 3)) && v(1, 3).reads(v(1, 0)));
        assert!(!v(1, 9).reads(v(2, 0)) && !v(2, 0).reads(v(1, 9)));
        assert!(v(1, 3).may_replace(v(1, 3)) && v(2, 0).may_replace(v(1, 9)));
        assert!(!v(1, 3).may_replace(v(1, 4)) && !v(1, 9).may_replace(v(2, 0)));
    }

    #[test]
    fn names_are_those_in_json() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert_eq!(serde_json::to_value(FormatVersion { major: 1, minor: 12 }).unwrap(), "1.12");
        assert!("1".parse::<FormatVersion>().is_err() && "1.-2".parse::<FormatVersion>().is_err());
        assert!("1.99999".parse::<FormatVersion>().is_err());
    }
}
