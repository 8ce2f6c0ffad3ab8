//! Takes the launcher's bytes apart into frames, without holding more of a frame than its receiver wants.

use triplane_wire::framed::{BadFrame, HEADER_BYTES, Header};

/// What the bytes say, in order: a head, its payload in pieces, its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Head(Header),
    Payload(&'a [u8]),
    End,
}

/// Where in a frame the bytes are.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    head: [u8; HEADER_BYTES],
    head_bytes: usize,
    /// Of the payload, once the head is whole.
    left: Option<usize>,
}

impl Decoder {
    /// The first piece of `bytes`, which is moved on; nothing when they are used up.
    pub(crate) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Piece<'a>>, BadFrame> {
        let Some(left) = self.left else { return self.next_head(bytes) };
        if left == 0 {
            self.left = None;
            self.head_bytes = 0;
            return Ok(Some(Piece::End));
        }
        let (payload, rest) = bytes.split_at(left.min(bytes.len()));
        if payload.is_empty() {
            return Ok(None);
        }
        *bytes = rest;
        self.left = Some(left - payload.len());
        Ok(Some(Piece::Payload(payload)))
    }

    fn next_head<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<Piece<'a>>, BadFrame> {
        let (start, rest) = bytes.split_at((HEADER_BYTES - self.head_bytes).min(bytes.len()));
        self.head[self.head_bytes..self.head_bytes + start.len()].copy_from_slice(start);
        self.head_bytes += start.len();
        *bytes = rest;
        if self.head_bytes < HEADER_BYTES {
            return Ok(None);
        }
        let header = Header::decode(self.head)?;
        self.left = Some(header.payload_bytes as usize);
        Ok(Some(Piece::Head(header)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use triplane_wire::framed::FrameType;

    fn frame(kind: FrameType, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes =
            Header { kind, stream, payload_bytes: payload.len().try_into().unwrap() }.encode().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    /// The frames in bytes that come in pieces of `step`.
    fn decode(bytes: &[u8], step: usize) -> Vec<(u32, Vec<u8>)> {
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        let mut open = None;
        for mut piece in bytes.chunks(step) {
            while let Some(found) = decoder.next(&mut piece).unwrap() {
                match found {
                    Piece::Head(header) => open = Some((header.stream, Vec::new())),
                    Piece::Payload(bytes) => open.as_mut().unwrap().1.extend_from_slice(bytes),
                    Piece::End => frames.push(open.take().unwrap()),
                }
            }
        }
        frames
    }

    #[test]
    fn frames_are_the_same_however_their_bytes_come() {
        let mut bytes = frame(FrameType::Result, 1, b"\0{}");
        bytes.extend(frame(FrameType::Log, 2, b""));
        bytes.extend(frame(FrameType::Result, 3, &[7; 100]));
        let whole = decode(&bytes, bytes.len());
        assert_eq!(whole, [(1, b"\0{}".to_vec()), (2, Vec::new()), (3, vec![7; 100])]);
        for step in 1..bytes.len() {
            assert_eq!(decode(&bytes, step), whole, "in pieces of {step}");
        }
    }

    #[test]
    fn a_head_that_is_no_frame_is_refused() {
        let mut bytes: &[u8] = &[1, 0, 0, 0, 3, 0, 0, 0, 0];
        assert_eq!(Decoder::default().next(&mut bytes), Err(BadFrame::TooShort(1)));
    }
}
