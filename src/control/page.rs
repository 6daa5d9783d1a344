//! A part of a long list: sorted lines, each beginning with its name, as many as fit into a reply (B184).

use std::fmt::{Display, Write as _};

use crate::{domain::Domain, limits::REPLY_BYTES_MAX};

/// A reply in the making.
#[derive(Debug, Default)]
pub(super) struct Page {
    reply: String,
    /// The last line behind which `more` still fits: where it ends, and its name.
    turn: Option<(usize, Domain)>,
    is_full: bool,
}

impl Page {
    /// Adds the line `<domain> <rest>`; `rest` must be printable ASCII. `false`: it did not fit, and nothing more will.
    pub(super) fn push(&mut self, domain: &Domain, rest: impl Display) -> bool {
        let start = self.reply.len();
        // Writing to a String cannot fail.
        let _ = write!(self.reply, "{}{domain} {rest}", if start == 0 { "" } else { "\n" });
        if self.reply.len() > REPLY_BYTES_MAX {
            self.is_full = true;
            return false;
        }
        if self.reply.len() + "\nmore ".len() + domain.as_str().len() <= REPLY_BYTES_MAX {
            self.turn = Some((self.reply.len(), domain.clone()));
        }
        true
    }

    /// The reply. If lines are missing, its last one is `more <domain>` with the last name that is there.
    pub(super) fn finish(self) -> String {
        let Self { mut reply, turn, is_full } = self;
        if is_full && let Some((end, last)) = turn {
            reply.truncate(end);
            let _ = write!(reply, "\nmore {last}");
        }
        reply.truncate(REPLY_BYTES_MAX);
        reply
    }
}
