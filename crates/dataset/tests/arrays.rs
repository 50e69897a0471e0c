//! NPY and NPZ, files and folders.
#![allow(missing_docs)]

mod common;

use std::io::{Cursor, Write};

use common::{Folder, floats, input, npy, npy_f32, npy_i64};
use proptest::prelude::*;
use shiftwise_dataset::{DataError, DataSpec, Dataset, Recipe, Source};
use shiftwise_graph::{DataType, Value};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

fn npz(arrays: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default().compression_method(method))
            .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

const BOTH: [CompressionMethod; 2] = [CompressionMethod::Stored, CompressionMethod::Deflated];

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32 * 0.5).collect()
}

#[test]
fn rows_of_an_npz_are_samples() {
    for method in BOTH {
        let folder = Folder::new();
        let arrays =
            [("ids", npy_i64(&[3, 2], &[1, 2, 3, 4, 5, 6])), ("x", npy_f32(&[3, 2, 2], &values(12)))];
        folder.put("d.npz", &npz(&arrays, method));
        let inputs = [input("x", DataType::Float, &[-1, 2, 2]), input("ids", DataType::Int32, &[1, -1])];
        let data = folder.open_file("d.npz", &inputs).unwrap();
        assert_eq!((data.len(), data.id(1)), (3, "d.npz#1"));
        let sample = data.load(1).unwrap();
        assert_eq!(sample.inputs[0], ("x".to_owned(), Value::f32(&[1, 2, 2], vec![2.0, 2.5, 3.0, 3.5])));
        let ids = ndarray_of(&[1, 2], vec![3_i32, 4]);
        assert_eq!(sample.inputs[1], ("ids".to_owned(), ids));
        assert_ne!(data.fingerprint(0).unwrap(), data.fingerprint(1).unwrap());
    }
}

fn ndarray_of<T>(shape: &[usize], values: Vec<T>) -> Value
where
    Value: From<ndarray::ArrayD<T>>,
{
    ndarray::ArrayD::from_shape_vec(ndarray::IxDyn(shape), values).unwrap().into()
}

#[test]
fn the_same_rows_have_the_same_fingerprint_however_they_are_packed() {
    let folder = Folder::new();
    let array = npy_f32(&[2, 3], &values(6));
    folder.put("a.npz", &npz(&[("x", array.clone())], CompressionMethod::Stored));
    folder.put("b.npz", &npz(&[("x", array.clone())], CompressionMethod::Deflated));
    folder.put("c.npy", &array);
    let prints: Vec<_> = ["a.npz", "b.npz", "c.npy"]
        .iter()
        .map(|name| folder.open_file(name, &floats(&[1, 3])).unwrap().fingerprint(1).unwrap())
        .collect();
    let raw: Vec<u8> = values(6)[3..].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(prints, [shiftwise_artifact::Fingerprint::of_bytes(&raw); 3]);
}

#[test]
fn a_single_array_needs_no_name() {
    let folder = Folder::new();
    folder.put("a.npz", &npz(&[("arr_0", npy_f32(&[2, 3], &values(6)))], CompressionMethod::Deflated));
    folder.put("a.npy", &npy_f32(&[2, 3], &values(6)));
    for name in ["a.npz", "a.npy"] {
        let sample = folder.open_file(name, &floats(&[-1, 3])).unwrap().load(0).unwrap();
        assert_eq!(sample.inputs[0].1, Value::f32(&[1, 3], vec![0.0, 0.5, 1.0]));
    }
}

#[test]
fn wrong_names_list_those_of_the_model() {
    let folder = Folder::new();
    let array = npy_f32(&[2, 3], &values(6));
    folder.put("a.npz", &npz(&[("x", array.clone()), ("z", array.clone())], CompressionMethod::Stored));
    let inputs = [input("x", DataType::Float, &[1, 3]), input("mask", DataType::Float, &[1, 3])];
    let error = folder.open_file("a.npz", &inputs).unwrap_err().to_string();
    assert!(error.contains("\"x\", \"z\"") && error.contains("\"x\", \"mask\""), "{error}");
    let tree = Folder::new();
    tree.put("x/1.npy", &array);
    tree.put("msak/1.npy", &array);
    let error = tree.open(&inputs).unwrap_err().to_string();
    assert!(error.contains("msak/") && error.contains("\"mask\""), "{error}");
    let error = folder.open_file("a.npz", &floats(&[1, 4])).unwrap_err().to_string();
    assert!(error.contains("[1, 4]") && error.contains("[3]"), "{error}");
}

