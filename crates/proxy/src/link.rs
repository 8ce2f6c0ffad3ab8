//! How calls reach the runtime: what is written for init and for a run, and where to.

use std::io;

use bytes::Bytes;
use triplane_core::pool::message::ContainerSpec;
use triplane_model::activation::text;
use triplane_wire::framed::{FrameType, Header};
use triplane_wire::run::RunRequest;

use crate::message::{Messages, RunFrame};
use crate::outbox::{Outbox, Written};
use crate::outcome::Outcome;
use crate::runtime::CodeMount;

/// The way to a runtime.
#[derive(Debug)]
pub(crate) enum Link {
    /// A launcher at the other end of a socket.
    Framed(Framed),
}

/// The way to a launcher.
#[derive(Debug)]
pub(crate) struct Framed {
    pub(crate) outbox: Outbox,
    /// Where the launcher finds the action's code.
    pub(crate) code: CodeMount,
}

impl Link {
    pub(crate) fn framed(&self) -> Option<&Framed> {
        match self {
            Self::Framed(framed) => Some(framed),
        }
    }

    /// Why init cannot succeed, if that is known beforehand.
    pub(crate) fn fault(&self) -> Option<Outcome> {
        match self {
            Self::Framed(Framed { code, .. }) => {
                let fault = code.fault.as_ref()?;
                Some(Outcome::developer_error(&text::init_failed_due_to(fault)))
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
        match self {
            Self::Framed(Framed { code, .. }) => messages.init(spec, code, request, deadline_ms).into(),
        }
    }

    /// Sends what [`Link::init`] made. On an error the runtime has not got it.
    pub(crate) fn send_init(&self, payload: Bytes) -> io::Result<Written> {
        match self {
            Self::Framed(Framed { outbox, .. }) => {
                let payload_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                let header = Header { kind: FrameType::Init, stream: 0, payload_bytes }.encode();
                outbox.send(&header, payload, b"")
            }
        }
    }

    /// Sends a run. On an error the runtime has not got the whole of it.
    pub(crate) fn send_run(&self, frame: RunFrame) -> io::Result<Written> {
        match self {
            Self::Framed(Framed { outbox, .. }) => {
                outbox.send(&frame.head, frame.parameters, frame.tail.as_bytes())
            }
        }
    }
}
