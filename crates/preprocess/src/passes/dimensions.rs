//! Dynamic dimensions get extents.

use std::collections::BTreeMap;

use shiftwise_graph::{
    DataType, Dim, GraphError, Model, Note, PassReport, Patch, ShapeOptions, TensorType, ValueType, fix_dims,
    merge_dims,
};

use super::name;
use crate::PreprocessError;

/// Fixes dimensions: `dims` by their name in the model or as `input[axis]`, `shapes` by input, where 0 leaves an extent
/// as it is. A name is replaced wherever it stands.
///
/// Fails, without any change, where a name or axis does not exist, or has another extent already.
pub(crate) fn fix_dimensions(
    model: &mut Model,
    dims: &BTreeMap<String, i64>,
    shapes: &BTreeMap<String, Vec<i64>>,
) -> Result<PassReport, PreprocessError> {
    let mut report = PassReport::new(name::FIX_DIMENSIONS);
    let mut fixes: BTreeMap<String, usize> = BTreeMap::new();
    let fail = |key: &str, reason: String| PreprocessError::Fix { key: key.into(), reason };
    for (key, extent) in dims {
        let positive = usize::try_from(*extent).ok().filter(|n| *n > 0);
        let extent = positive.ok_or_else(|| fail(key, format!("{extent} is not a positive extent")))?;
        fixes.insert(key.clone(), extent);
    }
    for (input, shape) in shapes {
        for (axis, extent) in declared_like(model, input, shape)?.into_iter().enumerate() {
            let Some(extent) = extent else { continue };
            let key = format!("{input}[{axis}]");
            if let Some(before) = fixes.insert(key.clone(), extent)
                && before != extent
            {
                return Err(fail(&key, format!("fix_dim says {before}, but fix_shapes {extent}")));
            }
        }
    }
    for what in fix_dims(model, &fixes)? {
        let list = if what.ends_with("already") { &mut report.refused } else { &mut report.applied };
        list.push(Note { node: "graph".into(), what });
    }
    Ok(report)
}

/// Makes named dimensions one where an operator needs them to be equal.
///
/// Fails only where the graph was inconsistent before.
pub(crate) fn merge_dimensions(model: &mut Model, options: &ShapeOptions) -> Result<PassReport, GraphError> {
    let mut report = PassReport::new(name::MERGE_DIMENSIONS);
    let merged = merge_dims(model, options)?;
    report.applied = merged.into_iter().map(|what| Note { node: "graph".into(), what }).collect();
    Ok(report)
}

/// The extents of a shape for `input`, `None` where they stay. Inputs without a rank get one.
fn declared_like(
    model: &mut Model,
    input: &str,
    shape: &[i64],
) -> Result<Vec<Option<usize>>, PreprocessError> {
    let fail = |reason: String| PreprocessError::Fix { key: input.into(), reason };
    let extents = shape.iter().map(|n| match usize::try_from(*n) {
        Ok(n) => Ok(Some(n).filter(|n| *n > 0)),
        Err(_) => Err(fail(format!("{n} is not a positive extent (0 leaves one as it is)"))),
    });
    let extents = extents.collect::<Result<Vec<_>, _>>()?;
    let mut inputs = model.graph.inputs().to_vec();
    let names = inputs.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ");
    let Some(info) = inputs.iter_mut().find(|v| v.name == input) else {
        return Err(fail(format!("the model has no input of this name; its inputs are {names}")));
    };
    let ty = info.ty.tensor().cloned();
    match ty.as_ref().and_then(TensorType::rank) {
        Some(rank) if rank == shape.len() => Ok(extents),
        Some(rank) => Err(fail(format!("the input has {rank} axes, not {}", shape.len()))),
        None => {
            let dtype = ty.map_or(DataType::Float, |t| t.dtype);
            let open = vec![Dim::Unknown; shape.len()];
            info.ty = ValueType::Tensor(TensorType { dtype, shape: Some(open) });
            let mut patch = Patch::new();
            patch.set_boundary(inputs, model.graph.outputs().to_vec());
            model.graph.apply(name::FIX_DIMENSIONS, patch)?;
            Ok(extents)
        }
    }
}
