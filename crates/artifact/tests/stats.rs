//! Statistics: the same bytes however they were collected, and no byte that may change unnoticed.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::path::Path;

use common::{observe, plan, reference, specs, values};
use proptest::prelude::*;
use shiftwise_artifact::stats::{
    Accumulator, ChannelSample, Plan, Stats, TensorSample, TensorSpec, VoteKind, Working, layout, merge, seal,
};
use shiftwise_artifact::{Error, ExitClass, Fingerprint};

/// Collect `order` cut into checkpoints and workers by `cuts`, reopening the directory where a cut says so.
fn collect(dir: &Path, plan: &Plan, order: &[u64], cuts: &[(usize, bool)]) -> Vec<u8> {
    let mut working = Working::open_or_create(&dir.join("w"), plan, &specs()).unwrap();
    let mut workers: Vec<Accumulator> = (0..3).map(|_| working.accumulator()).collect();
    let mut rest = order;
    for &(length, reopen) in cuts.iter().chain([&(usize::MAX, false)]) {
        let (now, later) = rest.split_at(length.min(rest.len()));
        rest = later;
        // Workers run at the same time, each with a share of its own.
        std::thread::scope(|scope| {
            for (i, worker) in workers.iter_mut().enumerate() {
                let share = now.iter().skip(i).step_by(3);
                scope.spawn(move || share.for_each(|&sample| observe(worker, sample).unwrap()));
            }
        });
        working.checkpoint(&mut workers.iter_mut().collect::<Vec<_>>()).unwrap();
        if reopen {
            drop(working);
            working = Working::open_or_create(&dir.join("w"), plan, &specs()).unwrap();
        }
    }
    let path = dir.join("stats.bin");
    seal(&working, &path).unwrap();
    working.remove().unwrap();
    assert!(!dir.join("w").exists());
    fs::read(path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn order_threads_and_checkpoints_do_not_change_a_byte(
        order in Just((0..40).collect::<Vec<u64>>()).prop_shuffle(),
        cuts in prop::collection::vec((0_usize..15, any::<bool>()), 0..5),
    ) {
        let root = tempfile::tempdir().unwrap();
        prop_assert_eq!(collect(root.path(), &plan(40), &order, &cuts), reference(40));
    }

    #[test]
    fn shards_merge_to_the_bytes_of_one_piece(mut bounds in prop::collection::vec(0_u64..=40, 0..4), turn in 0_usize..5) {
        let root = tempfile::tempdir().unwrap();
        bounds.extend([0, 40]);
        bounds.sort_unstable();
        let mut shards: Vec<Stats> = bounds.windows(2).enumerate().map(|(i, w)| {
            let dir = root.path().join(i.to_string());
            fs::create_dir(&dir).unwrap();
            let shard = Plan { range: w[0]..w[1], ..plan(40) };
            collect(&dir, &shard, &(w[0]..w[1]).collect::<Vec<_>>(), &[]);
            Stats::open(&dir.join("stats.bin")).unwrap()
        }).collect();
        let turn = turn % shards.len();
        shards.rotate_left(turn);
        let path = root.path().join("merged.bin");
        merge(plan(40).fingerprint, &shards, &path).unwrap();
        prop_assert_eq!(fs::read(&path).unwrap(), reference(40));
        // Without any of them that holds samples, or with one twice, it is refused.
        let begin = shards.iter().position(|s| !s.plan().range.is_empty()).unwrap();
        let range = shards[begin].plan().range.clone();
        let again = Stats::open(shards[begin].path()).unwrap();
        shards.push(again);
        let doubled = matches!(merge(plan(40).fingerprint, &shards, &path), Err(Error::Doubled { .. }));
        prop_assert!(doubled);
        shards.retain(|s| s.plan().range != range);
        let incomplete = matches!(merge(plan(40).fingerprint, &shards, &path), Err(Error::Incomplete { .. }));
        prop_assert!(incomplete);
    }

    #[test]
    fn a_view_tells_what_went_in(values in prop::collection::vec(any::<f32>(), 0..300)) {
        let stats = Stats::from_values("x", &values).unwrap();
        let view = stats.tensor("x").unwrap();
        let finite: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
        prop_assert_eq!(view.elements(), values.len() as u64);
        prop_assert_eq!(view.finite_count(), finite.len() as u64);
        prop_assert_eq!(view.nan_count(), values.iter().filter(|v| v.is_nan()).count() as u64);
        prop_assert_eq!(view.min(), finite.iter().copied().reduce(f32::min));
        prop_assert_eq!(view.max(), finite.iter().copied().reduce(f32::max));
        let bins: Vec<_> = view.bins().collect();
        prop_assert_eq!(bins.iter().map(|b| b.1).sum::<u64>(), finite.len() as u64);
        prop_assert!(bins.windows(2).all(|w| layout::bin_center(w[0].0) <= layout::bin_center(w[1].0)));
        let mut back: Vec<_> = view.bins().rev().collect();
        back.reverse();
        prop_assert_eq!(&back, &bins);
        for &(bin, count) in &bins {
            prop_assert_eq!(finite.iter().filter(|v| layout::bin_of(**v) == bin).count() as u64, count);
            prop_assert_eq!(view.count(bin), count);
        }
    }
}

#[test]
fn channels_are_told_apart() {
    let spec = TensorSpec::channel_first("x", &[1, 2, 3]);
    let (a, b) = ([1.0, 2.0, 3.0, -4.0, f32::NAN, -4.0], [5.0, 5.0, 5.0, f32::INFINITY, -4.0, -4.0]);
    let stats = Stats::from_samples(spec, 3, &[&a, &b]).unwrap();
    let x = stats.tensor("x").unwrap();
    assert_eq!((x.samples(), x.elements(), x.nan_count(), x.inf_count()), (2, 12, 1, 1));
    assert_eq!((x.mean_sample_min(), x.mean_sample_max()), (Some(-4.0), Some(4.0)));
    assert_eq!((x.channel_mins(), x.channel_maxs()), (&[1.0, -4.0][..], &[5.0, -4.0][..]));
    assert_eq!(x.channel_counts(), [6, 4]);
    assert_eq!((x.channel_sum(0), x.channel_sum_sq(0)), (Some(21.0), Some(14.0 + 75.0)));
    assert_eq!((x.channel_mean(1), x.channel_variance(1)), (Some(-4.0), Some(0.0)));
    assert_eq!(x.channel_sum(2), None);
    assert!(stats.tensor("y").is_none());
}

#[test]
fn sums_that_are_too_large_are_not_available() {
    let spec = TensorSpec::channel_first("x", &[1, 1]);
    let stats = Stats::from_samples(spec, 1, &[&[1e30], &[1.0]]).unwrap();
    let x = stats.tensor("x").unwrap();
    assert_eq!((x.channel_sum(0), x.channel_sum_sq(0), x.mean_sample_max()), (None, None, None));
    assert_eq!(x.channel_maxs(), [1e30]);
}

#[test]
fn minus_zero_comes_before_zero_and_counts_as_zero() {
    let stats = Stats::from_values("x", &[0.0, -0.0, -1.0, 1.0, 0.0]).unwrap();
    let x = stats.tensor("x").unwrap();
    let bins: Vec<_> = x.bins().collect();
    let expected = [(-1.0, 1), (-0.0, 1), (0.0, 2), (1.0, 1)].map(|(v, n)| (layout::bin_of(v), n));
    assert_eq!((bins, x.zero_count()), (expected.to_vec(), 3));
}

#[test]
fn a_checkpoint_is_applied_again_after_a_crash() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("w");
    let pages = dir.join("pages.bin");
    let mut working = Working::open_or_create(&dir, &plan(8), &specs()).unwrap();
    let mut accumulator = working.accumulator();
    (0..4).for_each(|s| observe(&mut accumulator, s).unwrap());
    working.checkpoint(&mut [&mut accumulator]).unwrap();
    let before = fs::read(&pages).unwrap();
    (4..8).for_each(|s| observe(&mut accumulator, s).unwrap());
    working.checkpoint(&mut [&mut accumulator]).unwrap();
    drop(working);
    let after = fs::read(&pages).unwrap();
    // As if killed behind the rename of the second checkpoint: none, half, all of its pages written.
    let half = [&after[..after.len() / 2], &before[(after.len() / 2).min(before.len())..]].concat();
    for state in [before, half, after] {
        let file = fs::OpenOptions::new().write(true).truncate(true).open(&pages).unwrap();
        std::io::Write::write_all(&mut &file, &state).unwrap();
        let working = Working::open_or_create(&dir, &plan(8), &specs()).unwrap();
        assert_eq!(working.pending(), Vec::<u64>::new());
        let path = root.path().join("stats.bin");
        seal(&working, &path).unwrap();
        assert!(fs::read(&path).unwrap() == reference(8));
    }
    // A page file that lost what no checkpoint has any more is noticed.
    let file = fs::OpenOptions::new().write(true).open(&pages).unwrap();
    file.set_len(0).unwrap();
    let lost = Working::open_or_create(&dir, &plan(8), &specs())
        .and_then(|w| seal(&w, &root.path().join("lost.bin")));
    assert!(matches!(lost, Err(Error::Damaged { .. } | Error::Read { .. })), "{lost:?}");
    assert!(!root.path().join("lost.bin").exists());
}

