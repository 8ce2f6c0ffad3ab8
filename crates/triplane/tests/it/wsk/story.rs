//! The files: commands, their requests, and what is expected of the answers.

use super::expectation::Expectation;

/// What somebody types, and what `wsk` then sends.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) title: String,
    pub(crate) exchanges: Vec<Exchange>,
}

/// A request and what is expected of its answer.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// The request line and the headers.
    pub(crate) head: Vec<String>,
    /// The body, which for `wsk` ends with its line.
    pub(crate) body: Option<String>,
    pub(crate) expectations: Vec<Expectation>,
}

/// Reads a file: `# ` is a comment, `### ` begins a command; a request is its head, an empty line, perhaps a line with a body, and
/// lines with `=>`.
///
/// # Panics
/// When it is written wrongly.
pub(crate) fn parse(text: &str) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("# ")) {
        if let Some(title) = line.strip_prefix("### ") {
            commands.push(Command { title: title.to_owned(), exchanges: Vec::new() });
            continue;
        }
        let Some(command) = commands.last_mut() else {
            assert!(line.is_empty(), "a line before the first command: {line}");
            continue;
        };
        read(line, &mut command.exchanges);
    }
    for command in &commands {
        for exchange in &command.exchanges {
            assert!(!exchange.expectations.is_empty(), "{} expects nothing", command.title);
        }
        assert!(!command.exchanges.is_empty(), "{} sends nothing", command.title);
    }
    commands
}

fn read(line: &str, exchanges: &mut Vec<Exchange>) {
    let is_over = exchanges.last().is_none_or(|exchange| !exchange.expectations.is_empty());
    match (line.strip_prefix("=> "), exchanges.last_mut()) {
        (Some(expected), Some(exchange)) => exchange.expectations.push(Expectation::parse(expected)),
        (None, _) if line.is_empty() => {}
        (None, _) if is_over => {
            exchanges.push(Exchange { head: vec![line.to_owned()], ..Exchange::default() });
        }
        (None, Some(exchange)) if is_header(line) && exchange.body.is_none() => {
            exchange.head.push(line.to_owned());
        }
        (None, Some(exchange)) if exchange.body.is_none() => exchange.body = Some(format!("{line}\n")),
        _ => panic!("a line that belongs nowhere: {line}"),
    }
}

/// Bodies are JSON, so their lines begin with a brace.
fn is_header(line: &str) -> bool {
    !line.starts_with('{') && line.contains(": ")
}
