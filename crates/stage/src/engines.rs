//! From arguments and configuration to an engine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shiftwise_engine::{
    Engine, Fidelity, INSTALL, OnnxRuntime, OrtOptions, PrepareOptions, Provider, Unsupported, Watch,
    embedded, onnxruntime,
};
use shiftwise_graph::Model;

use crate::options::{Flags, Reader};
use crate::report::count;
use crate::{Context, EngineArgs, Failure};

/// What runs the model: [`EngineArgs`] over the configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// `auto`, `embedded` or `ort`; `auto` without a value.
    pub engine: Option<String>,
    /// The library of ONNX Runtime.
    pub ort_lib: Option<PathBuf>,
    /// Execution providers, each as `name` or `name:key=value;key=value`.
    pub provider: Vec<String>,
    /// Options of execution providers, each as `name.key=value`.
    pub provider_option: Vec<String>,
    /// `fake-quant` or `deploy`; `fake-quant` without a value.
    pub fidelity: Option<String>,
    /// A limit for watched tensors, as a number of bytes with K, M, G or T behind it.
    pub max_memory: Option<String>,
}

/// The engine that runs a model, and how.
pub struct ChosenEngine {
    /// The engine. Put [`Engine::name`] into the configuration of what depends on it.
    pub engine: Box<dyn Engine>,
    max_memory: Option<u64>,
}

impl ChosenEngine {
    /// The limit of memory that was given.
    pub fn max_memory(&self) -> Option<u64> {
        self.max_memory
    }

    /// How to prepare a model that `runs` threads run at the same time while they watch tensors.
    pub fn watching(&self, watch: Watch, runs: usize) -> PrepareOptions {
        let each = self.max_memory.map(|bytes| bytes / runs.max(1) as u64);
        PrepareOptions::watching(watch).with_max_live_bytes(each)
    }
}

impl EngineArgs {
    /// The engine for these models that the arguments and the configuration file name. What `auto` takes is told, unless it is
    /// the embedded engine.
    ///
    /// # Errors
    /// Options that contradict each other; where ONNX Runtime is asked for, or needed, and cannot be used.
    pub fn open(&self, context: &Context, models: &[&Model]) -> Result<ChosenEngine, Failure> {
        let providers: Vec<String> = self.provider.iter().flat_map(|list| split(list)).collect();
        let flags = Flags::new()
            .set("engine", self.engine.clone())
            .set("ort_lib", self.ort_lib.as_ref().map(|p| p.display().to_string()))
            .list("provider", &providers)
            .list("provider_option", &self.provider_option)
            .set("fidelity", self.fidelity.clone())
            .set("max_memory", self.max_memory.clone());
        context.merged(&flags)?.read::<EngineConfig>(Reader::Engine)?.open(context, models)
    }
}

impl EngineConfig {
    /// As [`EngineArgs::open`].
    ///
    /// # Errors
    /// As there.
    pub fn open(&self, context: &Context, models: &[&Model]) -> Result<ChosenEngine, Failure> {
        let max_memory = self.max_memory.as_deref().map(bytes).transpose()?;
        let wanted = self.ort_options()?;
        let chosen = |engine: Box<dyn Engine>| Ok(ChosenEngine { engine, max_memory });
        match self.engine.as_deref().unwrap_or("auto") {
            "embedded" => match self.asks_for_ort() {
                None => chosen(Box::new(embedded())),
                Some(option) => Err(Failure::usage(format!("open the embedded engine with {option}"))
                    .because(format!("{option} is an option of ONNX Runtime"))
                    .with_help("use --engine ort, or leave the option out")),
            },
            "ort" => {
                let engine = onnxruntime(&wanted)?;
                tracing::info!("{} is {}", engine.name(), engine.library().display());
                chosen(Box::new(engine))
            }
            "auto" => {
                if let Some(option) = self.asks_for_ort() {
                    let engine = onnxruntime(&wanted)?;
                    tell(context, &engine, &format!("{option} asks for it"));
                    return chosen(Box::new(engine));
                }
                let missing: Vec<Unsupported> =
                    models.iter().flat_map(|model| embedded().unsupported(model)).collect();
                let Some(first) = missing.first() else { return chosen(Box::new(embedded())) };
                let engine = instead(&wanted, models, &missing)?;
                let others = match missing.len() - 1 {
                    0 => String::new(),
                    n => format!(", and {} more", count(n as u64, "node")),
                };
                tell(context, &engine, &format!("the embedded engine cannot compute {first}{others}"));
                chosen(Box::new(engine))
            }
            other => Err(Failure::bug(format!("open engine {other:?}"))),
        }
    }

