//! Execution providers: what runs the nodes inside ONNX Runtime.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProvider};
use ort::session::builder::SessionBuilder;

use super::error::OrtError;
use super::ffi;

/// An execution provider with its options.
///
/// Written as `name`, or `name:option=value;option=value`. Names are those of [`Provider::known`], those that ONNX Runtime
/// itself uses (`CUDAExecutionProvider`), or that of any other provider of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    name: String,
    /// What the provider is told; names and meanings are its own.
    pub options: BTreeMap<String, String>,
}

/// How a provider is registered.
#[derive(Clone, Copy)]
enum How {
    /// It is always there.
    Cpu,
    /// By this name, with text options.
    Named(&'static str),
    /// With text options, through a function of its own.
    Own(fn(&Options, &mut SessionBuilder) -> ort::Result<()>),
    /// Through a function of its own, without options.
    Bare(fn(&mut SessionBuilder) -> ort::Result<()>),
}

type Options = BTreeMap<String, String>;

// The deprecation is that of the provider in ONNX Runtime; libraries that have it take it.
#[allow(deprecated)]
/// Short name, other short name, what stands before `ExecutionProvider` in the library's name, and how.
#[rustfmt::skip]
const KNOWN: &[(&str, &str, &str, How)] = &[
    ("cpu", "", "CPU", How::Cpu),
    ("cuda", "", "CUDA", How::Own(own::<ep::CUDA>)),
    ("tensorrt", "trt", "Tensorrt", How::Own(own::<ep::TensorRT>)),
    ("nvtensorrtrtx", "nvrtx", "NvTensorRTRTX", How::Named("NvTensorRtRtx")),
    ("rocm", "", "ROCM", How::Own(own::<ep::ROCm>)),
    ("migraphx", "", "MIGraphX", How::Bare(bare::<ep::MIGraphX>)),
    ("vitisai", "vitis", "VitisAI", How::Named("VitisAI")),
    ("openvino", "", "OpenVINO", How::Named("OpenVINO")),
    ("directml", "dml", "Dml", How::Named("DML")),
    ("qnn", "", "QNN", How::Named("QNN")),
    ("coreml", "", "CoreML", How::Named("CoreML")),
    ("xnnpack", "", "Xnnpack", How::Named("XNNPACK")),
    ("webgpu", "", "WebGpu", How::Named("WebGPU")),
    ("azure", "", "Azure", How::Named("AZURE")),
    ("cann", "", "CANN", How::Own(own::<ep::CANN>)),
    ("onednn", "dnnl", "Dnnl", How::Own(own::<ep::OneDNN>)),
    ("nnapi", "", "Nnapi", How::Bare(bare::<ep::NNAPI>)),
    ("acl", "", "ACL", How::Bare(bare::<ep::ACL>)),
    ("armnn", "", "ArmNN", How::Bare(bare::<ep::ArmNN>)),
    ("rknpu", "", "Rknpu", How::Bare(bare::<ep::RKNPU>)),
    ("vsinpu", "", "VSINPU", How::Bare(bare::<ep::VSINPU>)),
    ("tvm", "", "Tvm", How::Bare(bare::<ep::TVM>)),
];

fn own<P>(options: &Options, builder: &mut SessionBuilder) -> ort::Result<()>
where
    P: Default + ExecutionProvider + ArbitrarilyConfigurableExecutionProvider,
{
    let provider = options.iter().fold(P::default(), |p, (k, v)| p.with_arbitrary_config(k, v));
    provider.register(builder)
}

fn bare<P: Default + ExecutionProvider>(builder: &mut SessionBuilder) -> ort::Result<()> {
    P::default().register(builder)
}

const SUFFIX: &str = "executionprovider";

/// Letters and digits in lower case, without what ends every name inside of ONNX Runtime.
fn plain(name: &str) -> String {
    let name: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    name.strip_suffix(SUFFIX).unwrap_or(&name).to_owned()
}

impl Provider {
    /// The provider that computes on the processor; the one where none is named.
    pub fn cpu() -> Self {
        Self { name: "cpu".into(), options: BTreeMap::new() }
    }

    /// Its short name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Short names of the providers that need no guess; which of them work depends on the library.
    pub fn known() -> impl Iterator<Item = &'static str> {
        KNOWN.iter().map(|(name, ..)| *name)
    }

    /// Whether this is the processor.
    pub fn is_cpu(&self) -> bool {
        self.name == "cpu"
    }

    /// The short name of a provider, from how it is called here, by ONNX Runtime or by somebody who does not care for case.
    pub fn short_name(name: &str) -> String {
        let name = plain(name);
        let known = KNOWN.iter().find(|(short, other, full, _)| {
            *short == name || (!other.is_empty() && *other == name) || plain(full) == name
        });
        known.map_or(name, |(short, ..)| (*short).to_owned())
    }

    fn how(&self) -> Option<How> {
        KNOWN.iter().find(|(short, ..)| *short == self.name).map(|(.., how)| *how)
    }

