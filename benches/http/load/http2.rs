//! HTTP/2 as the generator speaks it (RFC 9113): windows that never close, one block of fields that the tables know.

use std::time::Instant;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
/// The largest window there is (RFC 9113, 6.9.1).
const WINDOW: u32 = 0x7fff_ffff;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

pub(super) struct Http2 {
    body: usize,
    streams: usize,
    open: Vec<Stream>,
    next: u32,
    /// The start of a frame.
    part: Vec<u8>,
    /// Bytes of bodies since the connection's window was opened again.
    taken: u32,
}

struct Stream {
    id: u32,
    begun: Instant,
    is_answered: bool,
    left: usize,
}

impl Http2 {
    pub(super) fn new(body: usize, streams: usize, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(PREFACE);
        // ENABLE_PUSH 0, INITIAL_WINDOW_SIZE.
        let [a, b, c, d] = WINDOW.to_be_bytes();
        frame(out, SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 0, 0, 4, a, b, c, d]);
        frame(out, WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes());
        Self { body, streams, open: Vec::with_capacity(streams), next: 1, part: Vec::new(), taken: 0 }
    }

    pub(super) fn free(&self) -> usize {
        self.streams - self.open.len()
    }

    /// The first request puts path and name into the table, the others refer to it, as those of a browser do (RFC 7541, 6.2.1).
    pub(super) fn ask(&mut self, begun: Instant, name: &str, out: &mut Vec<u8>) {
        if self.next == 1 {
            let path = format!("/b/{}", self.body);
            let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
            let block = [&[0x82, 0x87, 0x44][..], &text(&path), &[0x41], &text(name)].concat();
            frame(out, HEADERS, END_STREAM | END_HEADERS, self.next, &block);
        } else {
            frame(out, HEADERS, END_STREAM | END_HEADERS, self.next, &[0x82, 0x87, 0xbf, 0xbe]);
        }
        self.open.push(Stream { id: self.next, begun, is_answered: false, left: self.body });
        self.next += 2;
    }

    pub(super) fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>, done: &mut Vec<Instant>) {
        let mut part = std::mem::take(&mut self.part);
        part.extend_from_slice(bytes);
        let mut rest = &part[..];
        while let Some((head, after)) = rest.split_first_chunk::<FRAME_HEAD>() {
            let [l0, l1, l2, kind, flags, id @ ..] = *head;
            let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
            let Some(payload) = after.get(..length) else { break };
            self.take(kind, flags, u32::from_be_bytes(id), payload, out, done);
            rest = &after[length..];
        }
        let used = part.len() - rest.len();
        part.drain(..used);
        self.part = part;
    }

    fn take(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8], out: &mut Vec<u8>, done: &mut Vec<Instant>) {
        match kind {
            DATA | HEADERS => {
                assert_eq!(flags & (PADDED | PRIORITY), 0, "not understood here");
                let place = self.open.iter().position(|stream| stream.id == id).expect("a stream of ours");
                let stream = &mut self.open[place];
                if kind == DATA {
                    stream.left = stream.left.checked_sub(payload.len()).expect("no more than was asked for");
                    self.taken += u32::try_from(payload.len()).unwrap();
                } else {
                    // After a change of the table's size, `:status 200` is one byte (RFC 7541, appendix A).
                    let status = payload.iter().find(|byte| *byte & 0xe0 != 0x20);
                    assert_eq!(status, Some(&0x88), "a request failed");
                    stream.is_answered = true;
                }
                if flags & END_STREAM != 0 {
                    let stream = self.open.swap_remove(place);
                    assert!(stream.is_answered && stream.left == 0, "an answer is not complete");
                    done.push(stream.begun);
                }
                if self.taken > WINDOW / 2 {
                    frame(out, WINDOW_UPDATE, 0, 0, &self.taken.to_be_bytes());
                    self.taken = 0;
                }
            }
            SETTINGS if flags & ACK == 0 => frame(out, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => frame(out, PING, ACK, 0, payload),
            SETTINGS | PING | WINDOW_UPDATE => {}
            kind => panic!("a frame of type {kind}: the proxy gives up"),
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(payload);
}
