//! From arguments and configuration to samples.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shiftwise_artifact::{Fingerprint, Input};
use shiftwise_dataset::{DataSpec, Dataset, InputSpec, RandomSpec, Recipe, Source};
use shiftwise_graph::Model;

use crate::args::{RANDOM, STDIN};
use crate::options::{ALL, Flags, Reader};
use crate::{Context, DataArgs, Failure};

/// How many random samples there are where none of `samples` says otherwise.
const RANDOM_SAMPLES: u64 = 16;

/// Where samples come from: [`DataArgs`] over the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// A folder, a file, `random`, or `-`, the standard input.
    pub data: Option<PathBuf>,
    /// The recipe's file.
    pub recipe: Option<PathBuf>,
    /// The first this many samples.
    pub samples: Option<u64>,
    /// The labels' file.
    pub labels: Option<PathBuf>,
    /// Whether bad samples are left out.
    pub skip_bad_samples: bool,
    /// Seed of random samples.
    pub seed: u64,
    /// Shapes of inputs of random samples.
    pub random_shape: BTreeMap<String, Vec<usize>>,
    /// Ranges of inputs of random samples; under [`ALL`] that of inputs which are not named.
    pub random_range: BTreeMap<String, [f64; 2]>,
}

impl DataArgs {
    /// These arguments over the configuration file.
    ///
    /// # Errors
    /// Values that their options do not take.
    pub fn resolve(&self, context: &Context) -> Result<DataConfig, Failure> {
        let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.display().to_string());
        let number = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        let flags = Flags::new()
            .set("data", path(&self.data))
            .set("recipe", path(&self.recipe))
            .set("samples", number(self.samples))
            .set("labels", path(&self.labels))
            .switch("skip_bad_samples", self.skip_bad_samples, true)
            .set("seed", number(self.seed))
            .set("random_shape", table(&self.random_shape, shape)?)
            .set("random_range", table(&self.random_range, range)?);
        context.merged(&flags)?.read(Reader::Data)
    }

    /// Open the samples for a model with these inputs.
    ///
    /// # Errors
    /// Where no data is named, or it cannot be used.
    pub fn open(&self, context: &Context, inputs: &[InputSpec]) -> Result<Dataset, Failure> {
        self.resolve(context)?.open(inputs)
    }
}

impl DataConfig {
    /// What to open.
    ///
    /// # Errors
    /// Where no data is named, or the recipe cannot be read.
    pub fn spec(&self) -> Result<DataSpec, Failure> {
        let data = self.data.clone().ok_or_else(|| {
            Failure::usage("find samples: no data is named")
                .with_help("--data PATH names images or arrays, --data - takes them from a pipe, --data random makes samples up")
        })?;
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let source = if data.as_os_str() == RANDOM {
            Source::Random { seed: self.seed, count: count(self.samples.unwrap_or(RANDOM_SAMPLES)) }
        } else if data.as_os_str() == STDIN {
            Source::Stdin
        } else {
            Source::Path(data)
        };
        let mut ranges = self.random_range.clone();
        let random = RandomSpec { shapes: self.random_shape.clone(), range: ranges.remove(ALL), ranges };
        let recipe = self.recipe.as_deref().map(Recipe::from_file).transpose()?;
        let limit = self.samples.map(count);
        Ok(DataSpec { recipe, random, labels: self.labels.clone(), limit, ..DataSpec::new(source) })
    }

    /// Open the samples for a model with these inputs. A limit above the number of samples is reported, not an error.
    ///
    /// # Errors
    /// Where no data is named, or it cannot be used.
    pub fn open(&self, inputs: &[InputSpec]) -> Result<Dataset, Failure> {
        let dataset = Dataset::open(&self.spec()?, inputs)?;
        if self.samples.is_some_and(|n| (dataset.len() as u64) < n) {
            tracing::warn!("there are {} samples only", dataset.len());
        }
        Ok(dataset)
    }

