//! Traces in files: one call in each line, values separated by commas.
//!
//! The first line names the columns, in any order: `arrival`, `action`, `duration`, `cold_start` and `memory`, each but `action` with
//! its unit behind it: `_ms`, `_s` or `_us` for times, `_mb` or `_gb` for memory. Others are ignored.
//!
//! ```text
//! arrival_ms,action,duration_ms,cold_start_ms,memory_mb
//! 0,/guest/hello,12,350,256
//! 1500,/guest/resize,820.5,600,512
//! ```
//!
//! Calls stand in the order of arrival, and an action has the same memory in all of them. Empty lines, and those that begin
//! with `#`, are passed over. A value may be quoted as RFC 4180 has it: `"a,b"` is one value, and `""` within it a quote; only a
//! line's end cannot be in one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{BufRead, Write};

use super::draw::{whole, whole_u32};
use super::trace::{Invocation, Trace, TraceAction, TraceError};

/// The longest line, bytes: a name of an action has at most 3 × 256.
const LINE_MAX: usize = 4_096;
/// The most actions: what is kept of each is a few hundred bytes.
const ACTIONS_MAX: usize = 1_000_000;
/// The most memory of a container, MB, and the longest duration, milliseconds: what is more is a wrong unit.
const MEMORY_MB_MAX: f64 = 1_048_576.0;
const DURATION_MS_MAX: f64 = 86_400_000.0;
/// The latest arrival, milliseconds: 10,000 days, so that times since 1970 are taken for what they are, a mistake.
const ARRIVAL_MS_MAX: f64 = 864_000_000_000.0;
/// The header that [`write`] writes.
const HEADER: &str = "arrival_ms,action,duration_ms,cold_start_ms,memory_mb";

/// A trace that is read line by line.
#[derive(Debug)]
pub struct Csv<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    columns: Columns,
    actions: Vec<TraceAction>,
    known: HashMap<Box<str>, u32>,
    last_ms: u64,
}

impl<R: BufRead> Csv<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When there is none, or a column is missing or has no unit.
    pub fn open(input: R) -> Result<Self, TraceError> {
        let mut csv = Self {
            input,
            line: Vec::new(),
            number: 0,
            columns: Columns::default(),
            actions: Vec::new(),
            known: HashMap::new(),
            last_ms: 0,
        };
        if !csv.read_line()? {
            return Err(csv.wrong("the file is empty; its first line names the columns".to_owned()));
        }
        csv.columns = Columns::parse(text(&csv.line)).map_err(|problem| csv.wrong(problem))?;
        Ok(csv)
    }

    /// Reads the next line that says something; tells whether there is one.
    fn read_line(&mut self) -> Result<bool, TraceError> {
        loop {
            self.line.clear();
            self.number += 1;
            let mut limited = std::io::Read::take(&mut self.input, LINE_MAX as u64 + 1);
            if limited.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(false);
            }
            if self.line.len() > LINE_MAX {
                return Err(self.wrong(format!("the line is longer than {LINE_MAX} bytes")));
            }
            if std::str::from_utf8(&self.line).is_err() {
                return Err(self.wrong("the line is not UTF-8".to_owned()));
            }
            let said = text(&self.line);
            if !said.is_empty() && !said.starts_with('#') {
                return Ok(true);
            }
        }
    }

    fn parse(&mut self) -> Result<Invocation, String> {
        let columns = self.columns;
        let mut fields: [Cow<'_, str>; FIELDS] = Default::default();
        let mut count = 0;
        for (index, value) in Values::of(text(&self.line)).enumerate() {
            let value = value?;
            if let Some(place) = columns.places.iter().position(|place| *place == index) {
                fields[place] = value;
            }
            count = index + 1;
        }
        if count != columns.count {
            return Err(format!("{count} values, but the header names {} columns", columns.count));
        }
        let [arrival, action, duration, cold_start, memory] = fields;
        let arrival_ms = whole(columns.number(ARRIVAL, &arrival, ARRIVAL_MS_MAX)?);
        let duration_ms = whole_u32(columns.number(DURATION, &duration, DURATION_MS_MAX)?);
        let cold_start_ms = whole_u32(columns.number(COLD_START, &cold_start, DURATION_MS_MAX)?);
        let memory_mb = whole_u32(columns.number(MEMORY, &memory, MEMORY_MB_MAX)?);
        if arrival_ms < self.last_ms {
            let last_ms = self.last_ms;
            return Err(format!(
                "it arrives at {arrival_ms} ms, before the call above it ({last_ms} ms); sort the lines by arrival"
            ));
        }
        let action = intern(&mut self.known, &mut self.actions, &action, memory_mb)?;
        self.last_ms = arrival_ms;
        Ok(Invocation { arrival_ms, action, duration_ms, cold_start_ms })
    }

    fn wrong(&self, problem: String) -> TraceError {
        TraceError::Line { line: self.number, problem }
    }
}

