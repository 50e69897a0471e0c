//! Images at the boundary become channels-last.

use shiftwise_graph::{
    DataType, Dim, Graph, GraphError, Model, Node, Note, PassReport, Patch, TensorType, ValueInfo, ValueType,
};
use shiftwise_stage::note_channels_last;

use super::name;

/// From \[N, H, W, C\] to \[N, C, H, W\].
const TO_CHANNELS_FIRST: [i64; 4] = [0, 3, 1, 2];
/// From \[N, C, H, W\] to \[N, H, W, C\].
const TO_CHANNELS_LAST: [i64; 4] = [0, 2, 3, 1];

/// Makes the model take its inputs of rank 4 as \[N, H, W, C\], with a Transpose behind each, and give its outputs of rank 4 so, with
/// a Transpose before each. Inputs keep their names; an output `y` is `y_transpose` from now on. The inputs are noted in the model,
/// so that later stages turn samples which were made for it before.
///
/// An input is left alone, with the reason, where it is channels-last already or a layout cannot be told; outputs are left alone
/// where no input is converted.
///
/// Fails only where the graph was inconsistent before.
pub fn channels_last(model: &mut Model) -> Result<PassReport, GraphError> {
    let mut report = PassReport::new(name::CHANNELS_LAST);
    let mut patch = Patch::new();
    let graph = &model.graph;
    let mut inputs = graph.inputs().to_vec();
    let mut outputs = graph.outputs().to_vec();
    let mut converted = Vec::new();
    for input in &mut inputs {
        let label = format!("input {:?}", input.name);
        match input_type(graph, input) {
            Ok((dtype, [n, c, h, w])) => {
                let first = graph.fresh_name(&format!("{}_transpose", input.name));
                patch.redirect(&input.name, &first);
                patch.insert(transpose(&input.name, &first, &TO_CHANNELS_FIRST));
                patch.set_type(
                    &first,
                    TensorType { dtype, shape: Some(vec![n.clone(), c.clone(), h.clone(), w.clone()]) },
                );
                input.ty = ValueType::Tensor(TensorType { dtype, shape: Some(vec![n, h, w, c]) });
                report.applied.push(Note { node: label, what: "it is channels-last now".into() });
                converted.push(input.name.clone());
            }
            Err(reason) => report.refused.push(Note { node: label, what: reason }),
        }
    }
    for output in outputs.iter_mut().filter(|_| !converted.is_empty()) {
        let label = format!("output {:?}", output.name);
        match output_type(graph, output) {
            Ok((ty, dtype, [n, c, h, w])) => {
                let last = graph.fresh_name(&format!("{}_transpose", output.name));
                patch.insert(transpose(&output.name, &last, &TO_CHANNELS_LAST));
                patch.set_type(&output.name, ty);
                output.ty = ValueType::Tensor(TensorType { dtype, shape: Some(vec![n, h, w, c]) });
                report
                    .applied
                    .push(Note { node: label, what: format!("it is channels-last now, as {last:?}") });
                output.name = last;
            }
            Err(reason) => report.refused.push(Note { node: label, what: reason }),
        }
    }
    if report.changed() {
        patch.set_boundary(inputs, outputs);
        model.graph.apply(name::CHANNELS_LAST, patch)?;
        model.graph.sort();
        model.graph.check(name::CHANNELS_LAST)?;
        note_channels_last(model, &converted);
    }
    Ok(report)
}

fn transpose(from: &str, to: &str, order: &[i64]) -> Node {
    Node::new("Transpose", to, &[from], &[to]).with("perm", order.to_vec())
}

/// Element type and \[N, C, H, W\] of an image input that can be converted; else why it cannot.
fn input_type(graph: &Graph, input: &ValueInfo) -> Result<(DataType, [Dim; 4]), String> {
    let (ty, dims) = images(input)?;
    let [_, c, h, w] = &dims;
    if c.known() >= h.known() || c.known() >= w.known() {
        return Err(format!(
            "it seems to be channels-last already: as [N, C, H, W] its shape {ty} would have {c} channels"
        ));
    }
    if graph.is_output(&input.name) {
        return Err("it is an output, too".into());
    }
    let first = graph.uses(&input.name).first().and_then(|u| graph.node(u.node));
    if first.is_some_and(|n| n.is("Transpose") && n.ints("perm") == Some(&TO_CHANNELS_FIRST[..])) {
        return Err("it is channels-last already: the model transposes it to channels-first".into());
    }
    Ok((ty.dtype, dims))
}

