//! The REST API of a platform, asked in the name of a key.

use std::path::PathBuf;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;

use super::cli::Global;
use super::failure::Failure;
use super::name::OWN;
use super::properties::Properties;
use crate::client::basic;
use crate::tls::Trust;
use crate::transport::{Address, Transport};
use crate::well_known;

const USER_AGENT: &str = concat!("triplane/", env!("CARGO_PKG_VERSION"));
/// Where `triplane standalone` listens unless it is told otherwise.
const STANDALONE: &str = "http://127.0.0.1:3233";
/// The version of the API.
const VERSION: &str = "v1";
/// How much of a body is shown with `--verbose`.
const SHOWN_BYTES_MAX: usize = 4 << 10;

/// Which platform, and in whose name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) version: String,
    pub(crate) auth: Option<String>,
    pub(crate) namespace: String,
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
}

impl Place {
    /// Flags and the environment win over the file. Where none names a platform it is the standalone one of this machine,
    /// whose guest everybody is.
    pub(crate) fn resolve(global: &Global, properties: &Properties) -> Self {
        let kept = |key: &str| properties.get(key).map(str::to_owned);
        let host = global.apihost.clone().or_else(|| kept("APIHOST"));
        let auth = global.auth.clone().or_else(|| kept("AUTH"));
        let guest = host.is_none().then(|| well_known::GUEST.to_owned());
        let file = |flag: &Option<PathBuf>, key| flag.clone().or_else(|| kept(key).map(PathBuf::from));
        Self {
            host: host.unwrap_or_else(|| STANDALONE.to_owned()),
            version: global.apiversion.clone().or_else(|| kept("APIVERSION")).unwrap_or(VERSION.to_owned()),
            auth: auth.or(guest),
            namespace: kept("NAMESPACE").unwrap_or(OWN.to_owned()),
            certificate: file(&global.cert, "CERT").zip(file(&global.key, "KEY")),
        }
    }

    /// A standalone platform, as its guest.
    pub(crate) fn guest(host: String) -> Self {
        Self {
            host,
            version: VERSION.to_owned(),
            auth: Some(well_known::GUEST.to_owned()),
            namespace: OWN.to_owned(),
            certificate: None,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Api {
    transport: Transport,
    /// `/api/v1`.
    base: String,
    auth: Option<String>,
    /// Where names without a namespace are.
    namespace: String,
    is_verbose: bool,
}

/// A success.
#[derive(Debug)]
pub(crate) struct Success {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Api {
    /// The platform of a place.
    pub(crate) fn new(place: Place, global: &Global) -> Result<Self, Failure> {
        // `wsk` means HTTPS by a host without a scheme.
        let address = Address::parse(&place.host, "https")?;
        let trust = Trust { everybody: global.insecure, identity: place.certificate };
        Ok(Self {
            transport: Transport::new(address, trust),
            base: format!("/api/{}", place.version),
            auth: place.auth,
            namespace: place.namespace,
            is_verbose: global.verbose,
        })
    }

    /// The address of the platform, with scheme.
    pub(crate) fn host(&self) -> String {
        self.transport.address().to_string()
    }

    /// Whether the platform is on this machine.
    pub(crate) fn is_here(&self) -> bool {
        self.transport.address().is_loopback()
    }

    /// The path of the API.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The namespace of names without one.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The key.
    pub(crate) fn auth(&self) -> Result<&str, Failure> {
        self.auth.as_deref().ok_or_else(|| {
            let what = "no key: name it with `triplane property set --auth KEY`, --auth or WHISK_AUTH";
            Failure::Usage(what.to_owned())
        })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.ask(Method::GET, path, None).await?.body)
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        Ok(self.ask(Method::PUT, path, Some(body)).await?.body)
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        Ok(self.ask(Method::DELETE, path, None).await?.body)
    }

    /// Asks by a path below the API, and answers a success.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Success, Failure> {
        let (status, body) = self.answer(method, path, body).await?;
        match status.is_success() {
            true => Ok(Success { status, body }),
            false => Err(Failure::refused(status, &body)),
        }
    }

    /// Asks by a path below the API, and answers whatever comes, as long as it is JSON or the text of a success.
    pub(crate) async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let mut authorization =
            HeaderValue::try_from(basic(self.auth()?)).context("the key has characters that no key has")?;
        authorization.set_sensitive(true);
        self.send(method, &format!("{}{path}", self.base), Some(authorization), body).await
    }

    /// What the platform says of itself, to anybody.
    pub(crate) async fn info(&self) -> Result<Value, Failure> {
        let (status, body) = self.send(Method::GET, &self.base, None, None).await?;
        match status.is_success() && body.is_object() {
            true => Ok(body),
            false => Err(Failure::NotOpenWhisk { status }),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        authorization: Option<HeaderValue>,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(format!("{body}\n")));
        self.show(&format!("> {method} {}{path}", self.host()), &bytes);
        let mut request = Request::builder().method(method).uri(path).header(header::USER_AGENT, USER_AGENT);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(bytes)).context("the request cannot be made")?;
        let answer = self.transport.exchange(request).await?;
        self.show(&format!("< {}", answer.status), &answer.body);
        let body = match serde_json::from_slice(&answer.body) {
            Ok(body) => body,
            Err(_) if answer.body.is_empty() => Value::Null,
            // The status of a rule is answered as a text.
            Err(_) if answer.status.is_success() => {
                Value::String(String::from_utf8_lossy(&answer.body).into_owned())
            }
            Err(_) => return Err(Failure::NotOpenWhisk { status: answer.status }),
        };
        Ok((answer.status, body))
    }

    fn show(&self, line: &str, body: &[u8]) {
        if self.is_verbose {
            let shown = &body[..body.len().min(SHOWN_BYTES_MAX)];
            let more = if shown.len() < body.len() { "..." } else { "" };
            eprintln!("{line}\n{}{more}", String::from_utf8_lossy(shown).trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(global: Global, file: &str) -> (String, Option<String>) {
        let place = Place::resolve(&global, &Properties::parse(file));
        (place.host, place.auth)
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = "APIHOST=https://file\nAUTH=file:key\n";
        let global = Global { auth: Some("flag:key".to_owned()), ..Global::default() };
        assert_eq!(resolve(global, file), ("https://file".to_owned(), Some("flag:key".to_owned())));
    }

    #[test]
    fn without_a_platform_it_is_the_standalone_one_and_its_guest() {
        let guest = (STANDALONE.to_owned(), Some(well_known::GUEST.to_owned()));
        assert_eq!(resolve(Global::default(), ""), guest);
        let mine = (STANDALONE.to_owned(), Some("my:key".to_owned()));
        assert_eq!(resolve(Global::default(), "AUTH=my:key"), mine);
    }

    #[test]
    fn the_guests_key_is_sent_to_no_platform_that_was_named() {
        assert_eq!(resolve(Global::default(), "APIHOST=example.com"), ("example.com".to_owned(), None));
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let place = |file: &str| Place::resolve(&Global::default(), &Properties::parse(file));
        assert_eq!(place("CERT=c.pem").certificate, None);
        assert_eq!(place("CERT=c.pem\nKEY=k.pem").certificate, Some(("c.pem".into(), "k.pem".into())));
    }
}
