//! What was found and done, for people and for programs.

use serde::Serialize;
use shiftwise_quant::npu::{Adjustment, Settled};
use shiftwise_stage::report::{count, table};

use crate::finding::Legal;
use crate::{Finding, Fixed, NpuCheckConfig, Requantized, Source};

/// The report inside an adjusted artifact.
pub const LIMITS_FILE: &str = "limits.json";

/// Rows of a table for people; programs get all.
const ROWS: usize = 60;

/// What was adjusted.
#[derive(Clone, Debug, Serialize)]
pub struct Adjusted {
    /// Each move, in order.
    pub adjustments: Vec<Adjustment>,
    /// How positions were settled.
    pub settled: Settled,
    /// Constants whose integers were made again.
    pub requantized: Vec<Requantized>,
    /// What still does not hold: moving positions does not help there.
    pub left: Vec<Finding>,
}

/// The report of this stage.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the model was checked against.
    pub target: String,
    /// Whether limits were checked at all.
    pub checked: bool,
    /// What did not hold in the model that was read.
    pub violations: Vec<Finding>,
    /// What was adjusted, with `--fix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<Adjusted>,
    #[serde(skip)]
    loops: u32,
}

impl Report {
    /// A report of a check.
    pub fn new(config: &NpuCheckConfig, violations: Vec<Finding>) -> Self {
        Self {
            target: config.target().name,
            checked: config.npu_limitation_check,
            violations,
            adjusted: None,
            loops: config.max_loop_num,
        }
    }

    /// Adds what was adjusted, and what is left.
    #[must_use]
    pub fn with_fixed(mut self, fixed: &Fixed, left: Vec<Finding>) -> Self {
        self.adjusted = Some(Adjusted {
            adjustments: fixed.adjustments.clone(),
            settled: fixed.settled,
            requantized: fixed.requantized.clone(),
            left,
        });
        self
    }

    /// Tables and a summary.
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        match &self.adjusted {
            None if !self.violations.is_empty() => parts.push(findings(&self.violations)),
            None => {}
            Some(adjusted) => parts.extend(adjusted.tables()),
        }
        parts.push(self.summary());
        parts.join("\n\n")
    }

    fn summary(&self) -> String {
        if !self.checked {
            let what = if self.adjusted.is_some() {
                "the model is passed on as it is"
            } else {
                "nothing was checked"
            };
            return format!("npu_limitation_check = false: {what}");
        }
        let target = self.target.to_uppercase();
        let Some(adjusted) = &self.adjusted else {
            return match self.violations.len() as u64 {
                0 => format!("every limit of the {target} holds"),
                n => format!("{} of the {target}'s limits", count(n, "violation")),
            };
        };
        adjusted.summary(&target, self.violations.len() as u64, self.loops)
    }
}

impl Adjusted {
    fn tables(&self) -> Vec<String> {
        let mut parts = Vec::new();
        if !self.adjustments.is_empty() {
            parts.push(adjustments(&self.adjustments));
        }
        if !self.left.is_empty() {
            parts.push(format!("not adjustable:\n{}", findings(&self.left)));
        }
        parts
    }

    fn summary(&self, target: &str, violations: u64, loops: u32) -> String {
        let moved = self.adjustments.iter().map(|a| a.scale).collect::<std::collections::BTreeSet<_>>().len();
        let mut text = match (violations, moved) {
            (0, _) => format!("every limit of the {target} held already"),
            (n, moved) => format!(
                "{} of the {target}'s limits; moved {}",
                count(n, "violation"),
                count(moved as u64, "scale")
            ),
        };
        match self.settled {
            Settled::Unchanged => {}
            Settled::Loops(n) => text += &format!(" in {}", count(u64::from(n), "round")),
            Settled::Walk => {
                text += ", towards the wanted positions as far as the limits allow: rounds of adjustments went in circles";
            }
        }
        if matches!(self.settled, Settled::Loops(n) if n > loops) {
            text += &format!(" (more than max_loop_num = {loops}, which did not suffice)");
        }
        let from = |source: Source| self.requantized.iter().filter(|r| r.source == source).count() as u64;
        if from(Source::Float) > 0 {
            text += &format!("\nquantized {} again from float", count(from(Source::Float), "constant"));
        }
        if from(Source::Integers) > 0 {
            let names: Vec<&str> = self
                .requantized
                .iter()
                .filter(|r| r.source == Source::Integers)
                .map(|r| r.tensor.as_str())
                .collect();
            text += &format!(
                "\nrounded {} again from integers, for want of float tensors; precision may be lost: {}",
                count(from(Source::Integers), "constant"),
                shortened(&names),
            );
        }
        if !self.left.is_empty() {
            text += &format!(
                "\n{} cannot be adjusted by moving positions",
                count(self.left.len() as u64, "violation")
            );
        }
        text
    }
}

fn shortened(names: &[&str]) -> String {
    let shown = names.len().min(8);
    let more = if shown < names.len() { format!(", … ({} in all)", names.len()) } else { String::new() };
    names[..shown].join(", ") + &more
}

fn findings(list: &[Finding]) -> String {
    let rows = list.iter().take(ROWS).map(|f| {
        let tensors: Vec<String> = f
            .tensors
            .iter()
            .map(|t| t.position.map_or_else(|| t.tensor.clone(), |p| format!("{}@{p}", t.tensor)))
            .collect();
        [
            f.node.clone(),
            f.op.clone(),
            f.rule.clone(),
            f.quantity.clone(),
            f.value.to_string(),
            f.legal.to_string(),
            tensors.join(" "),
        ]
    });
    let text = table(&["node", "op", "rule", "quantity", "value", "legal", "tensors@positions"], rows);
    text + &more(list.len())
}

fn adjustments(list: &[Adjustment]) -> String {
    let rows = list.iter().take(ROWS).map(|a| {
        [
            a.node.clone(),
            a.op.clone(),
            a.rule.to_string(),
            a.quantity.clone(),
            a.value.to_string(),
            Legal::Range(a.range.0, a.range.1).to_string(),
            a.tensor.clone(),
            format!("{} → {}", a.old, a.new),
            a.r#loop.to_string(),
        ]
    });
    let headers = ["node", "op", "rule", "quantity", "value", "legal", "tensor", "position", "round"];
    table(&headers, rows) + &more(list.len())
}

fn more(rows: usize) -> String {
    if rows > ROWS { format!("\n… and {} more; --json has all", rows - ROWS) } else { String::new() }
}
