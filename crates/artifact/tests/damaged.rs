//! Statistics and checkpoints that were damaged or forged: refused, with a word on what to do, and without a panic or an allocation
//! that the size of the file does not bound.
#![allow(missing_docs)]

mod common;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use common::{observe, plan, reference, specs};
use proptest::prelude::*;
use proptest::sample::Index;
use shiftwise_artifact::Error;
use shiftwise_artifact::stats::{Stats, VoteKind, Working, seal};

const HEADER: usize = 16;
const CHECKSUM: usize = 32;
/// Length of the record, number of pages, checksum.
const TRAILER: usize = 16 + CHECKSUM;

/// Put bytes in place of a file without syncing them, which tests need not.
fn put(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// Make the checksum right again, as a forger does.
fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= CHECKSUM {
        let end = bytes.len() - CHECKSUM;
        let checksum = blake3::hash(&bytes[..end]);
        bytes[end..].copy_from_slice(checksum.as_bytes());
    }
    bytes
}

/// The bytes of pages, record, and trailer of a file.
fn parts(file: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (body, trailer) = file[HEADER..].split_at(file.len() - HEADER - TRAILER);
    let record = u64::from_le_bytes(*trailer.first_chunk().unwrap());
    let (pages, record) = body.split_at(body.len() - record as usize);
    (pages, record, trailer)
}

fn joined(header: &[u8], pages: &[u8], record: &[u8], page_count: u64) -> Vec<u8> {
    let length = (record.len() as u64).to_le_bytes();
    signed([header, pages, record, &length, &page_count.to_le_bytes(), &[0; CHECKSUM]].concat())
}

/// Something to open, as a program does.
struct Target {
    root: tempfile::TempDir,
    file: PathBuf,
    good: Vec<u8>,
    open: fn(&Path) -> Result<Option<Stats>, Error>,
}

impl Target {
    fn stats() -> Self {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("stats.bin");
        Self { file, root, good: reference(2), open: |file| Stats::open(file).map(Some) }
    }

    fn checkpoint() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("w");
        let mut working = Working::open_or_create(&dir, &plan(8), &specs()).unwrap();
        let mut accumulator = working.accumulator();
        (0..3).for_each(|sample| observe(&mut accumulator, sample).unwrap());
        working.checkpoint(&mut [&mut accumulator]).unwrap();
        working.skip(&[6]).unwrap();
        observe(&mut accumulator, 4).unwrap();
        working.checkpoint(&mut [&mut accumulator]).unwrap();
        let file = dir.join("checkpoint.bin");
        let good = std::fs::read(&file).unwrap();
        let open =
            |file: &Path| Working::open_or_create(file.parent().unwrap(), &plan(8), &specs()).map(|_| None);
        Self { root, file, good, open }
    }

    /// Open these bytes, and look at all that is there. What is refused must say what to do, and nothing may take more memory than the
    /// file's size explains.
    fn open(&self, bytes: &[u8]) -> Result<(), Error> {
        put(&self.file, bytes);
        let mut result = Ok(());
        let allocated = allocation_counter::measure(|| {
            result = (self.open)(&self.file).map(|stats| stats.iter().for_each(look));
        });
        let most = 64 * bytes.len() as u64 + (24 << 20);
        assert!(allocated.bytes_max < most, "{} bytes for {}", allocated.bytes_max, bytes.len());
        if let Err(error) = &result {
            let text = error.to_string();
            let advice = [
                "collect the statistics again",
                "collect again",
                "use that version of the program",
                "--force",
            ];
            assert!(advice.iter().any(|advice| text.contains(advice)), "{text}");
            assert!(text.contains(self.file.parent().unwrap().to_str().unwrap()), "{text}");
        }
        result
    }
}

fn look(stats: &Stats) {
    assert!(stats.samples_seen() <= stats.plan().samples);
    for tensor in stats.tensors() {
        assert_eq!(tensor.bins().map(|(_, n)| n).sum::<u64>(), tensor.finite_count());
        assert_eq!(tensor.bins().next().is_some(), tensor.range().is_some());
        assert!(tensor.zero_count() <= tensor.finite_count());
        for kind in VoteKind::ALL {
            assert!(tensor.votes(kind).values().sum::<u64>() <= tensor.samples());
        }
        for channel in 0..=tensor.channels() {
            assert!(tensor.channel_variance(channel).is_none_or(|v| v.is_nan() || v >= 0.0));
        }
    }
}