#[test]
fn one_owner_and_one_plan_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("w");
    assert!(Working::progress_at(&dir).unwrap().is_none());
    let mut working = Working::open_or_create(&dir, &plan(8), &specs()).unwrap();
    assert!(matches!(Working::open_or_create(&dir, &plan(8), &specs()), Err(Error::Busy { .. })));
    assert!(matches!(Working::discard(&dir), Err(Error::Busy { .. })));
    working.skip(&[3]).unwrap();
    let progress = Working::progress_at(&dir).unwrap().unwrap();
    assert_eq!((progress.done, progress.skipped, progress.pending), (0, vec![3], 7));
    drop(working);
    let other = Plan::whole(Fingerprint::of_bytes(b"other"), 8);
    for (plan, specs) in [(other, specs()), (plan(9), specs()), (plan(8), specs()[1..].to_vec())] {
        let error = Working::open_or_create(&dir, &plan, &specs).unwrap_err();
        assert_eq!(error.exit_class(), ExitClass::Mismatch);
    }
    Working::discard(&dir).unwrap();
    assert!(!dir.exists());
}

#[test]
fn skipped_samples_are_in_the_file_and_missing_ones_keep_it_from_being_written() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("stats.bin");
    let mut working = Working::open_or_create(&root.path().join("w"), &plan(3), &specs()).unwrap();
    let mut accumulator = working.accumulator();
    observe(&mut accumulator, 0).unwrap();
    working.checkpoint(&mut [&mut accumulator]).unwrap();
    working.skip(&[1]).unwrap();
    let error = seal(&working, &path).unwrap_err();
    assert!(error.exit_class() == ExitClass::Mismatch && error.to_string().contains("sample 2"), "{error}");
    observe(&mut accumulator, 2).unwrap();
    working.checkpoint(&mut [&mut accumulator]).unwrap();
    seal(&working, &path).unwrap();
    let stats = Stats::open(&path).unwrap();
    assert_eq!((stats.samples_seen(), stats.skipped()), (2, &[1][..]));
    assert_eq!(stats.tensor("conv").unwrap().elements(), 120);
    assert_eq!(stats.tensor("never seen").unwrap().range(), None);
    assert_eq!(stats.plan(), &plan(3));
    // What was made in memory is the same file.
    let mut again = Accumulator::new(specs()).unwrap();
    for sample in [0, 2] {
        observe(&mut again, sample).unwrap();
    }
    Stats::from_accumulators(&plan(3), &[again]).unwrap().save(&root.path().join("b")).unwrap();
    assert!(fs::read(&path).unwrap() == fs::read(root.path().join("b")).unwrap());
}

