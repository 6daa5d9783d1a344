//! Follows the frames in a stream of bytes (RFC 9113, 4.1): where each begins, of which kind it is, where the next one begins.
//!
//! It looks at bytes that h2 decodes as well. Nothing is kept but a head of nine bytes; payloads are skipped, not copied. Pure: any
//! bytes, in any pieces.

/// What a client says before its first frame (RFC 9113, 3.4).
const PREFACE_BYTES: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
/// Bytes before a frame's payload.
const HEAD_BYTES: usize = 9;

/// The place in the bytes of one direction.
#[derive(Debug, Clone)]
pub struct Frames {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that have been seen.
    known: usize,
    /// Bytes of the payload, or of the preface, that are still to come.
    left: usize,
}

/// A frame whose head has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Bytes of its payload.
    pub length: u32,
    /// What it is for.
    pub kind: Kind,
    /// What they mean depends on the kind.
    pub flags: u8,
    /// The stream that it is about; 0: the connection.
    pub stream: u32,
}

/// What a frame is for (RFC 9113, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// DATA.
    Data,
    /// HEADERS.
    Headers,
    /// RST_STREAM.
    ResetStream,
    /// SETTINGS.
    Settings,
    /// GOAWAY.
    GoAway,
    /// CONTINUATION.
    Continuation,
    /// PRIORITY, PING, WINDOW_UPDATE, and what is not known: nothing of a message.
    Other,
}

impl Frame {
    /// Nothing follows on its stream; it means so on DATA and HEADERS.
    pub fn ends_stream(&self) -> bool {
        self.flags & 1 != 0
    }

    /// It says that ours has arrived; it means so on SETTINGS and PING.
    pub fn is_acknowledgement(&self) -> bool {
        self.flags & 1 != 0
    }
}

impl Frames {
    /// What a client sends: the preface comes first.
    pub fn of_client() -> Self {
        Self { left: PREFACE_BYTES, ..Self::of_server() }
    }

    /// What a server sends.
    pub fn of_server() -> Self {
        Self { head: [0; HEAD_BYTES], known: 0, left: 0 }
    }

    /// Whether the next byte is the first of a frame.
    pub fn is_between(&self) -> bool {
        self.known == 0 && self.left == 0
    }

    /// So many bytes may follow before the place between two frames is reached or more is known.
    pub fn ahead(&self) -> usize {
        if self.left > 0 { self.left } else { HEAD_BYTES - self.known }
    }

    /// Reads on; `seen` is told of each frame when its head is complete.
    pub fn follow(&mut self, bytes: &[u8], mut seen: impl FnMut(Frame)) {
        let mut rest = bytes;
        loop {
            let skip = self.left.min(rest.len());
            self.left -= skip;
            rest = rest.get(skip..).unwrap_or_default();
            if self.left > 0 {
                return;
            }
            let Some((&byte, after)) = rest.split_first() else { return };
            rest = after;
            if let Some(place) = self.head.get_mut(self.known) {
                *place = byte;
            }
            self.known += 1;
            if self.known == HEAD_BYTES {
                self.known = 0;
                let frame = read(self.head);
                self.left = usize::try_from(frame.length).unwrap_or(usize::MAX);
                seen(frame);
            }
        }
    }
}

fn read([l2, l1, l0, kind, flags, s3, s2, s1, s0]: [u8; HEAD_BYTES]) -> Frame {
    let kind = match kind {
        0 => Kind::Data,
        1 => Kind::Headers,
        3 => Kind::ResetStream,
        4 => Kind::Settings,
        7 => Kind::GoAway,
        9 => Kind::Continuation,
        _ => Kind::Other,
    };
    Frame {
        length: u32::from_be_bytes([0, l2, l1, l0]),
        kind,
        flags,
        // The first bit means nothing (RFC 9113, 4.1).
        stream: u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]),
    }
}

/// A PING (RFC 9113, 6.7), with words that no library uses for its own: whose answer it is nobody has to know.
pub(super) const PING: [u8; 17] = *b"\0\0\x08\x06\0\0\0\0\0hotcore?";

/// A GOAWAY with ENHANCE_YOUR_CALM (RFC 9113, 6.8): streams up to `last` may have been looked at.
pub(super) fn calm_down(last: u32) -> [u8; 17] {
    let [a, b, c, d] = last.to_be_bytes();
    [0, 0, 8, 7, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, 0x0b]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
    }

    fn seen(frames: &mut Frames, bytes: &[u8]) -> Vec<Frame> {
        let mut list = Vec::new();
        frames.follow(bytes, |frame| list.push(frame));
        list
    }

    #[test]
    fn frames_are_found_however_their_bytes_come() {
        let bytes = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[0; 12]),
            frame(1, 5, 1, b"block"),
            frame(0, 0, 1, &[]),
            frame(0, 1, 1, &[7; 300]),
            frame(6, 1, 0, &[1; 8]),
            frame(77, 0xff, 0x8000_0003, &[]),
        ]
        .concat();
        let wanted = seen(&mut Frames::of_client(), &bytes);
        let kinds: Vec<_> = wanted.iter().map(|frame| frame.kind).collect();
        assert_eq!(kinds, [Kind::Settings, Kind::Headers, Kind::Data, Kind::Data, Kind::Other, Kind::Other]);
        assert_eq!(wanted[3], Frame { length: 300, kind: Kind::Data, flags: 1, stream: 1 });
        assert!(wanted[3].ends_stream() && !wanted[2].ends_stream() && wanted[4].is_acknowledgement());
        assert_eq!(wanted[5].stream, 3, "without the first bit");
        for size in 1..40 {
            let mut frames = Frames::of_client();
            let pieces: Vec<_> = bytes.chunks(size).flat_map(|piece| seen(&mut frames, piece)).collect();
            assert_eq!(pieces, wanted, "{size}");
            assert!(frames.is_between());
        }
    }

    #[test]
    fn the_place_between_two_frames_is_known() {
        let mut frames = Frames::of_server();
        assert!(frames.is_between());
        let bytes = frame(0, 0, 1, &[0; 20]);
        assert_eq!(frames.ahead(), 9);
        seen(&mut frames, &bytes[..4]);
        assert_eq!((frames.is_between(), frames.ahead()), (false, 5));
        seen(&mut frames, &bytes[4..9]);
        assert_eq!((frames.is_between(), frames.ahead()), (false, 20));
        seen(&mut frames, &bytes[9..]);
        assert!(frames.is_between());
    }

    #[test]
    fn our_own_frames_are_frames() {
        for (bytes, kind) in [(PING, Kind::Other), (calm_down(5), Kind::GoAway)] {
            let mut frames = Frames::of_server();
            let list = seen(&mut frames, &bytes);
            assert_eq!(list, [Frame { length: 8, kind, flags: 0, stream: 0 }]);
            assert!(frames.is_between());
        }
    }

    /// Invariant 3: any bytes.
    #[test]
    fn no_bytes_confuse_it() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let mut frames = Frames::of_client();
            for _ in 0..random.usize(0..20) {
                let bytes: Vec<u8> = (0..random.usize(0..200)).map(|_| random.u8(..)).collect();
                frames.follow(&bytes, |_| {});
                assert!(frames.is_between() || frames.ahead() > 0);
            }
        }
    }
}
