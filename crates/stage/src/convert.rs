//! Errors of the libraries as failures: which exit code, and what to do.

use shiftwise_artifact::{Error as ArtifactError, ExitClass, Kind};
use shiftwise_dataset::DataError;
use shiftwise_engine::{EngineError, INSTALL, OrtError};
use shiftwise_graph::GraphError;

use crate::{ExitStatus, Failure};

impl From<ExitClass> for ExitStatus {
    fn from(class: ExitClass) -> Self {
        match class {
            ExitClass::Bug => Self::Bug,
            ExitClass::Usage => Self::Usage,
            ExitClass::Input => Self::Input,
            ExitClass::Mismatch => Self::Mismatch,
        }
    }
}

impl From<GraphError> for Failure {
    fn from(error: GraphError) -> Self {
        let help = match &error {
            GraphError::Read { path, source } => return Self::read(path, source),
            GraphError::Inconsistent { pass, .. } if pass == "load" => {
                "the model breaks the rules of ONNX: export it again, and see what `onnx.checker` says about it"
            }
            GraphError::Inconsistent { .. } | GraphError::Patch { .. } => {
                return Self::from_error(ExitStatus::Bug, &error);
            }
            GraphError::Decode { .. } => {
                "give an .onnx file or an artifact directory; download or export it again"
            }
            GraphError::External { .. } => {
                "keep the model's data files beside it, under the names that it was saved with"
            }
            GraphError::Dimension { .. } => {
                return Self::from_error(ExitStatus::Usage, &error).with_help(
                    "name a dimension of the model, or one axis of one input: --fix-dim 'input[2]=224'",
                );
            }
            GraphError::TooLarge { .. } => "set use_external_data_format = true",
            GraphError::Malformed { .. } => "export the model again, or simplify it first",
        };
        Self::from_error(ExitStatus::Input, &error).with_help(help)
    }
}

impl From<ArtifactError> for Failure {
    fn from(error: ArtifactError) -> Self {
        let status = error.exit_class().into();
        let help = match &error {
            ArtifactError::Read { path, cause } => return Self::read(path, cause),
            ArtifactError::Write { path, cause } => return Self::write(path, cause),
            ArtifactError::Differs { path, difference } => {
                let mut failure = Self::mismatch(format!(
                    "write {}: it exists, and was made differently (old → new)",
                    path.display()
                ));
                failure.causes = difference.to_string().lines().map(|line| line.trim().to_owned()).collect();
                return failure.with_help("--force replaces it; -o writes somewhere else");
            }
            ArtifactError::Busy { .. } => "wait for the other process, or choose another output",
            ArtifactError::NotAnArtifact { .. } => "give the output directory of the stage before this one",
            ArtifactError::WrongKind { expected, .. } => {
                return Self::from_error(status, &error).with_help(format!("give {}", writer(*expected)));
            }
            ArtifactError::Damaged { .. } => "run the stage that wrote it again, with --force",
            ArtifactError::Foreign { .. } => {
                "give what was made from the same model and plan, or make it again"
            }
            _ => return Self::from_error(status, &error),
        };
        Self::from_error(status, &error).with_help(help)
    }
}

/// What makes an artifact of a kind.
fn writer(kind: Kind) -> &'static str {
    match kind {
        Kind::Prepared => "the output directory of shiftwise-preprocess",
        Kind::Plan => "the output directory of shiftwise-calibrate plan",
        Kind::Stats => "the output directory of shiftwise-calibrate",
        Kind::Quantized => {
            "the output directory of shiftwise-quantize, shiftwise-npu-check --fix, or shiftwise-finetune"
        }
        Kind::Layers => "the output directories of shiftwise-finetune --layers",
        Kind::Evaluation => "the output directory of shiftwise-evaluate",
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        if let DataError::Read { path, cause } = &error {
            return Self::read(path, cause);
        }
        let failure = Self::from_error(error.exit_class().into(), &error);
        match &error {
            DataError::Empty { .. } => {
                failure.with_help("--data names the folder or file that holds the samples")
            }
            DataError::Inputs { .. } => {
                failure.with_help("name folders or arrays after the inputs of the model")
            }
            DataError::Decode { .. } => {
                failure.with_help("replace or remove the file, or leave it out with --skip-bad-samples")
            }
            DataError::Convert { .. } | DataError::Shape { .. } => {
                failure.with_help("check the recipe; --skip-bad-samples leaves out single samples")
            }
            _ => failure,
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match &error {
            EngineError::Unsupported { engine, nodes } => {
                let mut failure = Self::input(format!(
                    "prepare the model for {engine}: it cannot compute {}",
                    crate::report::count(nodes.len() as u64, "node")
                ));
                failure.causes = nodes.iter().map(ToString::to_string).collect();
                failure.with_help("export the model with other operators, or take these nodes out of it")
            }
            EngineError::UnknownTensor { .. } | EngineError::NotComputed { .. } => {
                Self::from_error(ExitStatus::Bug, &error)
            }
            EngineError::Feed { .. } => Self::from_error(ExitStatus::Input, &error)
                .with_help("check data and recipe against the inputs of the model"),
            EngineError::OnnxRuntime(error) => Self::from(error.clone()),
            EngineError::Constant { .. }
            | EngineError::Graph(_)
            | EngineError::NotATensor { .. }
            | EngineError::Node { .. } => Self::from_error(ExitStatus::Input, &error),
        }
    }
}

