//! The documents of a CouchDB, one after the other: from its answer to `_all_docs` in a file, or from the database itself. One
//! document is in memory at a time.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::client::percent_encode;
use crate::tls::Tls;

/// The longest document: code of 48 MB in base64 twice over, with room for the rest.
const DOCUMENT_BYTES_MAX: u64 = 128 << 20;
/// Documents that a database is asked for at a time.
const PAGE: usize = 100;
/// How long a database may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Pieces of an answer that wait to be read.
const PIECES_MAX: usize = 4;

/// A document as it was written, or why there are no more.
pub(super) type Found = anyhow::Result<Box<RawValue>>;

/// Opens a source. The documents come through the channel; when it is dropped, no more are read.
pub(super) fn open(source: &str) -> anyhow::Result<mpsc::Receiver<Found>> {
    let (sender, found) = mpsc::channel(1);
    match source.starts_with("http://") || source.starts_with("https://") {
        true => {
            let database = Database::at(source)?;
            tokio::spawn(async move {
                if let Err(error) = database.read(&sender).await {
                    drop(sender.send(Err(error)).await);
                }
            });
        }
        false => {
            let path = PathBuf::from(source);
            tokio::task::spawn_blocking(move || {
                if let Err(error) = read_file(&path, &sender) {
                    drop(sender.blocking_send(Err(error)));
                }
            });
        }
    }
    Ok(found)
}

fn read_file(path: &Path, sender: &mpsc::Sender<Found>) -> anyhow::Result<()> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let send = |row: Row| row.doc.is_none_or(|document| sender.blocking_send(Ok(document)).is_ok());
    let read = read_rows(file, send);
    read.with_context(|| format!("{} is no answer of _all_docs", path.display())).map(drop)
}

/// What the rows of `_all_docs` are.
#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    doc: Option<Box<RawValue>>,
}

/// What was read of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
struct PageRead {
    rows: usize,
    last_id: Option<String>,
}

/// Reads `{"rows": [{"id": ..., "doc": {...}}, ...]}`, row by row, as long as `take` says so.
fn read_rows(source: impl Read, take: impl FnMut(Row) -> bool) -> anyhow::Result<PageRead> {
    let since = Rc::<Cell<u64>>::default();
    let bounded = Bounded { source: BufReader::new(source), since: Rc::clone(&since) };
    let mut input = serde_json::Deserializer::from_reader(bounded);
    let mut rows = Rows { take, since, read: PageRead::default(), is_wanted: true };
    input.deserialize_map(&mut rows)?;
    Ok(rows.read)
}

/// Counts what is read since the last row, and stops at a row that is too long.
struct Bounded<R> {
    source: R,
    since: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.since.set(self.since.get() + read as u64);
        match self.since.get() > DOCUMENT_BYTES_MAX {
            true => Err(io::Error::other(format!("a document is longer than {DOCUMENT_BYTES_MAX} bytes"))),
            false => Ok(read),
        }
    }
}

struct Rows<F> {
    take: F,
    since: Rc<Cell<u64>>,
    read: PageRead,
    is_wanted: bool,
}

impl<'de, F: FnMut(Row) -> bool> Visitor<'de> for &mut Rows<F> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the answer of _all_docs, an object with rows")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let mut has_rows = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "rows" {
                has_rows = true;
                map.next_value_seed(Array(&mut *self))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if has_rows { Ok(()) } else { Err(serde::de::Error::missing_field("rows")) }
    }
}

struct Array<'a, F>(&'a mut Rows<F>);

impl<'de, F: FnMut(Row) -> bool> DeserializeSeed<'de> for Array<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Row) -> bool> Visitor<'de> for Array<'_, F> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("rows")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut rows: S) -> Result<(), S::Error> {
        let Self(to) = self;
        while let Some(row) = rows.next_element::<Row>()? {
            to.since.set(0);
            to.read.rows += 1;
            to.read.last_id.clone_from(&row.id);
            to.is_wanted = to.is_wanted && (to.take)(row);
            if !to.is_wanted {
                return Err(serde::de::Error::custom("nobody wants the rest"));
            }
        }
        Ok(())
    }
}

/// A database that is read page by page.
struct Database {
    uri: Uri,
    authorization: Option<String>,
}

impl Database {
    fn at(address: &str) -> anyhow::Result<Self> {
        let uri: Uri = address.trim_end_matches('/').parse().context("the address is none")?;
        let authority = uri.authority().context("the address has no host")?;
        if uri.path().len() < 2 {
            bail!("the address names no database: http://[user:password@]host:port/name");
        }
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let authorization = user.map(|user| format!("Basic {}", STANDARD.encode(decoded(user))));
        Ok(Self { uri, authorization })
    }