impl<R: BufRead> Trace for Csv<R> {
    fn next(&mut self) -> Result<Option<Invocation>, TraceError> {
        if !self.read_line()? {
            return Ok(None);
        }
        self.parse().map(Some).map_err(|problem| self.wrong(problem))
    }

    fn actions(&self) -> &[TraceAction] {
        &self.actions
    }
}

/// Writes a trace as a file that [`Csv`] reads; says how many calls it has.
///
/// # Errors
/// When the trace cannot be read, or the output not be written.
pub fn write(trace: &mut dyn Trace, output: &mut dyn Write) -> Result<u64, TraceError> {
    writeln!(output, "{HEADER}")?;
    let mut calls = 0;
    while let Some(Invocation { arrival_ms, action, duration_ms, cold_start_ms }) = trace.next()? {
        let TraceAction { name, memory_mb } = &trace.actions()[action as usize];
        let name = quoted(name);
        writeln!(output, "{arrival_ms},{name},{duration_ms},{cold_start_ms},{memory_mb}")?;
        calls += 1;
    }
    output.flush()?;
    Ok(calls)
}

/// A value as it stands in a file.
fn quoted(value: &str) -> Cow<'_, str> {
    let is_plain = !value.contains([',', '"']) && value.trim() == value;
    if is_plain { value.into() } else { format!("\"{}\"", value.replace('"', "\"\"")).into() }
}

/// The values of a line, one after the other.
struct Values<'a> {
    rest: Option<&'a str>,
}

impl<'a> Values<'a> {
    fn of(line: &'a str) -> Self {
        Self { rest: Some(line) }
    }

    /// A value that began with a quote, and what follows it.
    fn quoted(text: &'a str) -> Result<(Cow<'a, str>, Option<&'a str>), String> {
        let mut end = 0;
        loop {
            let Some(quote) = text[end..].find('"') else {
                return Err(format!("the quoted value does not end in its line: \"{text}"));
            };
            end += quote;
            if !text[end + 1..].starts_with('"') {
                break;
            }
            end += 2;
        }
        let value = text[..end].replace("\"\"", "\"").into();
        match text[end + 1..].trim_start() {
            "" => Ok((value, None)),
            after => match after.strip_prefix(',') {
                Some(rest) => Ok((value, Some(rest))),
                None => Err(format!("behind the quoted value '{value}' stands no comma but '{after}'")),
            },
        }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<Cow<'a, str>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        if let Some(text) = rest.trim_start().strip_prefix('"') {
            return Some(Self::quoted(text).map(|(value, rest)| {
                self.rest = rest;
                value
            }));
        }
        let (value, rest) = rest.split_once(',').map_or((rest, None), |(value, rest)| (value, Some(rest)));
        self.rest = rest;
        Some(match value.contains('"') {
            true => Err(format!(
                "a quote is within '{}', which begins with none; write \"\" for it, and quotes around the value",
                value.trim()
            )),
            false => Ok(value.trim().into()),
        })
    }
}

/// The number of an action, given at its first call.
fn intern(
    known: &mut HashMap<Box<str>, u32>,
    actions: &mut Vec<TraceAction>,
    name: &str,
    memory_mb: u32,
) -> Result<u32, String> {
    if let Some(&number) = known.get(name) {
        let before_mb = actions[number as usize].memory_mb;
        return if before_mb == memory_mb {
            Ok(number)
        } else {
            Err(format!(
                "{name} has {memory_mb} MB here and {before_mb} MB above; memory is the limit of the action, the same in all lines"
            ))
        };
    }
    if name.is_empty() {
        return Err("the action has no name".to_owned());
    }
    if memory_mb == 0 {
        return Err(format!("{name} has no memory; a container needs at least 1 MB"));
    }
    let number = u32::try_from(actions.len()).ok().filter(|_| actions.len() < ACTIONS_MAX);
    let number = number.ok_or_else(|| format!("there are more than {ACTIONS_MAX} actions"))?;
    known.insert(name.into(), number);
    actions.push(TraceAction { name: name.into(), memory_mb });
    Ok(number)
}