#[test]
fn any_changed_byte_is_refused() {
    for target in [Target::stats(), Target::checkpoint()] {
        let good = &target.good;
        target.open(good).unwrap();
        let end = HEADER + parts(good).0.len();
        // All of what is not pages, and of them one in each 37.
        for at in (0..HEADER).chain((HEADER..end).step_by(37)).chain(end..good.len()) {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            assert!(target.open(&bytes).is_err(), "byte {at}");
        }
    }
}

#[test]
fn any_other_length_is_refused() {
    for target in [Target::stats(), Target::checkpoint()] {
        let good = &target.good;
        let end = HEADER + parts(good).0.len();
        for length in (0..100).chain((100..end).step_by(61)).chain(end..good.len()) {
            assert!(target.open(&good[..length]).is_err(), "{length} bytes");
            // A forger makes the checksum right again; what is cut is missing still.
            assert!(target.open(&signed(good[..length].to_vec())).is_err(), "{length} bytes, signed");
        }
        for more in [1, 8, 32, 1024, 4096] {
            for byte in [0, 255] {
                let longer = [&good[..], &vec![byte; more]].concat();
                assert!(target.open(&longer).is_err(), "{more} more");
                assert!(target.open(&signed(longer)).is_err(), "{more} more, signed");
            }
        }
    }
}

#[test]
fn versions_and_lengths_that_lie_are_refused_though_the_checksum_is_right() {
    for target in [Target::stats(), Target::checkpoint()] {
        let good = &target.good;
        for (major, advice) in [(0, "an older"), (1, "an older"), (3, "a newer"), (u16::MAX, "a newer")] {
            let mut bytes = good.clone();
            bytes[8..10].copy_from_slice(&major.to_le_bytes());
            let error = target.open(&signed(bytes)).unwrap_err();
            assert!(matches!(error, Error::Version { .. }) && error.to_string().contains(advice), "{error}");
        }
        // Within a major version, readers take what newer minor ones wrote.
        let mut newer = good.clone();
        newer[10] = 7;
        target.open(&signed(newer)).unwrap();
        for zero in 12..HEADER {
            let mut bytes = good.clone();
            bytes[zero] = 1;
            assert!(matches!(target.open(&signed(bytes)), Err(Error::Malformed { .. })));
        }
        let (pages, record, trailer) = parts(good);
        let count = u64::from_le_bytes(*trailer[8..].first_chunk().unwrap());
        let lengths =
            [0, 1, record.len() as u64 - 1, record.len() as u64 + 1, 1 << 40, u64::MAX - 47, u64::MAX];
        for record_bytes in lengths {
            let mut bytes = good.clone();
            let at = bytes.len() - TRAILER;
            bytes[at..at + 8].copy_from_slice(&u64::to_le_bytes(record_bytes));
            assert!(matches!(target.open(&signed(bytes)), Err(Error::Malformed { .. })), "{record_bytes}");
        }
        for pages_claimed in [0, count - 1, count + 1, 1 << 40, u64::MAX] {
            let bytes = joined(&good[..HEADER], pages, record, pages_claimed);
            assert!(matches!(target.open(&bytes), Err(Error::Malformed { .. })), "{pages_claimed}");
        }
        // Records that claim 2^60 of whatever comes first.
        for record in [&[253; 9][..], &[255; 40], &[0; 3], &[]] {
            let bytes = joined(&good[..HEADER], pages, record, count);
            assert!(matches!(target.open(&bytes), Err(Error::Malformed { .. })));
        }
    }
}

