//! The names of fields that one side must not pass on to the other.
//!
//! Names come as `http` keeps them: in lower case.

/// Fields about one connection only, in either direction (RFC 9110, 7.6.1; B79).
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "proxy-connection"
            | "keep-alive"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy"
    )
}

/// Fields that a client could use to lie about itself to the app (B80, B81).
pub(super) fn is_forwarding(name: &str) -> bool {
    name == "forwarded" || name == "x-real-ip" || name == "x-forwarded" || name.starts_with("x-forwarded-")
}

/// Fields that look like one that hotcore sets, removes or reads, once a CGI-like backend has folded all but letters and
/// digits into one character (B83).
pub(super) fn is_look_alike(name: &str) -> bool {
    // Most names of most requests end here: a look-alike begins like what it looks like.
    if !matches!(name.as_bytes().first(), Some(b'c' | b'h' | b'k' | b'm' | b'p' | b't' | b'x')) {
        return false;
    }
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return false;
    }
    let mut buffer = [0; LONGEST];
    for (place, byte) in buffer.iter_mut().zip(name.bytes()) {
        *place = if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    }
    if buffer.starts_with(b"x-forwarded-") {
        return true;
    }
    buffer.get(..name.len()).is_some_and(|folded| GUARDED.iter().any(|guarded| guarded.as_bytes() == folded))
}

/// What has look-alikes: the names above that have a hyphen, and those that hotcore reads.
const GUARDED: [&str; 10] = [
    "content-length",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "x-forwarded",
    "x-real-ip",
];

const LONGEST: usize = "proxy-authorization".len();

/// Fields that mean something in a head only: framing, routing, authentication, cookies, and what steers the handling of the
/// message (RFC 9110, 6.5.1; B72).
pub(super) fn is_head_only(name: &str) -> bool {
    is_hop_by_hop(name)
        || is_forwarding(name)
        || matches!(
            name,
            "age"
                | "authorization"
                | "cache-control"
                | "content-encoding"
                | "content-length"
                | "content-range"
                | "content-type"
                | "cookie"
                | "cookie2"
                | "date"
                | "expect"
                | "expires"
                | "host"
                | "location"
                | "max-forwards"
                | "origin"
                | "pragma"
                | "range"
                | "retry-after"
                | "set-cookie"
                | "set-cookie2"
                | "trailer"
                | "vary"
                | "via"
                | "www-authenticate"
        )
        || is_look_alike(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B83: each guarded name in each disguise, and not itself.
    #[test]
    fn every_guarded_name_has_look_alikes() {
        for name in GUARDED.into_iter().chain(["x-forwarded-for", "x-forwarded-very-long-name-of-something"]) {
            assert!(!is_look_alike(name), "{name}");
            for disguise in "_.!#$%&'*+^`|~".chars() {
                let disguised = name.replace('-', &disguise.to_string());
                assert!(is_look_alike(&disguised), "{disguised}");
                let once = name.replacen('-', &disguise.to_string(), 1);
                assert!(is_look_alike(&once), "{once}");
            }
        }
        for name in ["api_key", "x_api_key", "content_type", "x_real_ips", "x_forwardedfor", "_", "content_length_", ""]
        {
            assert!(!is_look_alike(name), "{name}");
        }
        assert!(GUARDED.iter().all(|name| name.len() <= LONGEST));
    }
}
