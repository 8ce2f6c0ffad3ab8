//! The cache of code, and what an archive may not do.

use std::collections::HashMap;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use triplane_model::CodeHash;
use triplane_node::CodeSource;
use triplane_node::code::{CodeCache, CodeError};
use triplane_node::unpack::{UnpackError, UnpackLimits, Unpacked, unpack};

use crate::support::{Scratch, within};

/// Code in memory.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    texts: Mutex<HashMap<CodeHash, Arc<str>>>,
    fetches: AtomicUsize,
    /// When set, fetches wait for it.
    gate: Option<Arc<Notify>>,
}

impl Codes {
    pub(crate) fn put(&self, text: &str) -> CodeHash {
        let hash = hash(text);
        self.texts.lock().unwrap().insert(hash.clone(), text.into());
        hash
    }
}

impl CodeSource for Codes {
    fn code(&self, hash: CodeHash) -> BoxFuture<'static, Result<Option<Arc<str>>, String>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let text = self.texts.lock().unwrap().get(&hash).cloned();
        let gate = self.gate.clone();
        async move {
            if let Some(gate) = gate {
                gate.notified().await;
            }
            Ok(text)
        }
        .boxed()
    }
}

fn hash(text: &str) -> CodeHash {
    let hex: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    CodeHash(hex.into())
}

fn open(scratch: &Scratch, bytes_max: u64, codes: &Arc<Codes>) -> Arc<CodeCache> {
    CodeCache::open(&scratch.join("code"), bytes_max, UnpackLimits::default(), Arc::clone(codes) as _)
        .unwrap()
}

fn names(scratch: &Scratch) -> Vec<String> {
    let entries = fs::read_dir(scratch.join("code")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.len() == 64)
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn callers_at_the_same_time_share_one_fetch() {
    let (scratch, gate) = (Scratch::new(), Arc::new(Notify::new()));
    let codes = Arc::new(Codes { gate: Some(Arc::clone(&gate)), ..Codes::default() });
    let (cache, hash) = (open(&scratch, 1000, &codes), codes.put("function main() {}"));
    let callers = futures_util::future::join_all((0..50).map(|_| cache.get(&hash, false)));
    let (uses, ()) = within(async { tokio::join!(callers, async { gate.notify_one() }) }).await;
    assert!(uses.iter().all(Result::is_ok));
    assert_eq!(codes.fetches.load(Ordering::SeqCst), 1);
    let file = scratch.join("code").join(&*hash.0).join("source");
    assert_eq!(fs::read_to_string(&file).unwrap(), "function main() {}");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o444);
}

