//! In the steady state a node costs no allocation: twice the nodes, the same number of allocations in a run. ConvTranspose is not
//! among them: the product with a transposed matrix takes working memory of its own.
#![allow(missing_docs)]

use shiftwise_engine::{Engine, Flow, PrepareOptions, Session, Watch, embedded};
use shiftwise_graph::{Attribute, Builder, Model, Tensor, Value};

const SHAPE: [usize; 4] = [1, 8, 12, 12];

/// A node from tensor to tensor of one shape, with its constants.
struct Link {
    op: &'static str,
    attributes: Vec<(&'static str, Attribute)>,
    constants: Vec<(&'static str, Tensor)>,
}

fn link(op: &'static str) -> Link {
    Link { op, attributes: Vec::new(), constants: Vec::new() }
}

impl Link {
    fn with(mut self, name: &'static str, value: impl Into<Attribute>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    fn constant(mut self, name: &'static str, tensor: Tensor) -> Self {
        self.constants.push((name, tensor));
        self
    }

    fn floats(self, name: &'static str, dims: &[usize]) -> Self {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|i| 0.1 + (i % 7) as f32 / 50.0).collect();
        self.constant(name, Tensor::f32(dims, &values))
    }
}

/// Repeats of a node; every tensor has two readers, so that nothing is computed in place.
fn chain(link: &Link, length: usize) -> Model {
    let mut builder = Builder::new().input("t0", &SHAPE);
    for (name, tensor) in &link.constants {
        builder = builder.constant(name, tensor.clone());
    }
    for i in 0..length {
        let (from, made, to) = (format!("t{i}"), format!("m{i}"), format!("t{}", i + 1));
        let mut inputs = vec![from.as_str()];
        inputs.extend(link.constants.iter().map(|(name, _)| *name));
        builder = builder.node_with(link.op, &inputs, &[&made], &link.attributes).node(
            "Min",
            &[&from, &made],
            &[&to],
        );
    }
    builder.build(&[(&format!("t{length}"), &SHAPE)], 18)
}

fn allocations(model: &Model, watch: Watch) -> u64 {
    let session = embedded().prepare(model, &PrepareOptions::watching(watch)).unwrap();
    let feeds = [("t0".to_string(), Value::f32(&SHAPE, vec![0.5; SHAPE.iter().product()]))];
    let run = |session: &dyn Session| {
        session.run(&feeds, &mut |_, _| Flow::Continue).unwrap();
    };
    for _ in 0..3 {
        run(session.as_ref());
    }
    allocation_counter::measure(|| run(session.as_ref())).count_total
}

fn links() -> Vec<Link> {
    let square = [8, 8, 3, 3];
    vec![
        link("Conv").floats("w", &square).floats("b", &[8]).with("pads", vec![1_i64, 1, 1, 1]),
        link("Conv").floats("w", &[8, 8, 1, 1]),
        link("Conv").floats("w", &[8, 1, 3, 3]).with("group", 8_i64).with("pads", vec![1_i64, 1, 1, 1]),
        link("MatMul").floats("w", &[12, 12]),
        link("Relu"),
        link("Sigmoid"),
        link("Clip").constant("lo", Tensor::f32(&[], &[0.0])).constant("hi", Tensor::f32(&[], &[6.0])),
        link("Add").floats("c", &[8, 1, 1]),
        link("Mul").floats("c", &SHAPE),
        link("BatchNormalization").floats("s", &[8]).floats("b", &[8]).floats("m", &[8]).floats("v", &[8]),
        link("InstanceNormalization").floats("s", &[8]).floats("b", &[8]),
        link("LayerNormalization").floats("s", &[12]).floats("b", &[12]),
        link("Softmax"),
        link("MaxPool").with("kernel_shape", vec![3_i64, 3]).with("pads", vec![1_i64, 1, 1, 1]),
        link("AveragePool").with("kernel_shape", vec![3_i64, 3]).with("pads", vec![1_i64, 1, 1, 1]),
        link("Transpose").with("perm", vec![0_i64, 1, 3, 2]),
        link("Reshape").constant("to", Tensor::i64(&[4], &[1, 8, 12, 12])),
        link("ReduceMean").constant("axes", Tensor::i64(&[1], &[-1])),
        link("Slice")
            .constant("starts", Tensor::i64(&[1], &[0]))
            .constant("ends", Tensor::i64(&[1], &[9]))
            .constant("axes", Tensor::i64(&[1], &[0])),
        link("Pad").constant("pads", Tensor::i64(&[8], &[0; 8])),
        link("Resize")
            .constant("roi", Tensor::f32(&[0], &[]))
            .constant("scales", Tensor::f32(&[4], &[1.0; 4])),
        link("Concat").with("axis", 1_i64),
    ]
}

#[test]
fn nodes_allocate_nothing() {
    let mut found = String::new();
    for link in links() {
        for watch in [Watch::None, Watch::All] {
            let few = allocations(&chain(&link, 20), watch.clone());
            let many = allocations(&chain(&link, 40), watch.clone());
            if few != many {
                let each = (many as f64 - few as f64) / 20.0;
                found += &format!(
                    "{} with {} constants, {watch:?}: {each} a node\n",
                    link.op,
                    link.constants.len()
                );
            }
        }
    }
    assert!(found.is_empty(), "{found}");
}
