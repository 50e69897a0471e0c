//! What quantized models must reach, and which of them do not.

use serde::{Deserialize, Serialize};
use shiftwise_stage::Failure;

use crate::Report;

/// Options of this stage. They decide about the exit code only, never about the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bounds {
    /// The least top-1 accuracy, in percent.
    pub min_top1: Option<f64>,
    /// The largest loss of top-1 accuracy against the float model, in points of percent.
    pub max_top1_loss: Option<f64>,
    /// The least mean SQNR of every output, in decibels.
    pub min_sqnr: Option<f64>,
}

impl Bounds {
    /// Refuses bounds that say nothing, before any work.
    pub fn check(&self, labelled: bool) -> Result<(), Failure> {
        if let Some(percent) = self.min_top1.filter(|p| !(0.0..=100.0).contains(p)) {
            return Err(Failure::usage(format!("check min_top1: {percent} is no percentage"))
                .with_help("give a number between 0 and 100"));
        }
        let needs_labels = [("min_top1", self.min_top1), ("max_top1_loss", self.max_top1_loss)];
        match needs_labels.iter().find(|(_, bound)| bound.is_some()) {
            Some((name, _)) if !labelled => {
                Err(Failure::usage(format!("check {name}: the samples have no labels"))
                    .with_help("--labels FILE names a CSV with the columns file,label"))
            }
            _ => Ok(()),
        }
    }

    /// Fails where a quantized model misses a bound; the message has every miss, a line each.
    pub fn apply(&self, report: &Report) -> Result<(), Failure> {
        let mut missed = Vec::new();
        for model in &report.models {
            let name = &model.info.name;
            if let (Some(least), Some(top1)) = (self.min_top1, &model.info.top1)
                && top1.percent < least
            {
                missed.push(format!(
                    "top-1 of {name} is {:.2} %, {:.2} points below the least allowed, {least} %",
                    top1.percent,
                    least - top1.percent
                ));
            }
            if let (Some(most), Some(loss)) = (self.max_top1_loss, model.top1_loss)
                && loss > most
            {
                missed.push(format!(
                    "top-1 of {name} is {loss:.2} points below float, {:.2} more than the {most} allowed",
                    loss - most
                ));
            }
            let Some(least) = self.min_sqnr else { continue };
            for output in &model.outputs {
                let place = format!("SQNR of output {:?} of {name}", output.name);
                if output.not_finite > 0 {
                    missed.push(format!(
                        "{place} is not defined: {} of {} samples have NaN or infinite values",
                        output.not_finite, report.samples.evaluated
                    ));
                } else if let Some(sqnr) = output.sqnr.as_ref().filter(|s| s.mean < least) {
                    missed.push(format!(
                        "{place} is {:.2} dB, {:.2} dB below the least allowed, {least} dB",
                        sqnr.mean,
                        least - sqnr.mean
                    ));
                }
            }
        }
        if missed.is_empty() { Ok(()) } else { Err(Failure::check(missed.join("\n"))) }
    }
}

#[cfg(test)]
mod tests {
    use shiftwise_stage::{Reader, Stage, options::assert_config_matches};

    #[test]
    fn options_match_the_table() {
        assert_config_matches::<super::Bounds>(Reader::Stage(Stage::Evaluate));
    }
}
