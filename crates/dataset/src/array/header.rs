//! The header of NPY files: a magic number, a version, a length, and a Python dictionary with three keys.

/// An element type that can be read: those of NumPy, and bfloat16, which only ONNX has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) enum Element {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F16,
    Bf16,
    F32,
    F64,
}

impl Element {
    /// Bytes of one element.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    /// The name that NumPy gives it, or would give it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
        }
    }
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) element: Element,
    pub(crate) big_endian: bool,
    /// The first index changes fastest.
    pub(crate) fortran: bool,
    pub(crate) shape: Vec<usize>,
}

impl Header {
    /// Length of all elements.
    pub(crate) fn bytes(&self) -> Result<usize, String> {
        let size = self.element.size();
        let bytes = self.shape.iter().try_fold(size, |n, d| n.checked_mul(*d));
        bytes.ok_or_else(|| format!("an array of shape {:?} is too large", self.shape))
    }
}

/// Bytes before the dictionary can be read: magic, version, length.
pub(crate) const PREFIX: usize = 12;

/// A longer dictionary is not one of a plain array.
const MAX_TEXT: usize = 1 << 16;

/// Where the dictionary starts and ends, from the first [`PREFIX`] bytes (or all bytes of a shorter file).
pub(crate) fn extent(prefix: &[u8]) -> Result<(usize, usize), String> {
    let short = || "the file is truncated".to_owned();
    if prefix.len() < 10 || !prefix.starts_with(b"\x93NUMPY") {
        return Err("the content is not an NPY array".to_owned());
    }
    let (start, length) = match prefix[6] {
        1 => (10, usize::from(u16::from_le_bytes([prefix[8], prefix[9]]))),
        2 | 3 => {
            let bytes: [u8; 4] = prefix.get(8..12).ok_or_else(short)?.try_into().map_err(|_| short())?;
            (12, u32::from_le_bytes(bytes) as usize)
        }
        version => return Err(format!("NPY version {version} is not known")),
    };
    if length > MAX_TEXT {
        return Err(format!("the NPY header has {length} bytes, which no plain array needs"));
    }
    Ok((start, start + length))
}

/// Reads the dictionary.
pub(crate) fn parse(text: &[u8]) -> Result<Header, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the NPY header is not text".to_owned())?;
    let mut parser = Parser { rest: text.trim() };
    let header = parser.dictionary()?;
    if parser.rest.trim().is_empty() { Ok(header) } else { Err(malformed(parser.rest)) }
}

fn malformed(at: &str) -> String {
    let at: String = at.chars().take(20).collect();
    format!("the NPY header is malformed at {at:?}")
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn dictionary(&mut self) -> Result<Header, String> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect("{")?;
        while !self.eat("}") {
            let key = self.string()?;
            self.expect(":")?;
            match key {
                "descr" => descr = Some(self.descr()?),
                "fortran_order" => fortran = Some(self.boolean()?),
                "shape" => shape = Some(self.tuple()?),
                other => return Err(format!("the NPY header has the unknown key {other:?}")),
            }
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        match (descr, fortran, shape) {
            (Some((element, big_endian)), Some(fortran), Some(shape)) => {
                Ok(Header { element, big_endian, fortran, shape })
            }
            _ => Err("the NPY header lacks descr, fortran_order or shape".to_owned()),
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest.trim_start().strip_prefix(token);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.eat(token) { Ok(()) } else { Err(malformed(self.rest)) }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.eat("'") {
            '\''
        } else {
            self.expect("\"")?;
            '"'
        };
        let (text, rest) = self.rest.split_once(quote).ok_or_else(|| malformed(self.rest))?;
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        if self.eat("True") {
            return Ok(true);
        }
        self.expect("False")?;
        Ok(false)
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        let mut items = Vec::new();
        self.expect("(")?;
        while !self.eat(")") {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let (digits, rest) = self.rest.split_at(end);
            items.push(digits.parse().map_err(|_| malformed(self.rest))?);
            self.rest = rest;
            // Python 2 wrote long integers with a suffix.
            self.eat("L");
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(items)
    }

    /// The element type, and whether it is big-endian.
    fn descr(&mut self) -> Result<(Element, bool), String> {
        if self.rest.trim_start().starts_with('[') {
            return Err("structured arrays are not supported; save one plain array for each input".to_owned());
        }
        let text = self.string()?;
        let mut chars = text.chars();
        let order = chars.next().unwrap_or(' ');
        let element = match chars.as_str() {
            "b1" => Element::Bool,
            "i1" => Element::I8,
            "i2" => Element::I16,
            "i4" => Element::I32,
            "i8" => Element::I64,
            "u1" => Element::U8,
            "u2" => Element::U16,
            "u4" => Element::U32,
            "u8" => Element::U64,
            "f2" => Element::F16,
            "f4" => Element::F32,
            "f8" => Element::F64,
            "O" => return Err("arrays of Python objects cannot be read; save numbers".to_owned()),
            _ => {
                return Err(format!(
                    "element type {text:?} is not supported; save float32 or an integer type"
                ));
            }
        };
        match order {
            '<' | '|' => Ok((element, false)),
            '>' => Ok((element, true)),
            '=' => Ok((element, cfg!(target_endian = "big"))),
            _ => Err(format!("element type {text:?} has no known byte order")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_numpy_writes() {
        let header =
            parse(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n").unwrap();
        assert_eq!(
            header,
            Header { element: Element::F32, big_endian: false, fortran: false, shape: vec![2, 3] }
        );
        let header = parse(b"{'descr': '>i8', 'fortran_order': True, 'shape': (5,), }\n").unwrap();
        assert_eq!(header, Header { element: Element::I64, big_endian: true, fortran: true, shape: vec![5] });
        assert_eq!(
            parse(b"{'descr': '|b1', 'fortran_order': False, 'shape': ()}").unwrap().shape,
            [0_usize; 0]
        );
    }

    #[test]
    fn what_cannot_be_read_says_so() {
        let reason = |text: &str| parse(text.as_bytes()).unwrap_err();
        assert!(reason("{'descr': '|O', 'fortran_order': False, 'shape': ()}").contains("Python objects"));
        assert!(
            reason("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}").contains("structured")
        );
        assert!(reason("{'descr': '<c8', 'fortran_order': False, 'shape': ()}").contains("<c8"));
        assert!(reason("{'descr': '<f4', 'shape': ()}").contains("lacks"));
        assert!(
            reason("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}")
                .contains("malformed")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = extent(&bytes);
            let _ = parse(&bytes);
        }

        #[test]
        fn any_text_of_the_right_letters_is_refused_or_read(text in "[{}'(),:<f48a-z ]{0,60}") {
            let _ = parse(text.as_bytes());
        }
    }
}
