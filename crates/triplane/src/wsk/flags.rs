//! Flags of all commands before the verb, where `wsk` takes them as well: `triplane -i --auth KEY action list`.

use std::ffi::OsString;

/// The commands that have these flags.
const VERBS: [&str; 9] =
    ["action", "activation", "package", "trigger", "rule", "namespace", "list", "property", "dev"];
/// The flags that are followed by a value.
const VALUED: [&str; 6] = ["--apihost", "--apiversion", "--auth", "-u", "--cert", "--key"];
/// The flags that stand alone.
const SWITCHES: [&str; 4] = ["--insecure", "--verbose", "--debug", "--json"];
/// Those of one letter, which may be joined.
const LETTERS: &str = "ivd";

/// Moves the flags before a verb behind it, where the parser looks for them. Anything else is left to the parser.
pub(crate) fn behind_the_verb(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let words: Vec<_> = arguments.iter().skip(1).map(|argument| argument.to_string_lossy()).collect();
    let ahead = count(&words);
    let verb = words.get(ahead).filter(|word| VERBS.contains(&&***word));
    let verb_len = match verb.map(|verb| &**verb) {
        None => return arguments,
        // Each of its verbs takes what it has a meaning for.
        Some("property") => 2,
        Some(_) => 1,
    };
    if let Some(moved) = arguments.get_mut(1..=ahead + verb_len) {
        moved.rotate_left(ahead);
    }
    arguments
}

/// How many words at the beginning are flags and their values.
fn count(words: &[impl AsRef<str>]) -> usize {
    let mut ahead = 0;
    while let Some(word) = words.get(ahead).map(AsRef::as_ref) {
        ahead += match word {
            flag if VALUED.contains(&flag) => 2,
            flag if SWITCHES.contains(&flag) || is_joined(flag) || has_its_value(flag) => 1,
            _ => break,
        };
    }
    ahead
}

fn is_joined(flag: &str) -> bool {
    let letters = flag.strip_prefix('-').unwrap_or_default();
    !letters.is_empty() && letters.chars().all(|letter| LETTERS.contains(letter))
}

fn has_its_value(flag: &str) -> bool {
    let is_long = flag.split_once('=').is_some_and(|(name, _)| VALUED.contains(&name));
    is_long || (flag.starts_with("-u") && flag.len() > "-u".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(line: &str) -> String {
        let arguments = line.split(' ').map(OsString::from).collect();
        behind_the_verb(arguments).join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn flags_before_the_verb_go_behind_it() {
        for (line, expected) in [
            ("triplane -i action list", "triplane action -i list"),
            ("triplane -iv --apihost http://h -u a:b list", "triplane list -iv --apihost http://h -u a:b"),
            ("triplane --auth=a:b -ua:b rule get r", "triplane rule --auth=a:b -ua:b get r"),
            ("triplane --json property get --all", "triplane property get --json --all"),
            ("triplane --apihost action namespace list", "triplane namespace --apihost action list"),
        ] {
            assert_eq!(moved(line), expected);
        }
    }

    #[test]
    fn what_is_no_flag_of_all_commands_stays_where_it_is() {
        for line in [
            "triplane",
            "triplane -i",
            "triplane --auth",
            "triplane --version",
            "triplane --help action",
            "triplane -i standalone",
            "triplane --json property",
            "triplane action -i list",
            "triplane action invoke a -p -i list",
        ] {
            assert_eq!(moved(line), line);
        }
    }
}
