//! Labels, recipes and random samples.
#![allow(missing_docs)]

mod common;

use common::{Folder, floats, golden, input, npy_f32, npy_i64};
use shiftwise_dataset::{DataError, DataSpec, Dataset, Recipe, Resize, Source};
use shiftwise_graph::{DataType, Value};

fn images() -> Folder {
    let folder = Folder::new();
    for name in ["b.png", "a/c.png", "d.png"] {
        folder.put(name, &golden("rgb.png"));
    }
    folder
}

fn labels(folder: &Folder, csv: &str) -> Result<Vec<Option<usize>>, DataError> {
    folder.put("labels.csv", csv.as_bytes());
    let data = folder.open(&floats(&[1, 3, 37, 53]))?;
    Ok((0..data.len()).map(|i| data.label(i)).collect())
}

#[test]
fn labels_in_the_folder_are_found_and_samples_stay_sorted() {
    let folder = images();
    assert_eq!(labels(&folder, "file,label\nd.png,7\na/c.png,3\n").unwrap(), [Some(3), None, Some(7)]);
    assert_eq!(labels(&folder, "label, file,extra\r\n1,./b.png,x\r\n").unwrap(), [None, Some(1), None]);
}

#[test]
fn labels_that_do_not_fit_are_errors() {
    let folder = images();
    let reason = |csv: &str| labels(&folder, csv).unwrap_err().to_string();
    assert!(reason("file,label\nz.png,1\n").contains("\"z.png\""));
    assert!(reason("file,label\nb.png,1\nb.png,1\n").contains("two rows"));
    assert!(reason("file,label\nb.png,cat\n").contains("\"cat\""));
    assert!(reason("file,label\nb.png,-1\n").contains("\"-1\""));
    assert!(reason("file,class\nb.png,1\n").contains("label is missing"));
}

#[test]
fn labels_of_arrays() {
    let folder = Folder::new();
    folder.put("a.npy", &npy_f32(&[3, 2], &[0.0; 6]));
    folder.put("other.npy", &npy_i64(&[3], &[4, 5, 6]));
    let source = Source::Path(folder.path().join("a.npy"));
    let plain = DataSpec::new(source);
    assert!(!Dataset::open(&plain, &floats(&[1, 2])).unwrap().has_labels());
    let given = DataSpec { labels: Some(folder.path().join("other.npy")), limit: Some(2), ..plain.clone() };
    let data = Dataset::open(&given, &floats(&[1, 2])).unwrap();
    assert_eq!((data.len(), data.label(0), data.label(1), data.label(2)), (2, Some(4), Some(5), None));
    folder.put("a_labels.npy", &npy_i64(&[3, 1], &[7, 8, 9]));
    assert_eq!(Dataset::open(&plain, &floats(&[1, 2])).unwrap().load(2).unwrap().label, Some(9));
    folder.put("a_labels.npy", &npy_i64(&[2], &[7, 8]));
    let error = Dataset::open(&plain, &floats(&[1, 2])).unwrap_err().to_string();
    assert!(error.contains("3 samples"), "{error}");
}

#[test]
fn recipes_are_checked() {
    let reason = |text: &str| Recipe::parse(text, "r.toml").unwrap_err().to_string();
    assert!(reason("scal = 1").contains("did you mean \"scale\""));
    assert!(reason("Mean = 1\nscale = 1").contains("did you mean \"mean\""));
    assert!(reason("zzzzzzzzzzzz = 1").contains("the keys are resize"));
    assert!(reason("scale = 1\ndivide = 2").contains("exclude"));
    assert!(reason("mean = [1, 2, 3]").contains("scale or divide"));
    assert!(reason("divide = 0").contains("divide"));
    assert!(reason("divide = 1\nstd = [1, 0, 1]").contains("std"));
    assert!(reason("divide = 1\nmean = [1, 2]").contains("one number or 3"));
    assert!(reason("channels = \"GRAY\"\ndivide = 1\nmean = [1, 2, 3]").contains("one number or 1"));
    assert!(reason("channels = \"rgb\"").contains("RGB"));
    assert!(reason("resize = 0").contains("resize"));
    assert!(reason("resize = [20, 30]\ncrop = 25").contains("does not fit"));
    assert!(reason("resize = \n").contains("r.toml"));
    assert_eq!(Recipe::parse("resize = [20, 30]", "r").unwrap().resize, Some(Resize::Exact([20, 30])));
    assert_eq!(Recipe::parse("", "r").unwrap(), Recipe::default());
}

#[test]
fn a_recipe_survives_its_way_through_text() {
    let text =
        "resize = 256\ncrop = [224, 192]\nchannels = \"BGR\"\nlayout = \"NHWC\"\ndivide = 127.5\nmean = 1";
    let recipe = Recipe::parse(text, "r").unwrap();
    assert_eq!(Recipe::parse(&toml::to_string(&recipe).unwrap(), "r").unwrap(), recipe);
    let json = serde_json::to_string(&recipe).unwrap();
    assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), recipe);
}

#[test]
fn random_samples_depend_on_seed_and_ordinal_alone() {
    let inputs = [
        input("x", DataType::Float, &[-1, 3, 4]),
        input("ids", DataType::Int64, &[1, 50]),
        input("b", DataType::Bool, &[9]),
    ];
    let open = |seed, count, inputs: &[_]| {
        Dataset::open(&DataSpec::new(Source::Random { seed, count }), inputs).unwrap()
    };
    let data = open(1, 5, &inputs);
    assert_eq!((data.len(), data.id(3)), (5, "random#3"));
    let sample = data.load(3).unwrap();
    assert_eq!(sample, open(1, 9, &inputs).load(3).unwrap());
    assert_eq!(sample.inputs[0], open(1, 5, &inputs[..1]).load(3).unwrap().inputs[0]);
    assert_ne!(sample.inputs, data.load(4).unwrap().inputs);
    assert_ne!(sample.inputs, open(2, 5, &inputs).load(3).unwrap().inputs);
    assert_eq!(sample.inputs[0].1.shape(), [1, 3, 4]);
    assert!(sample.inputs[0].1.as_f32().unwrap().iter().all(|v| (0.0..1.0).contains(v)));
    let ids = sample.inputs[1].1.as_i64().unwrap();
    assert!(ids.iter().all(|v| [0, 1].contains(v)) && ids.contains(&0) && ids.contains(&1));
    assert_eq!(data.fingerprint(3).unwrap(), open(1, 9, &inputs).fingerprint(3).unwrap());
}

#[test]
fn random_values_are_the_same_everywhere() {
    let spec = DataSpec::new(Source::Random { seed: 7, count: 1 });
    let sample = Dataset::open(&spec, &floats(&[1, 2])).unwrap().load(0).unwrap();
    let Value::F32(values) = &sample.inputs[0].1 else { panic!("float32 was asked for") };
    let bits: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, RANDOM_7_0);
}

/// Pinned: a change here invalidates every artifact that was made from random samples.
const RANDOM_7_0: [u32; 2] = [1_060_561_507, 1_052_291_042];

#[test]
fn random_samples_need_a_size() {
    let spec = DataSpec::new(Source::Random { seed: 1, count: 1 });
    let error = Dataset::open(&spec, &floats(&[-1, 3, -1])).unwrap_err().to_string();
    assert!(error.contains("[?, 3, ?]") && error.contains("--fix-dim '"), "{error}");
    let text = [input("s", DataType::String, &[1])];
    assert!(Dataset::open(&spec, &text).is_err());
}
