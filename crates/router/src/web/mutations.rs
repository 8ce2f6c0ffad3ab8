//! Every parser that eats a client's bytes, or an action's, on inputs that are mutated from a corpus: nothing panics, and what is
//! promised of any input holds. The corpus is in `crates/router/corpus`, a directory for each parser; a run is
//! bounded and has a seed, which a failure prints. `TRIPLANE_SOAK=1` makes it a hundred times as long.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Uri};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::Value;
use serde_json::value::RawValue;
use triplane_model::Merge;

use super::input::WebRequest;
use super::media::MediaType;
use super::output::Page;
use super::path::{Extension, WebPath};
use super::{accept, json, vanity};

/// Inputs that are tried for each file of a corpus.
const TRIES: u64 = 2_000;
const BYTES_MAX: usize = 4 * 1024;

/// What is put into inputs, because parsers care for it.
const TOKENS: &[&str] = &[
    "/",
    "//",
    "%",
    "%2f",
    "%00",
    "?",
    "&",
    "=",
    "+",
    ";",
    ",",
    "\"",
    "\\",
    "\\u0000",
    "{",
    "}",
    "[",
    "]",
    ":",
    "null",
    "-1",
    "1e999",
    "*",
    "*/*",
    "q=0",
    "charset=",
    "__ow_body",
    "\u{0}",
    "\r\n",
    "ä",
    "\u{feff}",
    ".json",
    ".http",
    "..",
];

/// Tries a parser on each file of its corpus as it is, and on mutations of it.
fn fuzz(parser: &str, check: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(parser);
    let mut files: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let tries = if std::env::var_os("TRIPLANE_SOAK").is_some() { TRIES * 100 } else { TRIES };
    for (place, whole) in corpus.iter().enumerate() {
        check(whole);
        for seed in 0..tries {
            let mut random = SmallRng::seed_from_u64(seed);
            let input = mutated(whole, &corpus, &mut random);
            if catch_unwind(AssertUnwindSafe(|| check(&input))).is_err() {
                panic!("{}, seed {seed}: {:?}", files[place].display(), String::from_utf8_lossy(&input));
            }
        }
    }
}

/// A few changes of the kinds that find mistakes: bytes, tokens, cuts, repetitions, pieces of other inputs.
fn mutated(whole: &[u8], corpus: &[Vec<u8>], random: &mut SmallRng) -> Vec<u8> {
    let mut input = whole.to_vec();
    for _ in 0..random.random_range(1..=6) {
        let at = random.random_range(0..=input.len());
        let end = random.random_range(at..=input.len());
        match random.random_range(0..6) {
            0 => drop(input.splice(at..at, [random.random::<u8>()])),
            1 => drop(input.splice(at..at, TOKENS[random.random_range(0..TOKENS.len())].bytes())),
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = input[at..end].repeat(random.random_range(1..4));
                input.splice(at..at, piece);
            }
            4 => {
                let other = &corpus[random.random_range(0..corpus.len())];
                let from = random.random_range(0..=other.len());
                input.splice(at..end, other[from..].iter().copied());
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << (random.next_u32() % 8);
                }
            }
        }
        input.truncate(BYTES_MAX);
    }
    input
}

fn text(input: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(input)
}

#[test]
fn any_path_is_names_and_a_rest_or_nothing() {
    fuzz("path", |input| {
        let path = text(input);
        let Some(read) = WebPath::of(&path) else { return };
        assert!(path.ends_with(read.rest) && (read.rest.is_empty() || read.rest.starts_with('/')));
        assert!(WebPath::is_below(&path));
        assert!(triplane_model::EntityName::entity(read.name.name.as_str()).is_ok());
    });
}

#[test]
fn any_host_and_path_make_a_path_below_the_web_or_stay() {
    fuzz("host", |input| {
        let (host, path) = input.split_at(input.iter().position(|byte| *byte == b'/').unwrap_or(input.len()));
        let (Ok(host), Ok(uri)) = (HeaderValue::from_bytes(host), Uri::try_from(path)) else { return };
        let request = http::Request::get(uri.clone()).header(HOST, host).body(());
        let Ok((mut parts, ())) = request.map(http::Request::into_parts) else { return };
        vanity::enter(&mut parts, &["localhost".to_owned()]);
        assert!(parts.uri == uri || WebPath::is_below(parts.uri.path()), "{}", parts.uri);
    });
}