#[test]
fn shards_that_do_not_fit_are_told_apart_and_named() {
    let root = tempfile::tempdir().unwrap();
    let shard = |name: &str, plan: Plan, specs: Vec<TensorSpec>| {
        let mut accumulator = Accumulator::new(specs).unwrap();
        for sample in plan.range.clone() {
            accumulator.begin(&[sample]).unwrap();
            accumulator.observe(0, &values(sample, 0, 60), 20).unwrap();
            accumulator.finish();
        }
        let path = root.path().join(name);
        Stats::from_accumulators(&plan, &[accumulator]).unwrap().save(&path).unwrap();
        Stats::open(&path).unwrap()
    };
    let part = |name: &str, range| shard(name, Plan { range, ..plan(40) }, specs());
    let out = root.path().join("out");
    let error = |shards: &[Stats]| {
        let error = merge(plan(40).fingerprint, shards, &out).unwrap_err();
        assert!(error.exit_class() == ExitClass::Mismatch && !out.exists());
        error
    };
    let names = |error: &Error, names: &[&str]| {
        let text = error.to_string();
        let all = names.iter().all(|name| text.contains(root.path().join(name).to_str().unwrap()));
        assert!(all, "{text}");
        text
    };
    let missing = error(&[part("m0", 0..10), part("m2", 20..30), part("empty", 10..10)]);
    assert!(matches!(missing, Error::Incomplete { .. }));
    let text = names(&missing, &["out", "m0", "m2"]);
    assert!(text.contains("samples 10..20, 30..40 of 40"), "{text}");
    assert!(matches!(error(&[]), Error::Incomplete { .. }));

    let doubled = error(&[part("d0", 0..20), part("d1", 20..40), part("d2", 0..20)]);
    assert!(matches!(doubled, Error::Doubled { .. }));
    assert!(names(&doubled, &["d0", "d2"]).contains("0..20"));

    let overlapping = error(&[part("o0", 0..20), part("o1", 10..40)]);
    assert!(matches!(overlapping, Error::Overlapping { .. }));
    let text = names(&overlapping, &["o0", "o1"]);
    assert!(text.contains("10..40") && text.contains("0..20"), "{text}");

    let other = Plan { fingerprint: Fingerprint::of_bytes(b"other"), range: 20..40, ..plan(40) };
    let longer = Plan { range: 20..40, ..plan(41) };
    let flat = vec![TensorSpec::flat("conv", &[60]), specs()[1].clone(), specs()[2].clone()];
    let foreign = [
        (shard("f1", other, specs()), "plan"),
        (shard("f2", longer, specs()), "samples"),
        (shard("f3", Plan { range: 20..40, ..plan(40) }, flat), "tensors"),
    ];
    for (shard, what) in foreign {
        let name = shard.path().file_name().unwrap().to_str().unwrap().to_owned();
        let foreign = error(&[part("f0", 0..20), shard]);
        assert!(matches!(foreign, Error::Foreign { .. }));
        assert!(names(&foreign, &[&name]).contains(what));
    }

    assert!(!part("p", 10..20).is_whole() && part("w", 0..40).is_whole());
    let shards = [part("a", 20..40), part("empty", 5..5), part("b", 0..20)];
    merge(plan(40).fingerprint, &shards, &out).unwrap();
    let whole = part("w", 0..40);
    assert!(fs::read(&out).unwrap() == fs::read(whole.path()).unwrap());
}

