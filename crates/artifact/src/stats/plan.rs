//! What statistics are to be collected: over which samples, of which tensors.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Error, Fingerprint, Result};

/// More samples than this could overflow a sum: 2^24 addends below 2^103 stay within 127 bits.
pub(crate) const MAX_SAMPLES: u64 = 1 << 24;

/// The samples that statistics are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Of everything that decides the statistics: model, samples, preprocessing, engine, tensors. The same for all shards.
    pub fingerprint: Fingerprint,
    /// Number of samples of the whole plan.
    pub samples: u64,
    /// The ordinals of the samples of this shard; `0..samples` where there is one shard only.
    pub range: Range<u64>,
}

impl Plan {
    /// A plan in one piece.
    pub fn whole(fingerprint: Fingerprint, samples: u64) -> Self {
        Self { fingerprint, samples, range: 0..samples }
    }

    /// Whether it is in one piece.
    pub fn is_whole(&self) -> bool {
        self.range == (0..self.samples)
    }

    /// Check the numbers.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Range { start, end } = self.range;
        if start > end || end > self.samples || self.samples > MAX_SAMPLES {
            return Err(format!(
                "samples {start}..{end} of {} cannot be (at most {MAX_SAMPLES} samples)",
                self.samples
            ));
        }
        Ok(())
    }

    /// The position of a sample within the shard.
    pub(crate) fn position(&self, ordinal: u64) -> Result<usize> {
        if self.range.contains(&ordinal) {
            Ok((ordinal - self.range.start) as usize)
        } else {
            Err(Error::Misuse(format!("sample {ordinal} is not one of {:?}", self.range)))
        }
    }
}

/// A tensor whose statistics are collected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// Its name in the model.
    pub name: String,
    /// Its shape; -1 for a dimension that is not known.
    pub shape: Vec<i64>,
    /// Which dimension is the channel; `None` where there are no statistics per channel.
    pub channel_axis: Option<u32>,
    /// Number of channels; 0 where there are no statistics per channel.
    pub channels: u32,
}

impl TensorSpec {
    /// A tensor without channels.
    pub fn flat(name: impl Into<String>, shape: &[i64]) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), channel_axis: None, channels: 0 }
    }

    /// A tensor whose channel is dimension 1, if it has one and its size is known.
    pub fn channel_first(name: impl Into<String>, shape: &[i64]) -> Self {
        match shape.get(1).map(|&size| u32::try_from(size)) {
            Some(Ok(channels)) if channels > 0 => {
                Self { name: name.into(), shape: shape.to_vec(), channel_axis: Some(1), channels }
            }
            _ => Self::flat(name, shape),
        }
    }
}

/// Check that names are unique and channels have an axis.
pub(crate) fn check_specs(specs: &[TensorSpec]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for spec in specs {
        if !names.insert(spec.name.as_str()) {
            return Err(format!("tensor {} is there twice", spec.name));
        }
        let axis_fits = spec.channel_axis.is_none_or(|axis| (axis as usize) < spec.shape.len());
        if spec.channel_axis.is_some() != (spec.channels > 0) || !axis_fits {
            return Err(format!("tensor {} has channels without an axis, or the reverse", spec.name));
        }
    }
    Ok(())
}
