//! Attributes of the rarer kinds.

use shiftwise_graph::{Attribute, DataType};

use super::Cx;
use crate::args::Outcome;

impl Cx<'_> {
    pub(super) fn domain_is_standard(&self) -> bool {
        self.node.domain.is_empty()
    }

    /// A list of floats.
    pub(super) fn floats(&self, name: &str) -> Vec<f32> {
        match self.node.attributes.get(name) {
            Some(Attribute::Floats(v)) => v.clone(),
            _ => Vec::new(),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Outcome<Option<Vec<String>>> {
        let Some(Attribute::Strings(list)) = self.node.attributes.get(name) else { return Ok(None) };
        let texts = list.iter().map(|t| std::str::from_utf8(t).ok().map(str::to_string));
        let texts: Option<Vec<String>> = texts.collect();
        texts.map(Some).ok_or_else(|| format!("its attribute {name} is not text"))
    }

    /// An element type.
    pub(super) fn dtype(&self, name: &str) -> Outcome<Option<DataType>> {
        let Some(code) = self.node.int(name) else { return Ok(None) };
        let dtype = i32::try_from(code).ok().and_then(DataType::from_onnx);
        dtype.map(Some).ok_or_else(|| format!("its attribute {name} is {code}, which is not a type"))
    }

    /// An integer that has to be there.
    pub(super) fn int(&self, name: &str) -> Outcome<i64> {
        self.node.int(name).ok_or_else(|| format!("it has no attribute {name}"))
    }

    /// A size that has to be there and positive.
    pub(super) fn positive(&self, name: &str) -> Outcome<usize> {
        let v = self.int(name)?;
        let size = usize::try_from(v).ok().filter(|v| (1..=1 << 24).contains(v));
        size.ok_or_else(|| format!("its attribute {name} is {v}, which is not valid"))
    }

    /// Refuses outputs from `index` on.
    pub(super) fn without_outputs(&self, index: usize, what: &str) -> Outcome<()> {
        if self.node.outputs.iter().skip(index).any(|o| !o.is_empty()) {
            return Err(format!("its output {what} is not supported"));
        }
        Ok(())
    }

    /// Refuses the inputs at some places, by name.
    pub(super) fn without_inputs(&self, refused: &[(usize, &str)]) -> Outcome<()> {
        match refused.iter().find(|(i, _)| self.node.input(*i).is_some()) {
            Some((_, name)) => Err(format!("its input {name} is not supported")),
            None => Ok(()),
        }
    }

    /// Refuses attributes that are set, by name, to something other than zero.
    pub(super) fn without_flags(&self, refused: &[&str]) -> Outcome<()> {
        match refused.iter().find(|name| self.int_or(name, 0) != 0) {
            Some(name) => Err(format!("its attribute {name} is not supported")),
            None => Ok(()),
        }
    }
}