#[test]
fn pages_of_a_checkpoint_that_lie_are_refused_though_the_checksum_is_right() {
    let target = Target::checkpoint();
    let (pages, record, trailer) = parts(&target.good);
    let count = u64::from_le_bytes(*trailer[8..].first_chunk().unwrap());
    let entries = zstd::decode_all(pages).unwrap();
    let open = |entries: &[u8], count| {
        let pages = zstd::encode_all(entries, 1).unwrap();
        target.open(&joined(&target.good[..HEADER], &pages, record, count))
    };
    open(&entries, count).unwrap();
    let refused = |at: usize, value: u8| {
        let mut changed = entries.clone();
        changed[at] = value;
        assert!(matches!(open(&changed, count), Err(Error::Malformed { .. })), "byte {at} as {value}");
    };
    // Tensor, page, width, zero.
    refused(0, 9);
    refused(3, 1);
    refused(4, 0xfe);
    refused(5, 0xff);
    refused(6, 1);
    refused(6, 4);
    refused(7, 1);
    // A page twice; and endless zeros in few bytes.
    let twice = [&entries[..8 + 1024], &entries[..]].concat();
    assert!(open(&twice, count + 1).is_err());
    let bomb = [&entries[..], &vec![0; 100 << 20]].concat();
    assert!(open(&bomb, count).is_err() && open(&bomb, u64::MAX).is_err());
    // A window of 128 MiB, which nothing here needs.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&entries).unwrap();
    let wide = joined(&target.good[..HEADER], &encoder.finish().unwrap(), record, count);
    assert!(matches!(target.open(&wide), Err(Error::Malformed { .. })));
}

#[test]
fn what_is_missing_is_an_error_and_the_directory_stays_usable() {
    let target = Target::checkpoint();
    target.open(&target.good[..40]).unwrap_err();
    assert!(Working::progress_at(target.file.parent().unwrap()).is_err());
    // As the message says: without the directory, it begins anew.
    Working::discard(target.file.parent().unwrap()).unwrap();
    let mut working = Working::open_or_create(target.file.parent().unwrap(), &plan(2), &specs()).unwrap();
    let mut accumulator = working.accumulator();
    (0..2).for_each(|sample| observe(&mut accumulator, sample).unwrap());
    working.checkpoint(&mut [&mut accumulator]).unwrap();
    let path = target.root.path().join("stats.bin");
    seal(&working, &path).unwrap();
    assert!(std::fs::read(path).unwrap() == reference(2));
}

/// How a forger changes a file.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), prop_oneof![any::<u8>(), 250_u8..=255, 0_u8..3]).prop_map(|(at, to)| Change::Set(at, to)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, v)| Change::Insert(at, v)),
        1 => (any::<Index>(), 1_usize..20).prop_map(|(at, n)| Change::Remove(at, n)),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let at = |index: &Index| index.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match change {
            Change::Set(index, to) if !bytes.is_empty() => {
                let at = at(index);
                bytes[at] = *to;
            }
            Change::Set(..) => {}
            Change::Insert(index, values) => {
                let at = at(index);
                bytes.splice(at..at, values.iter().copied());
            }
            Change::Remove(index, n) => {
                let at = at(index);
                bytes.drain(at..(at + n).min(bytes.len()));
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_forged_record_or_page_makes_it_panic(
        records in prop::collection::vec(change(), 0..4),
        pages in prop::collection::vec(change(), 0..3),
        more in prop_oneof![8 => Just(0_u64), 1 => Just(1_u64), 1 => Just(u64::MAX)],
    ) {
        thread_local! {
            static TARGETS: [Target; 2] = [Target::stats(), Target::checkpoint()];
        }
        TARGETS.with(|targets| {
            for target in targets {
                let (old_pages, old_record, trailer) = parts(&target.good);
                let count = u64::from_le_bytes(*trailer[8..].first_chunk().unwrap());
                let record = changed(old_record.to_vec(), &records);
                let pages = changed(old_pages.to_vec(), &pages);
                let bytes = joined(&target.good[..HEADER], &pages, &record, count.wrapping_add(more));
                // What it says of itself may be true; `open` looks at all of it.
                let same = record == old_record && pages == old_pages && more == 0;
                assert!(target.open(&bytes).is_ok() || !same);
            }
        });
    }
}
