//! What a client accepts (RFC 9110, 12.5.1).

use http::HeaderMap;
use http::header::ACCEPT;

use super::media::{is_token, split_unquoted};

/// How closely a range names a media type; the closest decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Any,
    Main,
    Exact,
}

/// Whether a client takes a media type, named by its essence. Who says nothing, or nothing that can be read, takes all.
pub(crate) fn accepts(headers: &HeaderMap, essence: &str) -> bool {
    let mut says_something = false;
    let mut closest = None;
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| split_unquoted(value, ',')) {
        let Some((range, is_taken)) = read(range) else { continue };
        says_something = true;
        let Some(closeness) = closeness(range, essence) else { continue };
        closest = closest.max(Some((closeness, is_taken)));
    }
    closest.map_or(!says_something, |(_, is_taken)| is_taken)
}

/// A range, and whether its weight is more than zero.
fn read(range: &str) -> Option<(&str, bool)> {
    let mut parts = split_unquoted(range, ';').map(str::trim);
    let range = parts.next()?;
    let (main, sub) = range.split_once('/').unwrap_or((range, "*"));
    if !is_token(main) || !is_token(sub) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((range, weight.is_none_or(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0))))
}

fn closeness(range: &str, essence: &str) -> Option<Closeness> {
    if range == "*/*" || range == "*" {
        return Some(Closeness::Any);
    }
    if range.eq_ignore_ascii_case(essence) {
        return Some(Closeness::Exact);
    }
    let (main, _) = essence.split_once('/')?;
    range.strip_suffix("/*").filter(|range| range.eq_ignore_ascii_case(main)).map(|_| Closeness::Main)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(values: &[&str], essence: &str) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        accepts(&headers, essence)
    }

    #[test]
    fn ranges_are_matched_and_the_closest_decides() {
        for (value, expected) in [
            ("*/*", true),
            ("*", true),
            ("text/*", true),
            ("TEXT/HTML", true),
            ("text/html;level=1", true),
            ("application/json", false),
            ("application/json, text/html;q=0.1", true),
            ("text/html;q=0, */*", false),
            ("text/*;q=0, text/html", true),
            ("text/*;q=0, */*;q=1", false),
            ("image/avif,image/webp,*/*;q=0.8", true),
            ("text/html;q=0.000", false),
        ] {
            assert_eq!(accepted(&[value], "text/html"), expected, "{value}");
        }
        assert!(accepted(&["application/json", "text/html"], "text/html"), "several headers are one");
    }

    #[test]
    fn who_says_nothing_takes_all() {
        assert!(accepted(&[], "text/html"));
        for value in ["", ",", "???", "text/ html/"] {
            assert!(accepted(&[value], "text/html"), "{value}");
        }
    }
}
