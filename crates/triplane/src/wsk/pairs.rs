//! Parameters and annotations on the command line: `-p KEY VALUE` and `-P FILE`, as often as wanted; later ones win.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Map, Value, json};

use super::failure::Failure;

/// The largest file with parameters: a platform takes 1 MB, and says so itself.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What was given, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pairs(Vec<Given>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Given {
    Pair(String, String),
    File(PathBuf),
}

impl Pairs {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The object that they are. Files are read now.
    pub(crate) async fn object(&self) -> Result<Map<String, Value>, Failure> {
        let mut object = Map::new();
        for given in &self.0 {
            match given {
                Given::Pair(key, text) => {
                    object.insert(key.clone(), value(text));
                }
                Given::File(path) => object.extend(read(path).await?),
            }
        }
        Ok(object)
    }

    /// The same as OpenWhisk keeps them: an array of keys and values.
    pub(crate) async fn array(&self) -> Result<Vec<Value>, Failure> {
        let pairs = self.object().await?.into_iter();
        Ok(pairs.map(|(key, value)| json!({"key": key, "value": value})).collect())
    }
}

/// JSON where the text is JSON, else the text: `3` is a number and `three` is a string, as with `wsk`.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

async fn read(path: &Path) -> Result<Map<String, Value>, Failure> {
    let unreadable = |why: String| Failure::Usage(format!("{} cannot be used: {why}", path.display()));
    let metadata = tokio::fs::metadata(path).await.map_err(|error| unreadable(error.to_string()))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(unreadable(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    let bytes = tokio::fs::read(path).await.map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(format!("it is no JSON object: {error}")))
}

/// The flags of one sort of pairs.
struct Flags {
    pair: &'static str,
    pair_short: char,
    pair_help: &'static str,
    /// The flag that names a file, its letter and what it is for.
    file: Option<(&'static str, char, &'static str)>,
}

impl Flags {
    fn augment(&self, command: Command) -> Command {
        let pair = Arg::new(self.pair).long(self.pair).short(self.pair_short).help(self.pair_help);
        let pair = pair.num_args(2).value_names(["KEY", "VALUE"]).action(ArgAction::Append);
        let command = command.arg(pair.allow_hyphen_values(true));
        let Some((file, short, help)) = self.file else { return command };
        let file = Arg::new(file).long(file).short(short).help(help).value_name("FILE");
        command.arg(file.action(ArgAction::Append).value_parser(clap::value_parser!(PathBuf)))
    }

    /// Pairs and files in the order of the command line.
    fn gather(&self, matches: &ArgMatches) -> Pairs {
        let places = matches.indices_of(self.pair).into_iter().flatten();
        let texts = matches.get_many::<String>(self.pair).into_iter().flatten();
        let texts: Vec<_> = places.zip(texts).collect();
        let pairs = texts.chunks_exact(2).map(|two| {
            let [(place, key), (_, text)] = two else { unreachable!("chunks of two") };
            (*place, Given::Pair((*key).clone(), (*text).clone()))
        });
        let mut given: Vec<_> = pairs.collect();
        if let Some((file, ..)) = self.file {
            let places = matches.indices_of(file).into_iter().flatten();
            let paths = matches.get_many::<PathBuf>(file).into_iter().flatten();
            given.extend(places.zip(paths).map(|(place, path)| (place, Given::File(path.clone()))));
        }
        given.sort_by_key(|(place, _)| *place);
        Pairs(given.into_iter().map(|(_, given)| given).collect())
    }
}

/// Makes a type of the pairs that some flags give.
macro_rules! pairs {
    ($(#[$doc:meta])* $name:ident, $flags:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub(crate) struct $name(pub(crate) Pairs);

        impl Args for $name {
            fn augment_args(command: Command) -> Command {
                const { $flags }.augment(command)
            }

            fn augment_args_for_update(command: Command) -> Command {
                Self::augment_args(command)
            }
        }

        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(const { $flags }.gather(matches)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0 = const { $flags }.gather(matches);
                Ok(())
            }
        }
    };
}

pairs!(
    /// `-p`, `-P`.
    Parameters,
    Flags {
        pair: "param",
        pair_short: 'p',
        pair_help: "A parameter; its value is JSON, or else a string",
        file: Some(("param-file", 'P', "A file with parameters, as a JSON object")),
    }
);
pairs!(
    /// `-a`, `-A`.
    Annotations,
    Flags {
        pair: "annotation",
        pair_short: 'a',
        pair_help: "An annotation; its value is JSON, or else a string",
        file: Some(("annotation-file", 'A', "A file with annotations, as a JSON object")),
    }
);
pairs!(
    /// `-F`.
    FeedParameters,
    Flags { pair: "feed-param", pair_short: 'F', pair_help: "A parameter of the feed", file: None }
);
pairs!(
    /// `-T`.
    TriggerParameters,
    Flags { pair: "trigger-param", pair_short: 'T', pair_help: "A parameter of the trigger", file: None }
);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        parameters: Parameters,
        #[command(flatten)]
        annotations: Annotations,
    }

    async fn object(line: &[&str]) -> Result<Value, Failure> {
        let line = Line::try_parse_from([&["test"], line].concat()).unwrap();
        assert!(line.annotations.0.is_empty());
        line.parameters.0.object().await.map(Value::Object)
    }

    #[tokio::test]
    async fn a_value_is_json_or_else_a_string() {
        for (text, expected) in [
            ("3", json!(3)),
            ("three", json!("three")),
            ("\"3\"", json!("3")),
            ("true", json!(true)),
            ("{\"a\": [1]}", json!({"a": [1]})),
            ("{broken", json!("{broken")),
            ("", json!("")),
            ("-1", json!(-1)),
            ("--flag", json!("--flag")),
            ("null", Value::Null),
        ] {
            assert_eq!(object(&["-p", "key", text]).await.unwrap(), json!({"key": expected}), "{text}");
        }
    }

    #[tokio::test]
    async fn of_pairs_and_files_the_later_one_wins() {
        let file = std::env::temp_dir().join(format!("triplane-pairs-{}", std::process::id()));
        std::fs::write(&file, r#"{"a": "file", "b": "file"}"#).unwrap();
        let path = file.to_str().unwrap();
        let given = object(&["-p", "a", "1", "-P", path, "--param", "b", "2"]).await.unwrap();
        assert_eq!(given, json!({"a": "file", "b": 2}));
        std::fs::remove_file(&file).unwrap();
        let error = object(&["-P", path]).await.unwrap_err().to_string();
        assert!(error.contains("cannot be used"), "{error}");
    }

    #[test]
    fn a_key_without_a_value_is_a_mistake() {
        assert!(Line::try_parse_from(["test", "-p", "key"]).is_err());
    }
}
