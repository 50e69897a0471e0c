//! The models of one evaluation, and which of their inputs and outputs belong together.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use shiftwise_artifact::Kind;
use shiftwise_engine::{Engine, PrepareOptions, Session};
use shiftwise_graph::{Dim, Value, ValueInfo};
use shiftwise_stage::{Failure, LoadedModel, load_model};

/// The float model and the models that are compared with it, read and found to fit one another.
#[derive(Debug)]
pub struct Models {
    /// The reference.
    pub float: LoadedModel,
    /// The others, in the order of the command line.
    pub quantized: Vec<LoadedModel>,
    /// For each quantized model, which of its inputs and outputs are which of the reference.
    links: Vec<Links>,
}

/// Positions in another model, for each input and output of the reference.
#[derive(Clone, Debug)]
struct Links {
    inputs: Vec<usize>,
    outputs: Vec<usize>,
}

/// A model that is ready to run on samples that were made for the reference.
pub struct Runnable {
    session: Box<dyn Session>,
    path: PathBuf,
    /// Names of the inputs, where they differ from those of the reference.
    renamed: Option<Vec<String>>,
    outputs: Vec<usize>,
}

impl Models {
    /// Reads the models.
    ///
    /// Fails where one cannot be read, or does not have the inputs and outputs of the float model.
    pub fn load(float: &Path, quantized: &[PathBuf]) -> Result<Self, Failure> {
        let kinds = [Kind::Prepared, Kind::Quantized];
        let float = load_model(float, &kinds)?;
        let quantized: Vec<LoadedModel> =
            quantized.iter().map(|path| load_model(path, &kinds)).collect::<Result<_, _>>()?;
        let links = quantized.iter().map(|q| Links::of(&float, q)).collect::<Result<_, _>>()?;
        Ok(Self { float, quantized, links })
    }

    /// All models, the float model first.
    pub fn all(&self) -> impl Iterator<Item = &LoadedModel> {
        std::iter::once(&self.float).chain(&self.quantized)
    }

    /// Makes all models ready, the float model first.
    ///
    /// Fails where the engine cannot run one.
    pub fn prepare(&self, engine: &dyn Engine) -> Result<Vec<Runnable>, Failure> {
        let float = &self.float.model.graph;
        let own = Links {
            inputs: (0..float.inputs().len()).collect(),
            outputs: (0..float.outputs().len()).collect(),
        };
        let all = std::iter::once((&self.float, &own)).chain(self.quantized.iter().zip(&self.links));
        all.map(|(loaded, links)| {
            let doing = || format!("make {} ready to run", loaded.path.display());
            let session = engine
                .prepare(&loaded.model, &PrepareOptions::default())
                .map_err(|e| Failure::from(e).while_doing(doing()))?;
            let inputs = loaded.model.graph.inputs();
            let same = links.inputs.iter().zip(float.inputs()).all(|(i, f)| inputs[*i].name == f.name);
            let names = || links.inputs.iter().map(|i| inputs[*i].name.clone()).collect();
            Ok(Runnable {
                session,
                path: loaded.path.clone(),
                renamed: (!same).then(names),
                outputs: links.outputs.clone(),
            })
        })
        .collect()
    }

    /// Short names for reports, the float model's first: those of files or directories; whole paths where they are the same.
    pub fn names(&self) -> Vec<String> {
        let all: Vec<&LoadedModel> = std::iter::once(&self.float).chain(&self.quantized).collect();
        let short: Vec<String> = all.iter().map(|m| m.name()).collect();
        let unique = |name: &String| short.iter().filter(|n| *n == name).count() == 1;
        let named = short.iter().zip(&all);
        named.map(|(n, m)| if unique(n) { n.clone() } else { m.path.display().to_string() }).collect()
    }
}