    fn fail(&self, reason: impl Into<String>) -> OrtError {
        OrtError::Provider { provider: self.name.clone(), reason: reason.into() }
    }

    /// Fails unless the library has this provider.
    pub(super) fn check(&self, available: &[String]) -> Result<(), OrtError> {
        let short: Vec<String> = available.iter().map(|a| Self::short_name(a)).collect();
        if !short.contains(&self.name) {
            return Err(self.fail(format!(
                "the library of ONNX Runtime does not have it; it has {}. Name a library that has it with --ort-lib",
                short.join(", ")
            )));
        }
        match self.how() {
            Some(How::Bare(_) | How::Cpu) if !self.options.is_empty() => {
                Err(self.fail("it takes no options here"))
            }
            _ if self.options.iter().any(|(k, v)| k.contains('\0') || v.contains('\0')) => {
                Err(self.fail("one of its options has a zero byte in it"))
            }
            _ => Ok(()),
        }
    }

    /// Registers it. Where that fails nothing else takes its place.
    pub(super) fn register(
        &self,
        builder: &mut SessionBuilder,
        available: &[String],
    ) -> Result<(), OrtError> {
        let done = match self.how() {
            Some(How::Cpu) => Ok(()),
            Some(How::Named(name)) => ffi::append_provider(builder, name, &self.options),
            Some(How::Own(register)) => register(&self.options, builder).map_err(|e| e.to_string()),
            Some(How::Bare(register)) => register(builder).map_err(|e| e.to_string()),
            None => {
                let full = available.iter().find(|a| Self::short_name(a) == self.name);
                let full = full.map_or(self.name.as_str(), String::as_str);
                let name = full.strip_suffix("ExecutionProvider").unwrap_or(full);
                ffi::append_provider(builder, name, &self.options)
            }
        };
        done.map_err(|reason| self.fail(reason))
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let options: Vec<String> = self.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
        if options.is_empty() { Ok(()) } else { write!(f, ":{}", options.join(";")) }
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, list) = text.split_once(':').map_or((text, ""), |(n, l)| (n, l));
        let name = Self::short_name(name.trim());
        if name.is_empty() {
            return Err(format!(
                "{text:?} names no provider; there are {}",
                Self::known().collect::<Vec<_>>().join(", ")
            ));
        }
        let mut options = BTreeMap::new();
        for option in list.split(';').map(str::trim).filter(|o| !o.is_empty()) {
            let (key, value) = option
                .split_once('=')
                .ok_or_else(|| format!("option {option:?} of {name} has no value; write it as name=value"))?;
            if options.insert(key.trim().to_owned(), value.trim().to_owned()).is_some() {
                return Err(format!("option {:?} of {name} is given twice", key.trim()));
            }
        }
        Ok(Self { name, options })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Provider {
        text.parse().unwrap()
    }

    #[test]
    fn providers_go_by_any_of_their_names() {
        for (text, name) in [
            ("cpu", "cpu"),
            ("CPUExecutionProvider", "cpu"),
            ("VitisAIExecutionProvider", "vitisai"),
            ("vitis", "vitisai"),
            ("Vitis_AI", "vitisai"),
            ("DmlExecutionProvider", "directml"),
            ("TensorrtExecutionProvider", "tensorrt"),
            ("SnpeExecutionProvider", "snpe"),
        ] {
            assert_eq!(parse(text).name(), name);
        }
    }

    #[test]
    fn every_known_provider_has_names_of_its_own() {
        let all: Vec<String> = KNOWN
            .iter()
            .flat_map(|(short, other, full, _)| {
                [plain(short), plain(other), plain(full)]
                    .into_iter()
                    .collect::<std::collections::BTreeSet<_>>()
            })
            .filter(|n| !n.is_empty())
            .collect();
        let unique: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(unique.len(), all.len(), "{all:?}");
    }

    #[test]
    fn options_stand_behind_the_name() {
        let provider = parse(r"vitisai: config_file=C:\vaip.json; cache_dir = x=y");
        assert_eq!(provider.options["config_file"], r"C:\vaip.json");
        assert_eq!(provider.options["cache_dir"], "x=y");
        assert_eq!(parse(&provider.to_string()), provider);
        assert!("cuda:device_id".parse::<Provider>().unwrap_err().contains("name=value"));
        assert!("cuda:a=1;a=2".parse::<Provider>().unwrap_err().contains("twice"));
        assert!(":a=1".parse::<Provider>().unwrap_err().contains("vitisai"));
    }

    #[test]
    fn one_that_the_library_lacks_is_refused_with_those_that_it_has() {
        let available = ["AzureExecutionProvider".to_owned(), "CPUExecutionProvider".to_owned()];
        assert!(parse("azure").check(&available).is_ok());
        let error = parse("cuda").check(&available).unwrap_err().to_string();
        assert!(error.contains("\"cuda\"") && error.contains("azure, cpu"), "{error}");
        assert!(parse("cpu:x=1").check(&available).is_err());
        assert!(parse("azure:x=\0").check(&available).is_err());
    }
}