    async fn read(&self, sender: &mpsc::Sender<Found>) -> anyhow::Result<()> {
        let mut after: Option<String> = None;
        loop {
            let from = after.as_ref().map(|id| {
                let key = serde_json::to_string(id).unwrap_or_default();
                format!("&startkey={}&skip=1", percent_encode(&key))
            });
            let query =
                format!("include_docs=true&attachments=true&limit={PAGE}{}", from.unwrap_or_default());
            let pieces = self.get(&query).await?;
            let to = sender.clone();
            let page = tokio::task::spawn_blocking(move || {
                let send = |row: Row| row.doc.is_none_or(|document| to.blocking_send(Ok(document)).is_ok());
                read_rows(Pieces { pieces, current: Bytes::new() }, send)
            });
            let PageRead { rows, last_id } = page.await?.context("the database answered nonsense")?;
            if rows < PAGE || last_id.is_none() {
                return Ok(());
            }
            after = last_id;
        }
    }

    /// Asks for a page; its pieces come through the channel.
    async fn get(&self, query: &str) -> anyhow::Result<mpsc::Receiver<io::Result<Bytes>>> {
        let host = self.uri.host().unwrap_or_default();
        let is_secure = self.uri.scheme_str() == Some("https");
        let port = self.uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let mut request = Request::get(format!("{}/_all_docs?{query}", self.uri.path()))
            .header(header::HOST, format!("{host}:{port}"))
            .header(header::ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let silent = || format!("{host}:{port} does not answer");
        let answer = tokio::time::timeout(SILENCE_MAX, async {
            let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
            match is_secure {
                true => exchange(Tls::default().connect(host, stream).await?, request).await,
                false => exchange(stream, request).await,
            }
        });
        let answer = answer.await.with_context(silent)?.with_context(silent)?;
        if !answer.status().is_success() {
            bail!("{host}:{port} answered {} to _all_docs", answer.status());
        }
        Ok(pieces(answer.into_body()))
    }
}

async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> anyhow::Result<http::Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

fn pieces(mut body: Incoming) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    tokio::spawn(async move {
        loop {
            let piece = match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
                Ok(None) => return,
                Ok(Some(Ok(frame))) => Ok(frame.into_data().unwrap_or_default()),
                Ok(Some(Err(error))) => Err(io::Error::other(error)),
                Err(_) => Err(io::Error::other("the database fell silent")),
            };
            let is_last = piece.is_err();
            if sender.send(piece).await.is_err() || is_last {
                return;
            }
        }
    });
    pieces
}

/// The pieces of an answer, for a reader that blocks.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.current = piece?,
            }
        }
        let read = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..read]);
        Ok(read)
    }
}

/// A text without percent signs (RFC 3986, 2.1).
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'%' => {
                let value = digit(bytes.next()).zip(digit(bytes.next()));
                plain.extend(value.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()));
            }
            byte => plain.push(byte),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(json: &str) -> Result<Vec<String>, String> {
        let mut documents = Vec::new();
        let take = |row: Row| {
            documents.extend(row.doc.map(|document| document.get().to_owned()));
            true
        };
        read_rows(json.as_bytes(), take).map_err(|error| error.to_string())?;
        Ok(documents)
    }

    #[test]
    fn documents_come_as_they_were_written_and_rows_without_one_are_passed_over() {
        let json = r#"{"total_rows":3,"rows":[{"id":"a","value":{"rev":"1"},"doc":{"n": 1.50}},
            {"key":"gone","error":"not_found"},{"id":"b","doc":null},{"id":"c","doc":{"_id":"c"}}],"offset":0}"#;
        assert_eq!(rows(json).unwrap(), [r#"{"n": 1.50}"#, r#"{"_id":"c"}"#]);
    }

    #[test]
    fn what_is_no_answer_of_a_database_is_refused() {
        for json in ["", "[]", "{}", r#"{"rows":1}"#, r#"{"rows":[{"doc":{}]}"#] {
            assert!(rows(json).is_err(), "{json}");
        }
    }

    #[test]
    fn reading_ends_when_nobody_wants_more() {
        let mut taken = 0;
        let json = format!("{{\"rows\":[{}]}}", [r#"{"doc":{}}"#; 5].join(","));
        let read = read_rows(json.as_bytes(), |_| {
            taken += 1;
            taken < 2
        });
        assert!(read.is_err());
        assert_eq!(taken, 2);
    }

    #[test]
    fn a_database_has_a_name_and_its_user_is_not_in_the_request() {
        let database = Database::at("http://me:p%40ss@localhost:5984/whisk_local_subjects/").unwrap();
        assert_eq!(database.authorization.as_deref(), Some("Basic bWU6cEBzcw=="));
        assert_eq!((database.uri.path(), database.uri.host()), ("/whisk_local_subjects", Some("localhost")));
        assert!(Database::at("http://localhost:5984/").is_err());
    }
}
