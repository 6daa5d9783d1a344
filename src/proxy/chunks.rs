//! Follows the chunked framing of a body over the raw bytes, to know where the message ends.
//!
//! It looks at bytes that hyper decodes as well, and is the stricter of the two (P13, P14): what passes here has one meaning
//! only. Nothing is kept but a state of a few words; data is skipped, not copied. Pure and fuzzed: any bytes, in any pieces.

use crate::{
    limits::{CHUNK_EXTENSION_BYTES_MAX, REQUEST_FIELDS_MAX, TRAILER_BYTES_MAX},
    proxy::{
        head::{is_control, is_token},
        refusal::Refusal,
    },
};

/// The place in a chunked body.
#[derive(Debug, Clone)]
pub struct Chunks {
    state: State,
    /// The size of the chunk whose line is being read, then its data bytes that are still to come.
    size: u64,
    /// Digits of the size so far.
    digits: u8,
    /// Data bytes of all chunks before this one; only its overflow matters (P20).
    total: u64,
    /// Bytes of chunk extensions so far, over the whole body.
    extensions: u64,
    /// Bytes of the trailer section so far.
    trailer_bytes: usize,
    /// Fields of the trailer section so far.
    trailer_fields: usize,
    /// The start of the trailer field's name that is being read.
    name: Name,
}

/// What [`Chunks::advance`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// So many of the bytes belong to this message.
    pub used: usize,
    /// They end it: what follows is another message.
    pub complete: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the digits of a size.
    Size,
    /// In blanks after the digits: an extension must follow.
    SizeBlank,
    /// In an extension.
    Extension,
    /// The size line's LF must come.
    SizeLf,
    /// In the data.
    Data,
    /// The data's CR must come.
    DataCr,
    /// The data's LF must come.
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends all.
    TrailerStart,
    /// In a trailer's name.
    TrailerName,
    /// In a trailer's value.
    TrailerValue,
    /// The trailer line's LF must come.
    TrailerLf,
    /// The last LF must come.
    EndLf,
    /// The message has ended.
    Done,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunks {
    /// Before the first size line.
    pub fn new() -> Self {
        Self {
            state: State::Size,
            size: 0,
            digits: 0,
            total: 0,
            extensions: 0,
            trailer_bytes: 0,
            trailer_fields: 0,
            name: Name::default(),
        }
    }

    /// Whether the message has ended.
    pub fn is_complete(&self) -> bool {
        self.state == State::Done
    }

    /// Reads on, up to the end of the message. After an error the body's end is unknown for ever: close.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Advance, Refusal> {
        let mut rest = bytes;
        while self.state != State::Done {
            if self.state == State::Data {
                let skip = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest.len());
                self.size -= skip as u64;
                rest = rest.get(skip..).unwrap_or_default();
                if self.size > 0 {
                    break;
                }
                self.state = State::DataCr;
            }
            let Some((&byte, after)) = rest.split_first() else { break };
            rest = after;
            self.state = self.step(byte)?;
        }
        Ok(Advance { used: bytes.len() - rest.len(), complete: self.is_complete() })
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Size, _) => self.step_size(byte),
            (State::SizeBlank, b' ' | b'\t') => self.count_extension(State::SizeBlank),
            (State::SizeBlank, b';') => self.count_extension(State::Extension),
            (State::SizeBlank, _) => Err(Refusal::ChunkSize),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, b'\n') => Err(Refusal::BareLf),
            (State::Extension, _) if is_control(byte) => Err(Refusal::ChunkExtensions),
            (State::Extension, _) => self.count_extension(State::Extension),
            (State::SizeLf, b'\n') => self.begin_data(),
            (State::SizeLf, _) => Err(Refusal::BareCr),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::Data | State::DataCr | State::DataLf, _) => Err(Refusal::ChunkEnd),
            (State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf | State::EndLf, _) => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > TRAILER_BYTES_MAX {
                    return Err(Refusal::TrailersTooLong);
                }
                self.step_trailer(byte)
            }
            (State::Done, _) => Ok(State::Done),
        }
    }

    /// 1 to 16 digits, at most 63 bits, in all and for the whole body (P13, P20).
    fn step_size(&mut self, byte: u8) -> Result<State, Refusal> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(State::SizeLf),
            b';' if self.digits > 0 => return self.count_extension(State::Extension),
            b' ' | b'\t' if self.digits > 0 => return self.count_extension(State::SizeBlank),
            b'\n' if self.digits > 0 => return Err(Refusal::BareLf),
            _ => return Err(Refusal::ChunkSize),
        };
        self.digits += 1;
        if self.digits > 16 || self.size >> 59 != 0 {
            return Err(Refusal::ChunkSize);
        }
        self.size = self.size << 4 | u64::from(digit);
        Ok(State::Size)
    }

    /// Extensions are bounded over the whole body: one byte of data with a long extension, again and again, is a flood (B48).
    fn count_extension(&mut self, next: State) -> Result<State, Refusal> {
        self.extensions += 1;
        if self.extensions > CHUNK_EXTENSION_BYTES_MAX { Err(Refusal::ChunkExtensions) } else { Ok(next) }
    }

    fn begin_data(&mut self) -> Result<State, Refusal> {
        self.digits = 0;
        if self.size == 0 {
            return Ok(State::TrailerStart);
        }
        self.total = self
            .total
            .checked_add(self.size)
            .filter(|&total| total <= i64::MAX.unsigned_abs())
            .ok_or(Refusal::ChunkSize)?;
        Ok(State::Data)
    }

    fn step_trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart, b' ' | b'\t') => Err(Refusal::FoldedLine),
            (State::TrailerStart, _) => {
                self.trailer_fields += 1;
                if self.trailer_fields > REQUEST_FIELDS_MAX {
                    return Err(Refusal::TrailersTooLong);
                }
                self.name = Name::default();
                self.step_name(byte)
            }
            (State::TrailerName, b':') if self.name.is_forbidden() => Err(Refusal::TrailerField),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerName, b' ' | b'\t') => Err(Refusal::BlankBeforeColon),
            (State::TrailerName, _) => self.step_name(byte),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, b'\n') => Err(Refusal::BareLf),
            (State::TrailerValue, _) if is_control(byte) => Err(Refusal::Control),
            (State::TrailerValue, _) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(Refusal::BareCr),
        }
    }

    fn step_name(&mut self, byte: u8) -> Result<State, Refusal> {
        if byte == b'\n' {
            return Err(Refusal::BareLf);
        }
        if !is_token(byte) {
            return Err(Refusal::FieldName);
        }
        self.name.push(byte);
        Ok(State::TrailerName)
    }
}

/// Trailer names that are refused: framing, routing, and what concerns one connection only (P14). What else never passes as a
/// trailer is dropped on the way, see [`forward`](super::forward).
const FORBIDDEN: [&[u8]; 13] = [
    b"connection",
    b"content-length",
    b"expect",
    b"host",
    b"http2-settings",
    b"keep-alive",
    b"max-forwards",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"via",
];

/// The start of a name in lower case: as much as the longest forbidden one, and whether there was more.
#[derive(Debug, Clone, Default)]
struct Name {
    bytes: [u8; 17],
    length: usize,
}

impl Name {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte.to_ascii_lowercase();
        }
        self.length = self.length.saturating_add(1);
    }

    fn is_forbidden(&self) -> bool {
        self.bytes.get(..self.length).is_some_and(|name| FORBIDDEN.contains(&name))
    }
}

#[cfg(test)]
mod tests;