#[test]
fn inputs_with_other_counts_do_not_belong_together() {
    let folder = Folder::new();
    let arrays = [("x", npy_f32(&[2, 3], &values(6))), ("y", npy_f32(&[3, 3], &values(9)))];
    folder.put("a.npz", &npz(&arrays, CompressionMethod::Stored));
    let inputs = [input("x", DataType::Float, &[1, 3]), input("y", DataType::Float, &[1, 3])];
    let error = folder.open_file("a.npz", &inputs).unwrap_err().to_string();
    assert!(error.contains("2 samples") && error.contains("has 3"), "{error}");
}

#[test]
fn truncated_archives_and_arrays_are_errors() {
    for method in BOTH {
        let bytes = npz(&[("x", npy_f32(&[64, 3], &values(192)))], method);
        for keep in [0, 10, bytes.len() / 2, bytes.len() - 5] {
            let folder = Folder::new();
            folder.put("a.npz", &bytes[..keep]);
            assert!(folder.open_file("a.npz", &floats(&[1, 3])).is_err(), "{keep} bytes");
        }
    }
    let bytes = npy_f32(&[4, 3], &values(12));
    for keep in [0, 5, 11, 60, bytes.len() - 1] {
        let folder = Folder::new();
        let path = folder.put("a.npy", &bytes[..keep]);
        let error = folder.open_file("a.npy", &floats(&[1, 3])).unwrap_err();
        assert!(!error.is_bad_sample() && error.to_string().contains("a.npy"), "{error}");
        // As one sample of a folder it is only one bad sample.
        std::fs::rename(&path, folder.path().join("b.npy")).unwrap();
        let error = folder.open(&floats(&[4, 3])).unwrap().load(0).unwrap_err();
        assert!(error.is_bad_sample() && error.to_string().contains("b.npy"), "{error}");
    }
}

#[test]
fn corrupt_compressed_data_fails_its_checksum() {
    let mut bytes = npz(&[("x", npy_f32(&[64, 3], &values(192)))], CompressionMethod::Deflated);
    bytes[120] ^= 0x55;
    let folder = Folder::new();
    folder.put("a.npz", &bytes);
    assert!(folder.open_file("a.npz", &floats(&[1, 3])).is_err());
}

#[test]
fn folders_of_arrays_one_sample_a_file() {
    let folder = Folder::new();
    folder.put("b.npy", &npy_f32(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]));
    folder.put("a.npy", &npy_f32(&[4], &[5.0, 6.0, 7.0, 8.0]));
    folder.put("c.npy", &npy("<f4", true, &[2, 2], &[1.0_f32, 3.0, 2.0, 4.0].map(f32::to_le_bytes).concat()));
    folder.put("d.npy", &npy_f32(&[5, 2, 2], &values(20)));
    folder
        .put("e.npy", &npy(">f8", false, &[2, 2], &[1.0_f64, 2.0, 3.0, 4.0].map(f64::to_be_bytes).concat()));
    let data = folder.open(&floats(&[-1, 2, 2])).unwrap();
    assert_eq!((data.len(), data.id(0)), (5, "a.npy"));
    let at = |i: usize| data.load(i).unwrap().inputs[0].1.clone();
    assert_eq!(at(0), Value::f32(&[1, 2, 2], vec![5.0, 6.0, 7.0, 8.0]));
    for i in [1, 2, 4] {
        assert_eq!(at(i), Value::f32(&[1, 2, 2], vec![1.0, 2.0, 3.0, 4.0]), "{}", data.id(i));
    }
    let error = data.load(3).unwrap_err();
    assert!(error.is_bad_sample() && error.to_string().contains("one file"), "{error}");
}

#[test]
fn folders_with_a_folder_for_each_input() {
    let folder = Folder::new();
    for i in 0..3_i64 {
        folder.put(&format!("ids/{i}.npy"), &npy_i64(&[2], &[i, i + 1]));
        folder.put(&format!("mask/{i}.npy"), &npy("|b1", false, &[1, 2], &[1, 0]));
    }
    let inputs = [input("mask", DataType::Bool, &[-1, 2]), input("ids", DataType::Int64, &[-1, 2])];
    let data = folder.open(&inputs).unwrap();
    assert_eq!((data.len(), data.id(2)), (3, "2.npy"));
    let sample = data.load(2).unwrap();
    assert_eq!(sample.inputs[0], ("mask".to_owned(), ndarray_of(&[1, 2], vec![true, false])));
    assert_eq!(sample.inputs[1], ("ids".to_owned(), Value::i64(&[1, 2], vec![2, 3])));
    std::fs::remove_file(folder.path().join("mask/1.npy")).unwrap();
    let error = folder.open(&inputs).unwrap_err();
    assert!(
        matches!(&error, DataError::Partner { input, sample, .. } if input == "mask" && sample == "1.npy")
    );
}

