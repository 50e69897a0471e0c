//! Binary records: the only module that knows that they are bincode.
//!
//! Integers are little-endian varints, floats are little-endian, sequences are preceded by their length. What is decoded is
//! bounded: by the bytes that are there, and by [`LIMIT`].

use serde::Serialize;
use serde::de::DeserializeOwned;

/// No record is larger, in bytes.
pub(crate) const LIMIT: usize = 1 << 30;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<LIMIT>()
}

/// Encode a record.
pub(crate) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, String> {
    bincode::serde::encode_to_vec(record, config()).map_err(|e| e.to_string())
}

/// Decode a record which must fill `bytes` exactly.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (record, used) = bincode::serde::decode_from_slice(bytes, config()).map_err(|e| e.to_string())?;
    if used == bytes.len() { Ok(record) } else { Err(format!("{} bytes too many", bytes.len() - used)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let record = (7_u64, 300_u64, -1_i64, 1.5_f32, "ab", vec![1_u16, 251], Some(3_u32), -2_i128);
        let bytes = encode(&record).unwrap();
        let expected: &[u8] = &[
            7, // small integers are themselves
            251, 44, 1, // 300
            1, // zigzag of -1
            0, 0, 192, 63, // 1.5
            2, 97, 98, // "ab"
            2, 1, 251, 251, 0, // two items
            1, 3, // Some(3)
            3, // zigzag of -2
        ];
        assert_eq!(bytes, expected);
        let back: (u64, u64, i64, f32, String, Vec<u16>, Option<u32>, i128) = decode(&bytes).unwrap();
        assert_eq!((back.3, back.4.as_str(), back.7), (1.5, "ab", -2));
    }

    #[test]
    fn truncated_and_overlong_records_are_refused() {
        let bytes = encode(&vec![1_u64, 2, 3]).unwrap();
        assert!(decode::<Vec<u64>>(&bytes[..3]).is_err());
        assert!(decode::<Vec<u64>>(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_claimed_length_allocates_nothing() {
        // A sequence of 2^60 items in nine bytes.
        let bytes = [&[253][..], &(1_u64 << 60).to_le_bytes()].concat();
        assert!(decode::<Vec<u64>>(&bytes).is_err() && decode::<String>(&bytes).is_err());
    }
}
