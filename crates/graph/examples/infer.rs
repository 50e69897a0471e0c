//! Reads a model, infers its shapes, and writes the model with them to standard output; what is not known goes to
//! standard error. `tests/compare_shapes.py` compares this with the reference implementation.
//!
//! Usage: `infer MODEL [DIMENSION=EXTENT]… > INFERRED`

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::Path;

use shiftwise_graph::{Model, Weights, fix_dims, infer_shapes};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: infer MODEL [DIMENSION=EXTENT]…")?;
    let mut fixes = BTreeMap::new();
    for fix in args {
        let (name, extent) = fix.split_once('=').ok_or("a fix is DIMENSION=EXTENT")?;
        fixes.insert(name.to_string(), extent.parse()?);
    }
    let mut model = Model::load(Path::new(&path))?;
    let mut log = std::io::stderr();
    for done in fix_dims(&mut model, &fixes)? {
        writeln!(log, "{done}")?;
    }
    let report = infer_shapes(&mut model);
    model.graph.check("shape inference")?;
    writeln!(log, "{} of {} tensors resolved", report.resolved, report.tensors)?;
    for (i, issue) in report.issues.iter().enumerate() {
        let affected = report.affected.values().filter(|cause| **cause == i).count();
        writeln!(log, "{:?}: {}: {} ({affected} tensors)", issue.kind, issue.node, issue.reason)?;
    }
    std::io::stdout().write_all(&model.encode(&Weights::Inline)?.model)?;
    Ok(())
}