impl Runnable {
    /// Runs a sample whose inputs are named and ordered as those of the reference; outputs come in the order of the reference.
    pub fn run(&self, sample: &str, inputs: &[(String, Value)]) -> Result<Vec<Value>, Failure> {
        let feeds = match &self.renamed {
            None => Cow::Borrowed(inputs),
            Some(names) => names.iter().cloned().zip(inputs.iter().map(|(_, value)| value.clone())).collect(),
        };
        let mut ignore = |_, _: &Value| shiftwise_engine::Flow::Continue;
        let mut results: Vec<Option<Value>> = self
            .session
            .run(&feeds, &mut ignore)
            .map_err(|e| {
                Failure::from(e).while_doing(format!("run {} on sample {sample:?}", self.path.display()))
            })?
            .into_iter()
            .map(Some)
            .collect();
        let missing = || Failure::bug(format!("take the outputs of {}", self.path.display()));
        self.outputs.iter().map(|o| results.get_mut(*o).and_then(Option::take).ok_or_else(missing)).collect()
    }

    /// What the user called the model.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Links {
    fn of(float: &LoadedModel, other: &LoadedModel) -> Result<Self, Failure> {
        let (f, o) = (&float.model.graph, &other.model.graph);
        if o.inputs().len() != f.inputs().len() {
            return Err(unlike("inputs", f.inputs(), o.inputs(), float, other));
        }
        let inputs = pairs(f.inputs(), o.inputs())
            .ok_or_else(|| unlike("inputs", f.inputs(), o.inputs(), float, other))?;
        let outputs = pairs(f.outputs(), o.outputs())
            .ok_or_else(|| unlike("outputs", f.outputs(), o.outputs(), float, other))?;
        for (what, ours, theirs, links) in
            [("input", f.inputs(), o.inputs(), &inputs), ("output", f.outputs(), o.outputs(), &outputs)]
        {
            for (a, b) in ours.iter().zip(links.iter().map(|i| &theirs[*i])) {
                fits(what, a, b).map_err(|reason| {
                    let (float, other) = (float.path.display(), other.path.display());
                    Failure::input(format!("compare {other} with {float}: {reason}"))
                        .with_help("compare with the float model that the quantized one was made from")
                })?;
            }
        }
        Ok(Self { inputs, outputs })
    }
}

/// By names, where all of them are there; else by position, where there are as many.
fn pairs(reference: &[ValueInfo], other: &[ValueInfo]) -> Option<Vec<usize>> {
    let named: Option<Vec<usize>> =
        reference.iter().map(|r| other.iter().position(|o| o.name == r.name)).collect();
    named.or_else(|| (reference.len() == other.len()).then(|| (0..other.len()).collect()))
}

/// Whether two declared types can be compared; dimensions of 1 and unknown ones do not count for outputs.
fn fits(what: &str, a: &ValueInfo, b: &ValueInfo) -> Result<(), String> {
    let (Some(x), Some(y)) = (a.ty.tensor(), b.ty.tensor()) else { return Ok(()) };
    let fail = || Err(format!("{what} {:?} is {y}, and {x} in the float model", b.name));
    if what == "input" && x.dtype != y.dtype {
        return fail();
    }
    let (Some(mut p), Some(mut q)) = (x.shape.clone(), y.shape.clone()) else { return Ok(()) };
    if what == "output" {
        for dims in [&mut p, &mut q] {
            if dims.iter().any(|d| d.known().is_none()) {
                return Ok(());
            }
            dims.retain(|d| *d != Dim::Known(1));
        }
    }
    let agree = |(d, e): (&Dim, &Dim)| d.known().zip(e.known()).is_none_or(|(d, e)| d == e);
    if p.len() == q.len() && p.iter().zip(&q).all(agree) { Ok(()) } else { fail() }
}

fn unlike(
    what: &str,
    ours: &[ValueInfo],
    theirs: &[ValueInfo],
    float: &LoadedModel,
    other: &LoadedModel,
) -> Failure {
    let list = |infos: &[ValueInfo]| infos.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ");
    Failure::input(format!("compare {} with {}", other.path.display(), float.path.display()))
        .because(format!("it has the {what} {}, the float model has {}", list(theirs), list(ours)))
        .with_help("compare with the float model that the quantized one was made from")
}