#[test]
fn votes_are_counted_by_sample_whatever_the_batch() {
    let sample = |elected| TensorSample {
        elements: 1,
        nans: 0,
        infinities: 0,
        range: Some((1.0, 1.0)),
        channels: &[],
        elected,
    };
    let spec = || vec![TensorSpec::flat("x", &[1])];
    let (mut a, mut b) = (Accumulator::new(spec()).unwrap(), Accumulator::new(spec()).unwrap());
    a.begin(&[0, 1, 2]).unwrap();
    a.bins_mut(0)[layout::bin_of(1.0) as usize] += 3;
    a.add_sample(0, &sample([Some(-127), None, Some(6), None])).unwrap();
    a.add_sample(0, &sample([Some(7), Some(0), None, None])).unwrap();
    a.add_sample(0, &sample([None; 4])).unwrap();
    a.finish();
    b.begin(&[3]).unwrap();
    b.observe_with(0, &[1.0], 1, [Some(7), None, Some(127), None]).unwrap();
    b.finish();
    let stats = Stats::from_accumulators(&plan(4), &[a, b]).unwrap();
    let view = stats.tensor("x").unwrap();
    let votes = |kind| view.votes(kind).into_iter().collect::<Vec<_>>();
    assert_eq!(votes(VoteKind::Uint8), [(-127, 1), (7, 2)]);
    assert_eq!(votes(VoteKind::Int8), [(0, 1)]);
    assert_eq!(votes(VoteKind::Uint16), [(6, 1), (127, 1)]);
    assert_eq!(votes(VoteKind::Int16), []);
}

