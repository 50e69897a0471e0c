//! What is collected, fixed before the first sample is run: model, engine, tensors, and the samples in order with their hashes.

use std::collections::HashMap;
use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shiftwise_artifact::stats::{Plan, TensorSpec};
use shiftwise_artifact::{Artifact, Fingerprint, Input, Kind};
use shiftwise_dataset::{Dataset, Recipe};
use shiftwise_stage::{DataConfig, Failure, LoadedModel, input_specs};

/// The plan's file inside its artifact.
pub const PLAN_FILE: &str = "plan.json";

/// A plan of a collection. The statistics are a function of it alone, whatever they are cut into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplePlan {
    /// Identifies the statistics: model, samples, recipe, engine, tensors; not the number of shards.
    pub statistics: Fingerprint,
    /// The prepared model.
    pub model: Fingerprint,
    /// Name and version of the engine.
    pub engine: String,
    /// Into how many parts it is cut.
    pub shards: u64,
    /// Where the samples were found.
    pub data: DataConfig,
    /// How images become inputs.
    pub recipe: Option<Recipe>,
    /// The tensors to collect.
    pub tensors: Vec<TensorSpec>,
    /// The samples, ordered by their hashes: statistics do not depend on what files are called.
    pub samples: Vec<PlannedSample>,
}

/// A sample of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedSample {
    /// Its name in the data set.
    pub id: String,
    /// The hash of its raw bytes.
    pub fingerprint: Fingerprint,
}

/// Samples that were found, and where each sample of a plan is among them.
pub struct Located {
    /// The samples.
    pub dataset: Dataset,
    /// For each sample of the range, in the plan's order, its place in the data set.
    pub places: Vec<usize>,
}

impl SamplePlan {
    /// A plan over all samples that `data` names; reads each of them to hash it.
    ///
    /// Fails where there are no samples, or one cannot be read.
    pub fn new(
        model: &LoadedModel,
        engine: String,
        tensors: Vec<TensorSpec>,
        data: &DataConfig,
    ) -> Result<(Self, Located), Failure> {
        let dataset = data.open(&input_specs(&model.model)?)?;
        let hashes: Vec<Fingerprint> = (0..dataset.len())
            .into_par_iter()
            .map(|i| Ok(dataset.fingerprint(i)?))
            .collect::<Result<_, Failure>>()?;
        // By content: or progress would belong to other samples once files were renamed between a kill and a resume.
        let mut places: Vec<usize> = (0..dataset.len()).collect();
        places.sort_by_key(|&i| (hashes[i], i));
        let samples: Vec<PlannedSample> = places
            .iter()
            .map(|&i| PlannedSample { id: dataset.id(i).to_owned(), fingerprint: hashes[i] })
            .collect();
        let recipe = data.spec()?.recipe;
        let settings = json!({ "engine": engine, "recipe": recipe, "tensors": tensors });
        let statistics = Fingerprint::combine(
            "statistics",
            [
                ("model", model.fingerprint),
                ("samples", fingerprint_of(&samples)),
                ("settings", Fingerprint::of_json(&settings)),
            ],
        );
        let mut data = data.clone();
        for path in [&mut data.data, &mut data.recipe, &mut data.labels].into_iter().flatten() {
            // A job on a cluster begins in another folder. `random` and `-` are no paths.
            let place = !matches!(path.to_str(), Some("random" | "-"));
            if place && let Ok(absolute) = std::path::absolute(&*path) {
                *path = absolute;
            }
        }
        let model = model.fingerprint;
        Ok((
            Self { statistics, model, engine, shards: 1, data, recipe, tensors, samples },
            Located { dataset, places },
        ))
    }

