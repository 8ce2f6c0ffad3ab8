//! What the scenarios prove, counted by section and held against `covered.txt`.

use std::collections::{BTreeMap, HashSet};
use std::io::Write as _;

use super::areas;

/// OpenWhisk's messages, quirks and edge cases. Lines `[section]` begin the phrases of a section; each has to occur in a
/// sentence of a scenario of that section, or it begins with `- ` and says after ` -- ` why it is not covered.
const COVERED: &str = include_str!("covered.txt");

/// The sentences that are proven, by section.
fn sentences() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut sentences = BTreeMap::<_, Vec<_>>::new();
    for (section, sentence) in
        areas().into_iter().flat_map(|(_, scenarios)| scenarios).flat_map(|story| story.proves)
    {
        sentences.entry(section).or_default().push(sentence);
    }
    sentences
}

#[test]
fn every_message_quirk_and_edge_case_is_named_by_a_scenario_or_explained() {
    let sentences = sentences();
    let (mut section, mut missing) = ("", Vec::new());
    for line in COVERED.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
            continue;
        }
        if let Some(left_out) = line.strip_prefix("- ") {
            assert!(left_out.contains(" -- "), "say after ` -- ` why this is not covered: {left_out}");
            continue;
        }
        let is_proven =
            sentences.get(section).is_some_and(|proven| proven.iter().any(|text| text.contains(line)));
        if !is_proven {
            missing.push(format!("[{section}] {line}"));
        }
    }
    assert!(missing.is_empty(), "no scenario proves these lines of covered.txt:\n{}", missing.join("\n"));
}

#[test]
fn scenarios_have_names_of_their_own_and_are_counted_by_section() {
    let mut names = HashSet::new();
    let mut sections = BTreeMap::<(u32, &str), usize>::new();
    for (area, scenarios) in areas() {
        for scenario in scenarios {
            assert!(names.insert(scenario.name), "{area} has a second scenario named {:?}", scenario.name);
            let (section, sentence) = scenario.proves[0];
            assert!(!sentence.is_empty(), "{} proves nothing", scenario.name);
            let section = section.split('.').next().unwrap_or_default();
            // appendices come after the numbers
            *sections.entry((section.parse().unwrap_or(u32::MAX), section)).or_default() += 1;
        }
    }
    // past the capture of output, so that it is seen when nothing fails
    let mut out = std::io::stderr().lock();
    writeln!(out, "scenarios by section of the reference:").unwrap();
    for ((_, section), count) in &sections {
        writeln!(out, "  {section:>3}  {count}").unwrap();
    }
    writeln!(out, "  {} in all", names.len()).unwrap();
}
