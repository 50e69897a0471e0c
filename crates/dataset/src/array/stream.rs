//! NPZ archives that follow one another in a stream.
//!
//! Who writes a zip file to a pipe cannot go back, so sizes and checksums follow the data instead of preceding them. A reader
//! of a pipe cannot jump to the directory at the end either: local headers are read in sequence, the array's own header says
//! how long stored data are, compressed data end by themselves, and directories are passed over.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, Read, Write};
use std::sync::Arc;

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::Array;
use super::header::{self, Header};

/// What starts the parts of a zip file, as little-endian numbers.
mod mark {
    pub(super) const LOCAL: u32 = 0x0403_4b50;
    pub(super) const DESCRIPTOR: u32 = 0x0807_4b50;
    pub(super) const CENTRAL: u32 = 0x0201_4b50;
    pub(super) const SIGNATURE: u32 = 0x0505_4b50;
    pub(super) const END_64: u32 = 0x0606_4b50;
    pub(super) const LOCATOR_64: u32 = 0x0706_4b50;
    pub(super) const END: u32 = 0x0605_4b50;
}

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ENCRYPTED: u16 = 1;
/// Checksum and sizes follow the data.
const FOLLOWED: u16 = 1 << 3;
/// Stands for a size that is in the extra field.
const ELSEWHERE: u32 = u32::MAX;

/// Why a stream cannot be read on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The operating system refused to read or to spool.
    Io(io::Error),
    /// It ends where more must come.
    Truncated,
    /// It is not what it must be.
    Malformed(String),
}

impl From<String> for Broken {
    fn from(reason: String) -> Self {
        Self::Malformed(reason)
    }
}

type Result<T> = std::result::Result<T, Broken>;

/// The archives of a stream. Their arrays are copied into an unnamed temporary file, a buffer at a time.
pub(crate) struct Archives<R> {
    input: R,
    spool: Spool,
}

impl<R: BufRead> Archives<R> {
    pub(crate) fn new(input: R) -> io::Result<Self> {
        Ok(Self { input, spool: Spool::new(tempfile::tempfile()?) })
    }

