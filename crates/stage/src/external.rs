//! Where weights go that are not inside of the model's file.

use shiftwise_graph::Weights;

use crate::{Failure, MODEL_FILE};

/// Where weights go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalData {
    /// Whether they go to files beside the model even where they would fit inside.
    pub always: bool,
    /// The smallest tensor in bytes that goes there.
    pub threshold: u64,
    /// Whether all of them go to one file.
    pub one_file: bool,
    /// The file, or the folder where it ends in `/`, relative to the model; nothing for a name that is made from that of the model.
    pub location: String,
}

impl Default for ExternalData {
    fn default() -> Self {
        Self { always: false, threshold: 1024, one_file: true, location: String::new() }
    }
}

impl ExternalData {
    /// What the options say; see the fields. Stages ask this before their work.
    ///
    /// # Errors
    /// A location outside of the artifact, under a name that the artifact needs, or of one file where there are to be several.
    pub fn new(always: bool, threshold: u64, one_file: bool, given: &str) -> Result<Self, Failure> {
        let mut this = Self { always, threshold, one_file, location: String::new() };
        let fail = |reason: &str| {
            Failure::usage(format!("use external_data_location = {given:?}: {reason}")).with_help(
                "name a file, like \"weights.bin\", or a folder, like \"weights/\", inside of the output directory",
            )
        };
        let mut location = given;
        while let Some(rest) = location.strip_prefix("./") {
            location = rest.trim_start_matches('/');
        }
        if location.is_empty() || location == "." {
            return Ok(this);
        }
        if location.starts_with('/') || location.contains([':', '\\', '\0']) {
            return Err(fail("it must be relative to the model, with `/` between folders"));
        }
        let parts: Vec<&str> = location.trim_end_matches('/').split('/').collect();
        if parts.contains(&"..") {
            return Err(fail("it leaves the output directory"));
        }
        if parts.iter().any(|part| part.is_empty() || part.starts_with('.') || part.len() > 200) {
            return Err(fail("its parts must be plain names"));
        }
        let first = parts[0].to_lowercase();
        if [".json", ".onnx"].iter().any(|end| first.ends_with(end))
            || (first.ends_with(".onnx.data") && first != format!("{MODEL_FILE}.data"))
        {
            return Err(fail("this name belongs to another file of the output"));
        }
        if !one_file && !location.ends_with('/') {
            return Err(fail("with all_tensors_to_one_file = false it must be a folder"));
        }
        location.clone_into(&mut this.location);
        Ok(this)
    }

    /// What that means for the model of this name in an artifact. A location that is a file is for [`MODEL_FILE`] only: an artifact
    /// may hold a second model.
    pub(crate) fn weights(&self, name: &str, too_large: bool) -> Weights {
        if !self.always && !too_large {
            return Weights::Inline;
        }
        let threshold = usize::try_from(self.threshold).unwrap_or(usize::MAX);
        let folder = if self.location.ends_with('/') { self.location.as_str() } else { "" };
        let made = format!("{folder}{name}.data");
        if !self.one_file {
            return Weights::PerTensor { folder: made, threshold };
        }
        let own = name == MODEL_FILE && folder.is_empty() && !self.location.is_empty();
        Weights::External { location: if own { self.location.clone() } else { made }, threshold }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExitStatus;

    fn at(location: &str, one_file: bool) -> Result<ExternalData, Failure> {
        ExternalData::new(true, 1024, one_file, location)
    }

    fn file(location: &str, model: &str) -> String {
        match at(location, true).unwrap().weights(model, false) {
            Weights::External { location, .. } => location,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn locations_inside_of_the_artifact_are_taken() {
        assert_eq!(file("", MODEL_FILE), "model.onnx.data");
        assert_eq!(file("./", MODEL_FILE), "model.onnx.data");
        assert_eq!(file("./w.bin", MODEL_FILE), "w.bin");
        assert_eq!(file("w.bin", "float.onnx"), "float.onnx.data");
        assert_eq!(file("a/b/", MODEL_FILE), "a/b/model.onnx.data");
        let several = at("parts/", false).unwrap().weights(MODEL_FILE, false);
        assert_eq!(several, Weights::PerTensor { folder: "parts/model.onnx.data".into(), threshold: 1024 });
        let inside = ExternalData { location: "w.bin".into(), ..ExternalData::default() };
        assert_eq!(inside.weights(MODEL_FILE, false), Weights::Inline);
        assert!(matches!(inside.weights(MODEL_FILE, true), Weights::External { .. }));
    }

    #[test]
    fn locations_that_leave_the_artifact_or_take_its_names_are_refused() {
        for location in [
            "/tmp/w",
            "../w",
            "a/../../w",
            "a//b",
            "C:w",
            "a\\b",
            "artifact.json",
            "model.onnx",
            "model.onnx/",
            "float.onnx.data",
            ".hidden",
            "a/./b",
            "././/../w",
        ] {
            let failure = at(location, true).unwrap_err();
            assert_eq!(failure.status, ExitStatus::Usage, "{location}");
            assert!(failure.to_string().contains("external_data_location"), "{location}: {failure}");
        }
        assert!(at("w.bin", false).is_err() && at("w/", false).is_ok());
    }
}
