//! Convolutions of image networks, one thread. An item is a floating-point operation.
#![allow(missing_docs)]

use divan::Bencher;
use divan::counter::ItemsCount;
use shiftwise_kernels::{Conv2d, Scratch};

fn main() {
    divan::main();
}

/// Input channels, input size, output channels, groups, kernel, stride, padding, occurrences.
type Layer = (usize, usize, usize, usize, usize, usize, usize, usize);

const MOBILENET_V2: [Layer; 30] = [
    (3, 224, 32, 1, 3, 2, 1, 1),
    (32, 112, 32, 32, 3, 1, 1, 1),
    (32, 112, 16, 1, 1, 1, 0, 1),
    (16, 112, 96, 1, 1, 1, 0, 1),
    (96, 112, 96, 96, 3, 2, 1, 1),
    (96, 56, 24, 1, 1, 1, 0, 1),
    (24, 56, 144, 1, 1, 1, 0, 2),
    (144, 56, 144, 144, 3, 1, 1, 1),
    (144, 56, 24, 1, 1, 1, 0, 1),
    (144, 56, 144, 144, 3, 2, 1, 1),
    (144, 28, 32, 1, 1, 1, 0, 1),
    (32, 28, 192, 1, 1, 1, 0, 3),
    (192, 28, 192, 192, 3, 1, 1, 2),
    (192, 28, 32, 1, 1, 1, 0, 2),
    (192, 28, 192, 192, 3, 2, 1, 1),
    (192, 14, 64, 1, 1, 1, 0, 1),
    (64, 14, 384, 1, 1, 1, 0, 4),
    (384, 14, 384, 384, 3, 1, 1, 4),
    (384, 14, 64, 1, 1, 1, 0, 3),
    (384, 14, 96, 1, 1, 1, 0, 1),
    (96, 14, 576, 1, 1, 1, 0, 3),
    (576, 14, 576, 576, 3, 1, 1, 2),
    (576, 14, 96, 1, 1, 1, 0, 2),
    (576, 14, 576, 576, 3, 2, 1, 1),
    (576, 7, 160, 1, 1, 1, 0, 1),
    (160, 7, 960, 1, 1, 1, 0, 3),
    (960, 7, 960, 960, 3, 1, 1, 3),
    (960, 7, 160, 1, 1, 1, 0, 2),
    (960, 7, 320, 1, 1, 1, 0, 1),
    (320, 7, 1280, 1, 1, 1, 0, 1),
];

const RESNET50: [Layer; 20] = [
    (3, 224, 64, 1, 7, 2, 3, 1),
    (64, 56, 64, 1, 1, 1, 0, 1),
    (64, 56, 64, 1, 3, 1, 1, 3),
    (64, 56, 256, 1, 1, 1, 0, 4),
    (256, 56, 64, 1, 1, 1, 0, 2),
    (256, 56, 128, 1, 1, 1, 0, 1),
    (128, 56, 128, 1, 3, 2, 1, 1),
    (256, 56, 512, 1, 1, 2, 0, 1),
    (128, 28, 512, 1, 1, 1, 0, 4),
    (512, 28, 128, 1, 1, 1, 0, 3),
    (128, 28, 128, 1, 3, 1, 1, 3),
    (512, 28, 256, 1, 1, 1, 0, 1),
    (256, 28, 256, 1, 3, 2, 1, 1),
    (512, 28, 1024, 1, 1, 2, 0, 1),
    (256, 14, 1024, 1, 1, 1, 0, 6),
    (1024, 14, 256, 1, 1, 1, 0, 5),
    (256, 14, 256, 1, 3, 1, 1, 5),
    (1024, 14, 2048, 1, 1, 2, 0, 1),
    (512, 7, 512, 1, 3, 1, 1, 2),
    (512, 7, 2048, 1, 1, 1, 0, 3),
];

const SQUEEZENET: [Layer; 8] = [
    (3, 224, 64, 1, 3, 2, 0, 1),
    (64, 55, 16, 1, 1, 1, 0, 1),
    (16, 55, 64, 1, 3, 1, 1, 2),
    (32, 27, 128, 1, 3, 1, 1, 2),
    (256, 27, 32, 1, 1, 1, 0, 1),
    (48, 13, 192, 1, 3, 1, 1, 2),
    (64, 13, 256, 1, 3, 1, 1, 2),
    (512, 13, 1000, 1, 1, 1, 0, 1),
];

struct Case {
    conv: Conv2d,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    out: Vec<f32>,
    times: usize,
}

impl Case {
    fn new(batch: usize, (c_in, size, c_out, groups, kernel, stride, pad, times): Layer) -> Self {
        let conv = Conv2d {
            batch,
            c_in,
            h: size,
            w: size,
            c_out,
            groups,
            kernel: [kernel; 2],
            stride: [stride; 2],
            dilation: [1; 2],
            pads: [pad; 4],
        };
        let ramp = |n: usize| (0..n).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect();
        Self {
            x: ramp(conv.input_len()),
            weight: ramp(conv.weight_len()),
            bias: ramp(c_out),
            out: vec![0.0; conv.output_len()],
            conv,
            times,
        }
    }