    /// The arrays of the next archive by name, in its order; nothing where the stream ends.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<(String, Array)>>> {
        if at_end(&mut self.input)? {
            return Ok(None);
        }
        let mut arrays: Vec<(String, Array)> = Vec::new();
        let mut mark = u32::from_le_bytes(self.bytes()?);
        if !matches!(mark, mark::LOCAL | mark::END) {
            return Err(Broken::Malformed(strange(mark)));
        }
        while mark == mark::LOCAL {
            let member = Member::read(&mut self.input)?;
            let named = |broken| match broken {
                Broken::Malformed(reason) => Broken::Malformed(format!("{:?}: {reason}", member.name)),
                other => other,
            };
            if let Some(array) = self.member(&member).map_err(named)? {
                let name = member.array().unwrap_or(&member.name);
                if arrays.iter().any(|(other, _)| other == name) {
                    return Err(Broken::Malformed(format!("it has two arrays {name:?}")));
                }
                arrays.push((name.to_owned(), array));
            }
            mark = u32::from_le_bytes(self.bytes()?);
        }
        self.directory(mark)?;
        self.spool.writer.flush().map_err(|e| spooling(&e))?;
        Ok(Some(arrays))
    }

    /// Passes over the directory of an archive, to its last byte.
    fn directory(&mut self, mut mark: u32) -> Result<()> {
        loop {
            match mark {
                mark::CENTRAL => {
                    let fixed: [u8; 42] = self.bytes()?;
                    let variable = [24, 26, 28].map(|at| u64::from(u16_at(&fixed, at)));
                    self.skip(variable.iter().sum())?;
                }
                mark::SIGNATURE => {
                    let length = u16::from_le_bytes(self.bytes()?);
                    self.skip(length.into())?;
                }
                mark::END_64 => {
                    let length = u64::from_le_bytes(self.bytes()?);
                    self.skip(length)?;
                }
                mark::LOCATOR_64 => self.skip(16)?,
                mark::END => {
                    let fixed: [u8; 18] = self.bytes()?;
                    return self.skip(u16_at(&fixed, 16).into());
                }
                _ => return Err(Broken::Malformed(format!("its directory is malformed ({mark:#010x})"))),
            }
            mark = u32::from_le_bytes(self.bytes()?);
        }
    }

    /// Spools a member that is an array, passes over another, and checks its checksum.
    fn member(&mut self, member: &Member) -> Result<Option<Array>> {
        let array = member.array().is_some();
        let mut consumed = None;
        let (found, seen) = match member.method {
            STORED => match member.stored {
                Some(length) => {
                    let mut data = (&mut self.input).take(length);
                    let outcome = content(&mut data, &mut self.spool, array, true);
                    if outcome.is_ok() && data.limit() > 0 {
                        return Err(Broken::Truncated);
                    }
                    outcome
                }
                None if array => content(&mut self.input, &mut self.spool, array, false),
                None => {
                    return Err("nothing says how long it is, as it is neither an array nor compressed"
                        .to_owned()
                        .into());
                }
            },
            DEFLATED => {
                let mut data = DeflateDecoder::new(&mut self.input);
                let outcome = content(&mut data, &mut self.spool, array, true);
                consumed = Some(data.total_in());
                outcome
            }
            other => {
                return Err(format!(
                    "it is compressed with method {other}; use np.savez or np.savez_compressed"
                )
                .into());
            }
        }
        .map_err(|broken| match broken {
            // Data that are too short or malformed for their header because nothing more came.
            Broken::Malformed(_) if matches!(at_end(&mut self.input), Ok(true)) => Broken::Truncated,
            other => other,
        })?;
        let wanted = match member.checksum {
            Some(checksum) => checksum,
            None => self.descriptor(member, consumed.unwrap_or(seen.total), seen.total)?,
        };
        if wanted != seen.crc.sum() {
            return Err("its data do not fit its checksum".to_owned().into());
        }
        Ok(found)
    }

    /// The checksum behind the data of a member, whose sizes are known by now.
    fn descriptor(&mut self, member: &Member, compressed: u64, length: u64) -> Result<u32> {
        let first = u32::from_le_bytes(self.bytes()?);
        let checksum = if first == mark::DESCRIPTOR { u32::from_le_bytes(self.bytes()?) } else { first };
        let long = member.long || compressed.max(length) > ELSEWHERE.into();
        let sizes = if long {
            [u64::from_le_bytes(self.bytes()?), u64::from_le_bytes(self.bytes()?)]
        } else {
            [u32::from_le_bytes(self.bytes()?).into(), u32::from_le_bytes(self.bytes()?).into()]
        };
        if sizes != [compressed, length] {
            return Err(format!("its data have {length} bytes, where {} are announced", sizes[1]).into());
        }
        Ok(checksum)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        fill(&mut self.input, &mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        let skipped = io::copy(&mut (&mut self.input).take(length), &mut io::sink()).map_err(Broken::Io)?;
        if skipped == length { Ok(()) } else { Err(Broken::Truncated) }
    }
}

/// What to say about a stream that starts with these bytes.
fn strange(start: u32) -> String {
    let bytes = start.to_le_bytes();
    if bytes == *b"\x93NUM" {
        return "it is an .npy array; send .npz archives, which numpy.savez writes".to_owned();
    }
    format!(
        "no .npz archive starts with {:?}; does the program print anything else there?",
        bytes.escape_ascii().to_string()
    )
}

/// The local header of a member.
struct Member {
    name: String,
    method: u16,
    /// How many bytes there are in the archive; nothing where nobody knew when they were written.
    stored: Option<u64>,
    checksum: Option<u32>,
    /// Whether sizes behind the data have 8 bytes.
    long: bool,
}

impl Member {
    /// The name of the array that it is.
    fn array(&self) -> Option<&str> {
        self.name.strip_suffix(".npy")
    }

    /// Reads what is behind the mark.
    fn read(input: &mut impl BufRead) -> Result<Self> {
        let mut fixed = [0; 26];
        fill(input, &mut fixed)?;
        let mut name = vec![0; u16_at(&fixed, 22).into()];
        fill(input, &mut name)?;
        let mut extra = vec![0; u16_at(&fixed, 24).into()];
        fill(input, &mut extra)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        let flags = u16_at(&fixed, 2);
        if flags & ENCRYPTED != 0 {
            return Err(Broken::Malformed(format!("{name:?} is encrypted")));
        }
        let (stored, length) = (u32_at(&fixed, 14), u32_at(&fixed, 18));
        let long = field_64(&extra);
        let mut sizes = long.unwrap_or_default().as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b));
        // The length comes first there.
        let _ = (length == ELSEWHERE).then(|| sizes.next());
        let stored = match stored {
            ELSEWHERE => sizes.next().ok_or_else(|| Broken::Malformed(format!("{name:?} has no size")))?,
            size => size.into(),
        };
        let followed = flags & FOLLOWED != 0;
        Ok(Self {
            name,
            method: u16_at(&fixed, 4),
            stored: (!followed || stored > 0).then_some(stored),
            checksum: (!followed).then(|| u32_at(&fixed, 10)),
            long: long.is_some(),
        })
    }
}

