//! Zip archives in memory, as actions are uploaded: stored, not compressed.

use base64::Engine;

/// Version 2.0, made on Unix: the attributes hold a file's mode.
const MADE_BY: u16 = 3 << 8 | 20;
const NEEDED: u16 = 20;
const ANY_READS_AND_EXECUTES: u32 = 0o100_755 << 16;

/// An archive of files, all of which may be executed, in base64.
///
/// # Panics
/// When it would need the format for large archives.
#[must_use]
pub fn base64_of_zip(files: &[(&str, &str)]) -> String {
    base64::engine::general_purpose::STANDARD.encode(zip(files))
}

fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, text) in files {
        let at = u32_of(archive.len());
        let fields = common_fields(name, text);
        put(&mut archive, &[b"PK\x03\x04", &NEEDED.to_le_bytes(), &fields, name.as_bytes(), text.as_bytes()]);
        put(&mut directory, &[b"PK\x01\x02", &MADE_BY.to_le_bytes(), &NEEDED.to_le_bytes(), &fields]);
        // no comment, the first disk, no internal attributes
        put(&mut directory, &[&[0; 6], &ANY_READS_AND_EXECUTES.to_le_bytes(), &at.to_le_bytes()]);
        put(&mut directory, &[name.as_bytes()]);
    }
    let (start, count) = (u32_of(archive.len()), u16_of(files.len()));
    put(&mut archive, &[&directory, b"PK\x05\x06", &[0; 4], &count.to_le_bytes(), &count.to_le_bytes()]);
    put(&mut archive, &[&u32_of(directory.len()).to_le_bytes(), &start.to_le_bytes(), &[0; 2]]);
    archive
}

/// From the flags to the lengths: the same beside a file and in the directory at the end.
fn common_fields(name: &str, text: &str) -> Vec<u8> {
    let bytes = u32_of(text.len());
    let mut fields = Vec::new();
    // no flags, stored, no time
    put(&mut fields, &[&[0; 8], &crc32(text.as_bytes()).to_le_bytes()]);
    put(
        &mut fields,
        &[&bytes.to_le_bytes(), &bytes.to_le_bytes(), &u16_of(name.len()).to_le_bytes(), &[0; 2]],
    );
    fields
}

fn put(bytes: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
}

fn u32_of(count: usize) -> u32 {
    u32::try_from(count).expect("a small archive")
}

fn u16_of(count: usize) -> u16 {
    u16::try_from(count).expect("a small archive")
}

/// The checksum of ISO 3309, which zip uses.
fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xEDB8_8320;
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (POLYNOMIAL * (sum & 1)))
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn an_archive_is_as_long_as_its_parts() {
        // local header 30, directory entry 46, end 22, the name twice
        assert_eq!(zip(&[("ab", "text")]).len(), 30 + 46 + 22 + 2 * 2 + 4);
    }
}
