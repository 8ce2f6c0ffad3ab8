//! How calls reach the runtime: what is sent for init and for a run, and where to.

use std::io;

use bytes::Bytes;
use tokio::sync::mpsc;
use triplane_core::pool::message::ContainerSpec;
use triplane_model::activation::text;
use triplane_wire::framed::{FrameType, HEADER_BYTES, Header};
use triplane_wire::run::RunRequest;

use crate::http::exchange::Exchange;
use crate::message::{Messages, RunFrame};
use crate::outbox::{Outbox, Written};
use crate::outcome::Outcome;
use crate::runtime::{CodeMount, HttpCode, HttpFault};

/// The way to a runtime.
#[derive(Debug)]
pub(crate) enum Link {
    /// A launcher at the other end of a socket.
    Framed(Framed),
    /// A container that serves `/init` and `/run`.
    Http(Http),
}

/// The way to a launcher.
#[derive(Debug)]
pub(crate) struct Framed {
    pub(crate) outbox: Outbox,
    /// Where the launcher finds the action's code.
    pub(crate) code: CodeMount,
}

/// The way to a container: its pump performs the requests. What waits there is bounded by the permits.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) requests: mpsc::UnboundedSender<Exchange>,
    pub(crate) code: HttpCode,
}

/// Why no call can be run, known beforehand.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) outcome: Outcome,
    /// Whether it counts as a failed init; else there was no runtime to be initialised.
    pub(crate) of_init: bool,
}

impl Link {
    pub(crate) fn framed(&self) -> Option<&Framed> {
        match self {
            Self::Framed(framed) => Some(framed),
            Self::Http(_) => None,
        }
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        match self {
            Self::Framed(Framed { code, .. }) => {
                let outcome = Outcome::developer_error(&text::init_failed_due_to(code.fault.as_ref()?));
                Some(Fault { outcome, of_init: true })
            }
            Self::Http(Http { code, .. }) => {
                let outcome = match code.fault.as_ref()? {
                    HttpFault::Action(text) => Outcome::developer_error(text),
                    HttpFault::Platform(text) => Outcome::whisk_error(text),
                };
                Some(Fault { outcome, of_init: false })
            }
        }
    }

    /// What the runtime is told at init.
    pub(crate) fn init(
        &self,
        messages: &Messages,
        spec: &ContainerSpec,
        request: &RunRequest,
        deadline_ms: u64,
    ) -> Bytes {
        let payload = match self {
            Self::Framed(Framed { code, .. }) => messages.init(spec, code, request, deadline_ms),
            Self::Http(Http { code, .. }) => messages.http_init(spec, code, request, deadline_ms),
        };
        payload.into()
    }

    /// Sends what [`Link::init`] made. On an error the runtime has not got it.
    pub(crate) fn send_init(&self, payload: Bytes) -> io::Result<Written> {
        match self {
            Self::Framed(Framed { outbox, .. }) => {
                let payload_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                let header = Header { kind: FrameType::Init, stream: 0, payload_bytes }.encode();
                outbox.send(&header, payload, b"")
            }
            Self::Http(http) => http.send(Exchange { stream: 0, body: payload }),
        }
    }

    /// Sends a run. On an error the runtime has not got the whole of it.
    pub(crate) fn send_run(&self, stream: u32, frame: RunFrame) -> io::Result<Written> {
        let RunFrame { head, parameters, tail } = frame;
        match self {
            Self::Framed(Framed { outbox, .. }) => outbox.send(&head, parameters, tail.as_bytes()),
            Self::Http(http) => {
                let body = [&head[HEADER_BYTES..], &parameters, tail.as_bytes()].concat().into();
                http.send(Exchange { stream, body })
            }
        }
    }
}

impl Http {
    /// Hands a request to the pump; an error when that has ended.
    fn send(&self, exchange: Exchange) -> io::Result<Written> {
        self.requests.send(exchange).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(Written::All)
    }
}