const FIELDS: usize = 5;
const NAMES: [&str; FIELDS] = ["arrival", "action", "duration", "cold_start", "memory"];
const ARRIVAL: usize = 0;
const ACTION: usize = 1;
const DURATION: usize = 2;
const COLD_START: usize = 3;
const MEMORY: usize = 4;

/// Where the values stand in a line, and in what unit.
#[derive(Clone, Copy, Debug, Default)]
struct Columns {
    places: [usize; FIELDS],
    /// What a value is multiplied with, so that it is milliseconds or MB.
    factors: [f64; FIELDS],
    count: usize,
}

impl Columns {
    fn parse(header: &str) -> Result<Self, String> {
        let named = Values::of(header).collect::<Result<Vec<_>, _>>()?;
        let mut columns = Self { places: [0; FIELDS], factors: [1.0; FIELDS], count: named.len() };
        for (field, name) in NAMES.iter().enumerate() {
            let mut found = named.iter().enumerate().filter_map(|(place, column)| {
                let unit = column.strip_prefix(name)?;
                factor(field, unit).map(|factor| (place, factor))
            });
            let Some((place, factor)) = found.next() else {
                return Err(format!(
                    "the header has no column {}; the header may be: {HEADER}",
                    expected(field)
                ));
            };
            if let Some((other, _)) = found.next() {
                let (one, other) = (&named[place], &named[other]);
                return Err(format!(
                    "the header has two columns for the {name}, '{one}' and '{other}'; rename the one that is not meant"
                ));
            }
            (columns.places[field], columns.factors[field]) = (place, factor);
        }
        Ok(columns)
    }

    fn number(&self, field: usize, value: &str, max: f64) -> Result<f64, String> {
        let name = NAMES[field];
        let number: f64 = value.parse().map_err(|_| format!("the {name} is no number: '{value}'"))?;
        let number = (number * self.factors[field]).round();
        if !(0.0..=max).contains(&number) {
            let unit = if field == MEMORY { "MB" } else { "ms" };
            return Err(format!("the {name} '{value}' is not within 0 and {max} {unit}; check its unit"));
        }
        Ok(number)
    }
}

/// What a value in this unit is multiplied with; nothing for a unit that the column cannot have.
fn factor(field: usize, unit: &str) -> Option<f64> {
    match (field, unit) {
        (ACTION, "") => Some(1.0),
        (ARRIVAL | DURATION | COLD_START, "_ms") | (MEMORY, "_mb") => Some(1.0),
        (ARRIVAL | DURATION | COLD_START, "_s") => Some(1_000.0),
        (ARRIVAL | DURATION | COLD_START, "_us") => Some(0.001),
        (MEMORY, "_gb") => Some(1_024.0),
        _ => None,
    }
}

/// What a column may be called.
fn expected(field: usize) -> String {
    let name = NAMES[field];
    match field {
        ACTION => format!("'{name}'"),
        MEMORY => format!("'{name}_mb' (or {name}_gb)"),
        _ => format!("'{name}_ms' (or {name}_s, {name}_us)"),
    }
}