#[test]
fn any_media_type_is_read_again_as_it_was_printed() {
    fuzz("media-type", |input| {
        let value = text(input);
        let Some(media) = MediaType::parse(&value) else { return };
        let printed = media.in_utf_8();
        let again = MediaType::parse(&printed).unwrap_or_else(|| panic!("{printed:?} is no media type"));
        assert_eq!((again.essence(), again.is_text()), (media.essence(), media.is_text()));
        assert!(HeaderValue::try_from(&*printed).is_ok());
    });
}

#[test]
fn whatever_is_accepted_is_told_without_a_doubt() {
    fuzz("accept", |input| {
        let Ok(value) = HeaderValue::from_bytes(input) else { return };
        let mut headers = HeaderMap::from_iter([(ACCEPT, value)]);
        let is_accepted = accept::accepts(&headers, "text/html");
        headers.append(ACCEPT, HeaderValue::from_static("???"));
        assert_eq!(
            accept::accepts(&headers, "text/html"),
            is_accepted,
            "what cannot be read changes nothing"
        );
        headers.append(ACCEPT, HeaderValue::from_static("TEXT/html"));
        assert!(accept::accepts(&headers, "text/html"), "who names it takes it");
    });
}

#[test]
fn any_query_and_body_make_an_object_or_a_refusal() {
    let parameters =
        serde_json::from_str(r#"[{"key":"default","value":1},{"key":"fixed","value":2}]"#).unwrap();
    let merge = Merge::new(&parameters, |key| key == "fixed");
    fuzz("request", |input| {
        // The first line is the content type, the second the query, the rest the body.
        let mut lines = input.splitn(3, |byte| *byte == b'\n');
        let (media, query) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let body = lines.next().unwrap_or_default();
        let Ok(media) = HeaderValue::from_bytes(media) else { return };
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, media)]);
        let query = text(query);
        let request = WebRequest {
            method: &Method::POST,
            headers: &headers,
            rest: "/rest",
            query: Some(&query),
            user: None,
            body,
        };
        match request.input(&merge) {
            Ok(made) => is_whole(&made),
            Err(refused) => assert_eq!(refused.status, 400),
        }
        let raw = request.raw_input(&merge).unwrap();
        is_whole(&raw);
        let query = json::quoted(&query);
        assert_eq!(fields(&raw)["__ow_query"].get(), query);
    });
}

/// What is set by the platform and for good is what it was, whatever the client sent.
fn is_whole(input: &[u8]) {
    let fields = fields(input);
    for (key, value) in [("__ow_method", r#""post""#), ("__ow_path", r#""/rest""#), ("fixed", "2")] {
        assert_eq!(fields[key].get(), value);
    }
    assert!(fields.contains_key("__ow_headers") && !fields.contains_key("__ow_user"));
}

/// The members of an object, whose values may be too large for this process, such as 1e999.
fn fields(object: &[u8]) -> HashMap<String, Box<RawValue>> {
    serde_json::from_slice(object).unwrap()
}

#[test]
fn any_result_is_a_page_or_an_error() {
    fuzz("result", |input| {
        // What is no JSON, or too deep for this test's own reader, never comes from a proxy.
        let Ok(result) = serde_json::from_slice::<&RawValue>(input) else { return };
        let result = result.get();
        for extension in [Extension::Http, Extension::Json, Extension::Html, Extension::Svg, Extension::Text]
        {
            match Page::of(result, extension, &HeaderMap::new()) {
                Ok(page) => {
                    assert!(page.status.as_u16() >= 200);
                    assert!(page.body.is_empty() || page.headers.contains_key(CONTENT_TYPE));
                    assert!(!page.headers.contains_key("content-length"));
                }
                Err(error) => assert!(matches!(error.status, 400 | 404), "{error}"),
            }
        }
        let Ok(value) = serde_json::from_str::<Value>(result) else { return };
        let laid_out = json::pretty(result);
        assert_eq!(serde_json::from_str::<Value>(&laid_out).unwrap(), value);
    });
}