    /// What identifies the recipe and the choice of samples in a configuration: contents, not paths. What random samples are
    /// made of shows in their hashes.
    ///
    /// # Errors
    /// Where the recipe cannot be read.
    pub fn config(&self) -> Result<serde_json::Value, Failure> {
        let spec = self.spec()?;
        let random = matches!(spec.source, Source::Random { .. });
        Ok(serde_json::json!({
            "recipe": spec.recipe,
            "samples": spec.limit,
            "skip_bad_samples": self.skip_bad_samples,
            "seed": random.then_some(self.seed),
        }))
    }
}

/// A table from a repeatable argument; nothing where it was not given.
fn table(
    arguments: &[String],
    parse: impl Fn(&str) -> Result<(String, toml::Value), Failure>,
) -> Result<Option<toml::Table>, Failure> {
    let table: toml::Table = arguments.iter().map(|a| parse(a)).collect::<Result<_, _>>()?;
    Ok((!table.is_empty()).then_some(table))
}

/// `NAME=1x3x224x224`; commas will do, too. Names may have `=` in them.
fn shape(argument: &str) -> Result<(String, toml::Value), Failure> {
    let fail = || {
        Failure::usage(format!("read --random-shape {argument:?}"))
            .with_help("write it as --random-shape NAME=1x3x224x224")
    };
    let (name, dims) = argument.rsplit_once('=').ok_or_else(fail)?;
    let dims = dims.split(['x', ',']).filter(|d| !dims.is_empty() || !d.is_empty());
    let dims: Vec<toml::Value> = dims
        .map(|d| Ok(i64::from(d.trim().parse::<u32>().map_err(|_| fail())?).into()))
        .collect::<Result<_, Failure>>()?;
    Ok((name.to_owned(), dims.into()))
}

/// `NAME=LO:HI`, or `LO:HI` for all inputs.
fn range(argument: &str) -> Result<(String, toml::Value), Failure> {
    let (name, bounds) = argument.rsplit_once('=').unwrap_or((ALL, argument));
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
    let (low, high) = bounds.split_once(':').unzip();
    let (Some(low), Some(high)) = (low.and_then(number), high.and_then(number)) else {
        return Err(Failure::usage(format!("read --random-range {argument:?}"))
            .with_help("write it as --random-range NAME=LO:HI, or as LO:HI for all inputs"));
    };
    Ok((name.to_owned(), vec![toml::Value::Float(low), toml::Value::Float(high)].into()))
}

/// The samples as an input of an artifact: names and contents of all of them, in order.
///
/// # Errors
/// Where a sample cannot be read.
pub fn data_input(config: &DataConfig, dataset: &Dataset) -> Result<Input, Failure> {
    let parts = (0..dataset.len()).map(|i| Ok((dataset.id(i), dataset.fingerprint(i)?)));
    let parts = parts.collect::<Result<Vec<_>, Failure>>()?;
    let path = config.data.as_ref().map_or_else(String::new, |p| p.display().to_string());
    Ok(Input { path, fingerprint: Fingerprint::combine("samples", parts) })
}

/// The inputs of a model, as data sets need them.
///
/// # Errors
/// An input that is no tensor, or of unknown rank.
pub fn input_specs(model: &Model) -> Result<Vec<InputSpec>, Failure> {
    let converted = crate::channels_last_inputs(model);
    let inputs = model.graph.inputs().iter().map(|input| {
        let fail = |reason: &str| {
            Failure::input(format!("find the shape of input {:?}: {reason}", input.name))
                .with_help("set fix_shapes for it when the model is prepared")
        };
        let ty = input.ty.tensor().ok_or_else(|| fail("it is not a tensor"))?;
        let shape = ty.shape.as_ref().ok_or_else(|| fail("its number of dimensions is not known"))?;
        let shape: Vec<_> = shape.iter().map(shiftwise_graph::Dim::known).collect();
        let was_channels_first = converted.contains(&input.name) && shape.len() == 4;
        Ok(InputSpec { name: input.name.clone(), dtype: ty.dtype, shape, was_channels_first })
    });
    inputs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::assert_config_matches;

    #[test]
    fn config_matches_the_table() {
        assert_config_matches::<DataConfig>(Reader::Data);
    }
}