    /// The option that only ONNX Runtime has, if one is set.
    fn asks_for_ort(&self) -> Option<&'static str> {
        let set = [
            ("--ort-lib", self.ort_lib.is_some()),
            ("--provider", !self.provider.is_empty()),
            ("--provider-option", !self.provider_option.is_empty()),
            ("--fidelity deploy", self.fidelity.as_deref() == Some("deploy")),
        ];
        set.into_iter().find(|(_, set)| *set).map(|(name, _)| name)
    }

    fn ort_options(&self) -> Result<OrtOptions, Failure> {
        let wrong = |what: &str, reason: String| Failure::usage(format!("read {what}")).because(reason);
        let fidelity = self.fidelity.as_deref().unwrap_or("fake-quant");
        let fidelity: Fidelity = fidelity.parse().map_err(|e| wrong("--fidelity", e))?;
        let names = self.provider.iter().flat_map(|list| split(list));
        let mut providers: Vec<Provider> =
            names.map(|text| text.parse().map_err(|e| wrong("--provider", e))).collect::<Result<_, _>>()?;
        for option in &self.provider_option {
            let parts = option.split_once('=').and_then(|(k, value)| Some((k.split_once('.')?, value)));
            let Some(((name, key), value)) = parts else {
                return Err(Failure::usage(format!("read --provider-option {option:?}"))
                    .with_help("write it as provider.key=value"));
            };
            let name = Provider::short_name(name.trim());
            let Some(provider) = providers.iter_mut().find(|p| p.name() == name) else {
                return Err(Failure::usage(format!("read --provider-option {option:?}"))
                    .because(format!("{name} is not among the execution providers"))
                    .with_help(format!("add it: --provider {name},cpu")));
            };
            if provider.options.insert(key.trim().to_owned(), value.trim().to_owned()).is_some() {
                return Err(Failure::usage(format!("read --provider-option {option:?}"))
                    .because(format!("option {:?} of {name} is given twice", key.trim())));
            }
        }
        Ok(OrtOptions::new(self.ort_lib.clone(), providers, fidelity))
    }
}

/// ONNX Runtime for models that the embedded engine cannot run; where there is none, why it would be needed.
fn instead(wanted: &OrtOptions, models: &[&Model], missing: &[Unsupported]) -> Result<OnnxRuntime, Failure> {
    let fail = |help: String| {
        let nodes = count(missing.len() as u64, "node");
        let mut failure =
            Failure::input(format!("prepare the model: the embedded engine cannot compute {nodes}"));
        failure.causes = missing.iter().map(ToString::to_string).collect();
        failure.with_help(help)
    };
    let engine = match onnxruntime(wanted) {
        Ok(engine) => engine,
        Err(error) => {
            tracing::info!("{error}");
            return Err(fail(format!("ONNX Runtime may compute them, but was not found: {INSTALL}")));
        }
    };
    let refused = models.iter().flat_map(|model| engine.unsupported(model)).count();
    if refused > 0 {
        return Err(fail(format!(
            "{} cannot compute them either; export the model with other operators, or take these nodes out of it",
            engine.name()
        )));
    }
    Ok(engine)
}

fn tell(context: &Context, engine: &OnnxRuntime, why: &str) {
    context.say(&format!("running with {} from {}: {why}", engine.name(), engine.library().display()));
}

/// The parts of `a,b:k=v;k=v`.
fn split(list: &str) -> impl Iterator<Item = String> + '_ {
    list.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned)
}

/// A number of bytes: `1000000`, `512M`, `2G`; K is 1024, and so on. `MiB` and `MB` are `M`.
fn bytes(text: &str) -> Result<u64, Failure> {
    let wrong = || {
        Failure::usage(format!("read --max-memory {text:?}")).with_help(
            "it is a number of bytes above 0, with K, M, G or T behind it where that is meant: 512M",
        )
    };
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let unit = lower[digits.len()..].trim_start();
    let unit = unit.strip_suffix('b').unwrap_or(unit);
    let shift = match unit.strip_suffix('i').unwrap_or(unit) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).filter(|n| *n > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(config: &EngineConfig) -> String {
        config.ort_options().unwrap_err().render()
    }

    #[test]
    fn config_matches_the_table() {
        crate::options::assert_config_matches::<EngineConfig>(Reader::Engine);
    }

    #[test]
    fn bytes_have_units() {
        let sizes = [("1", 1), ("512M", 512 << 20), ("2g", 2 << 30), ("3 KiB", 3 << 10), ("1TB", 1 << 40)];
        for (text, size) in sizes {
            assert_eq!(bytes(text).unwrap(), size, "{text}");
        }
        for text in ["", "0", "-1", "M", "1.5G", "7x", "99999999999999999999", "99999999999T"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn options_reach_their_providers() {
        let config = EngineConfig {
            provider: vec!["vitisai:config_file=a.json;cache_dir=x,CPUExecutionProvider".into()],
            provider_option: vec!["VitisAIExecutionProvider.target=X1".into()],
            ..EngineConfig::default()
        };
        let options = config.ort_options().unwrap();
        let names: Vec<String> = options.providers.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["vitisai:cache_dir=x;config_file=a.json;target=X1", "cpu"]);
        assert_eq!(config.asks_for_ort(), Some("--provider"));
    }

    #[test]
    fn options_of_providers_that_are_not_used_are_refused() {
        let config = |provider: &str, option: &str| EngineConfig {
            provider: vec![provider.into()],
            provider_option: vec![option.into()],
            ..EngineConfig::default()
        };
        assert!(message(&config("cpu", "cuda.device_id=1")).contains("cuda is not among"));
        assert!(message(&config("cuda", "device_id=1")).contains("provider.key=value"));
        assert!(message(&config("cuda:device_id=0", "cuda.device_id=1")).contains("twice"));
        assert!(message(&config("cuda:device_id", "")).contains("name=value"));
    }
}