    /// Reads the plan of an artifact. Its contents are compared with its manifest.
    ///
    /// Fails where there is none, or it is damaged.
    pub fn read(path: &std::path::Path) -> Result<(Self, Artifact), Failure> {
        let artifact = Artifact::open(path, Kind::Plan)?;
        artifact.verify()?;
        let file = artifact.file(PLAN_FILE)?;
        let text = std::fs::read(&file).map_err(|e| Failure::read(&file, &e))?;
        let plan: Self = serde_json::from_slice(&text)
            .map_err(|e| Failure::input(format!("read {}", file.display())).because(e.to_string()))?;
        if plan.shards == 0 || plan.shards > plan.samples.len() as u64 {
            let (shards, samples) = (plan.shards, plan.samples.len());
            return Err(Failure::input(format!(
                "read {}: {shards} shards of {samples} samples",
                file.display()
            ))
            .with_help("make the plan anew: shiftwise-calibrate plan"));
        }
        Ok((plan, artifact))
    }

    /// The whole of the plan, or one part, as the statistics name it.
    pub fn part(&self, range: Option<Range<u64>>) -> Plan {
        let whole = Plan::whole(self.statistics, self.samples.len() as u64);
        Plan { range: range.unwrap_or(whole.range.clone()), ..whole }
    }

    /// The samples of a part.
    pub fn of(&self, range: &Range<u64>) -> &[PlannedSample] {
        &self.samples[range.start as usize..range.end as usize]
    }

    /// The samples as an input of an artifact.
    pub fn data_input(&self) -> Input {
        let path = self.data.data.as_ref().map_or_else(String::new, |p| p.display().to_string());
        Input { path, fingerprint: fingerprint_of(&self.samples) }
    }

    /// Finds the samples of a part again, at `data` or where the plan found them, and checks that they are what they were.
    ///
    /// Fails where one is missing or has changed, and where `data` sets an option otherwise than the plan did.
    pub fn locate(
        &self,
        range: &Range<u64>,
        model: &LoadedModel,
        data: &DataConfig,
    ) -> Result<Located, Failure> {
        self.check_settings(data)?;
        let mut planned = DataConfig { recipe: None, ..self.data.clone() };
        if data.data.is_some() {
            planned.data.clone_from(&data.data);
        }
        let mut spec = planned.spec()?;
        spec.recipe.clone_from(&self.recipe);
        let dataset = Dataset::open(&spec, &input_specs(&model.model)?)?;
        let index: HashMap<&str, usize> = (0..dataset.len()).map(|i| (dataset.id(i), i)).collect();
        let locate = |sample: &PlannedSample| {
            let changed = |what: &str| {
                Failure::mismatch(format!("find sample {:?} of the plan: {what}", sample.id))
                    .with_help("make the plan anew where the samples changed; --data names another place for the same samples")
            };
            let place = *index.get(sample.id.as_str()).ok_or_else(|| changed("it is not there any more"))?;
            if dataset.fingerprint(place)? == sample.fingerprint {
                Ok(place)
            } else {
                Err(changed("its content has changed since"))
            }
        };
        let places = self.of(range).par_iter().map(locate).collect::<Result<_, Failure>>()?;
        Ok(Located { dataset, places })
    }

    /// Every option that is set says what the plan says.
    fn check_settings(&self, data: &DataConfig) -> Result<(), Failure> {
        let other = |option: &str| {
            Failure::mismatch(format!("collect by plan: {option} is not what the plan was made with"))
                .with_help("leave the option out, as the plan has it, or make the plan anew")
        };
        if let Some(path) = &data.recipe
            && self.recipe.as_ref() != Some(&Recipe::from_file(path)?)
        {
            return Err(other("recipe"));
        }
        let values = |config: &DataConfig| serde_json::to_value(config).unwrap_or_default();
        let (ours, plans, unset) = (values(data), values(&self.data), values(&DataConfig::default()));
        let free = ["data", "recipe", "labels", "skip_bad_samples"];
        let differs = |key: &str, value: &Value| {
            !free.contains(&key) && unset.get(key) != Some(value) && plans.get(key) != Some(value)
        };
        let options = ours.as_object().into_iter().flatten();
        options
            .into_iter()
            .find(|(key, value)| differs(key, value))
            .map_or(Ok(()), |(key, _)| Err(other(key)))
    }
}

fn fingerprint_of(samples: &[PlannedSample]) -> Fingerprint {
    Fingerprint::combine("samples", samples.iter().map(|s| ("", s.fingerprint)))
}
