//! SHA-256 in lower-case hexadecimal, as `sha256sum` prints it.
//!
//! # Examples
//! ```
//! use pushforward::hash::{sha256, sha256_of};
//! let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
//! assert_eq!(sha256(["a", "bc"]), expected);
//! assert_eq!(sha256_of(&mut &b"abc"[..])?, expected);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// SHA-256 of the concatenated parts.
pub fn sha256<B: AsRef<[u8]>>(parts: impl IntoIterator<Item = B>) -> String {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    hex(hash)
}

/// SHA-256 of the rest of `reader`, which may be larger than memory.
///
/// # Errors
/// Errors of reading.
pub fn sha256_of(reader: &mut impl Read) -> io::Result<String> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hex(hash)),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// SHA-256 of a file.
///
/// # Errors
/// If the file cannot be opened or read.
pub(crate) fn sha256_file(path: &Path) -> io::Result<String> {
    sha256_of(&mut std::fs::File::open(path)?)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_readers_and_files_have_the_hash_of_their_bytes() {
        // FIPS 180-4: the two-block example, and a million letters, which are many buffers.
        let two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        let expected = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
        assert_eq!(sha256(two_blocks.as_bytes().chunks(5)), expected);
        let million = vec![b'a'; 1_000_000];
        let expected = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        assert_eq!(sha256_of(&mut &million[..]).unwrap(), expected);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters");
        assert!(sha256_file(&path).is_err());
        std::fs::write(&path, &million).unwrap();
        assert_eq!(sha256_file(&path).unwrap(), expected);
    }
}
