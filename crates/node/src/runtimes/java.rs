//! How Java's launcher is compiled and started; runtimes/java/README.md has the reasons.

use std::fs;
use std::path::{Path, PathBuf};

use triplane_model::runtimes::Runtime;

use super::found::Found;
use super::kind::runtime;
use super::launcher::{file, text};

/// The sources.
pub(super) const FILES: [(&str, &str); 16] = [
    ("Action.java", text!("java/Action.java")),
    ("ActionException.java", text!("java/ActionException.java")),
    ("ActionLoader.java", text!("java/ActionLoader.java")),
    ("Bytes.java", text!("java/Bytes.java")),
    ("CallLogs.java", text!("java/CallLogs.java")),
    ("Entry.java", text!("java/Entry.java")),
    ("Environment.java", text!("java/Environment.java")),
    ("Exit.java", text!("java/Exit.java")),
    ("Frame.java", text!("java/Frame.java")),
    ("Init.java", text!("java/Init.java")),
    ("JsonReader.java", text!("java/JsonReader.java")),
    ("JsonWriter.java", text!("java/JsonWriter.java")),
    ("Launcher.java", text!("java/Launcher.java")),
    ("Rehearsal.java", text!("java/Rehearsal.java")),
    ("Socket.java", text!("java/Socket.java")),
    ("Sources.java", text!("java/Sources.java")),
];
/// Debian's gson, which may be missing; [`FLAGS`] names it too. Java ignores an archive that was made beside another one.
pub(super) const GSON: &str = "/usr/share/java/gson.jar";
const FLAGS: [&str; 14] = [
    "-XX:+IgnoreUnrecognizedVMOptions",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-Xlog:disable",
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:ArchiveRelocationMode=0",
    "-Dfile.encoding=UTF-8",
    "-Dstdout.encoding=UTF-8",
    "-Dstderr.encoding=UTF-8",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "-cp",
    // the launcher as it is seen from /tmp inside, and from its twin outside; then Debian's gson, for actions that bring none
    "../triplane/java/launcher.jar:/usr/share/java/gson.jar",
];
const ARCHIVE: &str = "../triplane/java/launcher.jsa";
/// The first Java that makes archives of an application's classes while it runs.
const ARCHIVES_SINCE: u32 = 13;

/// What OpenWhisk calls its Java, whose jars newer ones run, and the version that is there.
pub(super) fn java_kinds(found: &Found) -> Vec<Runtime> {
    let kind = |version: &str, default| Runtime { require_main: true, ..runtime("java", version, default) };
    vec![kind("8", true), kind(&found.version.0.to_string(), false)]
}

/// The commands that compile the classes, pack them, and let Java keep them in the form in which it maps them into memory.
pub(super) fn java_preparation(found: &Found) -> Vec<Vec<String>> {
    let tool = |name: &str| found.path.with_file_name(name).to_string_lossy().into_owned();
    let compiler = tool("javac");
    let mut compile =
        vec![&*compiler, "-XDstringConcat=inline", "-encoding", "UTF-8", "--release", "11", "-d", "classes"];
    compile.extend(FILES.map(|(name, _)| name));
    let packer = tool("jar");
    let pack = [&*packer, "--create", "--file", "launcher.jar", "-C", "classes", "."];
    let mut commands = vec![owned(&compile), owned(&pack)];
    if found.version.0 >= ARCHIVES_SINCE {
        commands.push(archive_command(found));
    }
    commands
}

/// Makes the archive, in a directory from which the launcher is where it is from `/tmp` inside.
fn archive_command(found: &Found) -> Vec<String> {
    // what is executed comes as arguments, since the shell would take a path apart
    let mut command = owned(&["/bin/sh", "-c", "cd ../../tmp && exec \"$@\"", "sh"]);
    command.push(found.path.to_string_lossy().into_owned());
    command.push(format!("-XX:ArchiveClassesAtExit={ARCHIVE}"));
    command.extend(owned(&FLAGS));
    command.extend(owned(&["triplane.Launcher", "rehearse"]));
    command
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

pub(super) fn java_arguments(found: &Found, launchers: &Path, memory_mb: u64) -> Vec<String> {
    let heap_mb = (memory_mb / 2).max(memory_mb.saturating_sub((memory_mb / 8).max(64)));
    let mut arguments = vec![format!("-Xms{}m", memory_mb / 8), format!("-Xmx{heap_mb}m")];
    if found.version.0 >= ARCHIVES_SINCE {
        arguments.push(format!("-XX:SharedArchiveFile={}", file(launchers, "java/launcher.jsa")));
    }
    arguments.extend(FLAGS.map(str::to_owned));
    arguments.push("triplane.Launcher".to_owned());
    arguments
}

/// The directories of `/etc` that Debian's Java has its settings in.
pub(super) fn configuration() -> Vec<PathBuf> {
    let entries = fs::read_dir("/etc").into_iter().flatten().flatten();
    let is_javas = |name: &str| name.starts_with("java-") && name.ends_with("-openjdk");
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_javas))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn java(major: u32) -> Found {
        let path = "/usr/lib/jvm/java/bin/java".into();
        Found { language: "java", path, version: (major, 0), home: "/usr/lib/jvm/java".into() }
    }

    #[test]
    fn jars_for_openwhisks_java_run_and_name_their_class() {
        let kinds = java_kinds(&java(17));
        assert_eq!(kinds.iter().map(|it| it.kind.as_str()).collect::<Vec<_>>(), ["java:8", "java:17"]);
        assert!(kinds.iter().all(|kind| kind.require_main));
    }

    #[test]
    fn the_heap_leaves_room_for_the_rest_of_java() {
        let heap = |memory_mb| java_arguments(&java(17), Path::new("/triplane"), memory_mb)[1].clone();
        assert_eq!(heap(128), "-Xmx64m");
        assert_eq!(heap(256), "-Xmx192m");
        assert_eq!(heap(1024), "-Xmx896m");
    }

    #[test]
    fn only_a_java_that_makes_archives_gets_one() {
        assert_eq!(java_preparation(&java(11)).len(), 2);
        assert_eq!(java_preparation(&java(17)).len(), 3);
        assert!(
            !java_arguments(&java(11), Path::new("/triplane"), 128)
                .iter()
                .any(|argument| argument.contains("SharedArchive"))
        );
    }
}
