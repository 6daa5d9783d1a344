//! Which form of a page the client prefers (RFC 9110, 12.5.1).

use http::header::HeaderValue;

/// The form of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One line, for terminals; also where nothing is preferred.
    Text,
    /// For browsers.
    Html,
    /// For programs.
    Json,
}

impl Kind {
    /// The form with the greatest weight; among equals the one that is named most exactly (`*/*` names none), then the one
    /// named first, then text.
    pub(super) fn preferred(accept: Option<&HeaderValue>) -> Self {
        let Some(accept) = accept else { return Self::Text };
        let accept = accept.as_bytes();
        let mut best = (Self::Text, Rank::of(Self::Text, accept));
        for kind in [Self::Html, Self::Json] {
            let rank = Rank::of(kind, accept);
            if rank.is_before(best.1) {
                best = (kind, rank);
            }
        }
        best.0
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
        }
    }

    /// How exactly `range` names this form: 0 not at all, 1 by `*/*`, 2 by its type, 3 by its name.
    fn exactness(self, range: &[u8]) -> u8 {
        let (names, family): (&[&[u8]], &[u8]) = match self {
            Self::Text => (&[b"text/plain"], b"text/*"),
            Self::Html => (&[b"text/html", b"application/xhtml+xml"], b"text/*"),
            Self::Json => (&[b"application/json", b"application/problem+json"], b"application/*"),
        };
        match range {
            _ if names.iter().any(|name| range.eq_ignore_ascii_case(name)) => 3,
            _ if range.eq_ignore_ascii_case(family) => 2,
            b"*/*" => 1,
            _ => 0,
        }
    }
}

/// How much a client wants one form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Rank {
    /// The weight in thousandths.
    weight: u16,
    exactness: u8,
    /// The place of the range in the list.
    place: usize,
}

impl Rank {
    /// By the range that names `kind` most exactly.
    fn of(kind: Kind, accept: &[u8]) -> Self {
        let mut rank = Self::default();
        for (place, item) in accept.split(|&byte| byte == b',').enumerate() {
            let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let exactness = kind.exactness(parts.next().unwrap_or_default());
            if exactness > rank.exactness {
                let weight = parts.find_map(read_weight).unwrap_or(1000);
                rank = Self { weight, exactness, place };
            }
        }
        rank
    }

    fn is_before(self, other: Self) -> bool {
        let (mine, others) = ((self.weight, self.exactness), (other.weight, other.exactness));
        self.weight > 0 && (mine > others || (mine == others && self.place < other.place))
    }
}

/// `q=` with up to three decimals, in thousandths; `None` for another parameter. What is malformed weighs nothing.
fn read_weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', value @ ..] = parameter else { return None };
    let (whole, decimals) = match value {
        [whole] | [whole, b'.'] => (*whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (*whole, decimals),
        _ => return Some(0),
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return Some(0),
    };
    let mut unit = 100;
    for digit in decimals {
        if !digit.is_ascii_digit() {
            return Some(0);
        }
        weight += u16::from(digit - b'0') * unit;
        unit /= 10;
    }
    Some(weight.min(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(accept: &'static str) -> Kind {
        Kind::preferred(Some(&HeaderValue::from_static(accept)))
    }

    /// B158.
    #[test]
    fn a_browser_gets_html_a_program_json_and_a_terminal_text() {
        assert_eq!(Kind::preferred(None), Kind::Text);
        let rows = [
            ("", Kind::Text),
            ("*/*", Kind::Text),
            ("text/*", Kind::Text),
            ("text/plain", Kind::Text),
            ("image/avif,image/webp,*/*;q=0.8", Kind::Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", Kind::Html),
            ("text/html, application/json", Kind::Html),
            ("TEXT/HTML", Kind::Html),
            ("application/json", Kind::Json),
            ("application/json, text/plain, */*", Kind::Json),
            ("application/problem+json", Kind::Json),
            ("application/*", Kind::Json),
            ("text/html;q=0.5, application/json;q=0.9", Kind::Json),
            ("text/html;q=0.9, application/json;q=0.5", Kind::Html),
            ("text/html;level=1;q=0.4, application/json ; q=0.41", Kind::Json),
            ("text/html;q=0, */*", Kind::Text),
            ("text/html;q=0", Kind::Text),
            ("text/plain;q=0.1, text/html", Kind::Html),
            ("*/*, text/html;q=0.999", Kind::Text),
        ];
        for (accept, kind) in rows {
            assert_eq!(preferred(accept), kind, "{accept}");
        }
    }

    #[test]
    fn a_malformed_weight_weighs_nothing() {
        for weight in ["q=2", "q=-1", "q=", "q=1.0000", "q=0.x", "q=high"] {
            let accept = HeaderValue::from_str(&format!("text/html;{weight}, application/json;q=0.001")).unwrap();
            assert_eq!(Kind::preferred(Some(&accept)), Kind::Json, "{weight}");
        }
    }
}
