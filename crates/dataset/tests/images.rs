//! Images against Pillow and numpy; tests/golden/make.py made the expectations.
#![allow(missing_docs)]

mod common;

use common::{Folder, crc32, floats, golden, input};
use serde_json::Value as Json;
use shiftwise_dataset::{DataError, DataSpec};
use shiftwise_graph::{DataType, Value};

fn expected() -> Json {
    serde_json::from_slice(&golden("expected.json")).unwrap()
}

/// The pixels that a recipe makes of an image: height, width, bytes.
fn pixels(name: &str, recipe: &str) -> (usize, usize, Vec<u8>) {
    let folder = Folder::new();
    folder.put(name, &golden(name));
    let inputs = [input("x", DataType::Uint8, &[1, -1, -1, 3])];
    let data = folder.with_recipe(&format!("layout = \"NHWC\"\n{recipe}"), &inputs).unwrap();
    let sample = data.load(0).unwrap();
    let Value::U8(array) = &sample.inputs[0].1 else { panic!("uint8 was asked for") };
    (array.shape()[1], array.shape()[2], array.iter().copied().collect())
}

#[test]
fn files_decode_to_the_pixels_of_pillow() {
    let expected = expected();
    let mut wrong = Vec::new();
    for (name, digest) in expected["decode"].as_object().unwrap() {
        let (_, _, bytes) = pixels(name, "");
        if u64::from(crc32(&bytes)) != digest.as_u64().unwrap() {
            wrong.push(name.clone());
        }
    }
    assert_eq!(wrong, [""; 0], "these differ from Pillow");
}

#[test]
fn sixteen_bit_grey_is_refused() {
    let folder = Folder::new();
    folder.put("gray16.png", &golden("gray16.png"));
    let error = folder.open(&floats(&[1, 3, 37, 53])).unwrap().load(0).unwrap_err();
    assert!(error.is_bad_sample() && error.to_string().contains("8 bits"), "{error}");
}

#[test]
fn resize_and_crop_are_those_of_pillow() {
    for (recipe, expected) in expected()["resize"].as_object().unwrap() {
        let (h, w, bytes) = pixels("rgb.png", recipe);
        let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).unwrap();
        assert_eq!(shape, [h, w], "{recipe}");
        assert_eq!(u64::from(crc32(&bytes)), expected["pixels"].as_u64().unwrap(), "{recipe}");
    }
}

#[test]
fn numbers_are_those_of_numpy_to_the_last_bit() {
    for (recipe, expected) in expected()["recipe"].as_object().unwrap() {
        for (layout, shape) in [("nchw", [1, -1, 37, 53]), ("nhwc", [1, 37, 53, -1])] {
            let folder = Folder::new();
            folder.put("rgb.png", &golden("rgb.png"));
            let recipe = format!("layout = \"{}\"\n{recipe}", layout.to_uppercase());
            let sample = folder.with_recipe(&recipe, &floats(&shape)).unwrap().load(0).unwrap();
            let bytes = sample.inputs[0].1.to_bytes();
            assert_eq!(u64::from(crc32(&bytes)), expected[layout].as_u64().unwrap(), "{recipe}");
        }
    }
}

#[test]
fn one_pixel_by_hand() {
    let folder = Folder::new();
    folder.put("rgb.png", &golden("rgb.png"));
    let recipe = "crop = 1\nscale = 2\nmean = [10, 20, 30]\nstd = [1, 2, 4]\nchannels = \"BGR\"";
    let sample = folder.with_recipe(recipe, &floats(&[1, 3, 1, 1])).unwrap().load(0).unwrap();
    // The centre of 37 x 53 is row 18, column 26, inside the noise.
    let (_, _, rgb) = pixels("rgb.png", "crop = 1");
    let [r, g, b] = [0, 1, 2].map(|i| f32::from(rgb[i]));
    let wanted = [b * 2.0 - 10.0, (g * 2.0 - 20.0) / 2.0, (r * 2.0 - 30.0) / 4.0];
    assert_eq!(sample.inputs[0].1.as_f32().unwrap(), wanted);
}

#[test]
fn half_precision_is_rounded_from_single() {
    let folder = Folder::new();
    folder.put("rgb.png", &golden("rgb.png"));
    let half = folder.open(&[input("x", DataType::Float16, &[1, 3, 37, 53])]).unwrap().load(0).unwrap();
    let single = folder.open(&floats(&[1, 3, 37, 53])).unwrap().load(0).unwrap();
    let Value::F16(half) = &half.inputs[0].1 else { panic!("float16 was asked for") };
    let single = single.inputs[0].1.as_f32().unwrap();
    assert!(half.iter().zip(single).all(|(h, s)| h.to_bits() == half::f16::from_f32(*s).to_bits()));
}