#[test]
fn misuse_is_refused_before_it_counts() {
    let root = tempfile::tempdir().unwrap();
    let mut working = Working::open_or_create(&root.path().join("w"), &plan(4), &specs()).unwrap();
    let mut accumulator = working.accumulator();
    let sample = |channels| TensorSample {
        elements: 1,
        nans: 0,
        infinities: 0,
        range: Some((1.0, 1.0)),
        channels,
        elected: [None; 4],
    };
    let misused = |result: Result<(), Error>| assert_eq!(result.unwrap_err().exit_class(), ExitClass::Bug);
    misused(accumulator.add_sample(1, &sample(&[])));
    accumulator.begin(&[0]).unwrap();
    misused(accumulator.begin(&[1]));
    misused(accumulator.add_sample(0, &sample(&[])));
    let impossible = [ChannelSample { min: 1.0, ..ChannelSample::default() }; 3];
    misused(accumulator.add_sample(0, &sample(&impossible)));
    misused(accumulator.observe(0, &[1.0; 59], 20));
    misused(working.checkpoint(&mut [&mut accumulator]));
    let elected = [None, Some(-128), None, None];
    misused(accumulator.add_sample(1, &TensorSample { elected, ..sample(&[]) }));
    // A sample whose values were not counted.
    accumulator.add_sample(1, &sample(&[])).unwrap();
    accumulator.finish();
    misused(working.checkpoint(&mut [&mut accumulator]));
    accumulator.reset();
    // A sample twice, by one worker, by two, and in a later checkpoint; and one that is not of the plan.
    let mut other = working.accumulator();
    observe(&mut accumulator, 0).unwrap();
    observe(&mut other, 0).unwrap();
    misused(working.checkpoint(&mut [&mut accumulator, &mut other]));
    working.checkpoint(&mut [&mut accumulator]).unwrap();
    misused(working.checkpoint(&mut [&mut other]));
    misused(working.skip(&[0]));
    misused(working.skip(&[4]));
    assert_eq!(working.pending(), [1, 2, 3]);
    assert!(!accumulator.needs_flush(u64::from(u32::MAX)) && accumulator.needs_flush(1 << 32));
    observe(&mut accumulator, 1).unwrap();
    assert!(accumulator.needs_flush(u64::from(u32::MAX)));
    assert!(Accumulator::new([specs(), specs()].concat()).is_err());
}

#[test]
fn an_accumulator_is_empty_after_a_reset() {
    let mut a = Accumulator::new(specs()).unwrap();
    observe(&mut a, 5).unwrap();
    a.begin(&[6]).unwrap();
    a.observe(1, &values(6, 1, 7), 1).unwrap();
    a.reset();
    observe(&mut a, 0).unwrap();
    let mut b = Accumulator::new(specs()).unwrap();
    observe(&mut b, 0).unwrap();
    let root = tempfile::tempdir().unwrap();
    for (name, accumulator) in [("a", a), ("b", b)] {
        Stats::from_accumulators(&plan(1), &[accumulator]).unwrap().save(&root.path().join(name)).unwrap();
    }
    assert!(fs::read(root.path().join("a")).unwrap() == fs::read(root.path().join("b")).unwrap());
}
