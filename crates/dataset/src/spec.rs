//! What the caller says: the inputs of the model, and where the samples come from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use shiftwise_graph::DataType;

use crate::Recipe;

/// One input of the model that every sample must fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// Name in the model.
    pub name: String,
    /// Element type that the model takes.
    pub dtype: DataType,
    /// Dimensions, outermost first; `None` for those that the model leaves open.
    pub shape: Vec<Option<usize>>,
    /// Whether the model took \[N, C, H, W\] before it was made to take the \[N, H, W, C\] that `shape` says. Samples of that shape
    /// are turned then.
    pub was_channels_first: bool,
}

impl InputSpec {
    /// The input as it was when it was channels-first.
    pub(crate) fn before(&self) -> Option<Self> {
        let [n, h, w, c] = *self.shape.as_slice() else { return None };
        let before = Self { shape: vec![n, c, h, w], was_channels_first: false, ..self.clone() };
        self.was_channels_first.then_some(before)
    }

    /// The shape for messages, `?` for dynamic dimensions.
    pub(crate) fn shape_text(&self) -> String {
        let dims: Vec<String> =
            self.shape.iter().map(|d| d.map_or_else(|| "?".to_owned(), |d| d.to_string())).collect();
        format!("[{}]", dims.join(", "))
    }
}

/// Where samples come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder of images, `.npy` files or ONNX test data, one `.npz` or one `.npy`.
    Path(PathBuf),
    /// `.npz` archives that follow one another on the standard input, which can be read only once in a process.
    Stdin,
    /// Made up, as [`RandomSpec`] says.
    Random {
        /// Decides the values, together with the ordinal of the sample and the name of the input.
        seed: u64,
        /// How many samples.
        count: usize,
    },
}

/// How random samples are made up. Without anything else, floats are uniform in \[0, 1), and integers and booleans uniform
/// in {0, 1}.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RandomSpec {
    /// Shapes by input. They say how long the dimensions are that the model leaves open; where the model fixes one, they
    /// must agree.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// The lowest and the highest value of an input: floats are uniform in low..high, integers in low..=high.
    pub ranges: BTreeMap<String, [f64; 2]>,
    /// The same for all inputs that `ranges` does not name.
    pub range: Option<[f64; 2]>,
}

/// A source of samples and how to read it.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSpec {
    /// Where the samples are.
    pub source: Source,
    /// How images become inputs; for folders of images only. Without one, [`Recipe::default`] holds.
    pub recipe: Option<Recipe>,
    /// Shapes and ranges; for random samples only.
    pub random: RandomSpec,
    /// The labels. Without a path they are taken from beside the samples, if there are any: `labels.csv` in a folder,
    /// `<stem>_labels.npy` or `labels.npy` beside an array file.
    pub labels: Option<PathBuf>,
    /// Use this many samples at most: the first ones in order. A stream is not read further.
    pub limit: Option<usize>,
}

impl DataSpec {
    /// All samples of a source, without a recipe or anything else.
    pub fn new(source: Source) -> Self {
        Self { source, recipe: None, random: RandomSpec::default(), labels: None, limit: None }
    }
}
