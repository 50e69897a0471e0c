//! One row of the limits at a time.

use std::collections::{BTreeMap, BTreeSet};

use super::net::{Kind, Net, Op};
use crate::QdqView;
use crate::npu::{Constraint, Positions, Rule, Settled, Solution, Target, constraints, solve, violations};

/// A net of one operator: positions of the inputs, and of weight, bias and output.
fn one(kind: Kind, inputs: [i32; 2], weight: i32, bias: i32, output: i32) -> Net {
    // The second input comes from a Relu-free convolution that every rule leaves alone.
    let mut net = Net { positions: vec![inputs[0]], ops: Vec::new() };
    if kind.arity() == 2 {
        net.positions.push(inputs[1]);
        net.ops.push(Op { kind: Kind::Slice, reads: vec![0], weight: 0, bias: 0, output: 1 });
    }
    let first = net.positions.len();
    net.positions.extend([weight, bias, output]);
    let reads = if kind.arity() == 2 { vec![0, 1] } else { vec![0] };
    net.ops.push(Op { kind, reads, weight: first, bias: first + 1, output: first + 2 });
    net
}

fn solved(net: &Net, rules: &[Rule]) -> (Vec<Constraint>, Solution, BTreeMap<String, i32>) {
    let model = net.model();
    let view = QdqView::of(&model.graph);
    let found = constraints(&view, &Target::dpu().only(&rules.iter().copied().collect::<BTreeSet<_>>()));
    let solution = solve(&found, &view.positions(), 5).unwrap();
    let by_name = view.scales().map(|(id, s)| (s.name.clone(), solution.positions.get(id).get())).collect();
    assert!(violations(&found, &solution.positions).is_empty());
    (found, solution, by_name)
}

/// Positions of the five scales of a two-input net, or the four of a one-input net, after adjusting by `rules`.
fn after(net: &Net, rules: &[Rule]) -> Vec<i32> {
    let (_, _, by_name) = solved(net, rules);
    (0..net.positions.len())
        .map(|i| by_name.get(&format!("s{i}")).copied().unwrap_or(net.positions[i]))
        .collect()
}

#[test]
fn alignments_take_the_smallest() {
    assert_eq!(after(&one(Kind::Concat, [5, 3], 0, 0, 9), &[Rule::AlignConcat]), [3, 3, 0, 0, 3]);
    assert_eq!(after(&one(Kind::Concat, [5, 3], 0, 0, 1), &[Rule::AlignConcat]), [1, 1, 0, 0, 1]);
    assert_eq!(after(&one(Kind::MaxPool, [5, 0], 0, 0, 2), &[Rule::AlignPool]), [2, 0, 0, 2]);
    assert_eq!(after(&one(Kind::PadPool, [1, 0], 0, 0, 2), &[Rule::AlignPool]), [1, 0, 0, 1]);
    assert_eq!(after(&one(Kind::Pad, [4, 0], 0, 0, 2), &[Rule::AlignPad]), [2, 0, 0, 2]);
    assert_eq!(after(&one(Kind::Slice, [4, 0], 0, 0, 6), &[Rule::AlignSlice]), [4, 0, 0, 4]);
}

#[test]
fn inputs_of_additions_come_within_seven() {
    assert_eq!(after(&one(Kind::Add, [12, 3], 0, 0, 5), &[Rule::ShiftRead]), [10, 3, 0, 0, 5]);
    assert_eq!(after(&one(Kind::Sub, [-2, 8], 0, 0, 5), &[Rule::ShiftRead]), [-2, 5, 0, 0, 5]);
    assert_eq!(after(&one(Kind::Add, [10, 3], 0, 0, 5), &[Rule::ShiftRead]), [10, 3, 0, 0, 5]);
}

#[test]
fn outputs_of_additions_and_products_follow_the_inputs() {
    let write = &[Rule::ShiftWrite];
    assert_eq!(after(&one(Kind::Add, [4, 6], 0, 0, 12), write), [4, 6, 0, 0, 11]);
    assert_eq!(after(&one(Kind::AddRelu, [4, 6], 0, 0, -22), write), [4, 6, 0, 0, -21]);
    assert_eq!(after(&one(Kind::Mul, [4, 6], 0, 0, 12), write), [4, 6, 0, 0, 10]);
    assert_eq!(after(&one(Kind::Mul, [20, 16], 0, 0, 2), write), [20, 16, 0, 0, 4]);
    // Subtractions are not limited there.
    assert_eq!(after(&one(Kind::Sub, [4, 6], 0, 0, 50), write), [4, 6, 0, 0, 50]);
}

#[test]
fn weights_take_up_the_cut() {
    let cut = &[Rule::ShiftCut];
    for kind in [Kind::Conv, Kind::ConvRelu, Kind::ConvLeaky, Kind::Gemm, Kind::ConvTranspose] {
        assert_eq!(after(&one(kind, [4, 0], 22, 9, 5), cut), [4, 17, 9, 5], "{kind:?}");
        assert_eq!(after(&one(kind, [1, 0], 2, 9, 5), cut), [1, 4, 9, 5], "{kind:?}");
    }
}