#[tokio::test]
async fn a_fetch_goes_on_when_its_caller_gives_up() {
    let (scratch, gate) = (Scratch::new(), Arc::new(Notify::new()));
    let codes = Arc::new(Codes { gate: Some(Arc::clone(&gate)), ..Codes::default() });
    let (cache, hash) = (open(&scratch, 1000, &codes), codes.put("code"));
    assert!(cache.get(&hash, false).now_or_never().is_none());
    gate.notify_one();
    within(cache.get(&hash, false)).await.unwrap();
    assert_eq!(codes.fetches.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn code_with_another_hash_is_not_used_and_the_next_call_tries_again() {
    let (scratch, codes) = (Scratch::new(), Arc::new(Codes::default()));
    let (cache, hash) = (open(&scratch, 1000, &codes), hash("right"));
    codes.texts.lock().unwrap().insert(hash.clone(), "wrong".into());
    let error = cache.get(&hash, false).await.unwrap_err();
    assert!(matches!(error, CodeError::Unavailable(_)), "{error}");
    codes.put("right");
    cache.get(&hash, false).await.unwrap();
    let absent = self::hash("absent");
    let gone = cache.get(&absent, false).await.unwrap_err();
    assert!(
        matches!(gone, CodeError::Unavailable(_)),
        "the action was changed, which is nobody's fault: {gone}"
    );
    let bad = CodeHash("../../etc".into());
    assert!(matches!(cache.get(&bad, false).await.unwrap_err(), CodeError::Unusable(_)));
}

#[tokio::test]
async fn what_was_not_used_for_longest_makes_room_but_never_what_is_in_use() {
    let (scratch, codes) = (Scratch::new(), Arc::new(Codes::default()));
    let cache = open(&scratch, 250, &codes);
    let hashes: Vec<CodeHash> = ["a", "b", "c", "d"].map(|letter| codes.put(&letter.repeat(100))).into();
    let held = cache.get(&hashes[0], false).await.unwrap();
    for hash in &hashes[1..] {
        drop(cache.get(hash, false).await.unwrap());
    }
    assert!(names(&scratch).contains(&hashes[0].to_string()), "in use");
    assert!(!names(&scratch).contains(&hashes[1].to_string()), "the oldest of the others");
    drop(held);
    drop(cache.get(&hashes[1], false).await.unwrap());
    assert_eq!(codes.fetches.load(Ordering::SeqCst), 5, "it is fetched again");
    assert!(names(&scratch).len() <= 3);
}

#[tokio::test]
async fn a_restart_keeps_what_is_whole_and_removes_the_rest() {
    let (scratch, codes) = (Scratch::new(), Arc::new(Codes::default()));
    let hash = codes.put("kept");
    drop(open(&scratch, 1000, &codes).get(&hash, false).await.unwrap());
    let incomplete = "0".repeat(64);
    fs::create_dir(scratch.join("code/.new-7")).unwrap();
    fs::create_dir(scratch.join("code").join(&incomplete)).unwrap();
    let cache = open(&scratch, 1000, &codes);
    assert_eq!(names(&scratch), [hash.to_string()]);
    assert!(!scratch.join("code/.new-7").exists());
    assert!(!cache.get(&hash, false).await.unwrap().archive);
    assert_eq!(codes.fetches.load(Ordering::SeqCst), 1);
    fs::write(scratch.join("code/.boot"), "another boot").unwrap();
    open(&scratch, 1000, &codes);
    assert_eq!(names(&scratch), [""; 0], "files may be incomplete after a power loss");
}

// --- unpacking ---

fn unpacked(scratch: &Scratch, bytes: &[u8], limits: UnpackLimits) -> Result<Unpacked, UnpackError> {
    let code = base64::engine::general_purpose::STANDARD.encode(bytes);
    unpack(&code, true, &scratch.0, limits)
}

fn refusal(bytes: &[u8]) -> String {
    unpacked(&Scratch::new(), bytes, UnpackLimits::default()).unwrap_err().to_string()
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn zip_link(name: &str, target: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink(name, target, zip::write::SimpleFileOptions::default()).unwrap();
    writer.start_file("dir/index.js", zip::write::SimpleFileOptions::default()).unwrap();
    writer.finish().unwrap().into_inner()
}

/// A tar.gz of one entry whose name is written as it is.
fn tar_gz(name: &str, kind: tar::EntryType, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let mut builder =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    builder.append(&header, content).unwrap();
    builder.into_inner().unwrap().finish().unwrap()
}

#[test]
fn a_zip_and_a_tar_gz_are_unpacked() {
    let scratch = Scratch::new();
    let archive = zip(&[("index.js", b"one"), ("node_modules/a/b.js", b"two")]);
    let result = unpacked(&scratch, &archive, UnpackLimits::default()).unwrap();
    assert_eq!(result, Unpacked { archive: true, bytes: 6 + 4 * 4096 });
    assert_eq!(fs::read(scratch.join("archive/node_modules/a/b.js")).unwrap(), b"two");
    let mode = fs::metadata(scratch.join("archive/index.js")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o555, "executable, not writable");
    let scratch = Scratch::new();
    let archive = tar_gz("lib/x.js", tar::EntryType::Regular, "", b"three");
    assert!(unpacked(&scratch, &archive, UnpackLimits::default()).unwrap().archive);
    assert_eq!(fs::read(scratch.join("archive/lib/x.js")).unwrap(), b"three");
}

#[test]
fn binary_code_that_is_no_archive_is_a_file() {
    let scratch = Scratch::new();
    let result = unpacked(&scratch, b"\x7fELF...", UnpackLimits::default()).unwrap();
    assert_eq!(result, Unpacked { archive: false, bytes: 7 });
    assert_eq!(fs::read(scratch.join("source")).unwrap(), b"\x7fELF...");
    assert!(matches!(
        unpack("%%%", true, &Scratch::new().0, UnpackLimits::default()),
        Err(UnpackError::Base64)
    ));
}

#[test]
fn entries_outside_the_archive_are_refused() {
    for name in ["../evil", "a/../../evil", "/etc/evil", "..\\evil"] {
        assert!(refusal(&zip(&[(name, b"x")])).contains("leads outside"), "{name}");
    }
    for name in ["../evil", "/etc/evil"] {
        assert!(
            refusal(&tar_gz(name, tar::EntryType::Regular, "", b"x")).contains("leads outside"),
            "{name}"
        );
    }
}

#[test]
fn links_may_lead_inside_only() {
    let scratch = Scratch::new();
    unpacked(&scratch, &zip_link("bin/tool", "../dir/index.js"), UnpackLimits::default()).unwrap();
    assert_eq!(fs::read_link(scratch.join("archive/bin/tool")).unwrap(), Path::new("../dir/index.js"));
    for target in ["../../x", "/etc/passwd", "a/../../../x", ""] {
        assert!(refusal(&zip_link("bin/tool", target)).contains("leads outside"), "{target}");
    }
    assert!(refusal(&tar_gz("a", tar::EntryType::Symlink, "../../x", b"")).contains("leads outside"));
    assert!(refusal(&zip_link("dir", "elsewhere")).contains("is there twice"), "no file through a link");
}

#[test]
fn devices_pipes_and_hard_links_are_refused() {
    for kind in [tar::EntryType::Char, tar::EntryType::Block, tar::EntryType::Fifo, tar::EntryType::Link] {
        let text = refusal(&tar_gz("a", kind, "b", b""));
        assert_eq!(text, "the archive entry 'a' is no file, directory or link");
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn bombs_are_refused() {
    let zeros = vec![0; 1 << 20];
    let strict = UnpackLimits { ratio_free_bytes: 1 << 19, ..UnpackLimits::default() };
    for bomb in [zip(&[("zeros", &zeros)]), tar_gz("zeros", tar::EntryType::Regular, "", &zeros)] {
        let refused = unpacked(&Scratch::new(), &bomb, strict).unwrap_err();
        assert_eq!(refused.to_string(), "the archive has too many bytes");
        unpacked(&Scratch::new(), &bomb, UnpackLimits::default()).unwrap();
    }
    let few = UnpackLimits { entries_max: 2, ..UnpackLimits::default() };
    let many = zip(&[("a", b""), ("b", b""), ("c", b"")]);
    let refused = unpacked(&Scratch::new(), &many, few).unwrap_err();
    assert!(matches!(refused, UnpackError::TooLarge("entries")));
    let small = UnpackLimits { bytes_max: 10, ..UnpackLimits::default() };
    let refused = unpacked(&Scratch::new(), &zip(&[("a", b"123456"), ("b", b"123456")]), small).unwrap_err();
    assert!(matches!(refused, UnpackError::TooLarge("bytes")), "{refused}");
}

#[test]
fn damaged_archives_are_refused() {
    assert!(refusal(b"PK\x03\x04 and then nothing").starts_with("the archive is damaged"));
    assert!(refusal(&[0x1f, 0x8b, 8, 0, 1, 2, 3]).starts_with("the archive is damaged"));
    let mut cut = tar_gz("a", tar::EntryType::Regular, "", &[7; 100_000]);
    cut.truncate(cut.len() / 2);
    assert!(refusal(&cut).starts_with("the archive is damaged"));
}
