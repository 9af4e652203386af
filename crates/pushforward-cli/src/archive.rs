//! Unpacking of downloaded archives, and checks of content that has no checksum.
//!
//! Of the tar format, only what is needed is read: ustar headers of regular files (POSIX.1-1988, "ustar Interchange
//! Format"). Only members requested by name are written, so paths inside an archive cannot choose where a file goes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, copy, sink};
use std::path::Path;

use flate2::read::GzDecoder;

use crate::files::{FilesError, write_atomic_with};
use crate::sources::{Content, Kind, Member};

/// Size of a tar block in bytes: a header is one block, contents are padded to whole blocks.
const BLOCK: usize = 512;

/// Writes the requested members of the archive into `folder`, each atomically.
///
/// # Errors
/// The archive is damaged, lacks a member or holds one of the wrong size or content, or a file cannot be written.
pub(crate) fn unpack(archive: &Path, kind: Kind, folder: &Path) -> Result<(), FilesError> {
    let unpacked = File::open(archive).and_then(|file| match kind {
        Kind::Data(_) => Ok(()),
        Kind::Zip(members) => unzip(BufReader::new(file), members, folder),
        Kind::TarGz(members) => untar(GzDecoder::new(BufReader::new(file)), members, folder),
    });
    unpacked.map_err(FilesError::io("unpack", archive))
}

/// Checks content that has no checksum; the inner error says what is wrong.
pub(crate) fn check_content(content: Content, reader: &mut impl BufRead) -> io::Result<Result<(), String>> {
    match content {
        Content::Any => Ok(Ok(())),
        Content::Letters => check_letters(reader),
        Content::Table { header, rows } => check_table(reader, header, rows),
    }
}

fn unzip(archive: impl Read + Seek, members: &[Member], folder: &Path) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(archive).map_err(io::Error::from)?;
    for member in members {
        let mut entry = archive.by_name(member.name).map_err(io::Error::from)?;
        extract(&mut entry, member, folder)?;
    }
    Ok(())
}

fn untar(mut archive: impl Read, members: &[Member], folder: &Path) -> io::Result<()> {
    let mut missing: Vec<&Member> = members.iter().collect();
    while !missing.is_empty() {
        let mut header = [0u8; BLOCK];
        archive.read_exact(&mut header)?;
        if header.iter().all(|byte| *byte == 0) {
            let names: Vec<&str> = missing.iter().map(|member| member.name).collect();
            return Err(io::Error::other(format!("the archive holds no {}", names.join(", "))));
        }
        let entry = parse_header(&header)?;
        let mut content = archive.by_ref().take(entry.bytes);
        if let Some(at) = missing.iter().position(|member| entry.regular && entry.name == member.name) {
            extract(&mut content, missing.swap_remove(at), folder)?;
        }
        // Skips the rest of the member, and the padding up to the next block.
        copy(&mut content, &mut sink())?;
        let fill = entry.bytes.next_multiple_of(BLOCK as u64) - entry.bytes;
        copy(&mut archive.by_ref().take(fill), &mut sink())?;
    }
    Ok(())
}

struct Entry {
    /// Name without folders.
    name: String,
    bytes: u64,
    regular: bool,
}

fn parse_header(header: &[u8; BLOCK]) -> io::Result<Entry> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the tar header is damaged");
    let text = |from: usize, to: usize| {
        let field = &header[from..to];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        std::str::from_utf8(&field[..end]).map(str::trim).map_err(|_| damaged())
    };
    let octal = |from, to| u64::from_str_radix(text(from, to)?, 8).map_err(|_| damaged());
    // The checksum is the sum of all bytes of the header, its own eight counted as spaces.
    let sum: u64 =
        header.iter().enumerate().map(|(at, b)| if (148..156).contains(&at) { 32 } else { (*b).into() }).sum();
    if octal(148, 156)? != sum {
        return Err(damaged());
    }
    let path = text(0, 100)?;
    let name = path.rsplit('/').next().unwrap_or(path).to_string();
    Ok(Entry { name, bytes: octal(124, 136)?, regular: matches!(header[156], b'0' | 0) })
}

/// Writes one member, checking its size and content on the way.
fn extract(entry: &mut impl Read, member: &Member, folder: &Path) -> io::Result<()> {
    let path = folder.join(member.name);
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, format!("its member {} {what}", member.name));
    let mut count = 0;
    write_atomic_with(&path, |file| {
        // One byte more than allowed shows that the member is too large.
        count = copy(&mut entry.take(member.bytes + 1), file)?;
        if count == member.bytes { Ok(()) } else { Err(wrong(format!("does not have {} bytes", member.bytes))) }
    })
    .map_err(into_io)?;
    if let Err(problem) = check_content(member.content, &mut BufReader::new(File::open(&path)?))? {
        std::fs::remove_file(&path)?;
        return Err(wrong(problem));
    }
    Ok(())
}

/// The I/O error inside a file error; callers add the name of the archive.
fn into_io(error: FilesError) -> io::Error {
    match error {
        FilesError::Io { source, .. } => source,
        other => io::Error::other(other),
    }
}