/// A line without its end. It was checked to be UTF-8 when it was read.
fn text(line: &[u8]) -> &str {
    std::str::from_utf8(line).unwrap_or_default().trim().trim_start_matches('\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::generator::{Generator, Profile};

    fn read(csv: &str) -> Result<Vec<Invocation>, String> {
        let shown = |error: TraceError| error.to_string();
        let mut trace = Csv::open(csv.as_bytes()).map_err(shown)?;
        let mut calls = Vec::new();
        while let Some(call) = trace.next().map_err(shown)? {
            calls.push(call);
        }
        Ok(calls)
    }

    fn problem(lines: &str) -> String {
        read(&format!("{HEADER}\n{lines}")).unwrap_err()
    }

    #[test]
    fn calls_are_read_in_the_units_and_the_order_of_the_header() {
        let csv = "memory_gb, owner, action, cold_start_s, duration_us, arrival_s\n# so it goes\n\n0.5,x,a,1.5,2600,0.25\n";
        let call = Invocation { arrival_ms: 250, action: 0, duration_ms: 3, cold_start_ms: 1_500 };
        assert_eq!(read(csv), Ok(vec![call]));
    }

    #[test]
    fn actions_are_numbered_by_their_first_call() {
        let calls = read(&format!("{HEADER}\n0,b,1,1,128\n0,a,1,1,256\n5,b,1,1,128\r\n")).unwrap();
        assert_eq!(calls.iter().map(|call| call.action).collect::<Vec<_>>(), [0, 1, 0]);
    }

    #[test]
    fn a_wrong_line_is_named_with_what_is_wrong() {
        assert_eq!(problem("0,a,1,1,128\n0,a,1,1"), "line 3: 4 values, but the header names 5 columns");
        assert_eq!(problem("0,a,soon,1,128"), "line 2: the duration is no number: 'soon'");
        assert_eq!(
            problem("-1,a,1,1,128"),
            "line 2: the arrival '-1' is not within 0 and 864000000000 ms; check its unit"
        );
        assert!(problem("0,a,nan,1,128").contains("is not within"));
        assert_eq!(
            problem("7,a,1,1,128\n\n5,a,1,1,128"),
            "line 4: it arrives at 5 ms, before the call above it (7 ms); sort the lines by arrival"
        );
        assert!(
            problem("0,a,1,1,128\n1,a,1,1,256").starts_with("line 3: a has 256 MB here and 128 MB above")
        );
        assert!(problem("0,,1,1,128").contains("no name"));
        assert!(problem("0,a,1,1,0").contains("no memory"));
        assert!(problem(&"x".repeat(LINE_MAX + 1)).contains("longer than 4096 bytes"));
    }

    #[test]
    fn a_header_without_a_column_or_a_unit_is_refused() {
        assert_eq!(read("").unwrap_err(), "line 1: the file is empty; its first line names the columns");
        let missing = read("arrival_ms,action,duration,cold_start_ms,memory_mb\n").unwrap_err();
        assert!(
            missing
                .starts_with("line 1: the header has no column 'duration_ms' (or duration_s, duration_us)")
        );
    }

    #[test]
    fn a_header_that_names_a_value_twice_is_refused() {
        let twice = read("arrival_ms,arrival_s,action,duration_ms,cold_start_ms,memory_mb\n").unwrap_err();
        assert_eq!(
            twice,
            "line 1: the header has two columns for the arrival, 'arrival_ms' and 'arrival_s'; rename the one that is not meant"
        );
    }

    /// The names of the actions that are called.
    fn names(lines: &str) -> Vec<String> {
        let csv = format!("{HEADER}\n{lines}");
        let mut trace = Csv::open(csv.as_bytes()).unwrap();
        while trace.next().unwrap().is_some() {}
        trace.actions().iter().map(|action| action.name.to_string()).collect()
    }

    #[test]
    fn a_value_may_be_quoted_and_hold_commas_and_quotes() {
        let lines = "0,\"a,b\",1,1,128\n1, \"say \"\"hi\"\"\" ,1,1,128\n2,\"\"\"\",1,1,128\n\"3\",\" c\",\"1\",1,\"128\"\n";
        assert_eq!(names(lines), ["a,b", "say \"hi\"", "\"", " c"]);
    }

    #[test]
    fn quotes_that_nobody_can_read_are_refused() {
        assert_eq!(
            problem("0,\"a,1,1,128"),
            "line 2: the quoted value does not end in its line: \"a,1,1,128"
        );
        assert_eq!(
            problem("0,\"a\"b,1,1,128"),
            "line 2: behind the quoted value 'a' stands no comma but 'b,1,1,128'"
        );
        assert!(
            problem("0,a\"b,1,1,128").starts_with("line 2: a quote is within 'a\"b', which begins with none")
        );
    }

    #[test]
    fn names_are_quoted_where_they_must_be() {
        assert_eq!(
            ["/guest/a", "a,b", "a\"b", " a"].map(|name| quoted(name).into_owned()),
            ["/guest/a", "\"a,b\"", "\"a\"\"b\"", "\" a\""]
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let mut trace =
            Csv::open([HEADER.as_bytes(), b"\n0,\xff,1,1,128\n"].concat().leak() as &[u8]).unwrap();
        assert_eq!(trace.next().unwrap_err().to_string(), "line 2: the line is not UTF-8");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let profile = Profile { actions: 10, length_ms: 600_000, ..Profile::default() };
        let (mut written, mut read) = (Vec::new(), 0);
        let calls = write(&mut Generator::new(1, &profile), &mut written).unwrap();
        let (mut again, mut first) = (Csv::open(&*written).unwrap(), Generator::new(1, &profile));
        while let Some(call) = again.next().unwrap() {
            let generated = first.next().unwrap().unwrap();
            let name = |trace: &dyn Trace, action: u32| trace.actions()[action as usize].clone();
            assert_eq!(name(&again, call.action), name(&first, generated.action));
            assert_eq!(Invocation { action: 0, ..call }, Invocation { action: 0, ..generated });
            read += 1;
        }
        assert_eq!((calls, first.next().unwrap()), (read, None));
    }
}
