//! Random graphs with random positions and shared scales.

use proptest::prelude::*;

use super::net::{Kind, Net, Op};
use crate::QdqView;
use crate::npu::{Settled, Target, constraints, solve, violations};

#[derive(Clone, Debug)]
struct Seed {
    kind: prop::sample::Index,
    reads: [prop::sample::Index; 2],
    positions: [i32; 3],
    /// Whether each of the three scales is one that exists already, and which.
    shared: [Option<prop::sample::Index>; 3],
}

fn seed(range: std::ops::Range<i32>, share: f64) -> impl Strategy<Value = Seed> {
    let index = any::<prop::sample::Index>;
    let shared = move || prop::option::weighted(share, index());
    (index(), [index(), index()], [range.clone(), range.clone(), range], [shared(), shared(), shared()])
        .prop_map(|(kind, reads, positions, shared)| Seed { kind, reads, positions, shared })
}

fn net(kinds: &'static [Kind], range: std::ops::Range<i32>, share: f64) -> impl Strategy<Value = Net> {
    (range.clone(), prop::collection::vec(seed(range, share), 1..14)).prop_map(|(input, seeds)| {
        let mut net = Net { positions: vec![input], ops: Vec::new() };
        for seed in seeds {
            let kind = kinds[seed.kind.index(kinds.len())];
            let reads = seed.reads[..kind.arity()].iter().map(|r| r.index(net.ops.len() + 1)).collect();
            let mut scale = |which: usize| {
                if let Some(other) = &seed.shared[which] {
                    return other.index(net.positions.len());
                }
                net.positions.push(seed.positions[which]);
                net.positions.len() - 1
            };
            let (weight, bias, output) = (scale(0), scale(1), scale(2));
            net.ops.push(Op { kind, reads, weight, bias, output });
        }
        net
    })
}

/// Positions that note whether one of them changed.
struct Book {
    p: Vec<i32>,
    changed: bool,
}

impl Book {
    fn set(&mut self, scale: usize, position: i32) {
        self.changed |= self.p[scale] != position;
        self.p[scale] = position;
    }

    fn align(&mut self, scales: &[usize]) {
        let least = scales.iter().map(|s| self.p[*s]).min().unwrap();
        for s in scales {
            self.set(*s, least);
        }
    }

    /// Brings value − output into a range by moving the output.
    fn write(&mut self, value: i32, output: usize, lo: i32, hi: i32) {
        let shift = (value - self.p[output]).clamp(lo, hi);
        self.set(output, value - shift);
    }
}