fn check_letters(reader: &mut impl BufRead) -> io::Result<Result<(), String>> {
    let mut offset = 0;
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(Ok(()));
        }
        if let Some(at) = bytes.iter().position(|byte| !matches!(byte, b'a'..=b'z' | b' ')) {
            let (byte, offset) = (bytes[at], offset + at);
            return Ok(Err(format!(
                "holds the byte {byte:#04x} at offset {offset}, which is no letter a-z and no space"
            )));
        }
        let count = bytes.len();
        offset += count;
        reader.consume(count);
    }
}

fn check_table(reader: &mut impl BufRead, header: &str, rows: u64) -> io::Result<Result<(), String>> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if !line.starts_with(header.as_bytes()) {
        let found: String = String::from_utf8_lossy(&line).trim_end().chars().take(60).collect();
        return Ok(Err(format!("should begin with {header:?} but begins with {found:?}")));
    }
    let mut count = 0;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        count += u64::from(!line.trim_ascii().is_empty());
    }
    Ok(if count == rows { Ok(()) } else { Err(format!("should hold {rows} rows but holds {count}")) })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    /// A tar archive of regular files in a folder, gzip-compressed.
    pub(crate) fn tar_gz(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, content) in files {
            let mut header = [0u8; BLOCK];
            let name = format!("folder/{name}");
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
            header[156] = b'0';
            header[148..156].fill(b' ');
            let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            tar.extend(header);
            tar.extend(*content);
            tar.resize(tar.len().next_multiple_of(BLOCK), 0);
        }
        tar.extend([0; 2 * BLOCK]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&tar).unwrap();
        gz.finish().unwrap()
    }

    /// A zip archive of one file.
    pub(crate) fn zip_of(name: &str, content: &[u8]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
        zip.finish().unwrap().into_inner()
    }

    fn unpacked(archive: &[u8], kind: Kind) -> (tempfile::TempDir, Result<(), String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        std::fs::write(&path, archive).unwrap();
        let out = folder.path().join("out");
        let result = unpack(&path, kind, &out).map_err(|error| match error {
            FilesError::Io { source, .. } => source.to_string(),
            other => other.to_string(),
        });
        (folder, result)
    }

    const LETTERS: Kind = Kind::Zip(&[Member { name: "text", bytes: 5, content: Content::Letters }]);

    #[test]
    fn zip_member_comes_out() {
        let (folder, result) = unpacked(&zip_of("text", b"a b c"), LETTERS);
        result.unwrap();
        assert_eq!(std::fs::read(folder.path().join("out/text")).unwrap(), b"a b c");
    }

    #[test]
    fn zip_member_of_wrong_size_or_content_leaves_nothing() {
        for (content, expected) in [(&b"a b cd"[..], "5 bytes"), (b"a b", "5 bytes"), (b"a B c", "0x42 at offset 2")] {
            let (folder, result) = unpacked(&zip_of("text", content), LETTERS);
            let message = result.unwrap_err();
            assert!(message.contains(expected), "{message}");
            assert_eq!(std::fs::read_dir(folder.path().join("out")).unwrap().count(), 0);
        }
        assert!(unpacked(&zip_of("other", b"a b c"), LETTERS).1.is_err());
        assert!(unpacked(b"no zip at all", LETTERS).1.is_err());
    }

    const TWO: Kind = Kind::TarGz(&[
        Member { name: "b.bin", bytes: 3, content: Content::Any },
        Member { name: "a.bin", bytes: 700, content: Content::Any },
    ]);

    #[test]
    fn tar_members_come_out_and_others_stay_in() {
        let long = [7u8; 700];
        let archive = tar_gz(&[("a.bin", &long), ("readme.html", b"hello"), ("b.bin", b"xyz")]);
        let (folder, result) = unpacked(&archive, TWO);
        result.unwrap();
        assert_eq!(std::fs::read(folder.path().join("out/a.bin")).unwrap(), long);
        assert_eq!(std::fs::read(folder.path().join("out/b.bin")).unwrap(), b"xyz");
        assert!(!folder.path().join("out/readme.html").exists());
    }

    #[test]
    fn damaged_or_incomplete_tar_is_refused() {
        let long = [7u8; 700];
        let incomplete = tar_gz(&[("a.bin", &long)]);
        assert_eq!(unpacked(&incomplete, TWO).1.unwrap_err(), "the archive holds no b.bin");
        let whole = tar_gz(&[("a.bin", &long), ("b.bin", b"xyz")]);
        assert!(unpacked(&whole[..whole.len() / 2], TWO).1.is_err());
        let mut header = [0u8; BLOCK];
        header[..4].copy_from_slice(b"name");
        assert!(parse_header(&header).is_err(), "a header with a wrong checksum");
    }

    #[test]
    fn table_needs_its_header_and_its_rows() {
        let check =
            |text: &str| check_content(Content::Table { header: "id,", rows: 2 }, &mut text.as_bytes()).unwrap();
        assert_eq!(check("id,x\n1,a\n2,b\n"), Ok(()));
        assert_eq!(check("id,x\r\n1,a\r\n2,b"), Ok(()));
        assert!(check("<html>\n1\n2\n").unwrap_err().contains("begins with \"<html>\""));
        assert!(check("id,x\n1,a\n").unwrap_err().contains("should hold 2 rows but holds 1"));
    }
}
