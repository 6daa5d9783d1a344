//! HTTP/1.1 as the generator speaks it: one request at a time, answers with a Content-Length.

use std::{io::Write, time::Instant};

#[derive(Default)]
pub(super) struct Http1 {
    /// Expected of each answer.
    body: usize,
    begun: Option<Instant>,
    head: Vec<u8>,
    /// Bytes of the body that have not come yet.
    left: Option<usize>,
}

impl Http1 {
    pub(super) fn new(body: usize) -> Self {
        Self { body, ..Self::default() }
    }

    pub(super) fn free(&self) -> usize {
        self.begun.is_none().into()
    }

    pub(super) fn ask(&mut self, begun: Instant, name: &str, out: &mut Vec<u8>) {
        self.begun = Some(begun);
        write!(out, "GET /b/{} HTTP/1.1\r\nHost: {name}\r\n\r\n", self.body).unwrap();
    }

    pub(super) fn hear(&mut self, mut bytes: &[u8], done: &mut Vec<Instant>) {
        if self.left.is_none() {
            let known = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(length) = self.head_length() else { return };
            bytes = &bytes[length - known..];
            self.head.clear();
            self.left = Some(self.body);
        }
        let left = self.left.unwrap();
        assert!(bytes.len() <= left, "more than was asked for");
        self.left = Some(left - bytes.len());
        if self.left == Some(0) {
            self.left = None;
            done.extend(self.begun.take());
        }
    }

    /// The length of the head if it is complete; it must be that of the right answer.
    fn head_length(&self) -> Option<usize> {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = head.parse(&self.head).unwrap() else { return None };
        let of = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let of = of.and_then(|field| str::from_utf8(field.value).ok()?.parse().ok());
        let is_right = head.code == Some(200) && of == Some(self.body);
        assert!(is_right, "a request failed: {}", String::from_utf8_lossy(&self.head));
        Some(length)
    }
}