/// The part of an extra field that holds 8-byte sizes.
fn field_64(mut extra: &[u8]) -> Option<&[u8]> {
    while let [id, id_high, length, length_high, rest @ ..] = extra {
        let length = usize::from(u16::from_le_bytes([*length, *length_high]));
        if u16::from_le_bytes([*id, *id_high]) == 1 {
            return Some(rest.get(..length).unwrap_or(rest));
        }
        extra = rest.get(length..)?;
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// What went by, for the checksum.
#[derive(Default)]
struct Seen {
    crc: Crc,
    total: u64,
}

/// Reads the data of a member through its checksum, and to its end where it has one.
fn content(
    data: &mut impl Read,
    spool: &mut Spool,
    array: bool,
    ends: bool,
) -> Result<(Option<Array>, Seen)> {
    let mut seen = Seen::default();
    let mut checked = Checked { data, seen: &mut seen };
    let found = if array { Some(npy(&mut checked, spool)?) } else { None };
    if ends {
        io::copy(&mut checked, &mut io::sink()).map_err(corrupt)?;
    }
    Ok((found, seen))
}

/// Spools an array.
fn npy(data: &mut impl Read, spool: &mut Spool) -> Result<Array> {
    let short = || Broken::Malformed("it is shorter than its NPY header says".to_owned());
    let exactly = |e: io::Error| if e.kind() == io::ErrorKind::UnexpectedEof { short() } else { corrupt(e) };
    let mut prefix = [0; header::PREFIX];
    data.read_exact(&mut prefix).map_err(exactly)?;
    let (from, to) = header::extent(&prefix)?;
    let mut text = vec![0; to];
    let Some(rest) = text.get_mut(header::PREFIX..) else {
        return Err(Broken::Malformed("its NPY header is too short".to_owned()));
    };
    data.read_exact(rest).map_err(exactly)?;
    text[..header::PREFIX].copy_from_slice(&prefix);
    let header = header::parse(&text[from..])?;
    let bytes = header.bytes()?;
    let array = spool.start(header)?;
    if spool.copy(&mut data.take(bytes as u64))? == bytes as u64 { Ok(array) } else { Err(short()) }
}

/// An error of a decoder is one of the data, unless the system says otherwise.
fn corrupt(e: io::Error) -> Broken {
    match e.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Broken::Malformed(e.to_string())
        }
        _ => Broken::Io(e),
    }
}

struct Checked<'a, R> {
    data: &'a mut R,
    seen: &'a mut Seen,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.data.read(buffer)?;
        self.seen.crc.update(&buffer[..n]);
        self.seen.total += n as u64;
        Ok(n)
    }
}

fn fill(input: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    input.read_exact(bytes).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => Broken::Truncated,
        _ => Broken::Io(e),
    })
}

fn at_end(input: &mut impl BufRead) -> Result<bool> {
    loop {
        match input.fill_buf() {
            Ok(bytes) => return Ok(bytes.is_empty()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Broken::Io(e)),
        }
    }
}

/// A file that grows by arrays.
struct Spool {
    file: Arc<File>,
    writer: BufWriter<Arc<File>>,
    length: u64,
}

impl Spool {
    fn new(file: File) -> Self {
        let file = Arc::new(file);
        Self { writer: BufWriter::with_capacity(1 << 16, Arc::clone(&file)), file, length: 0 }
    }

    /// An array whose data come next.
    fn start(&self, header: Header) -> std::result::Result<Array, String> {
        Array::at(Arc::clone(&self.file), self.length, header)
    }

    /// Appends all of `data`, and says how much it was. Errors say which side failed.
    fn copy(&mut self, data: &mut impl Read) -> Result<u64> {
        let mut buffer = vec![0; 1 << 16];
        let mut copied = 0;
        loop {
            let n = match data.read(&mut buffer) {
                Ok(0) => return Ok(copied),
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(corrupt(e)),
            };
            self.writer.write_all(&buffer[..n]).map_err(|e| spooling(&e))?;
            self.length += n as u64;
            copied += n as u64;
        }
    }
}

fn spooling(e: &io::Error) -> Broken {
    let place = std::env::temp_dir();
    Broken::Io(io::Error::new(
        e.kind(),
        format!("it is kept in {} (TMPDIR) while it is used: {e}", place.display()),
    ))
}