fn output_type(graph: &Graph, output: &ValueInfo) -> Result<(TensorType, DataType, [Dim; 4]), String> {
    let (ty, dims) = images(output)?;
    if graph.is_input(&output.name) || graph.initializer(&output.name).is_some() {
        return Err("no node makes it".into());
    }
    Ok((ty.clone(), ty.dtype, dims))
}

/// The type of a tensor of rank 4 whose extents are known, but for the first.
fn images(value: &ValueInfo) -> Result<(&TensorType, [Dim; 4]), String> {
    let ty = value.ty.tensor().ok_or("it is not a tensor")?;
    let shape = ty.shape.clone().ok_or("its rank is not known")?;
    let rank = shape.len();
    let dims: [Dim; 4] = shape.try_into().map_err(|_| format!("it has rank {rank}, not 4"))?;
    if dims[1..].iter().any(|d| d.known().is_none()) {
        return Err(format!("its shape {ty} has extents that are not known"));
    }
    Ok((ty, dims))
}

#[cfg(test)]
mod tests {
    use shiftwise_graph::{Builder, Tensor};
    use shiftwise_stage::channels_last_inputs;

    use super::*;

    fn convolution(builder: Builder, x: &str) -> Builder {
        builder.constant("w", Tensor::f32(&[4, 3, 1, 1], &[0.5; 12])).node("Conv", &[x, "w"], &["y"])
    }

    fn shape(values: &[ValueInfo], place: usize) -> Vec<usize> {
        values[place].ty.tensor().unwrap().fixed_dims().unwrap()
    }

    #[test]
    fn inputs_and_outputs_get_a_transpose() {
        let builder = convolution(Builder::new().input("x", &[1, 3, 5, 6]).input("v", &[1, 7]), "x");
        let mut model =
            builder.node("Relu", &["v"], &["z"]).build(&[("y", &[1, 4, 5, 6]), ("z", &[1, 7])], 13);
        let report = channels_last(&mut model).unwrap();
        assert_eq!((report.applied.len(), report.refused.len()), (2, 2));
        let graph = &model.graph;
        assert_eq!((graph.inputs()[0].name.as_str(), shape(graph.inputs(), 0)), ("x", vec![1, 5, 6, 3]));
        assert_eq!(
            (graph.outputs()[0].name.as_str(), shape(graph.outputs(), 0)),
            ("y_transpose", vec![1, 5, 6, 4])
        );
        assert_eq!(graph.outputs()[1].name, "z");
        let (_, conv) = graph.producer("y").unwrap();
        assert_eq!(conv.input(0), Some("x_transpose"));
        assert_eq!(graph.producer("x_transpose").unwrap().1.name, "x_transpose");
        assert_eq!(channels_last_inputs(&model), ["x"]);
        // Once is enough.
        let again = channels_last(&mut model).unwrap();
        assert!(!again.changed(), "{again:?}");
    }

    #[test]
    fn what_is_channels_last_already_stays() {
        let large = Builder::new().input("x", &[1, 32, 32, 3]).node("Relu", &["x"], &["y"]);
        let builder = Builder::new().input("x", &[1, 3, 9, 9]);
        let perm = [("perm", TO_CHANNELS_FIRST.to_vec().into())];
        let turned = builder.node_with("Transpose", &["x"], &["y"], &perm);
        for (builder, dims, why) in
            [(large, [1, 32, 32, 3], "32 channels"), (turned, [1, 9, 3, 9], "transposes it")]
        {
            let mut model = builder.build(&[("y", &dims)], 13);
            let before = model.clone();
            let report = channels_last(&mut model).unwrap();
            assert_eq!(model, before);
            assert_eq!(report.refused.len(), 1);
            assert!(report.refused[0].what.contains(why), "{report:?}");
        }
    }

    #[test]
    fn shapes_that_are_not_known_stay() {
        let open = |dims: Option<Vec<Dim>>| ValueInfo {
            name: "x".into(),
            ty: ValueType::Tensor(TensorType { dtype: DataType::Float, shape: dims }),
        };
        let k = Dim::Known;
        for (dims, converts) in [
            (Some(vec![Dim::Symbol("n".into()), k(3), k(8), k(8)]), true),
            (Some(vec![k(1), k(3), k(8), Dim::Symbol("w".into())]), false),
            (Some(vec![k(1), k(3), k(8)]), false),
            (None, false),
        ] {
            let builder = Builder::new().input_info(open(dims.clone())).node("Relu", &["x"], &["y"]);
            let mut model = builder.build(&[("y", &[1, 3, 8, 8])], 13);
            assert_eq!(channels_last(&mut model).unwrap().changed(), converts, "{dims:?}");
        }
    }
}