impl From<OrtError> for Failure {
    fn from(error: OrtError) -> Self {
        match &error {
            OrtError::NotFound { tried } => {
                let mut failure = Self::input("find the library of ONNX Runtime");
                failure.causes = tried.iter().map(|a| format!("{}: {}", a.place, a.reason)).collect();
                failure.with_help(INSTALL)
            }
            OrtError::Library { .. } => Self::from_error(ExitStatus::Input, &error).with_help(INSTALL),
            OrtError::Options(_) => Self::from_error(ExitStatus::Usage, &error),
            OrtError::OtherLoaded { .. }
            | OrtError::Provider { .. }
            | OrtError::Load { .. }
            | OrtError::Run { .. } => Self::from_error(ExitStatus::Input, &error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;

    fn full() -> io::Error {
        io::Error::from_raw_os_error(28)
    }

    #[test]
    fn a_full_disk_names_the_file_and_the_remedy() {
        let failure: Failure =
            ArtifactError::Write { path: PathBuf::from("runs/m/stats"), cause: full() }.into();
        assert_eq!(failure.status, ExitStatus::Input);
        assert!(failure.message.contains("runs/m/stats"), "{failure}");
        assert!(failure.help.is_some_and(|help| help.contains("disk is full")));
    }

    #[test]
    fn classes_of_errors_are_exit_codes() {
        let path = || PathBuf::from("x");
        let reason = || "because".to_owned();
        let failures: [(Failure, u8); 14] = [
            (GraphError::Read { path: path(), source: io::ErrorKind::NotFound.into() }.into(), 3),
            (GraphError::Decode { path: path(), reason: reason() }.into(), 3),
            (GraphError::Inconsistent { pass: "load".into(), subject: reason(), reason: reason() }.into(), 3),
            (GraphError::Inconsistent { pass: "fold".into(), subject: reason(), reason: reason() }.into(), 1),
            (ArtifactError::Occupied { path: path(), reason: reason() }.into(), 2),
            (ArtifactError::NotAnArtifact { path: path(), reason: reason() }.into(), 3),
            (ArtifactError::Damaged { path: path(), reason: reason() }.into(), 5),
            (ArtifactError::Incomplete { path: path(), reason: reason() }.into(), 5),
            (ArtifactError::Misuse(reason()).into(), 1),
            (DataError::Recipe { origin: reason(), reason: reason() }.into(), 2),
            (DataError::Decode { path: path(), reason: reason() }.into(), 3),
            (EngineError::Graph(reason()).into(), 3),
            (OrtError::NotFound { tried: Vec::new() }.into(), 3),
            (EngineError::from(OrtError::Options(reason())).into(), 2),
        ];
        for (failure, code) in failures {
            assert_eq!(failure.status.code(), code, "{failure}");
        }
    }

    #[test]
    fn nodes_that_cannot_be_computed_are_all_named() {
        let node = |n: &str| shiftwise_engine::Unsupported {
            node: n.into(),
            op: "Loop".into(),
            why: "no Loop".into(),
        };
        let error = EngineError::Unsupported { engine: "embedded".into(), nodes: vec![node("a"), node("b")] };
        let failure = Failure::from(error);
        assert_eq!(failure.causes, ["a: no Loop", "b: no Loop"]);
        assert!(failure.message.ends_with("2 nodes"));
    }
}
