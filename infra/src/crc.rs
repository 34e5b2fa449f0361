//! The checksum that goes with every stored value.

/// The CRC-32 of several pieces, as SQL integers hold it.
pub(crate) fn crc(pieces: &[&[u8]]) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    for piece in pieces {
        hasher.update(piece);
    }
    i64::from(hasher.finalize())
}