/// The table of limits, written down a second time and applied round by round. `None` where it does not come to rest.
fn by_the_book(net: &Net, rounds: usize) -> Option<Vec<i32>> {
    use Kind::{
        Add, AddRelu, Concat, Conv, ConvLeaky, ConvRelu, Gemm, HardSigmoid, MaxPool, Mul, Pad, PadPool,
        Slice, Sub, Swish,
    };
    let mut book = Book { p: net.positions.clone(), changed: false };
    let input = |op: &Op, i: usize| net.scale_of(op.reads[i]);
    let of = |kinds: &[Kind]| net.ops.iter().filter(|o| kinds.contains(&o.kind)).collect::<Vec<_>>();
    // The second factor: of a Swish, its sigmoid, whose scale stands in the place of a bias.
    let factor = |op: &Op| if op.kind == Swish { op.bias } else { input(op, 1) };
    let weighted = of(&[Conv, ConvRelu, ConvLeaky, Gemm]);
    for _ in 0..=rounds {
        book.changed = false;
        for op in of(&[Concat]) {
            book.align(&[input(op, 0), input(op, 1), op.output]);
        }
        for op in [of(&[MaxPool, PadPool]), of(&[Pad]), of(&[Slice])].concat() {
            book.align(&[input(op, 0), op.output]);
        }
        for op in of(&[Add, AddRelu, Sub]) {
            let (a, b) = (input(op, 0), input(op, 1));
            let (low, high) = if book.p[a] > book.p[b] { (b, a) } else { (a, b) };
            let reach = book.p[low] + 7;
            book.set(high, book.p[high].min(reach));
        }
        for op in of(&[Add, AddRelu, Mul, Swish]) {
            if matches!(op.kind, Add | AddRelu) {
                book.write(book.p[input(op, 0)].min(book.p[input(op, 1)]), op.output, -7, 25);
            } else {
                book.write(book.p[input(op, 0)] + book.p[factor(op)], op.output, 0, 32);
            }
        }
        for op in &weighted {
            let distance = book.p[op.output] - book.p[input(op, 0)];
            let cut = (book.p[op.weight] - distance).clamp(0, 16);
            book.set(op.weight, cut + distance);
        }
        for op in &weighted {
            let sum = book.p[op.weight] + book.p[input(op, 0)];
            let cut = sum - book.p[op.output];
            let least = if op.kind == ConvLeaky { 0 } else { 0.min(-(24 - (8 + cut))) };
            book.write(sum, op.bias, least, 15);
        }
        for op in of(&[HardSigmoid, Swish]) {
            let (i, o) = (input(op, 0), if op.kind == Swish { op.bias } else { op.output });
            book.set(i, book.p[i].clamp(0, 15));
            book.set(o, book.p[o].max(7));
            let reach = 14 + book.p[i];
            book.set(o, book.p[o].min(reach));
        }
        // Any Mul is a Swish where one of its inputs goes into a HardSigmoid, too.
        let sigmoid = |tensor: &usize| of(&[HardSigmoid, Swish]).iter().any(|o| o.reads[0] == *tensor);
        for op in of(&[Mul, Swish]) {
            if op.reads.iter().any(sigmoid) {
                book.write(book.p[input(op, 0)] + book.p[factor(op)], op.output, 0, 15);
            }
        }
        if !book.changed {
            return Some(book.p);
        }
    }
    None
}

const WITHOUT_TRANSPOSED: &[Kind] = &[
    Kind::Conv,
    Kind::ConvRelu,
    Kind::ConvLeaky,
    Kind::Gemm,
    Kind::Add,
    Kind::AddRelu,
    Kind::Sub,
    Kind::Mul,
    Kind::Concat,
    Kind::MaxPool,
    Kind::PadPool,
    Kind::Pad,
    Kind::Slice,
    Kind::HardSigmoid,
    Kind::Swish,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_graph_is_settled_and_stays_so(
        net in prop_oneof![net(&Kind::ALL, -12..24, 0.1), net(&Kind::ALL, -127..128, 0.3), net(&Kind::ALL, -4..14, 0.8)],
    ) {
        let model = net.model();
        let view = QdqView::of(&model.graph);
        let found = constraints(&view, &Target::dpu());
        let solution = solve(&found, &view.positions(), 5).unwrap();
        prop_assert_eq!(violations(&found, &solution.positions), vec![]);
        let again = solve(&found, &solution.positions, 5).unwrap();
        prop_assert_eq!(&again.positions, &solution.positions);
        prop_assert_eq!(again.settled, Settled::Unchanged);
        prop_assert_eq!(&solve(&found, &view.positions(), 5).unwrap(), &solution);
        // Every scale that moved says why.
        for (id, new) in solution.positions.iter() {
            let last = solution.adjustments.iter().rfind(|a| a.scale == id);
            prop_assert_eq!(last.map_or(view.positions().get(id), |a| a.new), new);
        }
    }

    #[test]
    fn where_the_rounds_come_to_rest_the_result_is_theirs(
        net in prop_oneof![net(WITHOUT_TRANSPOSED, -6..16, 0.01), net(WITHOUT_TRANSPOSED, -6..16, 0.1)],
    ) {
        let Some(expected) = by_the_book(&net, 5) else { return Ok(()) };
        let model = net.model();
        let view = QdqView::of(&model.graph);
        let found = constraints(&view, &Target::dpu());
        let solution = solve(&found, &view.positions(), 5).unwrap();
        for (id, scale) in view.scales() {
            let index: usize = scale.name[1..].parse().unwrap();
            prop_assert_eq!(solution.positions.get(id).get(), expected[index], "{}", scale.name);
        }
    }
}