    fn operations(&self) -> usize {
        2 * self.out.len() * self.conv.depth() * self.times
    }

    fn run(&mut self, scratch: &mut Scratch) {
        for _ in 0..self.times {
            let activation = Some((0.0, 6.0));
            self.conv.forward(&self.x, &self.weight, Some(&self.bias), activation, &mut self.out, scratch);
        }
    }
}

fn layer(bencher: Bencher<'_, '_>, layer: &Layer) {
    let mut case = Case::new(1, *layer);
    case.times = 1;
    let mut scratch = Scratch::new();
    bencher.counter(ItemsCount::new(case.operations())).bench_local(|| case.run(&mut scratch));
}

fn network(bencher: Bencher<'_, '_>, layers: &[Layer]) {
    let mut cases: Vec<Case> = layers.iter().map(|layer| Case::new(1, *layer)).collect();
    let operations: usize = cases.iter().map(Case::operations).sum();
    let mut scratch = Scratch::new();
    bencher.counter(ItemsCount::new(operations)).bench_local(|| {
        for case in &mut cases {
            case.run(&mut scratch);
        }
    });
}

#[divan::bench(args = MOBILENET_V2.iter().map(Show))]
fn mobilenet_v2(bencher: Bencher<'_, '_>, case: &Show<'static>) {
    layer(bencher, case.0);
}

#[divan::bench(args = RESNET50.iter().map(Show))]
fn resnet50(bencher: Bencher<'_, '_>, case: &Show<'static>) {
    layer(bencher, case.0);
}

#[divan::bench(args = SQUEEZENET.iter().map(Show))]
fn squeezenet(bencher: Bencher<'_, '_>, case: &Show<'static>) {
    layer(bencher, case.0);
}

/// Layers of small images, of ResNet-50, MobileNetV2, VGG and squeeze-and-excitation, whose batches are one product.
const SMALL: [Layer; 20] = [
    (512, 7, 512, 1, 3, 1, 1, 1),
    (512, 7, 2048, 1, 1, 1, 0, 1),
    (2048, 7, 512, 1, 1, 1, 0, 1),
    (512, 14, 512, 1, 3, 2, 1, 1),
    (1024, 14, 2048, 1, 1, 2, 0, 1),
    (160, 7, 960, 1, 1, 1, 0, 1),
    (960, 7, 160, 1, 1, 1, 0, 1),
    (320, 7, 1280, 1, 1, 1, 0, 1),
    (256, 7, 256, 32, 3, 1, 1, 1),
    (960, 1, 240, 1, 1, 1, 0, 1),
    (256, 14, 1024, 1, 1, 1, 0, 1),
    (1024, 14, 256, 1, 1, 1, 0, 1),
    (256, 14, 256, 1, 3, 1, 1, 1),
    (96, 14, 576, 1, 1, 1, 0, 1),
    (576, 14, 96, 1, 1, 1, 0, 1),
    (64, 13, 256, 1, 3, 1, 1, 1),
    (512, 10, 512, 1, 3, 1, 1, 1),
    (128, 28, 128, 1, 3, 1, 1, 1),
    (128, 28, 512, 1, 1, 1, 0, 1),
    (192, 28, 32, 1, 1, 1, 0, 1),
];

/// Images of a batch of small images.
const BATCH: usize = 8;

#[divan::bench(args = SMALL.iter().map(Show))]
fn batch_of_8(bencher: Bencher<'_, '_>, layer: &Show<'static>) {
    let mut case = Case::new(BATCH, *layer.0);
    let mut scratch = Scratch::new();
    bencher.counter(ItemsCount::new(case.operations())).bench_local(|| case.run(&mut scratch));
}

#[divan::bench(args = SMALL.iter().map(Show))]
fn one_by_one_8(bencher: Bencher<'_, '_>, layer: &Show<'static>) {
    let mut case = Case::new(BATCH, *layer.0);
    let operations = case.operations();
    let one = Conv2d { batch: 1, ..case.conv };
    let mut scratch = Scratch::new();
    bencher.counter(ItemsCount::new(operations)).bench_local(|| {
        let pairs = case.x.chunks(one.input_len()).zip(case.out.chunks_mut(one.output_len()));
        for (x, out) in pairs {
            one.forward(x, &case.weight, Some(&case.bias), Some((0.0, 6.0)), out, &mut scratch);
        }
    });
}

#[divan::bench]
fn all_of_mobilenet_v2(bencher: Bencher<'_, '_>) {
    network(bencher, &MOBILENET_V2);
}

#[divan::bench]
fn most_of_resnet50(bencher: Bencher<'_, '_>) {
    network(bencher, &RESNET50);
}

/// A layer named by its numbers.
struct Show<'a>(&'a Layer);

impl std::fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (c_in, size, c_out, groups, kernel, stride, ..) = self.0;
        write!(f, "{c_in:4} x {size:3} to {c_out:4} k{kernel} s{stride} g{groups}")
    }
}
