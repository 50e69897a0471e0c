//! Errors of the libraries as failures: which exit code, and what to do.

use shiftwise_artifact::{Error as ArtifactError, ExitClass};
use shiftwise_dataset::DataError;
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
                return Self::from_error(ExitStatus::Usage, &error)
                    .with_help("name a dimension of the model, or one axis of one input: --fix-dim 'input[2]=224'");
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
            ArtifactError::WrongKind { .. } => "give the output directory of the right stage",
            ArtifactError::Damaged { .. } => "run the stage that wrote it again, with --force",
            ArtifactError::Foreign { .. } => {
                "give what was made from the same model and plan, or make it again"
            }
            _ => return Self::from_error(status, &error),
        };
        Self::from_error(status, &error).with_help(help)
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