#[test]
fn biases_stay_in_reach_of_the_accumulator() {
    let bias = &[Rule::ShiftBias];
    // weight + input − bias = 16 > 15.
    assert_eq!(after(&one(Kind::Conv, [6, 0], 10, 0, 2), bias), [6, 10, 1, 2]);
    // cut = 10 leaves room down to 10 − 16 = −6: bias at most 14 + 6.
    assert_eq!(after(&one(Kind::Conv, [6, 0], 8, 30, 4), bias), [6, 8, 20, 4]);
    // In front of a LeakyRelu there is no room.
    assert_eq!(after(&one(Kind::ConvLeaky, [6, 0], 8, 30, 4), bias), [6, 8, 14, 4]);
    // cut = 20 leaves none, either.
    assert_eq!(after(&one(Kind::Gemm, [12, 0], 12, 30, 4), bias), [12, 12, 24, 4]);
}

#[test]
fn hard_sigmoids_keep_to_their_table() {
    let rule = &[Rule::HardSigmoid];
    assert_eq!(after(&one(Kind::HardSigmoid, [-3, 0], 0, 0, 4), rule), [0, 0, 0, 7]);
    assert_eq!(after(&one(Kind::HardSigmoid, [18, 0], 0, 0, 9), rule), [15, 0, 0, 9]);
    // 14 + 2 − 20 < 0: the output comes down to 16.
    assert_eq!(after(&one(Kind::HardSigmoid, [2, 0], 0, 0, 20), rule), [2, 0, 0, 16]);
}

#[test]
fn the_product_of_a_swish_is_tighter_than_others() {
    // Input 10, sigmoid (the bias scale) 9, output 2: 17 > 15.
    let net = one(Kind::Swish, [10, 0], 0, 9, 2);
    assert_eq!(after(&net, &[Rule::ShiftSwish]), [10, 0, 9, 4]);
    assert_eq!(after(&net, &[Rule::ShiftWrite]), [10, 0, 9, 2]);
}

#[test]
fn each_rule_can_be_switched_off() {
    let net = one(Kind::Conv, [4, 0], 22, 60, 5);
    let (_, solution, _) = solved(&net, &[]);
    assert_eq!(solution.settled, Settled::Unchanged);
    let (found, _, _) = solved(&net, &[Rule::ShiftBias]);
    assert_eq!(found.iter().map(|c| c.rule).collect::<Vec<_>>(), [Rule::ShiftBias]);
}

#[test]
fn a_move_is_recorded_with_its_reason() {
    let (_, solution, _) = solved(&one(Kind::Conv, [4, 0], 22, 9, 5), &Rule::ALL);
    let moved: Vec<String> = solution
        .adjustments
        .iter()
        .map(|a| {
            format!(
                "{} {} {} {} {} {:?} {} {}→{} {}",
                a.node, a.op, a.rule, a.quantity, a.value, a.range, a.tensor, a.old, a.new, a.r#loop
            )
        })
        .collect();
    assert_eq!(moved, ["f1 Conv shift_cut weight + input − output 21 (0, 16) w0 22→17 1"]);
    assert_eq!(solution.settled, Settled::Loops(1));
}

/// What one limit pulls up, another pulls down: the loop alone would go in circles for ever.
#[test]
fn circles_are_settled() {
    // An addition that demands output ≥ 45 − 25, concatenated with an input at −20.
    let net = Net {
        positions: vec![45, 45, 0, -20, 0],
        ops: vec![
            Op { kind: Kind::Slice, reads: vec![0], weight: 0, bias: 0, output: 1 },
            Op { kind: Kind::Add, reads: vec![0, 1], weight: 0, bias: 0, output: 2 },
            Op { kind: Kind::Sub, reads: vec![0, 0], weight: 0, bias: 0, output: 3 },
            Op { kind: Kind::Concat, reads: vec![2, 3], weight: 0, bias: 0, output: 4 },
        ],
    };
    let (_, solution, by_name) = solved(&net, &Rule::ALL);
    assert_eq!(solution.settled, Settled::Walk);
    assert_eq!(by_name["s0"] - by_name["s2"], 25, "{by_name:?}");
    for adjustment in &solution.adjustments {
        assert_eq!(solution.positions.get(adjustment.scale), adjustment.new);
    }
}

#[test]
fn impossible_targets_are_refused_by_name() {
    let text = "name = \"t\"\n\
        [[limits]]\nrule = \"align_pool\"\noperators = [\"Slice\"]\nquantity = \"sum\"\nplus = [\"input\"]\nrange = [0, 3]\nadjust = \"input\"\n\
        [[limits]]\nrule = \"align_pad\"\noperators = [\"Slice\"]\nquantity = \"sum\"\nplus = [\"input\"]\nrange = [5, 9]\nadjust = \"input\"\n";
    let model = one(Kind::Slice, [4, 0], 0, 0, 6).model();
    let view = QdqView::of(&model.graph);
    let found = constraints(&view, &Target::from_toml(text).unwrap());
    let error = solve(&found, &view.positions(), 5).unwrap_err().to_string();
    assert!(error.contains("align_pool") && error.contains("align_pad"), "{error}");
}

#[test]
fn positions_at_the_end_of_their_range_are_settled() {
    let net = one(Kind::Conv, [-127, 0], -127, -127, 127);
    let (_, solution, _) = solved(&net, &Rule::ALL);
    assert_eq!(solution.settled, Settled::Walk);
    let same = Positions::new(solution.positions.iter().map(|(_, p)| p).collect());
    assert_eq!(same, solution.positions);
}
