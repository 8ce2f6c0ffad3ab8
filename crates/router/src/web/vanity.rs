//! Host names of namespaces (openwhisk-api.md 6.5): `NS.HOST/x` is `/api/v1/web/NS/x`, and `NS.HOST/` the page
//! `public/index.html` of the namespace.

use http::Uri;
use http::header::HOST;
use http::request::Parts;

/// What a namespace shows to those who name nothing else.
const INDEX: &str = "/public/index.html";

/// Makes a request to the host name of a namespace, below one of `hosts`, one to the web actions of that namespace; others
/// stay what they are. Nothing else of the platform is reached through such a name.
pub(crate) fn enter(parts: &mut Parts, hosts: &[String]) {
    if hosts.is_empty() {
        return;
    }
    let Some(namespace) = host(parts).and_then(|host| namespace(host, hosts)) else { return };
    let path = Some(parts.uri.path()).filter(|path| *path != "/").unwrap_or(INDEX);
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let rewritten = format!("/api/v1/web/{namespace}{path}{query}");
    // Of characters that were in a URI before: this cannot fail.
    if let Ok(uri) = Uri::try_from(rewritten) {
        parts.uri = uri;
    }
}

/// The host that a request names, without its port.
fn host(parts: &Parts) -> Option<&str> {
    if let Some(host) = parts.uri.host() {
        return Some(host);
    }
    let host = parts.headers.get(HOST)?.to_str().ok()?;
    Some(host.rsplit_once(':').map_or(host, |(host, _)| host))
}

/// The label before the name of the API's host.
fn namespace<'a>(host: &'a str, hosts: &[String]) -> Option<&'a str> {
    let (label, parent) = host.split_once('.')?;
    let is_label =
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (is_label && hosts.iter().any(|host| host.eq_ignore_ascii_case(parent))).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(host: &str, path: &str) -> String {
        let request = http::Request::get(path).header(HOST, host).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        enter(&mut parts, &["api.example.org".to_owned(), "localhost".to_owned()]);
        parts.uri.to_string()
    }

    #[test]
    fn a_host_name_of_a_namespace_leads_to_its_web_actions() {
        for (host, path, expected) in [
            ("ns.api.example.org", "/pkg/a.json/b?c=d%20", "/api/v1/web/ns/pkg/a.json/b?c=d%20"),
            ("my-NS9.LOCALHOST:3233", "/default/a", "/api/v1/web/my-NS9/default/a"),
            ("ns.localhost", "/", "/api/v1/web/ns/public/index.html"),
            ("ns.localhost", "/?a=b", "/api/v1/web/ns/public/index.html?a=b"),
            ("ns.localhost", "/api/v1/namespaces", "/api/v1/web/ns/api/v1/namespaces"),
        ] {
            assert_eq!(entered(host, path), expected, "{host}{path}");
        }
        let absolute = entered("ignored", "http://ns.localhost/default/a");
        assert_eq!(absolute, "/api/v1/web/ns/default/a", "the host of the request line counts");
    }

    #[test]
    fn other_host_names_lead_nowhere_else() {
        for host in
            ["localhost", "a.b.localhost", "n_s.localhost", ".localhost", "ns.example.org", "ns", "[::1]:80"]
        {
            assert_eq!(entered(host, "/default/a"), "/default/a", "{host}");
        }
        let (mut parts, ()) =
            http::Request::get("/a").header(HOST, "ns.localhost").body(()).unwrap().into_parts();
        enter(&mut parts, &[]);
        assert_eq!(parts.uri, "/a", "it is off by default");
    }
}
