//! NPZ archives that follow one another in a stream.
#![allow(missing_docs, clippy::print_stderr)]

mod common;

use std::io::{Cursor, Write};
use std::process::{Command, Stdio};

use common::{crc32, floats, input, npy, npy_f32, npy_i64};
use proptest::prelude::*;
use shiftwise_dataset::{DataError, DataSpec, Dataset, InputSpec, Recipe, Source};
use shiftwise_graph::{DataType, Value};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

const BOTH: [CompressionMethod; 2] = [CompressionMethod::Stored, CompressionMethod::Deflated];

/// An archive as it is written to a file, with sizes in front of the data, or to a pipe, with sizes behind them.
fn npz(arrays: &[(&str, Vec<u8>)], method: CompressionMethod, piped: bool, long: bool) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(method).large_file(long);
    if piped {
        let mut zip = ZipWriter::new_stream(Vec::new());
        for (name, bytes) in arrays {
            zip.start_file(format!("{name}.npy"), options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        return zip.finish().unwrap().into_inner();
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        zip.start_file(format!("{name}.npy"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn spec() -> DataSpec {
    DataSpec::new(Source::Stdin)
}

fn open(stream: &[u8], inputs: &[InputSpec]) -> Result<Dataset, DataError> {
    Dataset::from_stream(stream, &spec(), inputs)
}

fn refused(stream: &[u8], inputs: &[InputSpec]) -> String {
    open(stream, inputs).unwrap_err().to_string()
}

fn values(first: usize, n: usize) -> Vec<f32> {
    (first..first + n).map(|i| i as f32 * 0.5).collect()
}

fn x(shape: &[usize], first: usize) -> (&'static str, Vec<u8>) {
    ("x", npy_f32(shape, &values(first, shape.iter().product())))
}

#[test]
fn archives_of_every_kind_follow_one_another() {
    let mut stream = Vec::new();
    for (i, method) in BOTH.into_iter().enumerate() {
        for (j, piped) in [false, true].into_iter().enumerate() {
            for (k, long) in [false, true].into_iter().enumerate() {
                let at = i * 4 + j * 2 + k;
                let arrays = [x(&[2, 2, 3], at * 12), ("y", npy_i64(&[2], &[at as i64, -1]))];
                stream.extend(npz(&arrays, method, piped, long));
            }
        }
    }
    let inputs = [input("y", DataType::Int32, &[1]), input("x", DataType::Float, &[-1, 2, 3])];
    let data = open(&stream, &inputs).unwrap();
    assert_eq!((data.len(), data.id(0), data.id(15)), (16, "stdin#0", "stdin#15"));
    // Several passes, in any order.
    for i in [15, 0, 7, 7, 4] {
        let sample = data.load(i).unwrap();
        assert_eq!(sample.inputs[1].1, Value::f32(&[1, 2, 3], values(i * 6, 6)));
        let y = if i % 2 == 0 { i as i32 / 2 } else { -1 };
        let Value::I32(found) = &sample.inputs[0].1 else { panic!("int32 was asked for") };
        assert_eq!(found.iter().copied().collect::<Vec<_>>(), [y]);
    }
    assert_ne!(data.fingerprint(0).unwrap(), data.fingerprint(2).unwrap());
}

#[test]
fn one_sample_an_archive_needs_no_axis_of_samples() {
    let archive = |shape: &[usize]| npz(&[x(shape, 0)], BOTH[0], true, true);
    let stream = [archive(&[3, 4]), archive(&[1, 3, 4]), archive(&[2, 3, 4]), archive(&[12])].concat();
    let data = open(&stream, &floats(&[-1, 3, 4])).unwrap();
    assert_eq!(data.len(), 5);
    let same = [0, 1, 2, 4].map(|i| data.load(i).unwrap().inputs);
    assert!(same.iter().all(|s| *s == same[0]));
    let prints = [0, 1, 2, 4].map(|i| data.fingerprint(i).unwrap());
    assert_eq!(prints, [prints[0]; 4]);
    // In Fortran order, too.
    let bytes: Vec<u8> = [1.0_f32, 3.0, 2.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let fortran = npz(&[("x", npy("<f4", true, &[2, 2], &bytes))], BOTH[1], true, false);
    let data = open(&fortran, &floats(&[1, 2, 2])).unwrap();
    assert_eq!(data.load(0).unwrap().inputs[0].1, Value::f32(&[1, 2, 2], vec![1.0, 2.0, 3.0, 4.0]));
}

#[test]
fn a_limit_ends_reading() {
    let archive = npz(&[x(&[2, 3], 0)], BOTH[0], true, true);
    let stream = [&archive[..], &archive, b"nonsense that nobody reads"].concat();
    let spec = DataSpec { limit: Some(3), ..spec() };
    assert_eq!(Dataset::from_stream(&stream[..], &spec, &floats(&[1, 3])).unwrap().len(), 3);
    let error = refused(&stream, &floats(&[1, 3]));
    assert!(
        error.contains("archive 3") && error.contains("\"nons\"") && error.contains("after 4 samples"),
        "{error}"
    );
}

#[test]
fn streams_that_end_too_early_say_after_how_many_samples() {
    for method in BOTH {
        let archive = npz(&[x(&[2, 30], 0)], method, true, true);
        for keep in 0..archive.len() {
            let stream = [&archive[..], &archive[..keep]].concat();
            let outcome = open(&stream, &floats(&[1, 30]));
            if keep == 0 {
                assert_eq!(outcome.unwrap().len(), 2);
                continue;
            }
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains("middle of archive 2, after 2 samples"), "{keep} bytes: {error}");
        }
    }
    assert!(matches!(open(b"", &floats(&[1, 3])), Err(DataError::Empty { .. })));
}

#[test]
fn damage_is_found() {
    for (method, piped) in [(BOTH[0], true), (BOTH[0], false), (BOTH[1], true), (BOTH[1], false)] {
        let archive = npz(&[x(&[2, 300], 0)], method, piped, false);
        let mut bad = archive.clone();
        // Within the values.
        bad[archive.len() / 2] ^= 0x10;
        let error = refused(&bad, &floats(&[1, 300]));
        assert!(error.contains("archive 1"), "{error}");
    }
}

#[test]
fn what_is_no_stream_of_archives_says_so() {
    let error = refused(&npy_f32(&[2, 3], &values(0, 6)), &floats(&[1, 3]));
    assert!(error.contains(".npy array") && error.contains("savez"), "{error}");
    let error = refused(b"loading model...\nPK\x03\x04", &floats(&[1, 3]));
    assert!(error.contains("\"load\"") && error.contains("print"), "{error}");
    let archive = npz(&[x(&[2, 3], 0)], BOTH[0], true, false);
    let error = refused(&archive, &[input("a", DataType::Float, &[1, 3]), input("b", DataType::Float, &[1])]);
    assert!(
        error.contains("\"x\"") && error.contains("\"a\", \"b\"") && error.contains("archive 1"),
        "{error}"
    );
    let odd = [archive, npz(&[x(&[2, 4], 0)], BOTH[0], true, false)].concat();
    let error = refused(&odd, &floats(&[1, 3]));
    assert!(error.contains("archive 2 of the standard input") && error.contains("[1, 3]"), "{error}");
    let recipe = DataSpec { recipe: Some(Recipe::default()), ..spec() };
    assert!(matches!(
        Dataset::from_stream(&[][..], &recipe, &floats(&[1, 3])),
        Err(DataError::Recipe { .. })
    ));
}

/// A stored member with sizes behind it, made by hand: without the mark that most write before the checksum.
#[test]
fn the_mark_before_checksums_is_optional() {
    let (_, array) = x(&[2, 3], 0);
    let mut stream = b"PK\x03\x04\x14\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0x.npy".to_vec();
    stream.extend(&array);
    stream.extend(crc32(&array).to_le_bytes());
    stream.extend([(array.len() as u32).to_le_bytes(); 2].concat());
    stream.extend(b"PK\x05\x06");
    stream.extend([0; 16]);
    // A comment, as long as the two bytes before it say.
    stream.extend(b"\x03\0end");
    assert_eq!(open(&[stream.clone(), stream].concat(), &floats(&[1, 3])).unwrap().len(), 4);
}

proptest! {
    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 1..200), marked in any::<bool>()) {
        let bytes = if marked { [b"PK\x03\x04", &bytes[..]].concat() } else { bytes };
        prop_assert!(open(&bytes, &floats(&[1, 3])).is_err());
    }

    #[test]
    fn damaged_archives_are_refused_or_read(
        method in proptest::sample::select(BOTH.to_vec()),
        piped in any::<bool>(),
        at in any::<prop::sample::Index>(),
        bytes in proptest::collection::vec(any::<u8>(), 1..9),
    ) {
        let mut stream = npz(&[x(&[2, 3], 0), ("other", npy_i64(&[1], &[5]))], method, piped, true);
        let at = at.index(stream.len() - bytes.len());
        stream[at..at + bytes.len()].copy_from_slice(&bytes);
        if let Ok(data) = open(&stream, &floats(&[1, 3])) {
            for i in 0..data.len() {
                let _ = data.load(i);
            }
        }
    }
}

#[test]
fn what_numpy_writes_to_a_pipe() {
    let Some(python) = std::env::var_os("SHIFTWISE_PYTHON") else {
        eprintln!("skipped: SHIFTWISE_PYTHON does not name a python with numpy");
        return;
    };
    let script = "
import sys, numpy as np
out = sys.stdout.buffer
for i in range(6):
    save = np.savez_compressed if i % 2 else np.savez
    save(out, x=np.full((2, 3, 4), i, np.float32), ids=np.array([[i], [-i]]))
np.savez(out, x=np.asfortranarray(np.arange(12.).reshape(3, 4)), ids=np.array([9], np.uint8))
";
    let mut child = Command::new(python).args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let inputs = [input("x", DataType::Float, &[-1, 3, 4]), input("ids", DataType::Int64, &[-1, 1])];
    let reader = std::io::BufReader::new(child.stdout.take().unwrap());
    let data = Dataset::from_stream(reader, &spec(), &inputs).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(data.len(), 13);
    for i in 0..12 {
        let sample = data.load(i).unwrap();
        assert_eq!(sample.inputs[0].1, Value::f32(&[1, 3, 4], vec![(i / 2) as f32; 12]));
        let id = if i % 2 == 0 { i as i64 / 2 } else { -(i as i64 / 2) };
        assert_eq!(sample.inputs[1].1, Value::i64(&[1, 1], vec![id]));
    }
    let last = data.load(12).unwrap();
    assert_eq!(last.inputs[0].1, Value::f32(&[1, 3, 4], (0..12).map(|i| i as f32).collect()));
}