#[test]
fn truncated_and_corrupt_images_are_bad_samples() {
    for name in ["rgb.png", "444.jpg", "420.jpg", "progressive.jpg", "rgb.bmp", "lossless.webp"] {
        let bytes = golden(name);
        for keep in [0, 1, 10, bytes.len() / 4, bytes.len() / 2, bytes.len() * 9 / 10, bytes.len() - 20] {
            let folder = Folder::new();
            folder.put(name, &bytes[..keep]);
            let data = folder.open(&floats(&[1, 3, 37, 53])).unwrap();
            let error = data.load(0).expect_err(&format!("{keep} bytes of {name} are not an image"));
            assert!(error.is_bad_sample(), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
    let folder = Folder::new();
    folder.put("a.png", b"this is text");
    let error = folder.open(&floats(&[1, 3, 37, 53])).unwrap().load(0).unwrap_err();
    assert!(matches!(&error, DataError::Decode { reason, .. } if reason.contains("not a PNG")), "{error}");
}

#[test]
fn garbage_within_jpeg_data_is_noticed() {
    let mut bytes = golden("420.jpg");
    let at = bytes.len() * 3 / 4;
    bytes.splice(at..at + 40, [0xff, 0xd9]);
    let folder = Folder::new();
    folder.put("a.jpg", &bytes);
    assert!(folder.open(&floats(&[1, 3, 37, 53])).unwrap().load(0).unwrap_err().is_bad_sample());
}

#[test]
fn bytes_between_jpeg_segments_are_harmless() {
    let mut bytes = golden("444.jpg");
    let end = bytes.len() - 2;
    bytes.splice(end..end, [0, 0, 0]);
    let folder = Folder::new();
    folder.put("a.jpg", &bytes);
    let data = folder.open(&floats(&[1, 3, 37, 53])).unwrap();
    assert!(data.load(0).is_ok());
}

#[test]
fn the_content_decides_not_the_name() {
    let folder = Folder::new();
    folder.put("a.jpg", &golden("rgb.png"));
    assert!(folder.open(&floats(&[1, 3, 37, 53])).unwrap().load(0).is_ok());
}

#[test]
fn images_that_do_not_fit_are_not_resized_silently() {
    let folder = Folder::new();
    folder.put("a.png", &golden("rgb.png"));
    let error = folder.open(&floats(&[1, 3, 32, 32])).unwrap().load(0).unwrap_err().to_string();
    for part in ["a.png", "\"x\"", "[1, 3, 32, 32]", "[1, 3, 37, 53]", "resize", "crop"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    let error = folder.open(&floats(&[1, 37, 53, 3])).unwrap().load(0).unwrap_err().to_string();
    assert!(error.contains("layout = \"NHWC\""), "{error}");
    let error = folder.open(&floats(&[1, 1, 37, 53])).unwrap().load(0).unwrap_err().to_string();
    assert!(error.contains("GRAY"), "{error}");
    let error = folder.open(&floats(&[4, 3, 37, 53])).unwrap().load(0).unwrap_err().to_string();
    assert!(error.contains("batch of 4"), "{error}");
    let error = folder.with_recipe("crop = 64", &floats(&[1, 3, 64, 64])).unwrap().load(0).unwrap_err();
    assert!(error.is_bad_sample() && error.to_string().contains("37 x 53"), "{error}");
    // A recipe that can never fit is refused before any sample is read.
    let error = folder.with_recipe("crop = 20", &floats(&[1, 3, 32, 32])).unwrap_err();
    assert!(!error.is_bad_sample() && error.to_string().contains("[1, 3, 20, 20]"), "{error}");
}

#[test]
fn an_input_without_batch_takes_images_too() {
    let folder = Folder::new();
    folder.put("a.png", &golden("rgb.png"));
    let sample = folder.open(&floats(&[3, 37, 53])).unwrap().load(0).unwrap();
    assert_eq!(sample.inputs[0].1.shape(), [3, 37, 53]);
}

#[test]
fn images_go_into_floats_and_uint8_only() {
    let folder = Folder::new();
    folder.put("a.png", &golden("rgb.png"));
    let ints = [input("ids", DataType::Int64, &[1, 3, 37, 53])];
    let error = folder.open(&ints).unwrap_err().to_string();
    assert!(error.contains("ids") && error.contains("int64"), "{error}");
    let bytes = [input("x", DataType::Uint8, &[1, 3, 37, 53])];
    assert!(folder.with_recipe("divide = 255", &bytes).unwrap_err().to_string().contains("uint8"));
    let two = [input("a", DataType::Float, &[1, 3, 37, 53]), input("b", DataType::Float, &[1])];
    assert!(folder.open(&two).unwrap_err().to_string().contains("\"a\", \"b\""));
}

#[test]
fn folders_are_read_in_order_of_their_names() {
    let folder = Folder::new();
    let image = golden("rgb.png");
    for name in ["b/2.png", "b/10.PNG", "a/z.png", ".hidden/x.png", "c.png", "._c.png"] {
        folder.put(name, &image);
    }
    folder.put("notes.txt", b"");
    let data = folder.open(&floats(&[1, 3, 37, 53])).unwrap();
    let ids: Vec<&str> = (0..data.len()).map(|i| data.id(i)).collect();
    assert_eq!(ids, ["a/z.png", "b/10.PNG", "b/2.png", "c.png"]);
    assert_eq!(data.load(2).unwrap().id, "b/2.png");
    assert_eq!(data.fingerprint(2).unwrap(), shiftwise_artifact::Fingerprint::of_bytes(&image));
    let few = shiftwise_dataset::Dataset::open(
        &DataSpec { limit: Some(2), ..folder.spec() },
        &floats(&[1, 3, 37, 53]),
    );
    assert_eq!(few.unwrap().len(), 2);
    assert!(matches!(data.load(4), Err(DataError::Index { index: 4, len: 4 })));
}