#[test]
fn folders_of_inputs_whose_names_have_slashes() {
    let folder = Folder::new();
    for i in 0..2_i64 {
        folder.put(&format!("net/a:0/{i}.npy"), &npy_i64(&[1], &[i]));
        folder.put(&format!("net/a/{i}.npy"), &npy_i64(&[1], &[10 + i]));
    }
    let inputs = [input("net/a", DataType::Int64, &[1]), input("/net/a:0", DataType::Float, &[1])];
    let sample = folder.open(&inputs).unwrap().load(1).unwrap();
    assert_eq!(sample.inputs[0].1, Value::i64(&[1], vec![11]));
    assert_eq!(sample.inputs[1].1, Value::f32(&[1], vec![1.0]));
}

#[test]
fn values_that_do_not_fit_are_bad_samples() {
    let folder = Folder::new();
    folder.put("a.npy", &npy_i64(&[2, 2], &[1, 2, 1 << 40, 4]));
    let data = folder.open_file("a.npy", &[input("x", DataType::Int32, &[1, 2])]).unwrap();
    assert!(data.load(0).is_ok());
    let error = data.load(1).unwrap_err();
    assert!(error.is_bad_sample() && error.to_string().contains("1099511627776"), "{error}");
    folder.put("f.npy", &npy_f32(&[2, 2], &values(4)));
    let error = folder.open_file("f.npy", &[input("x", DataType::Int64, &[1, 2])]).unwrap_err();
    assert!(error.to_string().contains("float32"), "{error}");
}

#[test]
fn sources_without_samples_say_what_is_there() {
    let folder = Folder::new();
    let error = folder.open(&floats(&[1, 3])).unwrap_err().to_string();
    assert!(error.contains("images") && error.contains("no file"), "{error}");
    folder.put("a.tiff", b"");
    folder.put("b.npz", b"");
    let error = folder.open(&floats(&[1, 3])).unwrap_err().to_string();
    assert!(error.contains("1 .npz, 1 .tiff") && error.contains("path of the file itself"), "{error}");
    folder.put("a.png", b"");
    folder.put("b.npy", b"");
    assert!(folder.open(&floats(&[1, 3])).unwrap_err().to_string().contains("keep one kind"));
    assert!(folder.open_file("a.tiff", &floats(&[1, 3])).unwrap_err().to_string().contains(".npz or .npy"));
    assert!(matches!(folder.open_file("nothing", &floats(&[1, 3])), Err(DataError::Read { .. })));
    folder.put("empty.npy", &npy_f32(&[0, 3], &[]));
    assert!(matches!(folder.open_file("empty.npy", &floats(&[1, 3])), Err(DataError::Empty { .. })));
}

#[test]
fn a_recipe_for_arrays_is_a_mistake() {
    let folder = Folder::new();
    folder.put("a.npy", &npy_f32(&[2, 3], &values(6)));
    let source = Source::Path(folder.path().join("a.npy"));
    let spec = DataSpec { recipe: Some(Recipe::default()), ..DataSpec::new(source) };
    assert!(matches!(Dataset::open(&spec, &floats(&[1, 3])), Err(DataError::Recipe { .. })));
}

#[test]
fn fortran_order_over_samples_is_refused() {
    let folder = Folder::new();
    folder.put("a.npy", &npy("<f4", true, &[2, 3], &[0; 24]));
    let error = folder.open_file("a.npy", &floats(&[1, 3])).unwrap_err().to_string();
    assert!(error.contains("ascontiguousarray"), "{error}");
}

proptest! {
    #[test]
    fn any_row_of_any_shape_is_the_row(
        count in 1_usize..6,
        dims in proptest::collection::vec(1_usize..5, 0..4),
        pick in any::<prop::sample::Index>(),
        deflated in any::<bool>(),
    ) {
        let row: usize = dims.iter().product();
        let all = values(count * row);
        let shape: Vec<usize> = [count].into_iter().chain(dims.iter().copied()).collect();
        let folder = Folder::new();
        folder.put("a.npz", &npz(&[("q", npy_f32(&shape, &all))], BOTH[usize::from(deflated)]));
        let wanted: Vec<i64> = [-1].into_iter().chain(dims.iter().map(|d| *d as i64)).collect();
        let data = folder.open_file("a.npz", &floats(&wanted)).unwrap();
        prop_assert_eq!(data.len(), count);
        let i = pick.index(count);
        let sample = data.load(i).unwrap();
        let shape: Vec<usize> = [1].into_iter().chain(dims).collect();
        prop_assert_eq!(&sample.inputs[0].1, &Value::f32(&shape, all[i * row..][..row].to_vec()));
    }
}
