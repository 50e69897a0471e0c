//! Shapes and ranges of random samples.
#![allow(missing_docs)]

mod common;

use common::input;
use shiftwise_artifact::ExitClass;
use shiftwise_dataset::{DataError, DataSpec, Dataset, InputSpec, RandomSpec, Sample, Source};
use shiftwise_graph::DataType;

fn inputs() -> Vec<InputSpec> {
    vec![
        input("image", DataType::Float, &[-1, 3, -1, -1]),
        input("ids", DataType::Int64, &[1, 20]),
        input("mask", DataType::Bool, &[1, 20]),
    ]
}

fn spec(shapes: &[(&str, &[usize])], ranges: &[(&str, [f64; 2])], range: Option<[f64; 2]>) -> DataSpec {
    let random = RandomSpec {
        shapes: shapes.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect(),
        ranges: ranges.iter().map(|(name, range)| ((*name).to_owned(), *range)).collect(),
        range,
    };
    DataSpec { random, ..DataSpec::new(Source::Random { seed: 1, count: 2 }) }
}

const SHAPE: (&str, &[usize]) = ("image", &[1, 3, 4, 5]);

fn sample(spec: &DataSpec) -> Sample {
    Dataset::open(spec, &inputs()).unwrap().load(1).unwrap()
}

fn refused(spec: &DataSpec) -> String {
    let error = Dataset::open(spec, &inputs()).unwrap_err();
    assert!(matches!(error, DataError::Random { .. }) && error.exit_class() == ExitClass::Usage, "{error:?}");
    error.to_string()
}

#[test]
fn shapes_fill_what_the_model_leaves_open() {
    assert_eq!(sample(&spec(&[SHAPE], &[], None)).inputs[0].1.shape(), [1, 3, 4, 5]);
    assert_eq!(sample(&spec(&[("image", &[2, 3, 1, 1])], &[], None)).inputs[0].1.shape(), [2, 3, 1, 1]);
    for shape in [&[1, 4, 4, 5][..], &[1, 3, 4], &[1, 3, 0, 5]] {
        let error = refused(&spec(&[("image", shape)], &[], None));
        assert!(error.contains("--random-shape") && error.contains(&format!("{shape:?}")), "{error}");
    }
    let error = refused(&spec(&[SHAPE, ("imag", &[1])], &[], None));
    assert!(error.contains("\"imag\"") && error.contains("did you mean \"image\""), "{error}");
    let error = Dataset::open(&spec(&[], &[], None), &inputs()).unwrap_err().to_string();
    assert!(error.contains("[?, 3, ?, ?]") && error.contains("--random-shape 'image=1x3xNxN'"), "{error}");
}

#[test]
fn ranges_hold_for_one_input_or_for_all() {
    let made = sample(&spec(&[SHAPE], &[("ids", [5.0, 7.0]), ("image", [-2.0, -1.0])], None));
    assert!(made.inputs[0].1.as_f32().unwrap().iter().all(|v| (-2.0..-1.0).contains(v)));
    let ids = made.inputs[1].1.as_i64().unwrap();
    assert!((5..=7).all(|v| ids.contains(&v)) && ids.iter().all(|v| (5..=7).contains(v)), "{ids:?}");
    let plain = sample(&spec(&[SHAPE], &[], None));
    assert_eq!(made.inputs[2], plain.inputs[2], "an input without a range is as it was");
    let all = sample(&spec(&[SHAPE], &[("image", [3.0, 4.0])], Some([1.0, 1.0])));
    assert!(all.inputs[0].1.as_f32().unwrap().iter().all(|v| (3.0..4.0).contains(v)));
    assert_eq!(all.inputs[1].1.as_i64().unwrap(), [1; 20]);
}

#[test]
fn ranges_that_do_not_fit_name_the_input() {
    let error = refused(&spec(&[SHAPE], &[], Some([-1.0, 1.0])));
    assert!(error.contains("\"mask\"") && error.contains("--random-range mask=LO:HI"), "{error}");
    let error = refused(&spec(&[SHAPE], &[("ids", [0.5, 2.0])], None));
    assert!(error.contains("\"ids\"") && error.contains("no integer"), "{error}");
    let error = refused(&spec(&[SHAPE], &[("isd", [0.0, 2.0])], None));
    assert!(error.contains("did you mean \"ids\""), "{error}");
}

#[test]
fn hashes_tell_ranges_and_shapes_apart() {
    let print = |spec: DataSpec| Dataset::open(&spec, &inputs()).unwrap().fingerprint(0).unwrap();
    let plain = print(spec(&[SHAPE], &[], None));
    assert_ne!(plain, print(spec(&[SHAPE], &[("image", [0.0, 2.0])], None)));
    assert_ne!(plain, print(spec(&[("image", &[1, 3, 5, 5])], &[], None)));
    assert_eq!(plain, print(spec(&[SHAPE], &[], None)));
}

#[test]
fn nothing_else_is_random() {
    let folder = common::Folder::new();
    folder.put("a.npy", &common::npy_f32(&[2, 3], &[0.0; 6]));
    let source = Source::Path(folder.path().join("a.npy"));
    let spec = DataSpec { source, ..spec(&[], &[("x", [0.0, 1.0])], None) };
    let error = Dataset::open(&spec, &common::floats(&[1, 3])).unwrap_err().to_string();
    assert!(error.contains("--random-range") && error.contains("not random"), "{error}");
}
